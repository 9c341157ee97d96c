//! What a shape can be: a log-odds vote per class from size, height and what else stands in the completed footprint.
//!
//! A class is tried in both directions of the rectangle. The vote falls with every metre that must be invented where the lidar should have
//! seen it, with the distance of the height from the prior, and with ground or other things seen where the object would have to be. The
//! idea of scoring by size prior is CPD's (Wu et al., 2024).

use boxwright_model::{ClassId, ClassSpec, Cuboid, Taxonomy};
use nalgebra::Vector3;

use crate::cluster::{ColumnGrid, Group};
use crate::fit::{NOT_COVERED, Shape, center_along};

/// Broad kind of a class, taken from its usual size, so that a taxonomy can be edited without code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Wider than a person on a bicycle.
    Vehicle,
    /// As narrow as a person, longer than one.
    Rider,
    /// A person.
    Person,
}

impl Kind {
    /// The kind of a class.
    #[must_use]
    pub fn of(class: &ClassSpec) -> Self {
        let [length, width, _] = class.prior_lwh_m;
        if width >= 1.2 {
            Self::Vehicle
        } else if length >= 1.2 {
            Self::Rider
        } else {
            Self::Person
        }
    }

    /// Whether a lidar sees its outer faces: then it grows away from the lidar. Of people and riders it sees the torso, which sits in the
    /// middle: they grow to both sides.
    #[must_use]
    pub fn has_faces(self) -> bool {
        self == Self::Vehicle
    }

    /// Whether both are vehicles or both are people.
    #[must_use]
    pub fn same_group(self, other: Self) -> bool {
        (self == Self::Vehicle) == (other == Self::Vehicle)
    }
}

/// The vote of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vote {
    /// The class.
    pub class: ClassId,
    /// Log-odds that the shape is an object of this class.
    pub logit: f64,
    /// Log-odds that a camera network adds, where an image shows it: see [`crate::look`].
    pub camera: Option<f64>,
    /// The length lies along the second axis of the shape.
    pub turned: bool,
}

impl Vote {
    /// What the shape and the cameras say together.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.logit + self.camera.unwrap_or(0.0)
    }
}

/// The point away from which an object of a kind grows: the lidar, or none.
#[must_use]
pub fn anchor(kind: Kind, lidar_xy: [f64; 2]) -> [f64; 2] {
    if kind.has_faces() { lidar_xy } else { [f64::NAN; 2] }
}

/// Vote of a class that is impossible.
pub const IMPOSSIBLE: f64 = -8.0;

/// A probability from log-odds.
#[must_use]
pub fn probability(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

/// The highest return of an object lies below its top: half a beam on average, and roofs are round (metres).
pub const TOP_MARGIN_M: f64 = 0.06;

/// Log-odds that a metre of unseen length or width costs.
const COST_PER_INVENTED_M: f64 = 0.12;

/// What the votes are made from.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The shape.
    pub shape: &'a Shape,
    /// The group it was fitted to.
    pub group: &'a Group,
    /// The columns of the sweep.
    pub columns: &'a ColumnGrid,
    /// Where the lidar stands.
    pub lidar_xy: [f64; 2],
}

/// One vote for each class but the last (what fits nothing else), in the order of the taxonomy.
#[must_use]
pub fn votes(view: &View<'_>, taxonomy: &Taxonomy) -> Vec<Vote> {
    Guesses::of(view, taxonomy).votes(view)
}

/// No vote for a group can be greater than this, whatever its shape is seen from above: its height alone says so.
pub(crate) fn greatest_vote(bottom_top_m: [f64; 2], num_points: u32, group: &Group, taxonomy: &Taxonomy) -> f64 {
    let known = taxonomy.classes().len() - 1;
    let of_class = |class: &ClassSpec| {
        let height = height_cost(bottom_top_m, class, Kind::of(class))?;
        Some(2.5 - (height + class.rarity + texture_cost(group, num_points, 0.0)))
    };
    taxonomy.classes().iter().take(known).filter_map(of_class).fold(IMPOSSIBLE, f64::max)
}

/// What a shape would be as each class, before a look at the footprints, which are slow to look at.
pub(crate) struct Guesses {
    /// The two ways it can lie: its length along the first axis, and along the second.
    lying: [Lying; 2],
    guesses: Vec<[Guess; 2]>,
}

