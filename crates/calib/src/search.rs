//! By which turn of the camera lidar edges and image edges agree best, and how sure that is.
//!
//! Scores are means of the field at the pixels of the edges. A look far around says whether there is an agreement at all: the best score must stand out
//! from those of wrong turns as chance among so many would not. A close look then finds the turn, and how it wanders when parts of
//! the image are left out and others counted twice (bootstrap over tiles, Efron 1979) says how far it can be trusted: frames of one scene
//! repeat each other's errors, its corners do not.

use std::sync::Arc;

use boxwright_timesync::motion::Lens;
use nalgebra::{Point3, UnitQuaternion, Vector3};

use crate::depth::DepthEdge;
use crate::field::{EdgeField, Runs};

/// How far around an agreement is looked for, to each side, about the axes across and down (degrees). What is turned farther is not measured but refused.
pub const LOOK_DEG: f64 = 6.0;
const LOOK_STEP_DEG: f64 = 0.25;
/// The same about the axis of the camera: there the image changes little with a degree.
const LOOK_ROLLS_DEG: [f32; 5] = [0.0, -1.5, 1.5, -3.0, 3.0];
/// Most edges of a frame in the look around: which turn is about right shows with few.
const LOOK_EDGES: usize = 400;
/// Turns at least this far from the best one (degrees) are wrong ones: six times as far as an edge is felt.
const WRONG_DEG: f64 = 1.5;
/// Scores of turns this far apart (degrees) tell something different: an edge is felt to half of it, to both sides.
const APART_DEG: f64 = 1.0;
/// Chance that the best of as many wrong turns looks like an agreement.
const FALSE_ALARM: f64 = 0.01;

/// The close look: to each side (degrees), and its step.
const CLOSE_DEG: f64 = 1.0;
const CLOSE_STEP_DEG: f64 = 0.125;
/// Close looks at most, each about the best turn of the last: the look around is right to one step.
const MAX_CLOSE: usize = 4;
/// Tiles of the image, across and down.
const TILES: [usize; 2] = [8, 4];
/// A tile counts at most this many times the usual one: one near thing must not outvote the rest.
const MOST_TILE_SHARE: f64 = 2.0;
/// Bootstrap samples: the spread is then known to a twentieth.
const RESAMPLES: usize = 200;
/// With fewer edges nothing is said.
const LEAST_EDGES: usize = 100;
/// A turn that loses more than this share of the edges out of the image has no score.
const LEAST_IN_VIEW: f64 = 0.5;

/// Edges of one frame, camera frame, and the field of its image.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) edges: Vec<DepthEdge>,
    pub(crate) field: Arc<EdgeField>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The turn `right_from_given` of the camera's frame as a rotation vector about right, down and forward (degrees).
    pub turn_deg: [f64; 3],
    /// Standard deviation of it.
    pub spread_deg: [f64; 3],
    /// By how many standard deviations of the scores of wrong turns the best score stands out.
    pub significance: f64,
    /// Edges that were looked at.
    pub edges: usize,
}

/// What [`Found::significance`] must be to be no chance: the level that the largest of as many independent normal values passes with a probability of
/// [`FALSE_ALARM`], `sqrt(2 ln(n / p))` from the tail's bound.
#[must_use]
pub fn least_significance() -> f64 {
    let wrong = ((2.0 * LOOK_DEG).powi(2) - (2.0 * WRONG_DEG).powi(2)) / APART_DEG.powi(2);
    (2.0 * (wrong / FALSE_ALARM).ln()).sqrt()
}

/// An edge in the image, and how it moves with the turn.
#[derive(Clone, Copy)]
struct Seen {
    /// Column and row of the field.
    at: [f32; 2],
    /// Their change by a degree about each axis.
    by_degree: [[f32; 3]; 2],
    runs: Runs,
    weight: f32,
    tile: usize,
}

#[derive(Clone, Copy, Default)]
struct Score {
    sum: f64,
    weight: f64,
}

impl Score {
    fn mean(self, least_weight: f64) -> f64 {
        if self.weight > 0.0 && self.weight >= least_weight { self.sum / self.weight } else { f64::NEG_INFINITY }
    }
}

/// What a look far around found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Agreement {
    turn_deg: [f64; 3],
    pub(crate) significance: f64,
    edges: usize,
}

