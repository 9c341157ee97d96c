//! Vehicles that hang together with something else: cut out where a track expects them.
//!
//! A van whose tail touches a hedge is one group with the hedge, and no rectangle fits both. Where a track of before says that a vehicle
//! stands there, the points within its footprint are a group of their own, if it is mostly seen where it is expected and if the group
//! reaches well beyond it: what the grid already found by itself is left as it is.

use boxwright_model::Cuboid;

use super::{Bounds, Group};

/// A vehicle as its track expects it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Where it is expected, ego frame.
    pub ego_from_box: Cuboid,
    /// Points of its last hit.
    pub last_points: u32,
}

/// Points this far outside of the expected footprint are still the vehicle's (metres): half of what a track does not know of its place.
const MARGIN_M: f64 = 0.2;
/// A group that reaches no farther than this beyond the footprint is the vehicle and not two things (metres).
const BEYOND_M: f64 = 1.0;
/// Something else is as many points beyond that as this part of the vehicle's own; fewer are a mirror, a twig or a wrong size.
const LEAST_BEYOND: f64 = 0.2;
/// Part of the last hit's points that must be where the vehicle is expected.
const LEAST_SHARE: f64 = 0.5;

/// Cuts every expected vehicle out of the group that holds it and much else. `bounds` are those of the groups, before and after.
pub(super) fn cut_out(
    groups: &mut Vec<Group>,
    bounds: &mut Vec<Bounds>,
    points: &[[f32; 3]],
    expected: &[Expected],
    min_points: usize,
) {
    for vehicle in expected {
        let Some((holder, own)) = holder(groups, bounds, points, vehicle) else { continue };
        let needed = (LEAST_SHARE * f64::from(vehicle.last_points)).max(min_points as f64);
        if (own.len() as f64) < needed {
            continue;
        }
        let (label, beside_tall) = (groups[holder].label, groups[holder].beside_tall);
        let rest: Vec<u32> = {
            let mut own = own.iter().copied().peekable();
            groups[holder].members.iter().copied().filter(|member| own.next_if_eq(member).is_none()).collect()
        };
        groups[holder].members = own;
        groups[holder].cut_out = true;
        bounds[holder] = Bounds::of_group(&groups[holder], points);
        if rest.len() >= min_points {
            let rest = Group { members: rest, label, tall: false, beside_tall, cut_out: false };
            bounds.push(Bounds::of_group(&rest, points));
            groups.push(rest);
        }
    }
}

/// The low group with the most points in the footprint, and these points in the group's order; `None` where that group is no more than the
/// vehicle.
fn holder(groups: &[Group], bounds: &[Bounds], points: &[[f32; 3]], vehicle: &Expected) -> Option<(usize, Vec<u32>)> {
    let cuboid = &vehicle.ego_from_box;
    let (sin, cos) = cuboid.yaw_rad().sin_cos();
    let half = [cuboid.size_lwh_m.x / 2.0, cuboid.size_lwh_m.y / 2.0];
    let reach = (half[0].hypot(half[1]) + MARGIN_M) as f32;
    let center = [cuboid.center_m.x as f32, cuboid.center_m.y as f32];
    // How far outside of the footprint a point is.
    let outside = |p: &[f32; 3]| {
        let (dx, dy) = (f64::from(p[0]) - cuboid.center_m.x, f64::from(p[1]) - cuboid.center_m.y);
        ((dx * cos + dy * sin).abs() - half[0]).max((dy * cos - dx * sin).abs() - half[1])
    };
    let near = |p: &[f32; 3]| (p[0] - center[0]).abs() <= reach && (p[1] - center[1]).abs() <= reach;
    let mut best: Option<(usize, Vec<u32>)> = None;
    for (index, (group, bounds)) in groups.iter().zip(bounds).enumerate() {
        if group.tall || bounds.is_beyond(center, reach) {
            continue;
        }
        let inside = |member: &u32| {
            let p = &points[*member as usize];
            near(p) && outside(p) <= MARGIN_M
        };
        let own: Vec<u32> = group.members.iter().copied().filter(inside).collect();
        if own.len() > best.as_ref().map_or(0, |(_, own)| own.len()) {
            best = Some((index, own));
        }
    }
    best.filter(|(index, own)| {
        let beyond = groups[*index].members.iter().filter(|member| outside(&points[**member as usize]) > BEYOND_M).count();
        beyond as f64 >= LEAST_BEYOND * own.len() as f64
    })
}

#[cfg(test)]
mod tests {
    use nalgebra::Vector3;

    use super::*;

    /// The two faces of a van that a lidar at the origin sees, and a hedge from its tail on.
    fn van_at_a_hedge() -> (Vec<[f32; 3]>, usize) {
        let heights = [0.4, 0.9, 1.4, 1.9];
        let side = (0..=50).flat_map(|step| heights.map(|z| [8.0 + 0.1 * step as f32, -4.0, z]));
        let front = (0..=20).flat_map(|step| heights.map(|z| [8.0, -4.0 - 0.1 * step as f32, z]));
        let mut points: Vec<[f32; 3]> = side.chain(front).collect();
        let van = points.len();
        points.extend((0..80).flat_map(|step| heights.map(|z| [13.4 + 0.1 * step as f32, -4.5, z])));
        (points, van)
    }

    fn expected(x: f64, last_points: u32) -> Expected {
        let ego_from_box = Cuboid::upright(Vector3::new(x, -5.0, 1.0), Vector3::new(5.0, 2.0, 2.0), 0.0);
        Expected { ego_from_box, last_points }
    }

    fn cut(points: &[[f32; 3]], expected: &[Expected]) -> Vec<usize> {
        let group = Group { members: (0..points.len() as u32).collect(), label: 0, tall: false, beside_tall: 0.0, cut_out: false };
        let mut groups = vec![group];
        let mut bounds = vec![Bounds::of_group(&groups[0], points)];
        cut_out(&mut groups, &mut bounds, points, expected, 6);
        assert!(groups.iter().zip(&bounds).all(|(group, bounds)| Bounds::of_group(group, points) == *bounds));
        assert_eq!(groups.iter().map(|group| group.members.len()).sum::<usize>(), points.len());
        groups.iter().map(|group| group.members.len()).collect()
    }

    #[test]
    fn a_van_at_a_hedge_is_cut_out_where_it_is_expected_and_only_there() {
        let (points, van) = van_at_a_hedge();
        assert_eq!(cut(&points, &[expected(10.5, van as u32)]), [van, points.len() - van]);
        // It is not where it was expected, or far fewer points are: nothing is cut.
        assert_eq!(cut(&points, &[expected(40.0, van as u32)]), [points.len()]);
        assert_eq!(cut(&points, &[expected(10.5, 10 * van as u32)]), [points.len()]);
        // Alone, it stays as it is, with what sticks out of the footprint.
        assert_eq!(cut(&points[..van], &[expected(10.0, van as u32)]), [van]);
        assert_eq!(cut(&points, &[]), [points.len()]);
        // A twig that sticks out far is no second thing.
        let mut with_twig = points[..van].to_vec();
        with_twig.extend((0..20).map(|step| [13.0 + 0.2 * step as f32, -4.0, 1.9]));
        assert_eq!(cut(&with_twig, &[expected(10.5, van as u32)]), [with_twig.len()]);
    }
}
