//! Drawing: the one place that turns a [`SceneFrame`] into Rerun's archetypes.
//!
//! | entity | what | frame |
//! | --- | --- | --- |
//! | `/` | the classes with their colours | |
//! | `world` | right-handed, z up; the first pose of the recording is its origin, so that UTM-sized numbers survive 32-bit floats | |
//! | `world/trails` | where moving tracks have been | world |
//! | `world/ego` | where the vehicle is | world |
//! | `world/ego/lidar` | points, coloured by height above the ground and by intensity | ego |
//! | `world/ego/boxes` | all boxes, one batch | ego |
//! | `world/ego/labels` | class, track and confidence over the boxes that are near | ego |
//! | `world/ego/headings` | an arrow out of the front of every box | ego |
//! | `world/ego/vehicle`, `world/ego/rings` | the vehicle as an arrow on the ground; rings at 10, 20, 40, 60 and 80 m | ego |
//! | `world/ego/cameras/<camera>` | pose and intrinsics | ego |
//! | `world/ego/cameras/<camera>/image` | the image | pixels |
//! | `world/ego/cameras/<camera>/boxes` | the boxes as that camera sees them | pixels |
//!
//! A page with labels of its own gets the sensors alone, boxes through [`Painter::boxes_of`], and `world/ego/focus`, the box that is looked at.
//!
//! Every entity is drawn in every frame, empty where there is nothing, because the viewer keeps showing the last value it knows.
//!
//! Timelines: `frame` (number of the sample) and `sensor_time` (reference time in nanoseconds).

pub(crate) mod colors;
mod trails;
mod wires;

use std::collections::BTreeMap;
use std::sync::Arc;

use boxwright_model::frame::PointCloud;
use boxwright_model::label::Box3;
use boxwright_model::scene::{SceneCamera, SceneFrame, SceneImage};
use boxwright_model::space::Pose;
use boxwright_model::taxonomy::Taxonomy;
use nalgebra::Vector3;
use rerun::log::{Chunk, RowId};
use rerun::{AsComponents, EntityPath, TimePoint, Timeline};

use self::trails::Trails;
use self::wires::Lens;
use crate::error::ReviewError;

/// Timeline that counts samples. Numbers on it are exact in a browser, nanoseconds are not.
pub(crate) const FRAME_TIMELINE: &str = "frame";
const TIME_TIMELINE: &str = "sensor_time";

/// Radii of the rings around the vehicle.
const RINGS_M: [f32; 5] = [10.0, 20.0, 40.0, 60.0, 80.0];
/// Boxes farther away are labelled only when they are pointed at: their labels would cover each other.
const LABELS_WITHIN_M: f64 = 40.0;
/// How much larger than a box its frame is drawn when it is looked at, so that both are seen.
const FOCUS_AIR_M: f64 = 0.12;
/// How far before the lens the image hangs in the 3D view.
const IMAGE_PLANE_M: f32 = 1.2;

/// Names of the cameras seen so far, with the direction that each looks in (radians about +z of the vehicle, left is positive); `None`
/// where that is not known.
pub(crate) type Cameras = BTreeMap<Arc<str>, Option<f64>>;

/// Draws the frames of one recording, one after the other.
#[derive(Debug)]
pub(crate) struct Painter {
    taxonomy: Arc<Taxonomy>,
    origin_m: Option<Vector3<f64>>,
    ground_m: Option<f32>,
    trails: Trails,
    cameras: Cameras,
    /// Whether boxes and what is drawn of them are left to somebody else.
    is_of_sensors: bool,
}

impl Painter {
    pub(crate) fn new(taxonomy: Arc<Taxonomy>) -> Self {
        Self { taxonomy, origin_m: None, ground_m: None, trails: Trails::default(), cameras: Cameras::new(), is_of_sensors: false }
    }

    /// Draws points, images and poses alone.
    pub(crate) fn of_sensors(taxonomy: Arc<Taxonomy>) -> Self {
        Self { is_of_sensors: true, ..Self::new(taxonomy) }
    }

    /// All cameras that were seen so far.
    pub(crate) fn cameras(&self) -> &Cameras {
        &self.cameras
    }

    /// What holds for the whole recording.
    pub(crate) fn opening(&self) -> Result<Vec<Chunk>, ReviewError> {
        let always = TimePoint::default();
        let classes = self.taxonomy.classes().iter().zip(0_u16..).map(|(class, id)| (id, &*class.name, rgba(class.color_rgb, 255)));
        Ok(vec![
            chunk(EntityPath::root(), &always, &[&rerun::AnnotationContext::new(classes)])?,
            chunk(world(), &always, &[&rerun::ViewCoordinates::RIGHT_HAND_Z_UP()])?,
        ])
    }

