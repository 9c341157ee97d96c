//! What people can do to labels, and the changes that it comes to.
//!
//! [`plan`] is pure: labels, the clip around them and an operation give a list of [`Change`]s, or a refusal that says why not. It writes
//! nothing; who calls it stores the changes and then applies them.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{ClassId, Cuboid, Pose, Taxonomy};
use serde::{Deserialize, Serialize};

use crate::find;
use crate::geometry::{self, Face, Refusal};
use crate::labels::{BoxState, Change, ErrorKind, Labels, TrackDoc, TrackState, Verdict};

/// What an operation may ask of its clip.
pub trait Surroundings {
    /// Number of samples.
    fn samples(&self) -> u32;
    /// Reference time of a sample.
    fn stamp_ns(&self, sample: u32) -> i64;
    /// Where the vehicle was.
    fn world_from_ego(&self, sample: u32) -> Pose;
    /// All points of a sample in its ego frame.
    ///
    /// # Errors
    /// When they cannot be read.
    fn points(&self, sample: u32) -> Result<Arc<Vec<[f32; 3]>>, Around>;
}

/// Why an operation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Around {
    /// It makes no sense.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The clip's points cannot be read.
    #[error("cannot read the points of sample {sample}: {source}")]
    Points {
        /// The sample.
        sample: u32,
        /// Why.
        source: std::io::Error,
    },
}

/// How far an edit goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This sample alone.
    #[default]
    Box,
    /// This sample and all later ones.
    Onward,
    /// The whole track.
    Track,
}

/// What a person does. `track` is the number of a track, `sample` that of a sample of the clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// The track is right as it stands.
    Accept {
        /// Track.
        track: u32,
    },
    /// The track is wrong and goes back.
    Reject {
        /// Track.
        track: u32,
        /// Why.
        error: ErrorKind,
    },
    /// Another class.
    Relabel {
        /// Track.
        track: u32,
        /// Name in the taxonomy.
        class: String,
    },
    /// Moved along the box's own axes.
    Move {
        /// Track.
        track: u32,
        /// Sample.
        sample: u32,
        /// How far.
        #[serde(default)]
        scope: Scope,
        /// Forward, left, up (metres).
        by_box_m: [f64; 3],
    },
    /// One side moved.
    Size {
        /// Track.
        track: u32,
        /// Sample.
        sample: u32,
        /// How far.
        #[serde(default)]
        scope: Scope,
        /// Which side.
        face: Face,
        /// Outwards (metres).
        by_m: f64,
    },
    /// Turned about its upright axis.
    Turn {
        /// Track.
        track: u32,
        /// Sample.
        sample: u32,
        /// How far.
        #[serde(default)]
        scope: Scope,
        /// Counter-clockwise (radians).
        by_rad: f64,
    },
    /// Front and back exchanged.
    Flip {
        /// Track.
        track: u32,
        /// Sample.
        sample: u32,
        /// How far.
        #[serde(default)]
        scope: Scope,
    },
    /// As small as its points allow.
    Shrink {
        /// Track.
        track: u32,
        /// Sample.
        sample: u32,
        /// How far.
        #[serde(default)]
        scope: Scope,
    },
    /// Set on the ground.
    Ground {
        /// Track.
        track: u32,
        /// Sample.
        sample: u32,
        /// How far.
        #[serde(default)]
        scope: Scope,
    },
    /// The size of this box for every box of the track.
    CopySize {
        /// Track.
        track: u32,
        /// Sample whose size it is.
        sample: u32,
    },
    /// Everything between boxes that a person set follows from those.
    Interpolate {
        /// Track.
        track: u32,
    },
    /// From this sample on it is another object.
    Split {
        /// Track.
        track: u32,
        /// First sample of the other object.
        sample: u32,
    },
    /// Two tracks are one object. Where both have a box, that with more points stays.
    Merge {
        /// The track that ends.
        track: u32,
        /// The track that takes its boxes.
        into: u32,
    },
    /// Carried on from its nearer end up to a sample: fitted where points are, else at its last speed.
    Extend {
        /// Track.
        track: u32,
        /// Sample.
        sample: u32,
    },
    /// No object.
    Delete {
        /// Track.
        track: u32,
    },
    /// No object in this sample.
    DeleteBox {
        /// Track.
        track: u32,
        /// Sample.
        sample: u32,
    },
    /// One decision about several tracks: made as a whole or not at all, and taken back as one.
    Bulk {
        /// Tracks.
        tracks: Vec<u32>,
        /// What becomes of each.
        each: Each,
    },
    /// A missed object: fitted at a place and followed through the clip.
    Create {
        /// Sample in which somebody pointed.
        sample: u32,
        /// Where, in the ego frame of that sample.
        at_ego_m: [f64; 2],
        /// Its class; the likeliest one where nobody says.
        #[serde(default)]
        class: Option<String>,
    },
}

