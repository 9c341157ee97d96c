//! nuScenes: truth from the tables of a version folder, labels from a detection or tracking submission.
//!
//! A submission says by its samples which scenes are scored; each of these must be there whole, as the official tool wants of a split.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_model::Cuboid;
use boxwright_model::space::pose_from_parts;
use nalgebra::{Point3, Vector3};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::nuscenes_names::{class_of_category, is_class};
use crate::error::{EvalError, read_text};
use crate::labels::{FrameKey, FrameNumbers, LabelSet, Object};

/// Most boxes that a sample of a submission may hold.
const MAX_BOXES: usize = 500;
/// Farther apart, two annotations give no velocity (seconds).
const MAX_VELOCITY_GAP_S: f64 = 1.5;

#[derive(Deserialize)]
struct Scene {
    token: String,
}

#[derive(Deserialize)]
struct Sample {
    token: String,
    timestamp: i64,
    scene_token: String,
}

#[derive(Deserialize)]
struct SampleData {
    sample_token: String,
    ego_pose_token: String,
    calibrated_sensor_token: String,
    is_key_frame: bool,
}

#[derive(Deserialize)]
struct CalibratedSensor {
    token: String,
    sensor_token: String,
}

#[derive(Deserialize)]
struct Sensor {
    token: String,
    channel: String,
}

#[derive(Deserialize)]
struct EgoPose {
    token: String,
    translation: [f64; 3],
}

#[derive(Deserialize)]
struct Named {
    token: String,
    name: String,
}

#[derive(Deserialize)]
struct Instance {
    token: String,
    category_token: String,
}

#[derive(Deserialize)]
struct Annotation {
    token: String,
    sample_token: String,
    instance_token: String,
    attribute_tokens: Vec<String>,
    translation: [f64; 3],
    size: [f64; 3],
    rotation: [f64; 4],
    prev: String,
    next: String,
    num_lidar_pts: u32,
    num_radar_pts: u32,
}

/// The tables of a version folder as far as they are needed to judge a submission.
pub struct Tables {
    folder: PathBuf,
    /// Every object of every sample, racks left out.
    truth: LabelSet,
    key_of: BTreeMap<String, FrameKey>,
    ego_of: BTreeMap<FrameKey, [f64; 3]>,
    racks_of: BTreeMap<FrameKey, Vec<Cuboid>>,
}

/// The folder with the tables that a path means: itself or one `v1.0-…` below it.
#[must_use]
pub fn tables_folder(path: &Path) -> Option<PathBuf> {
    let holds = |folder: &Path| folder.join("sample_annotation.json").is_file();
    if holds(path) {
        return Some(path.to_owned());
    }
    let mut below: Vec<PathBuf> =
        std::fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| holds(p)).collect();
    below.sort();
    (below.len() == 1).then(|| below.remove(0))
}

fn table<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Vec<T>, EvalError> {
    let path = folder.join(format!("{name}.json"));
    serde_json::from_str(&read_text(&path)?)
        .map_err(|e| EvalError::format(&path, format!("expected nuScenes' table {name}, got {e}")))
}

fn cuboid(
    path: &Path,
    what: &str,
    translation: [f64; 3],
    size_wlh: [f64; 3],
    rotation_wxyz: [f64; 4],
) -> Result<Cuboid, EvalError> {
    let [w, x, y, z] = rotation_wxyz;
    let pose = pose_from_parts(translation, [x, y, z, w])
        .filter(|_| size_wlh.iter().all(|side| side.is_finite() && *side > 0.0))
        .ok_or_else(|| {
        EvalError::format(
            path,
            format!("{what}: expected finite numbers and sizes above 0, got {translation:?}, {size_wlh:?}, {rotation_wxyz:?}"),
        )
    })?;
    Ok(Cuboid {
        center_m: pose.translation.vector,
        size_lwh_m: Vector3::new(size_wlh[1], size_wlh[0], size_wlh[2]),
        rotation: pose.rotation,
    })
}