impl Guesses {
    pub(crate) fn of(view: &View<'_>, taxonomy: &Taxonomy) -> Self {
        let lying = [false, true].map(|turned| Lying::of(view.shape, turned, view.lidar_xy));
        let known = taxonomy.classes().len() - 1;
        let guesses =
            taxonomy.classes().iter().take(known).map(|class| lying.each_ref().map(|lying| Guess::of(view, class, lying)));
        let guesses = guesses.collect();
        Self { lying, guesses }
    }

    /// No vote is greater than this.
    pub(crate) fn at_most(&self) -> f64 {
        self.guesses.iter().flatten().map(|guess| guess.at_most).fold(IMPOSSIBLE, f64::max)
    }

    pub(crate) fn votes(&self, view: &View<'_>) -> Vec<Vote> {
        (0u16..).zip(&self.guesses).map(|(id, guesses)| self.vote(view, ClassId(id), guesses)).collect()
    }

    fn vote(&self, view: &View<'_>, id: ClassId, guesses: &[Guess; 2]) -> Vote {
        let [straight, turned] = guesses;
        let [along, across] = &self.lying;
        // A footprint only lowers the log-odds: what cannot win any more is not looked at.
        let (straight, turned) = if straight.at_most >= turned.at_most {
            let logit = straight.logit(view, along);
            (logit, if turned.at_most > logit { turned.logit(view, across) } else { turned.at_most })
        } else {
            let logit = turned.logit(view, across);
            (if straight.at_most >= logit { straight.logit(view, along) } else { straight.at_most }, logit)
        };
        Vote { class: id, logit: straight.max(turned), camera: None, turned: turned > straight }
    }
}

/// How a shape lies: what is the same for all classes.
struct Lying {
    turned: bool,
    /// Seen length and width (metres).
    lengths: [f64; 2],
    /// How much of the length and of the width hides itself.
    hidden: [f64; 2],
    /// Sine and cosine of the shape's heading and of the whole object's.
    of_shape: (f64, f64),
    of_whole: (f64, f64),
}

impl Lying {
    fn of(shape: &Shape, turned: bool, lidar_xy: [f64; 2]) -> Self {
        let yaw_rad = if turned { shape.yaw_rad + std::f64::consts::FRAC_PI_2 } else { shape.yaw_rad };
        let (middle, turn) = (shape.middle(), yaw_rad.sin_cos());
        let whole = Cuboid::upright(Vector3::zeros(), Vector3::zeros(), yaw_rad);
        Self {
            turned,
            lengths: seen_lengths(shape, turned),
            hidden: [0, 1].map(|axis| hidden_along(middle, turn, axis, lidar_xy)),
            of_shape: shape.yaw_rad.sin_cos(),
            of_whole: whole.yaw_rad().sin_cos(),
        }
    }
}

fn seen_lengths(shape: &Shape, turned: bool) -> [f64; 2] {
    let seen = shape.extents_m();
    if turned { [seen[1], seen[0]] } else { seen }
}

/// What a shape would be as a class, lying one way, before a look at the footprint.
struct Guess {
    kind: Kind,
    /// Middle of the whole object, and its length and width; `None` for what is impossible.
    whole: Option<([f64; 2], [f64; 2])>,
    cost: f64,
    /// The log-odds are no greater than this.
    at_most: f64,
}

impl Guess {
    fn of(view: &View<'_>, class: &ClassSpec, lying: &Lying) -> Self {
        let kind = Kind::of(class);
        let impossible = Self { kind, whole: None, cost: f64::INFINITY, at_most: IMPOSSIBLE };
        let shape = view.shape;
        let Some(height) = height_cost(shape.bottom_top_m, class, kind) else { return impossible };
        if (0..2).any(|axis| lying.lengths[axis] > class.max_lwh_m[axis] * 1.05 + 0.15) {
            return impossible;
        }
        let [length, width] = [0, 1].map(|axis| whole_side(lying.lengths[axis], class, axis, lying.hidden[axis]));
        let along_shape = if lying.turned { [width, length] } else { [length, width] };
        let center = center_along(shape.span_m, lying.of_shape, along_shape, anchor(kind, view.lidar_xy), NOT_COVERED);
        let mut cost = height + class.rarity;
        for (axis, seen) in lying.lengths.into_iter().enumerate() {
            cost += side_cost(seen, class, axis, hidden_along(center, lying.of_whole, axis, view.lidar_xy));
        }
        // Of two wholes that explain a part, the one that invents less is likelier.
        let invented: f64 = [length, width].iter().zip(lying.lengths).map(|(whole, seen)| (whole - seen).max(0.0)).sum();
        cost += COST_PER_INVENTED_M * invented;
        let at_most = (2.5 - (cost + texture(view, kind))).max(IMPOSSIBLE);
        Self { kind, whole: Some((center, [length, width])), cost, at_most }
    }