/// What may be done to several tracks at once: what needs no look at a single box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Each {
    /// As [`Operation::Accept`].
    Accept,
    /// As [`Operation::Delete`].
    Delete,
    /// As [`Operation::Relabel`].
    Relabel {
        /// Name in the taxonomy.
        class: String,
    },
}

/// Most tracks of one [`Operation::Bulk`]: more than any clip has, and its changes still fit into one row of the database.
const MAX_BULK: usize = 2_000;

impl Operation {
    /// Its name in history and statistics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Reject { .. } => "reject",
            Self::Relabel { .. } => "relabel",
            Self::Move { .. } => "move",
            Self::Size { .. } => "size",
            Self::Turn { .. } => "turn",
            Self::Flip { .. } => "flip",
            Self::Shrink { .. } => "shrink",
            Self::Ground { .. } => "ground",
            Self::CopySize { .. } => "copy_size",
            Self::Interpolate { .. } => "interpolate",
            Self::Split { .. } => "split",
            Self::Merge { .. } => "merge",
            Self::Extend { .. } => "extend",
            Self::Delete { .. } => "delete",
            Self::DeleteBox { .. } => "delete_box",
            Self::Bulk { each: Each::Accept, .. } => "accept_all",
            Self::Bulk { each: Each::Delete, .. } => "delete_all",
            Self::Bulk { each: Each::Relabel { .. }, .. } => "relabel_all",
            Self::Create { .. } => "create",
        }
    }

    /// Whether it is a decision about somebody's work, which is a reviewer's to make.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        matches!(self, Self::Accept { .. } | Self::Reject { .. } | Self::Bulk { each: Each::Accept, .. })
    }

    /// Tracks that must be as the person saw them.
    #[must_use]
    pub fn tracks(&self) -> Vec<u32> {
        match self {
            Self::Accept { track }
            | Self::Reject { track, .. }
            | Self::Relabel { track, .. }
            | Self::Move { track, .. }
            | Self::Size { track, .. }
            | Self::Turn { track, .. }
            | Self::Flip { track, .. }
            | Self::Shrink { track, .. }
            | Self::Ground { track, .. }
            | Self::CopySize { track, .. }
            | Self::Interpolate { track }
            | Self::Split { track, .. }
            | Self::Extend { track, .. }
            | Self::Delete { track }
            | Self::DeleteBox { track, .. } => vec![*track],
            Self::Merge { track, into } => vec![*track, *into],
            Self::Bulk { tracks, .. } => tracks.clone(),
            Self::Create { .. } => Vec::new(),
        }
    }
}

/// Who does it, and what they have to do it with.
pub struct Context<'a> {
    /// The labels as they stand.
    pub labels: &'a Labels,
    /// The clip.
    pub around: &'a dyn Surroundings,
    /// Classes.
    pub taxonomy: &'a Arc<Taxonomy>,
    /// Name of the person.
    pub person: &'a str,
}