/// The turn of the best agreement, to a step; `None` where there are too few edges to say anything.
pub(crate) fn look_around(frames: &[Frame], lens: &Lens) -> Option<Agreement> {
    let edges: usize = frames.iter().map(|frame| frame.edges.len()).sum();
    if edges < LEAST_EDGES {
        return None;
    }
    let steps = (LOOK_DEG / LOOK_STEP_DEG).round() as i32;
    let angles = || (-steps..=steps).map(|step| (f64::from(step) * LOOK_STEP_DEG) as f32);
    let turns: Vec<[f32; 3]> =
        LOOK_ROLLS_DEG.iter().flat_map(|roll| angles().flat_map(move |x| angles().map(move |y| [x, y, *roll]))).collect();
    let mut scores = vec![Score::default(); turns.len()];
    let mut given = Score::default();
    for frame in frames {
        let every = frame.edges.len().div_ceil(LOOK_EDGES).max(1);
        let picked: Vec<DepthEdge> = frame.edges.iter().step_by(every).copied().collect();
        let seen = seen(&picked, &UnitQuaternion::identity(), lens, &frame.field);
        for one in &seen {
            add(one, &frame.field, &turns, &mut scores);
            add(one, &frame.field, &[[0.0; 3]], std::slice::from_mut(&mut given));
        }
    }
    // Where the given turn shows nothing at all, the fullest view is the measure.
    let fullest = scores.iter().map(|score| score.weight).fold(0.0, f64::max);
    let least = LEAST_IN_VIEW * if given.weight > 0.0 { given.weight.min(fullest) } else { fullest };
    let means: Vec<f64> = scores.iter().map(|score| score.mean(least)).collect();
    let best = (0..means.len()).max_by(|a, b| means[*a].total_cmp(&means[*b]))?;
    let is_wrong = |turn: &[f32; 3]| (0..2).any(|axis| f64::from((turn[axis] - turns[best][axis]).abs()) >= WRONG_DEG);
    let wrong: Vec<f64> =
        turns.iter().zip(&means).filter(|(turn, mean)| is_wrong(turn) && mean.is_finite()).map(|(_, mean)| *mean).collect();
    let count = wrong.len() as f64;
    let mean = wrong.iter().sum::<f64>() / count;
    let spread = (wrong.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    let significance = (means[best] - mean) / spread;
    let turn_deg = turns[best].map(f64::from);
    significance.is_finite().then_some(Agreement { turn_deg, significance, edges })
}

/// The turn about that of an agreement, and its standard deviation about each axis.
pub(crate) fn look_closely(frames: &[Frame], lens: &Lens, agreement: &Agreement) -> Option<Found> {
    let steps = (CLOSE_DEG / CLOSE_STEP_DEG).round() as i32;
    let angles = || (-steps..=steps).map(|step| (f64::from(step) * CLOSE_STEP_DEG) as f32);
    let turns: Vec<[f32; 3]> = angles().flat_map(|x| angles().flat_map(move |y| angles().map(move |roll| [x, y, roll]))).collect();
    let middle = turns.len() / 2;
    let mut turn = turn_of(agreement.turn_deg);
    for round in 1.. {
        let mut tiles = vec![Vec::new(); TILES[0] * TILES[1]];
        for frame in frames {
            for one in seen(&frame.edges, &turn, lens, &frame.field) {
                let scores: &mut Vec<Score> = &mut tiles[one.tile];
                scores.resize(turns.len(), Score::default());
                add(&one, &frame.field, &turns, scores);
            }
        }
        let tiles = fair(tiles, middle);
        let best = turns[best_of(&tiles, &vec![1.0; tiles.len()], middle)?].map(f64::from);
        if round < MAX_CLOSE && best.iter().any(|angle| angle.abs() > CLOSE_DEG - 1.5 * CLOSE_STEP_DEG) {
            turn = turn_of(best) * turn;
            continue;
        }
        let (mean, spread_deg) = bootstrap(&tiles, &turns, middle)?;
        let turn_deg = (turn_of(mean) * turn).scaled_axis().map(f64::to_degrees).into();
        return Some(Found { turn_deg, spread_deg, significance: agreement.significance, edges: agreement.edges });
    }
    None
}

/// The tiles that show anything, none much heavier than the usual one.
fn fair(tiles: Vec<Vec<Score>>, middle: usize) -> Vec<Vec<Score>> {
    let mut tiles: Vec<Vec<Score>> =
        tiles.into_iter().filter(|scores| scores.get(middle).is_some_and(|s| s.weight > 0.0)).collect();
    let mut weights: Vec<f64> = tiles.iter().map(|scores| scores[middle].weight).collect();
    weights.sort_by(f64::total_cmp);
    let most = MOST_TILE_SHARE * weights.get(weights.len() / 2).copied().unwrap_or_default();
    for scores in &mut tiles {
        let share = (most / scores[middle].weight).min(1.0);
        for score in scores {
            *score = Score { sum: share * score.sum, weight: share * score.weight };
        }
    }
    tiles
}

fn best_of(tiles: &[Vec<Score>], times: &[f64], middle: usize) -> Option<usize> {
    let mut total = vec![Score::default(); tiles.first()?.len()];
    for (scores, times) in tiles.iter().zip(times).filter(|(_, times)| **times > 0.0) {
        for (sum, score) in total.iter_mut().zip(scores) {
            *sum = Score { sum: sum.sum + times * score.sum, weight: sum.weight + times * score.weight };
        }
    }
    let least = LEAST_IN_VIEW * total[middle].weight;
    let mean = |index: &usize| total[*index].mean(least);
    (0..total.len()).max_by(|a, b| mean(a).total_cmp(&mean(b)))
}

fn bootstrap(tiles: &[Vec<Score>], turns: &[[f32; 3]], middle: usize) -> Option<([f64; 3], [f64; 3])> {
    // Fixed, so that the same frames give the same verdict.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % below
    };
    let mut found: Vec<[f64; 3]> = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let mut times = vec![0.0; tiles.len()];
        (0..tiles.len()).for_each(|_| times[random(tiles.len())] += 1.0);
        found.push(turns[best_of(tiles, &times, middle)?].map(f64::from));
    }
    let count = found.len() as f64;
    let mean: [f64; 3] = std::array::from_fn(|axis| found.iter().map(|turn| turn[axis]).sum::<f64>() / count);
    // The step of the grid is an uncertainty too.
    let variance = |axis: usize| found.iter().map(|turn| (turn[axis] - mean[axis]).powi(2)).sum::<f64>() / count;
    let spread = std::array::from_fn(|axis| (variance(axis) + CLOSE_STEP_DEG.powi(2) / 12.0).sqrt());
    Some((mean, spread))
}

