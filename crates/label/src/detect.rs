//! From groups to detections: fit, classify, keep the plausible ones.

use std::sync::Arc;

use boxwright_model::{ClassId, Cuboid, Detection, Taxonomy};
use serde::Deserialize;

use crate::classify::{Guesses, Kind, View, Vote, anchor, greatest_vote, probability, whole_size};
use crate::cluster::Clusters;
use crate::fit::{FitConfig, Fitter, Shape};
use crate::horizon::Horizon;
use crate::models::ModelSpec;
use crate::moments::{Moments, PointMoment};

/// Options of [`detect`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectConfig {
    /// How boxes are fitted.
    pub fit: FitConfig,
    /// Shapes whose best class is less likely than this are left out.
    pub min_score: f64,
    /// Most detections of a sweep; those with the most points are kept. It bounds the tracker's work on broken sweeps.
    pub max_detections: u32,
}

impl Default for DetectConfig {
    fn default() -> Self {
        Self { fit: FitConfig::default(), min_score: 0.08, max_detections: 600 }
    }
}

/// One object seen in one sweep, with what later stages need to see it anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What was seen, ego frame.
    pub shape: Shape,
    /// What it can be.
    pub votes: Vec<Vote>,
    /// The best class.
    pub class: ClassId,
    /// Likelihood of the best class.
    pub score: f64,
    /// The whole object as the best class, ego frame.
    pub ego_from_box: Cuboid,
    /// Where the lidar stood, ego frame.
    pub lidar_xy: [f64; 2],
    /// It was cut out of something larger because a track expected it.
    pub cut_out: bool,
    /// Mean time of the points.
    pub stamp_ns: i64,
    /// Times of the first and the last of them.
    pub points_ns: [i64; 2],
    /// When its middle was where it is seen, relative to the sample's stamp.
    pub holds_after_ns: i64,
    /// The moment of each point of the shape's outline.
    pub outline_moments: Vec<PointMoment>,
    /// Whether something nearer hides what would be to the left and to the right of it, seen from the lidar ([`crate::horizon`]).
    pub covered_left_right: [bool; 2],
    /// The model that gave the box whole; `None` where the shape was fitted to points and is to be completed.
    pub given_by: Option<Arc<ModelSpec>>,
}

impl Candidate {
    /// The words of the model for it.
    #[must_use]
    pub fn detection(&self) -> Detection {
        Detection {
            ego_from_box: self.ego_from_box,
            class: self.class,
            score: self.score,
            num_lidar_pts: self.shape.num_points,
            stamp_ns: self.stamp_ns,
            points_ns: self.points_ns,
        }
    }

    /// Range from the lidar in metres.
    #[must_use]
    pub fn range_m(&self) -> f64 {
        (self.ego_from_box.center_m.x - self.lidar_xy[0]).hypot(self.ego_from_box.center_m.y - self.lidar_xy[1])
    }
}