/// The changes that an operation comes to.
///
/// # Errors
/// A refusal with both sides where it makes no sense, or when points cannot be read.
pub fn plan(context: &Context<'_>, operation: &Operation) -> Result<Vec<Change>, Around> {
    match operation {
        Operation::Accept { track } => context.decide(*track, Verdict::Accepted, None),
        Operation::Reject { track, error } => context.decide(*track, Verdict::Returned, Some(*error)),
        Operation::Relabel { track, class } => context.relabel(*track, class),
        Operation::Move { track, sample, scope, by_box_m } => {
            context.each(*track, *sample, *scope, |_, cuboid| Ok(geometry::moved(cuboid, *by_box_m)?))
        }
        Operation::Size { track, sample, scope, face, by_m } => {
            context.each(*track, *sample, *scope, |_, cuboid| Ok(geometry::sized(cuboid, *face, *by_m)?))
        }
        Operation::Turn { track, sample, scope, by_rad } => {
            context.each(*track, *sample, *scope, |_, cuboid| Ok(geometry::turned(cuboid, *by_rad)?))
        }
        Operation::Flip { track, sample, scope } => {
            context.each(*track, *sample, *scope, |_, cuboid| Ok(geometry::flipped(cuboid)))
        }
        Operation::Shrink { track, sample, scope } => context.once_if_still(*track, *sample, *scope, |at, cuboid| {
            let points = context.around.points(at)?;
            context.in_ego(at, cuboid, |in_ego| geometry::shrink(in_ego, &points))
        }),
        Operation::Ground { track, sample, scope } => context.once_if_still(*track, *sample, *scope, |at, cuboid| {
            let points = context.around.points(at)?;
            context.in_ego(at, cuboid, |in_ego| {
                geometry::grounded(in_ego, find::floor_at(&points, [in_ego.center_m.x, in_ego.center_m.y]))
            })
        }),
        Operation::CopySize { track, sample } => context.copy_size(*track, *sample),
        Operation::Interpolate { track } => context.interpolate(*track),
        Operation::Split { track, sample } => context.split(*track, *sample),
        Operation::Merge { track, into } => context.merge(*track, *into),
        Operation::Extend { track, sample } => context.extend(*track, *sample),
        Operation::Delete { track } => context.delete(*track),
        Operation::DeleteBox { track, sample } => context.delete_box(*track, *sample),
        Operation::Bulk { tracks, each } => context.bulk(tracks, each),
        Operation::Create { sample, at_ego_m, class } => context.create(*sample, *at_ego_m, class.as_deref()),
    }
}

fn refused<T>(message: String) -> Result<T, Around> {
    Err(Around::Refused(Refusal(message)))
}