/// The edges in the field of an image, the camera turned.
fn seen(edges: &[DepthEdge], turn: &UnitQuaternion<f64>, lens: &Lens, field: &EdgeField) -> Vec<Seen> {
    let probe_rad = 1e-3;
    let probes = [Vector3::x(), Vector3::y(), Vector3::z()].map(|axis| UnitQuaternion::from_scaled_axis(axis * probe_rad));
    let in_field = |p: &Point3<f64>| lens.pixel(p).map(|pixel| pixel.map(|at| (at + 0.5) * field.scale));
    edges
        .iter()
        .filter_map(|edge| {
            let p = turn * Point3::from(edge.at_m.map(f64::from));
            let [column, row] = in_field(&p)?;
            let mut by_degree = [[0.0; 3]; 2];
            for (axis, probe) in probes.iter().enumerate() {
                let moved = in_field(&(probe * p))?;
                let per_degree = probe_rad.to_degrees().recip();
                by_degree[0][axis] = ((moved[0] - column) * per_degree) as f32;
                by_degree[1][axis] = ((moved[1] - row) * per_degree) as f32;
            }
            let tile = |at: f64, size: usize, tiles: usize| ((at / size as f64 * tiles as f64).max(0.0) as usize).min(tiles - 1);
            let tile = tile(column, field.width, TILES[0]) + TILES[0] * tile(row, field.height, TILES[1]);
            Some(Seen { at: [column as f32, row as f32], by_degree, runs: edge.runs, weight: edge.weight, tile })
        })
        .collect()
}

/// Adds an edge to the scores of all turns.
fn add(edge: &Seen, field: &EdgeField, turns: &[[f32; 3]], scores: &mut [Score]) {
    let plane = field.plane(edge.runs);
    let (width, height) = (field.width as f32, field.height as f32);
    let weight = f64::from(edge.weight);
    for ([x, y, z], score) in turns.iter().zip(scores) {
        let along =
            |axis: usize| edge.at[axis] + edge.by_degree[axis][0] * x + edge.by_degree[axis][1] * y + edge.by_degree[axis][2] * z;
        let (column, row) = (along(0), along(1));
        if column >= 0.0 && column < width && row >= 0.0 && row < height {
            score.sum += weight * f64::from(plane[row as usize * field.width + column as usize]);
            score.weight += weight;
        }
    }
}

/// A turn from a rotation vector in degrees.
#[must_use]
pub fn turn_of(turn_deg: [f64; 3]) -> UnitQuaternion<f64> {
    UnitQuaternion::from_scaled_axis(Vector3::from(turn_deg.map(f64::to_radians)))
}
