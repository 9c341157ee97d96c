//! What is drawn, entity by entity.

use std::collections::BTreeMap;

use rerun::external::arrow::array::Array;

use super::*;
use crate::fixture;

/// Entity path → component → number of values in the only row.
fn drawn(chunks: &[Chunk]) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut found: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for chunk in chunks {
        let components = found.entry(chunk.entity_path().to_string()).or_default();
        for component in chunk.components_identifiers() {
            let count = chunk.component_batch_raw(component, 0).and_then(Result::ok).map_or(0, |array| array.len());
            components.insert(component.to_string(), count);
        }
    }
    found
}

#[test]
fn a_frame_draws_points_boxes_headings_and_the_boxes_in_the_camera() {
    let mut painter = Painter::new(fixture::taxonomy());
    let found = drawn(&painter.paint(&fixture::frame(0, 1000)).unwrap());
    assert_eq!(found["/world/ego/lidar"]["Points3D:positions"], 1000);
    assert_eq!(found["/world/ego/lidar"]["Points3D:colors"], 1000);
    assert_eq!(found["/world/ego/boxes"]["Boxes3D:half_sizes"], 2);
    assert_eq!(found["/world/ego/boxes"]["Boxes3D:labels"], 2);
    assert_eq!(found["/world/ego/boxes"]["evidence"], 2, "a click on a box says why it is as it is");
    assert_eq!(found["/world/ego/headings"]["Arrows3D:vectors"], 2);
    assert!(found["/world/ego/cameras/front/boxes"]["LineStrips2D:strips"] >= 12);
    assert_eq!(found["/world/ego/cameras/front/image"]["EncodedImage:blob"], 1);
    assert_eq!(found["/world/ego/cameras/front"]["Pinhole:image_from_camera"], 1);
    assert_eq!(found["/world/ego/labels"]["Points3D:labels"], 2);
    assert!(found.contains_key("/world/ego/rings") && found.contains_key("/world/ego/vehicle"));
}

#[test]
fn a_frame_without_boxes_points_and_images_clears_what_the_last_one_showed() {
    let mut painter = Painter::new(fixture::taxonomy());
    painter.paint(&fixture::frame(0, 1000)).unwrap();
    let found = drawn(&painter.paint(&SceneFrame { index: 1, ..SceneFrame::default() }).unwrap());
    for (path, component) in [
        ("/world/ego/lidar", "Points3D:positions"),
        ("/world/ego/boxes", "Boxes3D:half_sizes"),
        ("/world/ego/boxes", "Boxes3D:labels"),
        ("/world/ego/labels", "Points3D:labels"),
        ("/world/ego/headings", "Arrows3D:vectors"),
        ("/world/trails", "LineStrips3D:strips"),
        ("/world/ego/cameras/front/boxes", "LineStrips2D:strips"),
    ] {
        assert_eq!(found[path].get(component), Some(&0), "{path} {component}");
    }
    assert_eq!(found["/world/ego/cameras/front/image"].get("Clear:is_recursive"), Some(&1));
}

#[test]
fn utm_sized_poses_keep_their_millimetres() {
    let mut painter = Painter::new(fixture::taxonomy());
    painter.paint(&fixture::frame(0, 0)).unwrap();
    let mut second = fixture::frame(1, 0);
    second.world_from_ego.as_mut().unwrap().translation.vector.x = 458_000.123;
    let origin = painter.origin(second.world_from_ego.as_ref());
    let moved = f32s(&(second.world_from_ego.unwrap().translation.vector - origin));
    assert!((moved[0] - 0.123).abs() < 1e-6, "{moved:?}");
}

#[test]
fn numbers_that_are_none_are_left_out() {
    let mut frame = fixture::frame(0, 10);
    let mut points = (*frame.points).clone();
    points.x[3] = f32::NAN;
    points.z[4] = f32::INFINITY;
    points.intensity.truncate(5);
    frame.points = Arc::new(points);
    frame.boxes[0].ego_from_box.center_m.x = f64::NAN;
    frame.boxes[1].world_from_box.center_m.x = f64::INFINITY;
    frame.index = i64::MIN;
    frame.stamp_ns = i64::MAX;
    let found = drawn(&Painter::new(fixture::taxonomy()).paint(&frame).unwrap());
    assert_eq!(found["/world/ego/lidar"]["Points3D:positions"], 8);
    assert_eq!(found["/world/ego/boxes"]["Boxes3D:half_sizes"], 1);
}

#[test]
fn an_image_without_calibration_is_shown_without_boxes() {
    let mut frame = fixture::frame(0, 10);
    frame.cameras = Arc::new(Vec::new());
    let found = drawn(&Painter::new(fixture::taxonomy()).paint(&frame).unwrap());
    assert_eq!(found["/world/ego/cameras/front/image"]["EncodedImage:blob"], 1);
    assert!(!found.contains_key("/world/ego/cameras/front"));
}

#[test]
fn a_camera_name_stays_one_part_of_the_path() {
    assert_eq!(camera_path("/cam/front left").len(), 4);
}

#[test]
fn a_label_names_class_track_and_score() {
    let painter = Painter::new(fixture::taxonomy());
    assert_eq!(painter.label(&fixture::box3(12, 0.0, 0.0)), "car 12 · 0.93");
    let mut voted = fixture::box3(12, 0.0, 0.0);
    voted.evidence = r#"{"detector":{"model":"pointrcnn"},"camera":{"model":"yolox_nano","logits":[2.14,-1.0]}}"#.to_owned();
    assert_eq!(painter.label(&voted), "car 12 · 0.93 · by pointrcnn · yolox_nano +2.1");
    voted.evidence = r#"{"camera":["of another kind"]}"#.to_owned();
    assert_eq!(painter.label(&voted), "car 12 · 0.93");
}

#[test]
fn predicted_boxes_are_lighter() {
    let painter = Painter::new(fixture::taxonomy());
    let measured = fixture::box3(1, 0.0, 0.0);
    let predicted = Box3 { predicted: true, ..measured.clone() };
    let sum = |found: &Box3| {
        let [r, g, b, _] = painter.color(found, 255).to_array();
        u32::from(r) + u32::from(g) + u32::from(b)
    };
    assert!(sum(&predicted) > sum(&measured) + 100);
}
