//! What cameras say of the shapes that the lidar sees: a log-odds vote for every class, from the boxes that a network found in an image.
//!
//! Each shape is completed as each class that it can be, and its box projected into the images of the sample. Where a box of the network of
//! that class covers it (intersection over union), the camera votes for the class of what covers it best; where the network should have found such
//! an object and did not, against it. What no image shows whole enough, too small, or behind something else gets no vote. The votes stand beside those of the shape and are added up
//! along the track, so that frames may be left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::{Cuboid, Taxonomy};
use serde::Deserialize;

use crate::classify::{IMPOSSIBLE, Kind, Vote, anchor, probability, whole_size};
use crate::detect::Candidate;
use crate::models::ImageBox;

/// Options of [`look`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LookConfig {
    /// Overlap in the image, as intersection over union, from which a box of the network is the object.
    pub min_iou: f64,
    /// Log-odds that a sure box of the network adds to its class.
    pub found_logit: f64,
    /// Log-odds that a class loses where the network sees no such object.
    pub missed_logit: f64,
    /// Objects lower than this in the image may be missed without a vote against them (pixels).
    pub min_height_px: f64,
}

impl Default for LookConfig {
    fn default() -> Self {
        Self { min_iou: 0.4, found_logit: 3.0, missed_logit: 1.0, min_height_px: 20.0 }
    }
}

/// One image of the sample that is labelled, and what the network found in it.
pub struct Look<'a> {
    /// Name of the camera.
    pub sensor: Arc<str>,
    /// Width and height of the image.
    pub size_px: [f64; 2],
    /// What was found.
    pub boxes: &'a [ImageBox],
    /// Column and row at which a point of the ego frame at the sample's time is in the image; `None` where the camera cannot see it.
    pub pixel: &'a dyn Fn([f64; 3]) -> Option<[f64; 2]>,
}

/// Share of an object's rectangle that must lie within the image before its absence says anything.
const MIN_INSIDE: f64 = 0.6;
/// Share of an object's rectangle within a box of the network beyond which its absence says nothing.
const MAX_HIDDEN: f64 = 0.5;
/// Candidates that the shape alone makes this unlikely are not looked at: below, hundreds of bushes would be projected for nothing.
pub(crate) const WORTH_A_LOOK: f64 = 0.02;