impl Context<'_> {
    fn track(&self, number: u32) -> Result<&TrackDoc, Around> {
        match self.labels.track(number) {
            Some(track) => Ok(track),
            None => refused(format!("expected a track of the clip, got {number}, which is gone or never was")),
        }
    }

    fn box_at(&self, number: u32, sample: u32) -> Result<&BoxState, Around> {
        match self.track(number)?.boxes.get(&sample) {
            Some(state) => Ok(state),
            None => refused(format!("expected a box of track {number} in sample {sample}, got none")),
        }
    }

    fn class(&self, name: &str) -> Result<ClassId, Around> {
        match self.taxonomy.find(name) {
            Some(class) => Ok(class),
            None => {
                let known: Vec<&str> = self.taxonomy.classes().iter().map(|class| &*class.name).collect();
                refused(format!("expected a class of {}, got {name:?}", known.join(", ")))
            }
        }
    }

    fn decide(&self, track: u32, verdict: Verdict, error: Option<ErrorKind>) -> Result<Vec<Change>, Around> {
        let before = &self.track(track)?.state;
        let after = TrackState { verdict, error, decided_by: Some(self.person.to_owned()), ..before.clone() };
        Ok(vec![Change::Track { track, before: Some(before.clone()), after: Some(after) }])
    }

    /// What was decided about a track falls with an edit.
    fn reopened(&self, track: u32) -> Result<Option<Change>, Around> {
        let before = &self.track(track)?.state;
        let after = TrackState { verdict: Verdict::Open, error: None, decided_by: None, ..before.clone() };
        Ok((*before != after).then(|| Change::Track { track, before: Some(before.clone()), after: Some(after) }))
    }

    fn relabel(&self, track: u32, class: &str) -> Result<Vec<Change>, Around> {
        self.class(class)?;
        let before = &self.track(track)?.state;
        let after = TrackState { class: class.to_owned(), verdict: Verdict::Open, error: None, decided_by: None, ..before.clone() };
        Ok(vec![Change::Track { track, before: Some(before.clone()), after: Some(after) }])
    }

    /// Boxes of a track that an edit at a sample goes to.
    fn within(&self, track: u32, sample: u32, scope: Scope) -> Result<Vec<(u32, &BoxState)>, Around> {
        self.box_at(track, sample)?;
        let is_meant = |at: u32| match scope {
            Scope::Box => at == sample,
            Scope::Onward => at >= sample,
            Scope::Track => true,
        };
        Ok(self.track(track)?.boxes.iter().filter(|(at, _)| is_meant(**at)).map(|(at, state)| (*at, state)).collect())
    }

    /// A box as a person has set it.
    fn set(&self, sample: u32, cuboid: &Cuboid) -> Result<BoxState, Around> {
        let points = self.count(sample, cuboid)?;
        Ok(BoxState { keyed: true, ..BoxState::new(cuboid, points) })
    }

    fn count(&self, sample: u32, world_from_box: &Cuboid) -> Result<u32, Around> {
        let ego_from_box = world_from_box.transformed(&self.around.world_from_ego(sample).inverse());
        Ok(geometry::count(&ego_from_box, &*self.around.points(sample)?))
    }

    fn in_ego(&self, sample: u32, world: &Cuboid, edit: impl FnOnce(&Cuboid) -> Result<Cuboid, Refusal>) -> Result<Cuboid, Around> {
        let world_from_ego = self.around.world_from_ego(sample);
        Ok(edit(&world.transformed(&world_from_ego.inverse()))?.transformed(&world_from_ego))
    }

    fn each(
        &self,
        track: u32,
        sample: u32,
        scope: Scope,
        edit: impl Fn(u32, &Cuboid) -> Result<Cuboid, Around>,
    ) -> Result<Vec<Change>, Around> {
        let mut changes: Vec<Change> = self.reopened(track)?.into_iter().collect();
        for (at, before) in self.within(track, sample, scope)? {
            let after = BoxState { origin: before.origin, ..self.set(at, &edit(at, &before.cuboid())?)? };
            changes.push(Change::Box { track, sample: at, before: Some(before.clone()), after: Some(after) });
        }
        Ok(changes)
    }

    /// As [`Self::each`]; of an object that stands still the edit is made once, where the person looks, and holds for every sample.
    fn once_if_still(
        &self,
        track: u32,
        sample: u32,
        scope: Scope,
        edit: impl Fn(u32, &Cuboid) -> Result<Cuboid, Around>,
    ) -> Result<Vec<Change>, Around> {
        if !self.track(track)?.state.is_static {
            return self.each(track, sample, scope, edit);
        }
        let once = edit(sample, &self.box_at(track, sample)?.cuboid())?;
        self.each(track, sample, scope, |_, _| Ok(once))
    }

    fn copy_size(&self, track: u32, sample: u32) -> Result<Vec<Change>, Around> {
        let size = self.box_at(track, sample)?.size_lwh_m;
        let mut changes: Vec<Change> = self.reopened(track)?.into_iter().collect();
        for (at, before) in &self.track(track)?.boxes {
            if before.size_lwh_m == size {
                continue;
            }
            let resized = self.in_ego(*at, &before.cuboid(), |in_ego| geometry::resized_from(in_ego, size, [0.0; 3]))?;
            let after =
                BoxState { keyed: before.keyed, predicted: before.predicted, origin: before.origin, ..self.set(*at, &resized)? };
            changes.push(Change::Box { track, sample: *at, before: Some(before.clone()), after: Some(after) });
        }
        Ok(changes)
    }

    fn interpolate(&self, track: u32) -> Result<Vec<Change>, Around> {
        let boxes = &self.track(track)?.boxes;
        let keyed: Vec<(u32, Cuboid)> = boxes.iter().filter(|(_, one)| one.keyed).map(|(at, one)| (*at, one.cuboid())).collect();
        if keyed.len() < 2 {
            return refused(format!("expected two boxes or more that a person has set, got {}", keyed.len()));
        }
        let mut changes: Vec<Change> = self.reopened(track)?.into_iter().collect();
        for pair in keyed.windows(2) {
            let [(from, first), (to, last)] = pair else { continue };
            let (start_ns, span_ns) = (self.around.stamp_ns(*from), self.around.stamp_ns(*to) - self.around.stamp_ns(*from));
            for at in from + 1..*to {
                let share = (self.around.stamp_ns(at) - start_ns) as f64 / span_ns.max(1) as f64;
                let between = geometry::between(first, last, share);
                let before = boxes.get(&at);
                let origin = before.and_then(|before| before.origin);
                let after = BoxState { keyed: false, origin, ..self.set(at, &between)? };
                changes.push(Change::Box { track, sample: at, before: before.cloned(), after: Some(after) });
            }
        }
        Ok(changes)
    }

    fn split(&self, track: u32, sample: u32) -> Result<Vec<Change>, Around> {
        let found = self.track(track)?;
        let (stay, go): (Vec<_>, Vec<_>) = found.boxes.iter().partition(|(at, _)| **at < sample);
        if stay.is_empty() || go.is_empty() {
            return refused(format!("expected boxes on both sides of sample {sample}, got {} and {}", stay.len(), go.len()));
        }
        let other = self.labels.next_number();
        let born = TrackState { verdict: Verdict::Open, error: None, decided_by: None, ..found.state.clone() };
        let mut changes: Vec<Change> = self.reopened(track)?.into_iter().collect();
        changes.push(Change::Track { track: other, before: None, after: Some(born) });
        for (at, state) in go {
            changes.push(Change::Box { track, sample: *at, before: Some(state.clone()), after: None });
            changes.push(Change::Box { track: other, sample: *at, before: None, after: Some(state.clone()) });
        }
        Ok(changes)
    }

    fn merge(&self, track: u32, into: u32) -> Result<Vec<Change>, Around> {
        if track == into {
            return refused(format!("expected two tracks, got {track} twice"));
        }
        let (from, to) = (self.track(track)?, self.track(into)?);
        let mut changes: Vec<Change> = self.reopened(into)?.into_iter().collect();
        for (at, state) in &from.boxes {
            let there = to.boxes.get(at);
            if there.is_none_or(|there| (state.keyed, state.points) > (there.keyed, there.points)) {
                changes.push(Change::Box { track: into, sample: *at, before: there.cloned(), after: Some(state.clone()) });
            }
        }
        changes.extend(self.delete(track)?);
        Ok(changes)
    }

    fn delete(&self, track: u32) -> Result<Vec<Change>, Around> {
        let found = self.track(track)?;
        let boxes = found.boxes.iter();
        let mut changes: Vec<Change> =
            boxes.map(|(at, state)| Change::Box { track, sample: *at, before: Some(state.clone()), after: None }).collect();
        changes.push(Change::Track { track, before: Some(found.state.clone()), after: None });
        Ok(changes)
    }

    fn bulk(&self, tracks: &[u32], each: &Each) -> Result<Vec<Change>, Around> {
        let different: std::collections::BTreeSet<u32> = tracks.iter().copied().collect();
        if tracks.is_empty() || tracks.len() > MAX_BULK || different.len() != tracks.len() {
            return refused(format!("expected 1 to {MAX_BULK} tracks, each once, got {}", tracks.len()));
        }
        let mut changes = Vec::new();
        for track in different {
            changes.extend(match each {
                Each::Accept => self.decide(track, Verdict::Accepted, None)?,
                Each::Delete => self.delete(track)?,
                Each::Relabel { class } => self.relabel(track, class)?,
            });
        }
        Ok(changes)
    }

    fn delete_box(&self, track: u32, sample: u32) -> Result<Vec<Change>, Around> {
        let state = self.box_at(track, sample)?;
        if self.track(track)?.boxes.len() == 1 {
            return self.delete(track);
        }
        let mut changes: Vec<Change> = self.reopened(track)?.into_iter().collect();
        changes.push(Change::Box { track, sample, before: Some(state.clone()), after: None });
        Ok(changes)
    }

    fn extend(&self, track: u32, sample: u32) -> Result<Vec<Change>, Around> {
        if sample >= self.around.samples() {
            return refused(format!("expected one of {} samples, got {sample}", self.around.samples()));
        }
        let found = self.track(track)?;
        if found.boxes.contains_key(&sample) {
            return refused(format!("expected a sample in which track {track} has no box, got {sample}"));
        }
        // The nearer end, where the sample lies in a hole of the track.
        let before = found.boxes.range(..sample).next_back().map(|(at, _)| *at);
        let after = found.boxes.range(sample..).next().map(|(at, _)| *at);
        let (end, forward) = match (before, after) {
            (Some(before), Some(after)) if after - sample < sample - before => (after, false),
            (Some(before), _) => (before, true),
            (None, Some(after)) => (after, false),
            (None, None) => return refused(format!("expected a track with boxes, got {track} without any")),
        };
        let next_in = if forward { found.boxes.range(..end).next_back() } else { found.boxes.range(end + 1..).next() };
        let state = self.box_at(track, end)?;
        let cuboid = state.cuboid();
        let per_ns = match next_in.filter(|_| !found.state.is_static) {
            None => nalgebra::Vector3::zeros(),
            Some((at, inner)) => {
                let span_ns = self.around.stamp_ns(end) - self.around.stamp_ns(*at);
                (cuboid.center_m - inner.cuboid().center_m) / if span_ns == 0 { 1.0 } else { span_ns as f64 }
            }
        };
        let class = self.taxonomy.find(&found.state.class).unwrap_or_else(|| self.taxonomy.unknown());
        let fitted: BTreeMap<u32, Cuboid> = if found.state.is_static {
            BTreeMap::new()
        } else {
            let (followed, _) = find::follow(self.around, end, &cuboid, class, self.taxonomy)?;
            followed.into_iter().map(|one| (one.sample, one.world_from_box)).collect()
        };
        let mut changes: Vec<Change> = self.reopened(track)?.into_iter().collect();
        let range = if forward { end + 1..sample + 1 } else { sample..end };
        for at in range {
            let ahead_ns = (self.around.stamp_ns(at) - self.around.stamp_ns(end)) as f64;
            let carried = Cuboid { center_m: cuboid.center_m + per_ns * ahead_ns, ..cuboid };
            let placed = fitted.get(&at).copied().unwrap_or(carried);
            let points = self.count(at, &placed)?;
            let after = BoxState { predicted: points == 0, ..BoxState::new(&placed, points) };
            changes.push(Change::Box { track, sample: at, before: None, after: Some(after) });
        }
        Ok(changes)
    }

    fn create(&self, sample: u32, at_ego_m: [f64; 2], class: Option<&str>) -> Result<Vec<Change>, Around> {
        if sample >= self.around.samples() {
            return refused(format!("expected one of {} samples, got {sample}", self.around.samples()));
        }
        if !at_ego_m.iter().all(|metres| metres.abs() < geometry::MAX_MOVE_M * 5.0) {
            return refused(format!("expected a place in the sweep, got {at_ego_m:?}"));
        }
        let class = class.map(|name| self.class(name)).transpose()?;
        let (cuboid, class) = find::clicked(self.around, sample, at_ego_m, class, self.taxonomy)?;
        let (boxes, is_static) = find::follow(self.around, sample, &cuboid, class, self.taxonomy)?;
        let track = self.labels.next_number();
        let class = self.taxonomy.get(class).name.to_string();
        let born = TrackState { class, score: 1.0, is_static, verdict: Verdict::Open, decided_by: None, error: None };
        let mut changes = vec![Change::Track { track, before: None, after: Some(born) }];
        for one in boxes {
            let state = BoxState {
                predicted: one.predicted,
                keyed: one.sample == sample,
                ..BoxState::new(&one.world_from_box, one.points)
            };
            changes.push(Change::Box { track, sample: one.sample, before: None, after: Some(state) });
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests;