    /// The next frame.
    pub(crate) fn paint(&mut self, frame: &SceneFrame) -> Result<Vec<Chunk>, ReviewError> {
        let now = moment(frame);
        let boxes: Vec<&Box3> = frame.boxes.iter().filter(|found| found.ego_from_box.is_valid()).collect();
        self.trails.advance(&frame.boxes);
        let ground_m = colors::ground_height_m(&frame.points);

        let mut chunks = Vec::new();
        if self.ground_m.is_none() && !frame.points.is_empty() {
            self.ground_m = Some(ground_m);
            let always = TimePoint::default();
            chunks.push(chunk(ego() / "rings", &always, &[&rings(ground_m)])?);
            chunks.push(chunk(ego() / "vehicle", &always, &[&vehicle(ground_m)])?);
        }
        let origin_m = self.origin(frame.world_from_ego.as_ref());
        chunks.push(chunk(ego(), &now, &[&placed(frame.world_from_ego.as_ref(), &origin_m)])?);
        chunks.push(chunk(ego() / "lidar", &now, &[&lidar(&frame.points, ground_m)])?);
        if !self.is_of_sensors {
            chunks.push(chunk(ego() / "boxes", &now, &[&self.boxes(&boxes), &explained(&boxes)])?);
            chunks.push(chunk(ego() / "labels", &now, &[&self.labels(&boxes)])?);
            chunks.push(chunk(ego() / "headings", &now, &[&self.headings(&boxes)])?);
            chunks.push(chunk(world() / "trails", &now, &[&self.trails(&frame.boxes, &origin_m)])?);
        }
        self.paint_cameras(frame, &boxes, &now, &mut chunks)?;
        Ok(chunks)
    }

    /// The boxes of frames and what is drawn of them, an entity a chunk: one message an entity, however many frames there are.
    pub(crate) fn boxes_of(&self, frames: &[SceneFrame]) -> Result<Vec<Chunk>, ReviewError> {
        let mut rows: BTreeMap<EntityPath, Vec<(TimePoint, Box<dyn AsComponents>)>> = BTreeMap::new();
        for frame in frames {
            let now = moment(frame);
            let boxes: Vec<&Box3> = frame.boxes.iter().filter(|found| found.ego_from_box.is_valid()).collect();
            let mut put = |path: EntityPath, drawn: Box<dyn AsComponents>| rows.entry(path).or_default().push((now.clone(), drawn));
            put(ego() / "boxes", Box::new(self.boxes(&boxes)));
            put(ego() / "labels", Box::new(self.labels(&boxes)));
            put(ego() / "headings", Box::new(self.headings(&boxes)));
            for camera in frame.cameras.iter() {
                put(camera_path(&camera.sensor) / "boxes", Box::new(self.wires(&boxes, Lens::new(camera).as_ref())));
            }
        }
        let chunk = |(path, rows): (EntityPath, Vec<(TimePoint, Box<dyn AsComponents>)>)| {
            let what = path.to_string();
            let mut builder = Chunk::builder(path);
            for (now, drawn) in rows {
                builder = builder.with_serialized_batches(RowId::new(), now, drawn.as_serialized_batches());
            }
            builder.build().map_err(|error| ReviewError::Draw { what, why: error.to_string() })
        };
        rows.into_iter().map(chunk).collect()
    }

    /// The first box of a frame as the one that is looked at, for all times until the next; empty where there is none.
    pub(crate) fn focus(&self, frame: &SceneFrame) -> Result<Chunk, ReviewError> {
        let cuboids = || frame.boxes.iter().take(1).map(|found| &found.ego_from_box).filter(|cuboid| cuboid.is_valid());
        let drawn = rerun::Boxes3D::from_centers_and_sizes(
            cuboids().map(|c| f32s(&c.center_m)),
            cuboids().map(|c| f32s(&c.size_lwh_m.add_scalar(FOCUS_AIR_M))),
        )
        .with_quaternions(cuboids().map(|c| quaternion(&c.rotation)))
        .with_colors(cuboids().map(|_| rgba([255, 255, 255], 255)))
        .with_radii(cuboids().map(|_| rerun::Radius::new_ui_points(2.2)))
        .with_fill_mode(rerun::FillMode::MajorWireframe);
        chunk(focus(), &TimePoint::default(), &[&drawn])
    }