/// Gives every candidate the votes of the images, and decides anew what it is.
///
/// A box of the network is one object: what covers it best has its vote. Others that lie before or behind it in the same direction, a bush at the
/// bumper or the fence beyond, get none for it, and none against them either: the box may hide them.
pub fn look(candidates: &mut [Candidate], looks: &[Look<'_>], taxonomy: &Taxonomy, config: &LookConfig) {
    let seen: Vec<Vec<Option<Seen>>> = candidates
        .iter()
        .map(|candidate| candidate.votes.iter().map(|vote| seen_as(candidate, vote, looks, taxonomy, config)).collect())
        .collect();
    // By image and box: the candidate that covers it best, the earlier one of equals.
    let mut best: BTreeMap<(usize, usize), (f64, usize)> = BTreeMap::new();
    for (index, seen) in seen.iter().enumerate() {
        for covers in seen.iter().flatten().filter_map(|seen| seen.covers) {
            let owner = best.entry((covers.look, covers.found)).or_insert((covers.iou, index));
            if covers.iou > owner.0 {
                *owner = (covers.iou, index);
            }
        }
    }
    for (index, (candidate, seen)) in candidates.iter_mut().zip(seen).enumerate() {
        let owns = |key: &(usize, usize)| best.get(key).is_some_and(|(_, owner)| *owner == index);
        let vote = |seen: Seen| match seen.covers {
            Some(Covers { look, found, .. }) if owns(&(look, found)) => Some(config.found_logit * looks[look].boxes[found].score),
            Some(_) => None,
            // What covers a box as one class is not hidden by it as another.
            None if seen.is_missed && seen.hidden_by.is_none_or(|key| owns(&key)) => Some(-config.missed_logit),
            None => None,
        };
        let camera: Vec<Option<f64>> = seen.into_iter().map(|seen| seen.and_then(vote)).collect();
        if camera.iter().all(Option::is_none) {
            continue;
        }
        candidate.votes.iter_mut().zip(camera).for_each(|(vote, camera)| vote.camera = camera);
        decide(candidate, taxonomy);
    }
}

/// What the image that shows most of a candidate says of it as one class.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    /// The box of the network that it covers best.
    covers: Option<Covers>,
    /// The network should have found it and did not,
    is_missed: bool,
    /// unless something else stands before it: the box, by image and place, that holds most of it.
    hidden_by: Option<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Covers {
    look: usize,
    found: usize,
    iou: f64,
}

/// Takes the class that the shape and what was found make likeliest.
///
/// What was not found counts when the track is judged, and not here: a network misses what is cut off or half hidden for many sweeps on end, and
/// a sighting that is let go of is lost to its track, which breaks or goes over to what stands beside.
fn decide(candidate: &mut Candidate, taxonomy: &Taxonomy) {
    let now = |vote: &Vote| vote.logit + vote.camera.unwrap_or(0.0).max(0.0);
    let Some(best) = candidate.votes.iter().copied().reduce(|best, vote| if now(&vote) > now(&best) { vote } else { best }) else {
        return;
    };
    candidate.class = best.class;
    candidate.score = probability(now(&best));
    let whole = completed(candidate, &best, taxonomy);
    if whole.is_valid() {
        candidate.ego_from_box = whole;
    }
}

fn completed(candidate: &Candidate, vote: &Vote, taxonomy: &Taxonomy) -> Cuboid {
    if candidate.given_by.is_some() {
        return candidate.ego_from_box;
    }
    let class = taxonomy.get(vote.class);
    let size = whole_size(&candidate.shape, class, vote.turned, candidate.lidar_xy);
    candidate.shape.complete(size, vote.turned, anchor(Kind::of(class), candidate.lidar_xy))
}

/// Looks at the image that shows most of the object.
fn seen_as(candidate: &Candidate, vote: &Vote, looks: &[Look<'_>], taxonomy: &Taxonomy, config: &LookConfig) -> Option<Seen> {
    if vote.logit <= IMPOSSIBLE {
        return None;
    }
    let whole = completed(candidate, vote, taxonomy);
    let shown = looks.iter().enumerate().filter_map(|(index, look)| {
        let rect = projected(&whole, look)?;
        let clipped = clip(rect, look.size_px);
        Some((index, rect, clipped, area(clipped) / area(rect).max(1e-9)))
    });
    let (index, rect, clipped, inside) = shown.reduce(|best, other| if other.3 > best.3 { other } else { best })?;
    let found = looks[index].boxes.iter().enumerate().filter(|(_, found)| found.classes.contains(&vote.class));
    let covered = found.map(|(place, found)| Covers { look: index, found: place, iou: iou(clipped, found.ltrb_px) });
    let covers = covered
        .filter(|covers| covers.iou >= config.min_iou)
        .reduce(|best, covers| if covers.iou > best.iou { covers } else { best });
    // What another object hides is not missed, whatever that is: most of its rectangle lies in a box of the network.
    let shares = looks[index].boxes.iter().map(|found| share_within(clipped, found.ltrb_px)).enumerate();
    let hides = shares.filter(|(_, share)| *share > MAX_HIDDEN);
    let hidden_by = hides.reduce(|most, other| if other.1 > most.1 { other } else { most }).map(|(place, _)| (index, place));
    let is_missed = covers.is_none() && inside >= MIN_INSIDE && rect[3] - rect[1] >= config.min_height_px;
    Some(Seen { covers, is_missed, hidden_by })
}

/// The rectangle about the corners of a box in an image; `None` where one of them is behind the camera.
fn projected(ego_from_box: &Cuboid, look: &Look<'_>) -> Option<[f64; 4]> {
    let mut rect = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for corner in ego_from_box.corners() {
        let [u, v] = (look.pixel)([corner.x, corner.y, corner.z])?;
        rect = [rect[0].min(u), rect[1].min(v), rect[2].max(u), rect[3].max(v)];
    }
    rect.iter().all(|value| value.is_finite()).then_some(rect)
}

fn clip([left, top, right, bottom]: [f64; 4], [width, height]: [f64; 2]) -> [f64; 4] {
    let (u, v) = (|at: f64| at.clamp(-0.5, width - 0.5), |at: f64| at.clamp(-0.5, height - 0.5));
    [u(left), v(top), u(right), v(bottom)]
}

fn area([left, top, right, bottom]: [f64; 4]) -> f64 {
    (right - left).max(0.0) * (bottom - top).max(0.0)
}

/// Intersection over union of two rectangles.
#[must_use]
pub fn iou(a: [f64; 4], b: [f64; 4]) -> f64 {
    let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    common / (area(a) + area(b) - common).max(1e-9)
}

/// Share of a rectangle that lies within another.
fn share_within(a: [f64; 4], b: [f64; 4]) -> f64 {
    area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]) / area(a).max(1e-9)
}

/// What cameras said of a track.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrackLooks {
    /// Sightings that were looked at.
    pub looks: u32,
    /// Log-odds a class, 0 for what no image showed.
    pub logits: Vec<f64>,
}

/// Looks after which the mean of the votes counts half. Images of the same thing are wrong in the same way: their votes are no independent
/// ones, and one look is worth less than many.
const HALF_WEIGHT_LOOKS: f64 = 1.0;

/// Adds up the votes of the sightings of a track; each comes with its weight.
pub fn of_track<'a>(sightings: impl Iterator<Item = (f64, &'a [Vote])>, classes: usize) -> TrackLooks {
    let mut sums = vec![(0.0, 0.0, 0u32); classes];
    let mut looks = 0;
    for (weight, votes) in sightings {
        looks += u32::from(votes.iter().any(|vote| vote.camera.is_some()));
        for (sum, camera) in sums.iter_mut().zip(votes.iter().map(|vote| vote.camera)) {
            if let Some(camera) = camera {
                *sum = (sum.0 + weight * camera, sum.1 + weight, sum.2 + 1);
            }
        }
    }
    let mean = |(sum, weight, count): (f64, f64, u32)| {
        let count = f64::from(count);
        if count == 0.0 { 0.0 } else { sum / weight.max(1e-9) * count / (count + HALF_WEIGHT_LOOKS) }
    };
    TrackLooks { looks, logits: sums.into_iter().map(mean).collect() }
}

#[cfg(test)]
mod tests;
