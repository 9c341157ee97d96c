//! One recording as a stream of messages: what a file or a viewer is fed with.

use std::sync::Arc;

use boxwright_model::scene::SceneFrame;
use boxwright_model::taxonomy::Taxonomy;
use rerun::external::re_log_types::LogMsg;
use rerun::{EntityPath, StoreId, StoreKind, TimePoint};

use crate::error::ReviewError;
use crate::layout::{self, Purpose};
use crate::scene::{self, Cameras, Painter};

/// Recordings of one application share their layout in a viewer.
pub(crate) const APPLICATION: &str = "boxwright";

/// Turns frames into messages, with the recording's name in front and a new layout whenever a camera appears.
pub(crate) struct SceneStream {
    store: StoreId,
    name: String,
    painter: Painter,
    purpose: Purpose,
    /// The cameras that the viewer's layout has; `None` before the first frame.
    laid_out: Option<Cameras>,
}

impl SceneStream {
    /// A recording that is called `name` in the viewer; equal names are the same recording.
    pub(crate) fn recording(name: &str, taxonomy: Arc<Taxonomy>) -> Self {
        let store = StoreId::new(StoreKind::Recording, APPLICATION, name.to_owned());
        Self { store, name: name.to_owned(), painter: Painter::new(taxonomy), purpose: Purpose::Recording, laid_out: None }
    }

    /// A recording of sweeps and images alone: boxes come beside it.
    pub(crate) fn canvas(name: &str, taxonomy: Arc<Taxonomy>) -> Self {
        let recording = Self::recording(name, taxonomy.clone());
        Self { painter: Painter::of_sensors(taxonomy), purpose: Purpose::Canvas, ..recording }
    }

    /// A live stream, different from every other one.
    pub(crate) fn live(taxonomy: Arc<Taxonomy>) -> Self {
        let store = StoreId::random(StoreKind::Recording, APPLICATION);
        Self { store, name: "live".to_owned(), painter: Painter::new(taxonomy), purpose: Purpose::Live, laid_out: None }
    }

    /// Everything to send for the next frame.
    pub(crate) fn frame(&mut self, frame: &SceneFrame) -> Result<Vec<LogMsg>, ReviewError> {
        let painted = self.painter.paint(frame)?;
        let mut messages = self.before()?;
        for chunk in &painted {
            messages.push(layout::arrow_message(&self.store, chunk)?);
        }
        Ok(messages)
    }

    /// What must come before a frame: the opening before the first one, a layout before one with a new camera.
    pub(crate) fn before(&mut self) -> Result<Vec<LogMsg>, ReviewError> {
        let mut messages = Vec::new();
        if self.laid_out.is_none() {
            messages.push(layout::set_store_info(&self.store));
            let named = rerun::RecordingInfo::update_fields().with_name(self.name.as_str());
            let mut opening = vec![scene::chunk(EntityPath::properties(), &TimePoint::default(), &[&named])?];
            opening.extend(self.painter.opening()?);
            for chunk in &opening {
                messages.push(layout::arrow_message(&self.store, chunk)?);
            }
        }
        if self.laid_out.as_ref() != Some(self.painter.cameras()) {
            messages.extend(layout::messages(APPLICATION, &left_to_right(self.painter.cameras()), self.purpose)?);
            self.laid_out = Some(self.painter.cameras().clone());
        }
        Ok(messages)
    }
}

/// Cameras as a driver would see them: by direction from left to right, those without one last, by name.
fn left_to_right(cameras: &Cameras) -> Vec<&str> {
    let mut ordered: Vec<(f64, &str)> =
        cameras.iter().map(|(name, direction)| (-direction.unwrap_or(f64::NEG_INFINITY), &**name)).collect();
    ordered.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    ordered.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_stand_from_left_to_right() {
        let cameras =
            [("ahead", Some(0.0)), ("b", None), ("a", None), ("right", Some(-0.9)), ("left", Some(1.0)), ("z_back", Some(3.1))];
        let cameras: Cameras = cameras.into_iter().map(|(name, direction)| (Arc::from(name), direction)).collect();
        assert_eq!(left_to_right(&cameras), ["z_back", "left", "ahead", "right", "a", "b"]);
    }
}
