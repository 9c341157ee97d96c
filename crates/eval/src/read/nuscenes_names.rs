//! Categories of nuScenes' annotations and the classes that they are scored as.

use crate::protocol::nuscenes_detection::CLASSES;

/// The class of a category; `None` where it is not scored.
#[must_use]
pub(super) fn class_of_category(category: &str) -> Option<&'static str> {
    Some(match category {
        "movable_object.barrier" => "barrier",
        "movable_object.trafficcone" => "traffic_cone",
        "vehicle.bicycle" => "bicycle",
        "vehicle.motorcycle" => "motorcycle",
        "vehicle.car" => "car",
        "vehicle.truck" => "truck",
        "vehicle.trailer" => "trailer",
        "vehicle.construction" => "construction_vehicle",
        "vehicle.bus.bendy" | "vehicle.bus.rigid" => "bus",
        "human.pedestrian.adult"
        | "human.pedestrian.child"
        | "human.pedestrian.construction_worker"
        | "human.pedestrian.police_officer" => "pedestrian",
        _ => return None,
    })
}

/// Whether a submission may use this name.
#[must_use]
pub(super) fn is_class(name: &str) -> bool {
    CLASSES.iter().any(|(class, _)| *class == name)
}
