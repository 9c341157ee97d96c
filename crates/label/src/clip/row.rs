//! Parked vehicles in a row stand alike: where what was seen of one does not tell its length from its width, those beside it do.

use boxwright_model::Taxonomy;

use super::placed::Placed;
use crate::classify::Kind;

/// How far vehicles of a row may be from the one that asks (metres): two places along a street, four across it.
const REACH_M: f64 = 10.0;
/// How much they must agree: length of the mean of their directions, 1 for parallel ones. At the corner of two streets they do not.
const AGREE: f64 = 0.8;

/// The parked vehicles of a clip whose length was seen.
#[derive(Debug, Default)]
pub struct Rows {
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    number: u32,
    center_xy: [f64; 2],
    /// Of its length, world frame.
    yaw_rad: f64,
}

impl Rows {
    /// Of these labels.
    #[must_use]
    pub fn of<'a>(labels: impl Iterator<Item = &'a Placed>, taxonomy: &Taxonomy) -> Self {
        let known = labels.filter(|one| is_parked(one, taxonomy) && one.how.size_source == "seen").filter_map(|one| {
            let cuboid = one.placements.first()?.world_from_box;
            Some(Known { number: one.number, center_xy: [cuboid.center_m.x, cuboid.center_m.y], yaw_rad: cuboid.yaw_rad() })
        });
        Self { known: known.collect() }
    }

    /// Direction of the lengths (radians, world; up to half a turn) of those beside a parked vehicle whose own length was not seen, the nearer ones first;
    /// `None` where there are none, or they do not stand alike.
    #[must_use]
    pub fn beside(&self, one: &Placed, taxonomy: &Taxonomy) -> Option<f64> {
        if !is_parked(one, taxonomy) || one.how.size_source != "prior" {
            return None;
        }
        let center = one.placements.first()?.world_from_box.center_m;
        let (mut x, mut y, mut total) = (0.0, 0.0, 0.0);
        for other in self.known.iter().filter(|other| other.number != one.number) {
            let away_m = (other.center_xy[0] - center.x).hypot(other.center_xy[1] - center.y);
            if away_m > REACH_M {
                continue;
            }
            // No nearer than a car is wide: two that stand in each other are one, and say nothing of a row.
            let weight = 1.0 / away_m.max(2.0);
            let (sin, cos) = (2.0 * other.yaw_rad).sin_cos();
            (x, y, total) = (x + weight * cos, y + weight * sin, total + weight);
        }
        (total > 0.0 && x.hypot(y) > AGREE * total).then(|| y.atan2(x) / 2.0)
    }
}

fn is_parked(one: &Placed, taxonomy: &Taxonomy) -> bool {
    one.motion.is_static && Kind::of(taxonomy.get(one.class)) == Kind::Vehicle
}

#[cfg(test)]
mod tests {
    use boxwright_model::Cuboid;

    use super::super::placed::fixture::parked;
    use super::*;

    #[test]
    fn those_beside_a_vehicle_say_how_it_stands_where_they_agree() {
        let taxonomy = Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap();
        let (car, person) = (taxonomy.find("car").unwrap(), taxonomy.find("pedestrian").unwrap());
        let at = |number: u32, x: f64, yaw: f64| {
            let mut one = parked(number, car, 0..5);
            one.placements
                .iter_mut()
                .for_each(|p| p.world_from_box = Cuboid::upright([x, 0.0, 0.75].into(), p.world_from_box.size_lwh_m, yaw));
            one
        };
        let asks = |x: f64| {
            let mut one = at(0, x, 2.0);
            one.how.size_source = "prior";
            one
        };
        let beside = |one: &Placed, others: &[Placed]| Rows::of(others.iter().chain([one]), &taxonomy).beside(one, &taxonomy);
        let half = std::f64::consts::PI;
        let row = [at(1, -3.0, 0.6), at(2, 3.0, 0.6 + half), at(3, 6.0, 0.7), at(4, 30.0, 2.1)];
        let yaw = beside(&asks(0.0), &row).unwrap();
        assert!((yaw - 0.62).abs() < 0.05, "{yaw}");
        // Its own length was seen; nobody is near; they stand across each other; they move, or are no vehicles, or were not seen whole themselves.
        assert_eq!(beside(&at(0, 0.0, 2.0), &row), None);
        assert_eq!(beside(&asks(100.0), &row), None);
        assert_eq!(beside(&asks(0.0), &[at(1, -3.0, 0.6), at(2, 3.0, 0.6 + half / 2.0)]), None);
        let others: [fn(&mut Placed); 2] = [|one| one.motion.is_static = false, |one| one.how.size_source = "prior"];
        for change in others {
            let mut other = at(1, -3.0, 0.6);
            change(&mut other);
            assert_eq!(beside(&asks(0.0), &[other]), None);
        }
        assert_eq!(beside(&asks(0.0), &[Placed { class: person, ..at(1, -3.0, 0.6) }]), None);
    }
}