    fn logit(&self, view: &View<'_>, lying: &Lying) -> f64 {
        let Some((center, size)) = self.whole.filter(|_| self.at_most > IMPOSSIBLE) else { return IMPOSSIBLE };
        let footprint = if self.kind == Kind::Vehicle { footprint_cost(view, center, size, lying.of_whole) } else { 0.0 };
        (2.5 - (self.cost + (footprint + texture(view, self.kind)))).max(IMPOSSIBLE)
    }
}

/// Size of the whole object. A side that the lidar saw is as long as it was seen, if the class can be as short; a side that hides itself, or
/// that something else must hide, is as long as the prior.
#[must_use]
pub fn whole_size(shape: &Shape, class: &ClassSpec, turned: bool, lidar_xy: [f64; 2]) -> [f64; 3] {
    let lengths = seen_lengths(shape, turned);
    let yaw = if turned { shape.yaw_rad + std::f64::consts::FRAC_PI_2 } else { shape.yaw_rad };
    let middle = shape.middle();
    let sides = [0, 1].map(|axis| whole_side(lengths[axis], class, axis, hidden(middle, yaw, axis, lidar_xy)));
    [sides[0], sides[1], (shape.bottom_top_m[1] + TOP_MARGIN_M).clamp(class.min_lwh_m[2], class.max_lwh_m[2])]
}

/// Whole length of one side that was seen to be `seen` long; `hidden` as [`hidden`] tells.
pub(crate) fn whole_side(seen: f64, class: &ClassSpec, axis: usize, hidden: f64) -> f64 {
    let (min, prior, max) = (class.min_lwh_m[axis], class.prior_lwh_m[axis], class.max_lwh_m[axis]);
    if seen >= prior {
        return seen.min(max);
    }
    if seen < min {
        return prior;
    }
    // A side is lost from about 23 degrees to the line of sight on, and wholly at 10.
    let lost = ((hidden - 0.85) / 0.12).clamp(0.0, 1.0);
    seen + lost * (prior - seen)
}

/// How much of a side points along the line of sight and hides itself: 1 along it, 0 across it.
pub(crate) fn hidden(center: [f64; 2], yaw_rad: f64, axis: usize, lidar_xy: [f64; 2]) -> f64 {
    hidden_along(center, yaw_rad.sin_cos(), axis, lidar_xy)
}

fn hidden_along(center: [f64; 2], (sin, cos): (f64, f64), axis: usize, lidar_xy: [f64; 2]) -> f64 {
    let (dx, dy) = (center[0] - lidar_xy[0], center[1] - lidar_xy[1]);
    let range = dx.hypot(dy).max(1e-6);
    let along = if axis == 0 { dx * cos + dy * sin } else { dy * cos - dx * sin };
    (along / range).powi(2)
}

fn side_cost(length: f64, class: &ClassSpec, axis: usize, hidden: f64) -> f64 {
    let (min, prior) = (class.min_lwh_m[axis], class.prior_lwh_m[axis]);
    if length > prior {
        return 0.5 * ((length - prior) / (0.25 * prior).max(0.15)).powi(2).min(16.0);
    }
    // Down to the gate a shorter side is a smaller object; below it something must hide the rest.
    let lack = ((min - length) / min).max(0.0);
    let small = (prior - length.max(min)) / prior;
    small * small + lack * (1.0 + 2.0 * (1.0 - hidden))
}

fn height_cost([bottom, top]: [f64; 2], class: &ClassSpec, kind: Kind) -> Option<f64> {
    let (min, prior, max) = (class.min_lwh_m[2], class.prior_lwh_m[2], class.max_lwh_m[2]);
    if top > max + 0.25 || top < 0.5 * min {
        return None;
    }
    let spread = if kind == Kind::Vehicle { 0.22 } else { 0.14 };
    let off = ((top - prior) / (spread * prior)).abs();
    let outside = ((min - top).max(top - max).max(0.0)) * 4.0;
    // What starts above the knees stands on nothing, unless something in front hides its feet.
    let floating = (bottom - 0.6).max(0.0) * 2.0;
    let strictness = if kind == Kind::Vehicle { 0.25 } else { 0.5 };
    Some(strictness * (off * off).min(9.0) + outside + floating)
}

