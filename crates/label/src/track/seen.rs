//! What the tracker must know of an object that was seen in one sweep.

use boxwright_model::{ClassId, ClassSpec, Cuboid};

use crate::classify::{IMPOSSIBLE, Kind, anchor, probability};
use crate::detect::Candidate;

/// Least probability at which something is sure by itself: after such a hit a vehicle is expected again.
const SURE_SCORE: f64 = 0.6;

/// Something seen in one sweep: a part of an object with votes ([`Candidate`]) or a whole box from a detector ([`SeenBox`]).
pub trait Seen {
    /// Best class.
    fn class(&self) -> ClassId;

    /// Confidence in `[0, 1]`.
    fn score(&self) -> f64;

    /// The whole object as the best class, ego frame.
    fn ego_from_box(&self) -> &Cuboid;

    /// Height above the ground (metres).
    fn height_m(&self) -> f64;

    /// Where the whole object would be if it had this class and size, ego frame.
    fn whole(&self, class: ClassId, kind: Kind, size_lwh_m: [f64; 3]) -> Cuboid;

    /// Size of the whole object as a class (metres).
    fn whole_size(&self, class: &ClassSpec) -> [f64; 3];

    /// Standard deviation of its centre (metres).
    fn sigma_m(&self) -> f64;

    /// Whether it was found without the help of a track and is sure to be something of its best class by itself.
    fn is_sure_alone(&self) -> bool;

    /// Lidar points on it; zero where nobody counts them.
    fn num_points(&self) -> u32;

    /// When it was where it is seen, relative to the stamp of its sweep.
    fn after_ns(&self) -> i64;

    /// Adds what it says to the votes of a track, one number a class, and gives the best class.
    fn vote(&self, votes: &mut Vec<f64>) -> ClassId;
}

impl Seen for Candidate {
    fn class(&self) -> ClassId {
        self.class
    }

    fn score(&self) -> f64 {
        self.score
    }

    fn ego_from_box(&self) -> &Cuboid {
        &self.ego_from_box
    }

    fn height_m(&self) -> f64 {
        self.shape.bottom_top_m[1]
    }

    fn whole(&self, class: ClassId, kind: Kind, size_lwh_m: [f64; 3]) -> Cuboid {
        match self.votes.get(usize::from(class.0)) {
            _ if self.given_by.is_some() => self.ego_from_box,
            Some(vote) if vote.logit > IMPOSSIBLE => self.shape.complete(size_lwh_m, vote.turned, anchor(kind, self.lidar_xy)),
            _ => self.ego_from_box,
        }
    }

    fn whole_size(&self, class: &ClassSpec) -> [f64; 3] {
        if self.given_by.is_some() {
            return self.ego_from_box.size_lwh_m.into();
        }
        let seen = self.shape.extents_m();
        let longest = seen[0].max(seen[1]).min(class.max_lwh_m[0]);
        [class.prior_lwh_m[0].max(longest), class.prior_lwh_m[1], self.shape.bottom_top_m[1].max(0.5)]
    }

    fn sigma_m(&self) -> f64 {
        if self.given_by.is_some() {
            return sigma_of_given_m(self.score);
        }
        // Few points leave the sides uncertain.
        0.15 + 1.0 / f64::from(self.shape.num_points.max(1)).sqrt()
    }

    /// By the shape alone: a camera that takes bushes for cars would otherwise make them sure sweep by sweep, and each be cut out for the next.
    fn is_sure_alone(&self) -> bool {
        let by_shape = self.votes.iter().map(|vote| vote.logit).fold(IMPOSSIBLE, f64::max);
        !self.cut_out && probability(by_shape) >= SURE_SCORE
    }

    fn num_points(&self) -> u32 {
        self.shape.num_points
    }

    fn after_ns(&self) -> i64 {
        self.holds_after_ns
    }

    fn vote(&self, votes: &mut Vec<f64>) -> ClassId {
        votes.resize(self.votes.len(), 0.0);
        for (sum, vote) in votes.iter_mut().zip(&self.votes) {
            // Older votes fade, so that a better view can change the class.
            *sum = 0.9 * *sum + vote.sum();
        }
        let best = (0..votes.len()).max_by(|a, b| votes[*a].total_cmp(&votes[*b]).then(b.cmp(a)));
        ClassId(best.unwrap_or(0) as u16)
    }
}

/// A whole box that a detector gives: nothing about it is to be completed.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenBox {
    /// Its class.
    pub class: ClassId,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// The box, ego frame.
    pub ego_from_box: Cuboid,
    /// Which of the sweep's detections it is, for whoever keeps more about them.
    pub index: usize,
}

impl Seen for SeenBox {
    fn class(&self) -> ClassId {
        self.class
    }

    fn score(&self) -> f64 {
        self.score
    }

    fn ego_from_box(&self) -> &Cuboid {
        &self.ego_from_box
    }

    fn height_m(&self) -> f64 {
        self.ego_from_box.size_lwh_m.z
    }

    fn whole(&self, _class: ClassId, _kind: Kind, _size_lwh_m: [f64; 3]) -> Cuboid {
        self.ego_from_box
    }

    fn whole_size(&self, _class: &ClassSpec) -> [f64; 3] {
        self.ego_from_box.size_lwh_m.into()
    }

    fn sigma_m(&self) -> f64 {
        sigma_of_given_m(self.score)
    }

    fn is_sure_alone(&self) -> bool {
        self.score >= SURE_SCORE
    }

    fn num_points(&self) -> u32 {
        0
    }

    fn after_ns(&self) -> i64 {
        0
    }

    fn vote(&self, _votes: &mut Vec<f64>) -> ClassId {
        self.class
    }
}

/// A detector that is surer of an object is surer of its place.
fn sigma_of_given_m(score: f64) -> f64 {
    0.15 + 0.35 * (1.0 - score)
}
