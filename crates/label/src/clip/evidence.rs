//! What is it, and how sure are we? All that speaks for and against a track, added up as log-odds.

use boxwright_model::{ClassId, ClassSpec, Taxonomy};
use nalgebra::Vector3;

use super::motion::Motion;
use super::placed::{How, Path, Placed, Placement, quantile};
use crate::classify::{IMPOSSIBLE, Kind, probability};
use crate::look::{self, TrackLooks};

/// What a track is taken for.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Class.
    pub class: ClassId,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// Log-odds a class.
    pub logits: Vec<f64>,
    /// What cameras said: part of the log-odds.
    pub looks: TrackLooks,
}

/// Adds up the votes of all sightings and what the motion says.
#[must_use]
pub fn judge(path: &Path, motion: &Motion, taxonomy: &Taxonomy) -> Verdict {
    let known = taxonomy.classes().len() - 1;
    let shared = continuity(path);
    let looks = look::of_track(path.sightings.iter().map(|s| (s.weight(), s.votes.as_slice())), known);
    let logits: Vec<f64> = taxonomy
        .classes()
        .iter()
        .take(known)
        .enumerate()
        .map(|(index, class)| {
            // A detector that gave whole boxes has judged what they are; the rules of thumb are for shapes.
            let rules = if path.given_by.is_some() { 0.0 } else { motion_evidence(ClassId(index as u16), class, path, motion) };
            mean_vote(path, index) + rules + shared
        })
        .zip(&looks.logits)
        .map(|(logit, camera)| logit + camera)
        .collect();
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]).then(b.cmp(a)));
    let Some(best) = best else { return Verdict { class: taxonomy.unknown(), score: 0.0, logits, looks } };
    // What is a car or a lorry is a vehicle all the same: doubt between classes of one kind is no doubt that something is there.
    let kind = Kind::of(&taxonomy.classes()[best]);
    let of_kind = taxonomy.classes().iter().zip(&logits).filter(|(class, _)| Kind::of(class) == kind);
    let score = probability(of_kind.map(|(_, logit)| logit.exp()).sum::<f64>().ln());
    // What surely moves and fits no class well is still worth a look.
    let strange = logits[best] < -0.5 && !motion.is_static && motion.shift_m > 4.0 && path.sightings.len() >= 12 && shared >= 0.0;
    if strange && fits(path, taxonomy.get(taxonomy.unknown())) {
        return Verdict { class: taxonomy.unknown(), score: 0.4, logits, looks };
    }
    Verdict { class: ClassId(best as u16), score, logits, looks }
}

fn fits(path: &Path, class: &ClassSpec) -> bool {
    let usual = |axis: usize| quantile(path.sightings.iter().map(|s| s.extents_m[axis]), 0.8).unwrap_or(f64::INFINITY);
    let (a, b) = (usual(0), usual(1));
    a.max(b) <= class.max_lwh_m[0].min(8.0) && a.min(b) <= class.max_lwh_m[1].min(3.0)
}

/// Points from which more make no better view.
const WELL_SEEN_POINTS: u32 = 200;

/// The weighted mean of a class's votes: near and well-seen sightings count more.
fn mean_vote(path: &Path, class: usize) -> f64 {
    let (mut sum, mut total) = (0.0, 1e-9);
    for sighting in &path.sightings {
        let vote = sighting.votes.get(class).map_or(IMPOSSIBLE, |vote| vote.logit);
        let weight = f64::from(sighting.num_points.clamp(1, WELL_SEEN_POINTS)).sqrt();
        sum += weight * vote;
        total += weight;
    }
    sum / total
}

fn motion_evidence(id: ClassId, class: &ClassSpec, path: &Path, motion: &Motion) -> f64 {
    let kind = Kind::of(class);
    if motion.is_static {
        // Most small upright things that never move are posts, bins and bushes.
        return match kind {
            Kind::Vehicle => -0.1,
            Kind::Rider => -2.0,
            Kind::Person => -1.8,
        };
    }
    let too_fast = (motion.speed_mps - class.max_speed_mps).max(0.0);
    let usual = match kind {
        Kind::Vehicle => 0.8 + 1.2 * alignment(id, path, motion),
        // A rider is quicker than a walker; seen from behind, both have the same shape.
        Kind::Rider => 0.8 + 1.0 * alignment(id, path, motion) + (motion.speed_mps - 2.5).clamp(-2.0, 0.0),
        Kind::Person => 1.5 - (motion.speed_mps - 2.5).clamp(0.0, 4.0),
    };
    let sudden = if path.duration_s() < 0.5 { -1.0 } else { 0.0 };
    // What jumps about its own path is not one thing.
    let unsteady = (6.0 * (motion.jitter_m - 0.2)).clamp(0.0, 3.0);
    usual - too_fast + sudden - unsteady
}

/// What has wheels moves along its length: 1 where all sightings agree, -1 where it would move sideways.
fn alignment(class: ClassId, path: &Path, motion: &Motion) -> f64 {
    let (mut sum, mut weight) = (0.0, 1e-9);
    for sighting in &path.sightings {
        sum += sighting.weight() * (2.0 * (sighting.length_yaw(class) - motion.heading_rad)).cos();
        weight += sighting.weight();
    }
    sum / weight
}

/// What holds for every class: a track with many hits and few gaps is real.
fn continuity(path: &Path) -> f64 {
    let hits = path.sightings.len() as f64;
    let span = match (path.sightings.first(), path.sightings.last()) {
        (Some(first), Some(last)) => (last.sweep - first.sweep + 1 - path.hidden_sweeps) as f64,
        _ => 1.0,
    };
    let length = (hits / 12.0).min(1.0) - 1.0;
    let gaps = (hits / span - 0.7).min(0.0) * 4.0;
    if path.given_by.is_some() {
        // How few points a box may have is the detector's to judge.
        return 1.2 * length + gaps;
    }
    let points = quantile(path.sightings.iter().map(|s| f64::from(s.num_points)), 0.5).unwrap_or(0.0);
    let thin = ((points / 15.0).min(1.0) - 1.0) * 1.5;
    1.2 * length + gaps + thin
}

/// The middle one of each side. A detector's boxes may differ where they agree on no size, and the first of them is the farthest one.
pub(super) fn usual_size(placements: &[Placement]) -> Option<Vector3<f64>> {
    let side = |axis: usize| quantile(placements.iter().map(|p| p.world_from_box.size_lwh_m[axis]), 0.5);
    Some(Vector3::new(side(0)?, side(1)?, side(2)?))
}

/// The last test: the size that came out must be one that the class can have, and the path one that it can take.
#[must_use]
pub fn accept(
    path: Path,
    motion: Motion,
    verdict: Verdict,
    (how, placements): (How, Vec<Placement>),
    taxonomy: &Taxonomy,
    min_score: f64,
) -> Option<Placed> {
    let class = taxonomy.get(verdict.class);
    let size = usual_size(&placements)?;
    let beyond = (0..3).map(|axis| {
        let (min, max) = (class.min_lwh_m[axis], class.max_lwh_m[axis]);
        (0.9 * min - size[axis]).max(size[axis] - 1.1 * max).max(0.0) / class.prior_lwh_m[axis]
    });
    let score = verdict.score * (1.0 - 3.0 * beyond.sum::<f64>()).max(0.0);
    (score >= min_score && placements.iter().all(|p| p.world_from_box.is_valid())).then_some(Placed {
        number: path.number,
        parts: path.parts,
        class: verdict.class,
        score,
        raw_score: score,
        motion,
        how,
        logits: verdict.logits,
        looks: verdict.looks,
        given_by: path.given_by,
        placements,
    })
}