fn footprint_cost(view: &View<'_>, center: [f64; 2], [length, width]: [f64; 2], turn: (f64, f64)) -> f64 {
    // The rim is left out: the sides are not known to better than this, and bumpers are round.
    let half = [length / 2.0 - 0.35, width / 2.0 - 0.3];
    let found = view.columns.footprint_along(center, half, turn, view.group.label);
    let share = |cells: u32| f64::from(cells) / f64::from(found.cells.max(1));
    (12.0 * share(found.ground)).min(4.0) + (10.0 * share(found.foreign)).min(4.0)
}

fn texture(view: &View<'_>, kind: Kind) -> f64 {
    let rough = if kind == Kind::Vehicle { ((view.shape.residual_m - 0.12) / 0.1).clamp(0.0, 3.0) } else { 0.0 };
    texture_cost(view.group, view.shape.num_points, rough)
}

fn texture_cost(group: &Group, num_points: u32, rough: f64) -> f64 {
    let tall = if group.tall { 1.5 } else { 0.0 };
    let few = if num_points < 10 { 0.7 } else { 0.0 };
    tall + rough + few + 1.5 * group.beside_tall
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::{ClusterConfig, cluster};

    const CLASSES: &str = include_str!("../../../configs/taxonomy.toml");

    #[test]
    fn a_rare_class_has_that_much_less_of_every_vote() {
        let rare = CLASSES.replacen("max_speed_mps = 70.0", "max_speed_mps = 70.0\nrarity = 5.0", 1);
        let columns = cluster(&[], &[], 0.2, [0.0; 3], &[], &ClusterConfig::default()).columns;
        let group = Group { members: Vec::new(), label: 0, tall: false, beside_tall: 0.0, cut_out: false };
        let shape = Shape {
            yaw_rad: 0.4,
            span_m: [[9.0, 13.0], [-3.0, -1.3]],
            floor_m: 0.0,
            bottom_top_m: [0.2, 1.5],
            residual_m: 0.0,
            num_points: 100,
            outline: Vec::new(),
            outline_points: Vec::new(),
        };
        let view = View { shape: &shape, group: &group, columns: &columns, lidar_xy: [0.0; 2] };
        let votes_of = |text: &str| votes(&view, &Taxonomy::from_toml(text).unwrap());
        for (usual, less) in votes_of(CLASSES).iter().zip(votes_of(&rare)) {
            let expected = if usual.class == ClassId(0) { usual.logit - 5.0 } else { usual.logit };
            assert!((less.logit - expected).abs() < 1e-9, "{usual:?} {less:?}");
        }
        // A car it is: riders and persons are no such thing.
        assert!(votes_of(CLASSES)[0].logit > 0.0);
    }

    proptest! {
        /// What is left out unseen would have been left out.
        #[test]
        fn no_vote_is_greater_than_was_said_before_the_fit(
            [length, width] in [0.1..25.0f64, 0.1..6.0f64],
            [bottom, top] in [0.0..1.5f64, 0.6..6.0f64],
            (residual_m, num_points, tall, beside_tall) in (0.0..0.6f64, 3..40u32, any::<bool>(), 0.0..1.0f64),
        ) {
            let taxonomy = Taxonomy::from_toml(CLASSES).unwrap();
            let columns = cluster(&[], &[], 0.2, [0.0; 3], &[], &ClusterConfig::default()).columns;
            let group = Group { members: Vec::new(), label: 0, tall, beside_tall, cut_out: false };
            let shape = Shape {
                yaw_rad: 0.4,
                span_m: [[9.0, 9.0 + length], [-3.0, width - 3.0]],
                floor_m: 0.0,
                bottom_top_m: [bottom.min(top), top],
                residual_m,
                num_points,
                outline: Vec::new(),
                outline_points: Vec::new(),
            };
            let view = View { shape: &shape, group: &group, columns: &columns, lidar_xy: [0.0; 2] };
            let (before, guesses) = (greatest_vote(shape.bottom_top_m, num_points, &group, &taxonomy), Guesses::of(&view, &taxonomy));
            prop_assert!(guesses.at_most() <= before);
            for vote in guesses.votes(&view) {
                prop_assert!(vote.logit <= guesses.at_most(), "{vote:?}");
            }
        }
    }
}