    fn paint_cameras(
        &mut self,
        frame: &SceneFrame,
        boxes: &[&Box3],
        now: &TimePoint,
        chunks: &mut Vec<Chunk>,
    ) -> Result<(), ReviewError> {
        for image in &frame.images {
            self.cameras.entry(image.sensor.clone()).or_default();
        }
        for camera in frame.cameras.iter() {
            self.cameras.entry(camera.sensor.clone()).or_default().get_or_insert(looks_to(&camera.ego_from_sensor));
        }
        for name in self.cameras.keys() {
            let path = camera_path(name);
            let calibrated =
                frame.cameras.iter().find(|camera| camera.sensor == *name).and_then(|camera| Some((camera, Lens::new(camera)?)));
            if let Some((camera, _)) = &calibrated {
                chunks.push(chunk(path.clone(), now, &[&mounted(&camera.ego_from_sensor), &pinhole(camera)])?);
            }
            match frame.images.iter().find(|image| image.sensor == *name) {
                Some(image) => chunks.push(chunk(path.clone() / "image", now, &[&encoded(image)])?),
                None => chunks.push(chunk(path.clone() / "image", now, &[&rerun::archetypes::Clear::flat()])?),
            }
            if !self.is_of_sensors {
                let lens = calibrated.as_ref().map(|(_, lens)| lens);
                chunks.push(chunk(path / "boxes", now, &[&self.wires(boxes, lens)])?);
            }
        }
        Ok(())
    }

    /// The first pose of the recording, which is where its world begins.
    fn origin(&mut self, world_from_ego: Option<&Pose>) -> Vector3<f64> {
        if self.origin_m.is_none() {
            self.origin_m = world_from_ego.map(|pose| pose.translation.vector);
        }
        self.origin_m.unwrap_or_default()
    }

    fn boxes(&self, boxes: &[&Box3]) -> rerun::Boxes3D {
        let cuboids = || boxes.iter().map(|found| &found.ego_from_box);
        rerun::Boxes3D::from_centers_and_sizes(cuboids().map(|c| f32s(&c.center_m)), cuboids().map(|c| f32s(&c.size_lwh_m)))
            .with_quaternions(cuboids().map(|c| quaternion(&c.rotation)))
            .with_colors(boxes.iter().map(|found| self.color(found, 255)))
            .with_class_ids(boxes.iter().map(|found| found.class.0))
            .with_labels(boxes.iter().map(|found| self.label(found)))
            .with_radii(boxes.iter().map(|_| rerun::Radius::new_ui_points(1.3)))
            .with_fill_mode(rerun::FillMode::TransparentFillMajorWireframe)
            .with_show_labels(false)
    }

    /// Labels are an entity of their own, so that the view from above can leave them out; a box's own label shows when it is pointed at.
    fn labels(&self, boxes: &[&Box3]) -> rerun::Points3D {
        let near = || boxes.iter().filter(|found| found.ego_from_box.center_m.xy().norm() < LABELS_WITHIN_M);
        let above =
            |found: &&&Box3| f32s(&(found.ego_from_box.center_m + Vector3::z() * (found.ego_from_box.size_lwh_m.z / 2.0 + 0.3)));
        rerun::Points3D::new(near().map(|found| above(&found)))
            .with_labels(near().map(|found| self.label(found)))
            .with_colors(near().map(|found| self.color(found, 255)))
            .with_radii(near().map(|_| 0.0_f32))
            .with_show_labels(true)
    }

    fn headings(&self, boxes: &[&Box3]) -> rerun::Arrows3D {
        let arrows = || {
            boxes.iter().map(|found| {
                let cuboid = &found.ego_from_box;
                let forward = cuboid.rotation * Vector3::x();
                let tip_m = 0.4 + 0.3 * cuboid.size_lwh_m.x;
                (f32s(&(cuboid.center_m + forward * (cuboid.size_lwh_m.x / 2.0))), f32s(&(forward * tip_m)))
            })
        };
        rerun::Arrows3D::from_vectors(arrows().map(|(_, vector)| vector))
            .with_origins(arrows().map(|(origin, _)| origin))
            .with_colors(boxes.iter().map(|found| self.color(found, 255)))
            .with_radii(boxes.iter().map(|_| rerun::Radius::new_ui_points(1.6)))
    }