impl Tables {
    /// Reads the tables.
    ///
    /// # Errors
    /// When one is missing or is something else, or a token leads nowhere.
    pub fn read(folder: &Path) -> Result<Self, EvalError> {
        let lost = |kind: &str, token: &str| {
            EvalError::format(folder, format!("expected {kind} {token}, got none\nhint: the tables of a version belong together"))
        };
        let names =
            |table: Vec<Named>| -> BTreeMap<String, String> { table.into_iter().map(|row| (row.token, row.name)).collect() };
        let categories = names(table(folder, "category")?);
        let attributes = names(table(folder, "attribute")?);
        let category_of: BTreeMap<String, String> =
            table::<Instance>(folder, "instance")?.into_iter().map(|row| (row.token, row.category_token)).collect();
        let scenes: BTreeSet<String> = table::<Scene>(folder, "scene")?.into_iter().map(|row| row.token).collect();
        let mut found = Self {
            folder: folder.to_owned(),
            truth: LabelSet::new(folder, FrameNumbers::StampNs),
            key_of: BTreeMap::new(),
            ego_of: BTreeMap::new(),
            racks_of: BTreeMap::new(),
        };
        for sample in table::<Sample>(folder, "sample")? {
            if !scenes.contains(&sample.scene_token) {
                return Err(lost("scene", &sample.scene_token));
            }
            let key = FrameKey { sequence: sample.scene_token.as_str().into(), number: sample.timestamp.saturating_mul(1000) };
            found.truth.frame_mut(&key.sequence, key.number);
            found.key_of.insert(sample.token, key);
        }
        found.read_ego_poses()?;
        let annotations: Vec<Annotation> = table(folder, "sample_annotation")?;
        let by_token: BTreeMap<&str, &Annotation> = annotations.iter().map(|row| (row.token.as_str(), row)).collect();
        for row in &annotations {
            let key = found.key_of.get(&row.sample_token).ok_or_else(|| lost("sample", &row.sample_token))?.clone();
            let category = category_of.get(&row.instance_token).and_then(|token| categories.get(token));
            let category = category.ok_or_else(|| lost("category of instance", &row.instance_token))?;
            let cuboid = cuboid(folder, &format!("annotation {}", row.token), row.translation, row.size, row.rotation)?;
            if category == "static_object.bicycle_rack" {
                found.racks_of.entry(key.clone()).or_default().push(cuboid);
            }
            let Some(class) = class_of_category(category) else { continue };
            let mut object = Object::new(class, cuboid);
            object.track = Some(row.instance_token.as_str().into());
            object.num_points = Some(row.num_lidar_pts.saturating_add(row.num_radar_pts));
            object.attribute =
                row.attribute_tokens.first().and_then(|token| attributes.get(token)).map_or("", String::as_str).into();
            object.velocity_mps = found.velocity(row, &by_token);
            found.truth.frame_mut(&key.sequence, key.number).objects.push(object);
        }
        let mut truth = std::mem::replace(&mut found.truth, LabelSet::new(folder, FrameNumbers::StampNs));
        truth.frames.iter_mut().for_each(|(key, frame)| frame.objects.iter_mut().for_each(|object| found.place(key, object)));
        truth.has_scores = false;
        found.truth = truth;
        Ok(found)
    }

    fn read_ego_poses(&mut self) -> Result<(), EvalError> {
        let folder = &self.folder;
        let is_top = |sensor: &Sensor| sensor.channel == "LIDAR_TOP";
        let top: BTreeSet<String> = table::<Sensor>(folder, "sensor")?.into_iter().filter(is_top).map(|row| row.token).collect();
        let on_top = |row: &CalibratedSensor| top.contains(&row.sensor_token);
        let calibrated: BTreeSet<String> =
            table::<CalibratedSensor>(folder, "calibrated_sensor")?.into_iter().filter(on_top).map(|row| row.token).collect();
        let poses: BTreeMap<String, [f64; 3]> =
            table::<EgoPose>(folder, "ego_pose")?.into_iter().map(|row| (row.token, row.translation)).collect();
        for row in table::<SampleData>(folder, "sample_data")?.into_iter().filter(|row| row.is_key_frame) {
            if let (true, Some(key), Some(pose)) = (
                calibrated.contains(&row.calibrated_sensor_token),
                self.key_of.get(&row.sample_token),
                poses.get(&row.ego_pose_token),
            ) {
                self.ego_of.insert(key.clone(), *pose);
            }
        }
        match self.key_of.iter().find(|(_, key)| !self.ego_of.contains_key(*key)) {
            Some((token, _)) => {
                Err(EvalError::format(folder, format!("sample {token}: expected a key frame of LIDAR_TOP with its pose, got none")))
            }
            None => Ok(()),
        }
    }

    /// Central difference, one-sided at the ends of a track; NaN where the neighbours are too far away.
    fn velocity(&self, row: &Annotation, by_token: &BTreeMap<&str, &Annotation>) -> [f64; 2] {
        let (before, after) = (by_token.get(row.prev.as_str()), by_token.get(row.next.as_str()));
        let (first, last) = (before.copied().unwrap_or(row), after.copied().unwrap_or(row));
        // In seconds since 1970 before the difference is taken, as the devkit does: what that loses is more than the 1e-6 of agreement.
        let time_s = |annotation: &Annotation| {
            self.key_of.get(&annotation.sample_token).map_or(0.0, |key| 1e-6 * (key.number / 1000) as f64)
        };
        let seconds = time_s(last) - time_s(first);
        let limit = if before.is_some() && after.is_some() { 2.0 * MAX_VELOCITY_GAP_S } else { MAX_VELOCITY_GAP_S };
        if seconds <= 0.0 || seconds > limit {
            return [f64::NAN; 2];
        }
        [0, 1].map(|axis| (last.translation[axis] - first.translation[axis]) / seconds)
    }

    /// Distance from the vehicle, and whether it stands in a rack of bicycles.
    fn place(&self, key: &FrameKey, object: &mut Object) {
        let center = object.cuboid.center_m;
        if let Some([x, y, _]) = self.ego_of.get(key) {
            object.range_m = ((center.x - x).powi(2) + (center.y - y).powi(2)).sqrt();
        }
        let racks = self.racks_of.get(key).map_or(&[][..], Vec::as_slice);
        object.ignored = matches!(&*object.class, "bicycle" | "motorcycle")
            && racks.iter().any(|rack| rack.contains(&Point3::from(center), 0.0));
    }

