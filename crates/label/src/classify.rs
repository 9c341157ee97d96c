//! What a shape can be: a log-odds vote per class from size, height and what else stands in the completed footprint.
//!
//! A class is tried in both directions of the rectangle. The vote falls with every metre that must be invented where the lidar should have
//! seen it, with the distance of the height from the prior, and with ground or other things seen where the object would have to be. The
//! idea of scoring by size prior is CPD's (Wu et al., 2024).

use boxwright_model::{ClassId, ClassSpec, Cuboid, Taxonomy};

use crate::cluster::{ColumnGrid, Group};
use crate::fit::Shape;

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
    let known = taxonomy.classes().len() - 1;
    (0u16..).zip(taxonomy.classes()).take(known).map(|(id, class)| vote(view, ClassId(id), class)).collect()
}

fn vote(view: &View<'_>, id: ClassId, class: &ClassSpec) -> Vote {
    let (straight, turned) = (Guess::of(view, class, false), Guess::of(view, class, true));
    // The footprint is slow to look at and only lowers the log-odds: what cannot win any more is not looked at.
    let (straight, turned) = if straight.at_most >= turned.at_most {
        let logit = straight.logit(view);
        (logit, if turned.at_most > logit { turned.logit(view) } else { turned.at_most })
    } else {
        let logit = turned.logit(view);
        (if straight.at_most >= logit { straight.logit(view) } else { straight.at_most }, logit)
    };
    Vote { class: id, logit: straight.max(turned), camera: None, turned: turned > straight }
}

/// What a shape would be as a class, lying one way, before a look at the footprint.
struct Guess {
    kind: Kind,
    /// The whole object; `None` for what is impossible.
    cuboid: Option<Cuboid>,
    cost: f64,
    /// The log-odds are no greater than this.
    at_most: f64,
}

impl Guess {
    fn of(view: &View<'_>, class: &ClassSpec, turned: bool) -> Self {
        let kind = Kind::of(class);
        let impossible = Self { kind, cuboid: None, cost: f64::INFINITY, at_most: IMPOSSIBLE };
        let seen = view.shape.extents_m();
        let lengths = if turned { [seen[1], seen[0]] } else { seen };
        let Some(height) = height_cost(view, class, kind) else { return impossible };
        let size = whole_size(view.shape, class, turned, view.lidar_xy);
        let cuboid = view.shape.complete(size, turned, anchor(kind, view.lidar_xy));
        let mut cost = height;
        for (axis, length) in lengths.into_iter().enumerate() {
            if length > class.max_lwh_m[axis] * 1.05 + 0.15 {
                return impossible;
            }
            let hidden = hidden([cuboid.center_m.x, cuboid.center_m.y], cuboid.yaw_rad(), axis, view.lidar_xy);
            cost += side_cost(length, class, axis, hidden);
        }
        // Of two wholes that explain a part, the one that invents less is likelier.
        let invented: f64 = (0..2).map(|axis| (size[axis] - lengths[axis]).max(0.0)).sum();
        cost += COST_PER_INVENTED_M * invented;
        Self { kind, cuboid: Some(cuboid), cost, at_most: (2.5 - (cost + texture_cost(view, kind))).max(IMPOSSIBLE) }
    }

    fn logit(&self, view: &View<'_>) -> f64 {
        let Some(cuboid) = self.cuboid.as_ref().filter(|_| self.at_most > IMPOSSIBLE) else { return IMPOSSIBLE };
        (2.5 - (self.cost + (footprint_cost(view, cuboid, self.kind) + texture_cost(view, self.kind)))).max(IMPOSSIBLE)
    }
}

/// Size of the whole object. A side that the lidar saw is as long as it was seen, if the class can be as short; a side that hides itself, or
/// that something else must hide, is as long as the prior.
#[must_use]
pub fn whole_size(shape: &Shape, class: &ClassSpec, turned: bool, lidar_xy: [f64; 2]) -> [f64; 3] {
    let seen = shape.extents_m();
    let lengths = if turned { [seen[1], seen[0]] } else { seen };
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
    let (dx, dy) = (center[0] - lidar_xy[0], center[1] - lidar_xy[1]);
    let range = dx.hypot(dy).max(1e-6);
    let (sin, cos) = yaw_rad.sin_cos();
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

fn height_cost(view: &View<'_>, class: &ClassSpec, kind: Kind) -> Option<f64> {
    let [bottom, top] = view.shape.bottom_top_m;
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

fn footprint_cost(view: &View<'_>, cuboid: &Cuboid, kind: Kind) -> f64 {
    if kind != Kind::Vehicle {
        return 0.0;
    }
    // The rim is left out: the sides are not known to better than this, and bumpers are round.
    let half = [cuboid.size_lwh_m.x / 2.0 - 0.35, cuboid.size_lwh_m.y / 2.0 - 0.3];
    let found = view.columns.footprint([cuboid.center_m.x, cuboid.center_m.y], half, cuboid.yaw_rad(), view.group.label);
    let share = |cells: u32| f64::from(cells) / f64::from(found.cells.max(1));
    (12.0 * share(found.ground)).min(4.0) + (10.0 * share(found.foreign)).min(4.0)
}

fn texture_cost(view: &View<'_>, kind: Kind) -> f64 {
    let tall = if view.group.tall { 1.5 } else { 0.0 };
    let rough = if kind == Kind::Vehicle { ((view.shape.residual_m - 0.12) / 0.1).clamp(0.0, 3.0) } else { 0.0 };
    let few = if view.shape.num_points < 10 { 0.7 } else { 0.0 };
    tall + rough + few + 1.5 * view.group.beside_tall
}