/// Fits and classifies every group. `height_above_m` has one height a point; without a `horizon` nobody knows what hides what.
#[must_use]
pub fn detect(
    points: &[[f32; 3]],
    clusters: &Clusters,
    height_above_m: &[f32],
    lidar_xy: [f64; 2],
    horizon: Option<&Horizon>,
    moments: &Moments<'_>,
    taxonomy: &Arc<Taxonomy>,
    config: &DetectConfig,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut fitter = Fitter::default();
    let is_unlikely = |logit: f64| probability(logit) < config.min_score;
    for group in &clusters.groups {
        let Some((bottom_top_m, count)) = fitter.measure(points, height_above_m, &group.members, &config.fit) else { continue };
        // The heading is slow to find: what can be nothing whatever it is needs none.
        if is_unlikely(greatest_vote(bottom_top_m, count, group, taxonomy)) {
            continue;
        }
        let shape = fitter.fit(points, height_above_m, lidar_xy, &config.fit);
        let view = View { shape: &shape, group, columns: &clusters.columns, lidar_xy };
        let guesses = Guesses::of(&view, taxonomy);
        if is_unlikely(guesses.at_most()) {
            continue;
        }
        let votes = guesses.votes(&view);
        let Some(best) = votes.iter().copied().reduce(|best, vote| if vote.logit > best.logit { vote } else { best }) else {
            continue;
        };
        let score = probability(best.logit);
        if is_unlikely(best.logit) {
            continue;
        }
        let size = whole_size(&shape, taxonomy.get(best.class), best.turned, lidar_xy);
        let kind = Kind::of(taxonomy.get(best.class));
        let ego_from_box = shape.complete(size, best.turned, anchor(kind, lidar_xy));
        if ego_from_box.is_valid() {
            let times = moments.of_group(&group.members);
            let outline_moments = shape.outline_points.iter().map(|point| moments.of_point(*point)).collect();
            found.push(Candidate {
                votes,
                class: best.class,
                score,
                ego_from_box,
                lidar_xy,
                cut_out: group.cut_out,
                stamp_ns: times.mean_ns,
                points_ns: times.range_ns,
                holds_after_ns: times.holds_after_ns,
                outline_moments,
                covered_left_right: horizon.map_or([false; 2], |horizon| horizon.hides(points, &group.members)),
                given_by: None,
                shape,
            });
        }
    }
    let most = config.max_detections as usize;
    if found.len() > most {
        found.sort_by_key(|candidate| std::cmp::Reverse(candidate.shape.num_points));
        found.truncate(most);
    }
    found
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::carry::Carried;
    use crate::cluster::{ClusterConfig, cluster};
    use crate::ground::{GroundConfig, segment};

    const LIDAR_XY: [f64; 2] = [0.0; 2];

    /// A flat place with heaps of points of every size, of which some hang together.
    fn place(rng: &mut ChaCha8Rng) -> Vec<[f32; 3]> {
        let mut points: Vec<[f32; 3]> = Vec::new();
        for step in 0..160 * 160 {
            points.push([(step % 160) as f32 * 0.5 - 40.0, (step / 160) as f32 * 0.5 - 40.0, rng.random_range(-0.03..0.03)]);
        }
        for _ in 0..120 {
            let (at, size) = (
                [rng.random_range(-38.0..38.0), rng.random_range(-38.0..38.0)],
                [0.2f32, 0.2, 0.3].map(|least| rng.random_range(least..6.0)),
            );
            let (low, turn) = (rng.random_range(0.0..0.6f32), rng.random_range(0.0..3.0f32));
            for _ in 0..rng.random_range(4..160) {
                let [u, v, w] = size.map(|side| rng.random_range(-0.5..0.5) * side);
                let (sin, cos) = turn.sin_cos();
                points.push([at[0] + u * cos - v * sin, at[1] + u * sin + v * cos, low + w + size[2] / 2.0]);
            }
        }
        points
    }

    #[test]
    fn what_is_left_out_unseen_is_what_would_have_been_left_out() {
        let taxonomy = Arc::new(Taxonomy::from_toml(include_str!("../../../configs/taxonomy.toml")).unwrap());
        let (config, mut left_out) = (DetectConfig::default(), 0);
        for seed in 0..20 {
            let points = place(&mut ChaCha8Rng::seed_from_u64(seed));
            let (ground_config, source) = (GroundConfig::default(), (0..points.len() as u32).collect::<Vec<_>>());
            let ground = segment(&points, [0.0, 0.0, 1.8], &ground_config);
            let clusters =
                cluster(&points, &ground.height_above_m, ground_config.band_m, [0.0, 0.0, 1.8], &[], &ClusterConfig::default());
            let carried = Carried::default();
            let moments = Moments { stamp_ns: 0, offset_ns: None, source: &source, carried: &carried };
            let found = |min_score: f64| {
                let config = DetectConfig { min_score, max_detections: u32::MAX, ..config.clone() };
                detect(&points, &clusters, &ground.height_above_m, LIDAR_XY, None, &moments, &taxonomy, &config)
            };
            // Nothing is less likely than 0: everything is fitted and voted on.
            let all = found(0.0);
            let likely: Vec<Candidate> = all.iter().filter(|one| one.score >= config.min_score).cloned().collect();
            assert_eq!(found(config.min_score), likely, "seed {seed}");
            assert!(!likely.is_empty(), "seed {seed}");
            left_out += all.len() - likely.len();
        }
        assert!(left_out > 100, "{left_out}");
    }
}
