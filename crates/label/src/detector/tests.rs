//! Boxes that are given whole.

use nalgebra::Vector3;

use super::*;
use crate::carry::Carried;
use crate::track::Seen;

fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap())
}

fn spec() -> Arc<ModelSpec> {
    Arc::new(ModelSpec { name: "pointrcnn".into(), version: "1".into(), sha256: "".into(), manifest_sha256: "".into() })
}

fn found(boxes: &[GivenBox], points: &[[f32; 3]], heights: &[f32]) -> Vec<Candidate> {
    let (taxonomy, config, carried) = (taxonomy(), LabelConfig::default(), Carried::default());
    let source: Vec<u32> = (0..points.len() as u32).collect();
    let offsets: Vec<i32> = (0..points.len() as i32).map(|index| index * 1_000).collect();
    let moments = Moments { stamp_ns: 1_000_000, offset_ns: Some(&offsets), source: &source, carried: &carried };
    let scene = Scene {
        points,
        height_above_m: heights,
        sweep: &PointCloud::default(),
        origin_m: [0.0, 0.0, 1.7],
        expected: &[],
        moments,
        taxonomy: &taxonomy,
        config: &config,
        min_score: 0.1,
    };
    GivenBoxes { by: spec(), boxes: boxes.to_vec() }.detect(&scene).unwrap()
}

fn car(score: f64) -> GivenBox {
    let ego_from_box = Cuboid::upright(Vector3::new(10.0, 2.0, 0.8), Vector3::new(4.0, 1.8, 1.6), 2.5);
    GivenBox { ego_from_box, class: ClassId(0), score }
}

#[test]
fn a_given_box_stays_what_it_is_and_knows_its_points() {
    let points = [[10.0, 2.0, 0.5], [10.2, 2.1, 1.0], [10.1, 2.0, 0.01], [30.0, 2.0, 1.0]];
    let all = found(&[car(0.9)], &points, &[0.5, 1.0, 0.01, 1.0]);
    let [one] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(one.shape.num_points, 2, "neither the ground nor what stands elsewhere");
    assert_eq!((one.stamp_ns, one.points_ns), (1_000_500, [1_000_000, 1_001_000]));
    assert_eq!(one.ego_from_box, car(0.9).ego_from_box);
    let [length, width] = one.shape.extents_m();
    assert!((length - 4.0).abs() < 1e-9 && (width - 1.8).abs() < 1e-9);
    let middle = one.shape.middle();
    assert!((middle[0] - 10.0).abs() < 1e-9 && (middle[1] - 2.0).abs() < 1e-9);
    // A tracker that asks for another size gets the box all the same.
    assert_eq!(one.whole(ClassId(1), crate::classify::Kind::Vehicle, [9.0, 2.5, 3.0]), one.ego_from_box);
    assert_eq!(one.given_by.as_deref(), Some(&*spec()));
}

#[test]
fn what_is_no_box_or_too_unlikely_or_of_no_class_is_left_out() {
    let mut broken = car(0.9);
    broken.ego_from_box.center_m.x = f64::NAN;
    let strange = GivenBox { class: ClassId(999), ..car(0.9) };
    assert_eq!(found(&[broken, strange, car(0.05)], &[], &[]), []);
    assert_eq!(found(&[car(0.9)], &[], &[]).len(), 1, "a box without points is a box");
}

#[test]
fn of_too_many_boxes_the_likeliest_stay() {
    let many: Vec<GivenBox> = (0..700).map(|index| car(0.2 + 0.001 * f64::from(index))).collect();
    let kept = found(&many, &[], &[]);
    assert_eq!(kept.len(), 600);
    assert!(kept.iter().all(|one| one.score > 0.29));
}