    fn trails(&self, boxes: &[Box3], origin_m: &Vector3<f64>) -> rerun::LineStrips3D {
        let strips = self.trails.strips(boxes, origin_m);
        let colors: Vec<_> = strips.iter().map(|(class, _)| rgba(self.taxonomy.get(*class).color_rgb, 190)).collect();
        let radii = vec![rerun::Radius::new_ui_points(1.2); strips.len()];
        rerun::LineStrips3D::new(strips.into_iter().map(|(_, strip)| strip)).with_colors(colors).with_radii(radii)
    }

    fn wires(&self, boxes: &[&Box3], lens: Option<&Lens<'_>>) -> rerun::LineStrips2D {
        let (mut strips, mut colors, mut radii) = (Vec::new(), Vec::new(), Vec::new());
        for found in boxes {
            for wire in lens.map(|lens| lens.wires(&found.ego_from_box)).unwrap_or_default() {
                strips.push(wire.points_px);
                colors.push(self.color(found, 255));
                radii.push(rerun::Radius::new_ui_points(if wire.front { 1.1 } else { 0.6 }));
            }
        }
        rerun::LineStrips2D::new(strips).with_colors(colors).with_radii(radii)
    }

    /// `car 12 · 0.93`: class, number of the track and confidence; then what networks had to say of it, where they had.
    fn label(&self, found: &Box3) -> String {
        let class = self.taxonomy.get(found.class).name.replace('_', " ");
        let said = said_by_networks(&found.evidence, found.class.0.into());
        format!("{class} {} · {:.2}{said}", found.track_id.number, found.score)
    }

    fn color(&self, found: &Box3, alpha: u8) -> rerun::Color {
        let rgb = self.taxonomy.get(found.class).color_rgb;
        rgba(if found.predicted { colors::lighter(rgb) } else { rgb }, alpha).into()
    }
}

/// Why each box is as it is, for the viewer's selection panel: a click on a box shows it.
fn explained(boxes: &[&Box3]) -> rerun::AnyValues {
    rerun::AnyValues::default()
        .with_component::<rerun::components::Text>("evidence", boxes.iter().map(|found| found.evidence.as_str()))
}

/// ` · yolox_nano +2.1`: which camera network voted, and the log-odds that it added to the box's class; ` · by pointrcnn`: whose boxes the track
/// is made of. What the evidence does not hold, or holds in another way, is left out: it is text that may come from elsewhere.
fn said_by_networks(evidence: &str, class: usize) -> String {
    // Most boxes have neither, and every box of every frame comes by here.
    if !evidence.contains("\"camera\"") && !evidence.contains("\"detector\"") {
        return String::new();
    }
    let Ok(evidence) = serde_json::from_str::<serde_json::Value>(evidence) else { return String::new() };
    let model = |part: &str| evidence[part]["model"].as_str().map(str::to_owned);
    let detector = model("detector").map(|model| format!(" · by {model}"));
    let votes = evidence["camera"]["logits"][class].as_f64();
    let camera = model("camera").zip(votes).map(|(model, logit)| format!(" · {model} {logit:+.1}"));
    [detector, camera].into_iter().flatten().collect()
}

/// Path of everything that does not move.
pub(crate) fn world() -> EntityPath {
    EntityPath::from("world")
}

/// Path of the vehicle.
pub(crate) fn ego() -> EntityPath {
    world() / "ego"
}

/// Path of the box that is looked at.
pub(crate) fn focus() -> EntityPath {
    ego() / "focus"
}

fn moment(frame: &SceneFrame) -> TimePoint {
    TimePoint::default()
        .with(Timeline::new_sequence(FRAME_TIMELINE), frame.index)
        .with(Timeline::new_timestamp(TIME_TIMELINE), frame.stamp_ns)
}

/// Path of a camera. Its name stays one part of the path, whatever characters it has.
pub(crate) fn camera_path(sensor: &str) -> EntityPath {
    ego() / "cameras" / rerun::EntityPathPart::new(sensor)
}

/// A row of one entity as a chunk of its own. No time means: for the whole recording.
pub(crate) fn chunk(path: EntityPath, now: &TimePoint, parts: &[&dyn AsComponents]) -> Result<Chunk, ReviewError> {
    let what = path.to_string();
    let batches = parts.iter().flat_map(|part| part.as_serialized_batches());
    let built = Chunk::builder(path).with_serialized_batches(RowId::new(), now.clone(), batches).build();
    built.map_err(|error| ReviewError::Draw { what, why: error.to_string() })
}

/// Three numbers as the viewer takes them.
pub(crate) fn f32s(vector: &Vector3<f64>) -> [f32; 3] {
    [vector.x as f32, vector.y as f32, vector.z as f32]
}