    /// Reads a submission; gives the labels and the truth of the scenes in it.
    ///
    /// # Errors
    /// When it is no submission, names unknown samples or classes, or leaves samples of a scene out.
    pub fn with_submission(self, path: &Path) -> Result<(LabelSet, LabelSet), EvalError> {
        let submission: Submission = serde_json::from_str(&without_nan(&read_text(path)?))
            .map_err(|e| EvalError::format(path, format!("expected a nuScenes submission (meta, results), got {e}")))?;
        let mut labels = LabelSet::new(path, FrameNumbers::StampNs);
        for (token, boxes) in submission.results.0 {
            let Some(key) = self.key_of.get(&token) else {
                let message = format!(
                    "expected tokens of samples in {}, got {token:?}\nhint: labels and truth must be of the same version",
                    self.folder.display()
                );
                return Err(EvalError::format(path, message));
            };
            if boxes.len() > MAX_BOXES {
                return Err(EvalError::format(
                    path,
                    format!("sample {token}: expected at most {MAX_BOXES} boxes, got {}", boxes.len()),
                ));
            }
            let frame = labels.frame_mut(&key.sequence, key.number);
            for (index, one) in boxes.into_iter().enumerate() {
                let mut object = one.into_object(path, &format!("sample {token}, box {index}"))?;
                self.place(key, &mut object);
                frame.objects.push(object);
            }
        }
        let scored: BTreeSet<Arc<str>> = labels.sequences().into_iter().collect();
        let mut truth = self.truth;
        truth.frames.retain(|key, _| scored.contains(&key.sequence));
        truth.order.retain(|key| scored.contains(&key.sequence));
        let missing: Vec<&FrameKey> = truth.frames.keys().filter(|key| !labels.frames.contains_key(key)).collect();
        if let Some(first) = missing.first() {
            let token = self.key_of.iter().find(|(_, key)| key == first).map_or("", |(token, _)| token.as_str());
            let message = format!(
                "expected every sample of the {} scenes in it, got none for {} of {} samples (such as {token})\nhint: a sample without \
                 objects has an empty list",
                scored.len(),
                missing.len(),
                truth.frames.len()
            );
            return Err(EvalError::format(path, message));
        }
        Ok((labels, truth))
    }
}

#[derive(Deserialize)]
struct Submission {
    results: InOrder,
}

/// A JSON object in the order of the file: it decides between equal scores.
struct InOrder(Vec<(String, Vec<SubmittedBox>)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = InOrder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("lists of boxes by token of the sample")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<InOrder, M::Error> {
                let mut found = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    found.push(entry);
                }
                Ok(InOrder(found))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
struct SubmittedBox {
    translation: [f64; 3],
    size: [f64; 3],
    rotation: [f64; 4],
    #[serde(default)]
    velocity: Option<[Option<f64>; 2]>,
    #[serde(alias = "tracking_name")]
    detection_name: String,
    #[serde(alias = "tracking_score")]
    detection_score: f64,
    #[serde(default)]
    attribute_name: String,
    #[serde(default)]
    tracking_id: Option<String>,
}

impl SubmittedBox {
    fn into_object(self, path: &Path, what: &str) -> Result<Object, EvalError> {
        if !is_class(&self.detection_name) {
            let message = format!("{what}: expected a class of nuScenes (car, truck, …), got {:?}", self.detection_name);
            return Err(EvalError::format(path, message));
        }
        let cuboid = cuboid(path, what, self.translation, self.size, self.rotation)?;
        let mut object = Object::new(&self.detection_name, cuboid);
        object.track = self.tracking_id.map(Into::into);
        object.score = self.detection_score;
        object.attribute = self.attribute_name.into();
        object.velocity_mps = self.velocity.unwrap_or_default().map(|v| v.unwrap_or(f64::NAN));
        Ok(object)
    }
}

/// Python writes `NaN` (the velocity of what was seen once), which JSON does not know: `null` in its place, but not within texts.
fn without_nan(text: &str) -> Cow<'_, str> {
    if !text.contains("NaN") {
        return Cow::Borrowed(text);
    }
    let mut is_within = false;
    let mut parts = Vec::new();
    for part in text.split('"') {
        // A quote behind a backslash ends nothing; behind two it does.
        let escapes = |part: &str| part.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
        parts.push(if is_within { Cow::Borrowed(part) } else { Cow::Owned(part.replace("NaN", "null")) });
        is_within = !is_within || escapes(part);
    }
    Cow::Owned(parts.join("\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_for_no_number_is_read_and_texts_stay() {
        let text = r#"{"a NaN": [NaN, 1.0], "b\"NaN": NaN, "c\\": [NaN]}"#;
        assert_eq!(without_nan(text), r#"{"a NaN": [null, 1.0], "b\"NaN": null, "c\\": [null]}"#);
        assert!(matches!(without_nan("[1]"), Cow::Borrowed(_)));
    }
}
