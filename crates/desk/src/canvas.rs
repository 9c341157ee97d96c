//! The drawing of a clip for the viewer in the page, as the desk needs it.
//!
//! Sweeps and images of a clip never change: they go to the viewer once, as a recording that is encoded while it is sent. Boxes change all
//! the time: they go through a channel of the page, only those of the samples that changed. Both carry one recording name, under which the
//! viewer puts them together.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use boxwright_model::{Box3, ClipId, LabelSource, SceneFrame, Taxonomy, TrackId};
use bytes::Bytes;

use crate::labels::{BoxState, Labels, TrackDoc};
use crate::operation::Surroundings;
use crate::scene::Scene;

/// What the encoder says when it fails.
pub type DrawError = Box<dyn Error + Send + Sync>;

/// A file that the page loads to have the viewer.
#[derive(Clone, Debug)]
pub struct CanvasFile {
    /// Where it is asked for.
    pub path: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// What it is.
    pub content: Bytes,
    /// Changes with the content.
    pub version: String,
}

/// Draws clips for the viewer in the page; given by who starts the desk, so that no viewer is compiled for this crate.
pub trait Canvas: Send + Sync {
    /// The viewer's own files.
    fn files(&self) -> Vec<CanvasFile>;

    /// Begins a recording of sweeps and images.
    fn recording(&self, name: &str) -> Box<dyn Recording>;

    /// Boxes of frames without points, for a recording of that name.
    ///
    /// # Errors
    /// When the encoder fails.
    fn boxes(&self, name: &str, frames: &[SceneFrame]) -> Result<Vec<u8>, DrawError>;

    /// The box that is looked at, in a frame without points; none where nothing is.
    ///
    /// # Errors
    /// When the encoder fails.
    fn focus(&self, name: &str, frame: &SceneFrame) -> Result<Vec<u8>, DrawError>;
}

/// A recording while it is encoded.
pub trait Recording: Send {
    /// The next frame: the bytes to send.
    ///
    /// # Errors
    /// When the encoder fails.
    fn frame(&mut self, frame: &SceneFrame) -> Result<Vec<u8>, DrawError>;

    /// The last bytes.
    ///
    /// # Errors
    /// When the encoder fails.
    fn finish(&mut self) -> Result<Vec<u8>, DrawError>;
}

/// Frames with their boxes as they stand, and which track each box is of: the viewer names a box that was clicked by its place in the list.
pub(crate) fn boxed_frames(
    samples: &[u32],
    labels: &Labels,
    scene: &Scene,
    taxonomy: &Arc<Taxonomy>,
    clip: ClipId,
) -> (Vec<SceneFrame>, BTreeMap<u32, Vec<u32>>) {
    let mut tracks = BTreeMap::new();
    let mut frames = Vec::with_capacity(samples.len());
    for sample in samples {
        let Some(mut frame) = scene.bare_frame(*sample) else { continue };
        let here = labels.tracks().iter().filter_map(|(number, track)| Some((*number, track, track.boxes.get(sample)?)));
        // What cannot be drawn has no place in the viewer's list either.
        let drawn = here.map(|(number, track, state)| drawn(number, track, state, &frame, clip, taxonomy));
        frame.boxes = drawn.filter(|one| one.ego_from_box.is_valid()).collect();
        tracks.insert(*sample, frame.boxes.iter().map(|one| one.track_id.number).collect());
        frames.push(frame);
    }
    (frames, tracks)
}

/// A frame with one box, or none.
pub(crate) fn focused_frame(
    sample: u32,
    track: Option<u32>,
    labels: &Labels,
    scene: &Scene,
    taxonomy: &Arc<Taxonomy>,
    clip: ClipId,
) -> Option<SceneFrame> {
    let mut frame = scene.bare_frame(sample)?;
    let found = track.and_then(|number| Some((number, labels.track(number)?)));
    let found = found.and_then(|(number, track)| Some((number, track, track.boxes.get(&sample)?)));
    frame.boxes = found.map(|(number, track, state)| drawn(number, track, state, &frame, clip, taxonomy)).into_iter().collect();
    Some(frame)
}

fn drawn(number: u32, track: &TrackDoc, state: &BoxState, frame: &SceneFrame, clip: ClipId, taxonomy: &Arc<Taxonomy>) -> Box3 {
    let world_from_box = state.cuboid();
    let ego_from_world = frame.world_from_ego.unwrap_or_default().inverse();
    Box3 {
        sample_id: Arc::from(""),
        sample_stamp_ns: frame.stamp_ns,
        stamp_ns: frame.stamp_ns,
        points_ns: [frame.stamp_ns; 2],
        measured_world_center_m: world_from_box.center_m,
        track_id: TrackId { clip, number },
        class: taxonomy.find(&track.state.class).unwrap_or_else(|| taxonomy.unknown()),
        score: track.state.score,
        ego_from_box: world_from_box.transformed(&ego_from_world),
        world_from_box,
        velocity_world_mps: [0.0; 2],
        num_lidar_pts: state.points,
        predicted: state.predicted,
        source: LabelSource::Human,
        evidence: String::new(),
    }
}

/// All samples of a scene, or those of a list that it has, each once.
pub(crate) fn chosen(asked: Option<&[u32]>, scene: &Scene) -> Vec<u32> {
    match asked {
        None => (0..scene.samples()).collect(),
        Some(some) => {
            let different: std::collections::BTreeSet<u32> =
                some.iter().copied().filter(|sample| *sample < scene.samples()).collect();
            different.into_iter().collect()
        }
    }
}