fn quaternion(rotation: &nalgebra::UnitQuaternion<f64>) -> rerun::Quaternion {
    rerun::Quaternion::from_xyzw(
        rotation.coords.as_slice().first_chunk().map_or([0.0, 0.0, 0.0, 1.0], |xyzw: &[f64; 4]| xyzw.map(|v| v as f32)),
    )
}

fn rgba([r, g, b]: [u8; 3], alpha: u8) -> rerun::Rgba32 {
    rerun::Rgba32::from_unmultiplied_rgba(r, g, b, alpha)
}

fn placed(world_from_ego: Option<&Pose>, origin_m: &Vector3<f64>) -> rerun::Transform3D {
    let pose = world_from_ego.copied().unwrap_or_default();
    rerun::Transform3D::from_translation_rotation(f32s(&(pose.translation.vector - origin_m)), quaternion(&pose.rotation))
}

fn mounted(ego_from_sensor: &Pose) -> rerun::Transform3D {
    rerun::Transform3D::from_translation_rotation(f32s(&ego_from_sensor.translation.vector), quaternion(&ego_from_sensor.rotation))
}

fn pinhole(camera: &SceneCamera) -> rerun::Pinhole {
    let model = &camera.model;
    let matrix = rerun::components::PinholeProjection::from_focal_length_and_principal_point(
        [model.fx_px as f32, model.fy_px as f32],
        [model.cx_px as f32, model.cy_px as f32],
    );
    rerun::Pinhole::new(matrix)
        .with_resolution([model.width_px as f32, model.height_px as f32])
        .with_camera_xyz(rerun::components::ViewCoordinates::RDF)
        .with_image_plane_distance(IMAGE_PLANE_M)
        .with_color(rgba([120, 134, 160], 255))
}

fn encoded(image: &SceneImage) -> rerun::EncodedImage {
    let drawn = rerun::EncodedImage::from_file_contents(image.data.to_vec());
    match &*image.format {
        "jpeg" | "jpg" => drawn.with_media_type(rerun::MediaType::JPEG),
        "png" => drawn.with_media_type(rerun::MediaType::PNG),
        // The viewer looks at the bytes itself.
        _ => drawn,
    }
}

fn lidar(points: &PointCloud, ground_m: f32) -> rerun::Points3D {
    let bright = colors::bright_intensity(points);
    let finite =
        |index: &usize| [&points.x, &points.y, &points.z].iter().all(|axis| axis.get(*index).is_some_and(|v| v.is_finite()));
    let kept: Vec<usize> = (0..points.len()).filter(finite).collect();
    let color = |index: usize| {
        let shine = points.intensity.get(index).map_or(0.0, |value| if bright > 0.0 { value / bright } else { 0.0 });
        rerun::Color::from(rgba(colors::point_rgb(points.z[index] - ground_m, shine), 255))
    };
    rerun::Points3D::new(kept.iter().map(|index| [points.x[*index], points.y[*index], points.z[*index]]))
        .with_colors(kept.iter().map(|index| color(*index)))
        .with_radii([rerun::Radius::new_ui_points(1.3)])
}

fn rings(ground_m: f32) -> rerun::LineStrips3D {
    let ring = |radius: f32| -> Vec<[f32; 3]> {
        (0..=96)
            .map(|step| {
                let (sin, cos) = (step as f32 / 96.0 * std::f32::consts::TAU).sin_cos();
                [radius * cos, radius * sin, ground_m]
            })
            .collect()
    };
    rerun::LineStrips3D::new(RINGS_M.map(ring))
        .with_colors(RINGS_M.map(|_| rgba([58, 66, 82], 255)))
        .with_radii(RINGS_M.map(|_| rerun::Radius::new_ui_points(0.7)))
}

/// The vehicle as a map shows it: an arrow that points ahead. Its size says nothing, for nobody told it.
fn vehicle(ground_m: f32) -> rerun::LineStrips3D {
    let outline = [[2.0, 0.0], [-1.4, 1.1], [-0.7, 0.0], [-1.4, -1.1], [2.0, 0.0]];
    rerun::LineStrips3D::new([outline.map(|[x, y]: [f32; 2]| [x, y, ground_m]).to_vec()])
        .with_colors([rgba([240, 244, 250], 255)])
        .with_radii([rerun::Radius::new_ui_points(1.6)])
}

/// Direction about +z of the vehicle that a camera looks in.
fn looks_to(ego_from_sensor: &Pose) -> f64 {
    let ahead = ego_from_sensor.rotation * Vector3::z();
    ahead.y.atan2(ahead.x)
}

#[cfg(test)]
mod tests;
