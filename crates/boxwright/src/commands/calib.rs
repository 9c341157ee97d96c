//! `boxwright calib check`: whether the cameras of a dataset, or of a recording, sit where they are said to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use boxwright_calib::{CameraCheck, CameraReport, Gray};
use boxwright_label::models::EncodedImage;
use boxwright_model::{PointCloud, Pose};
use boxwright_networks::image::Picture;
use boxwright_pipeline::Config;
use boxwright_shard::{CalibrationRow, CameraRow, ClipReader, Dataset, ManifestEntry};
use boxwright_timesync::{MotionConfig, PoseTrack};
use nalgebra::Point3;

use super::{into_temporary_dataset, load_config, locate};
use crate::args::{CalibAction, CalibArgs, CalibCheckArgs};
use crate::{Outcome, ui};

mod picture;

mod report;

/// Samples of a vehicle that are looked at, spread over all of them. More frames of the same streets tell little more, and each takes 2 MB of a
/// camera's memory.
const MAX_SAMPLES: usize = 24;
/// Poses of a clip that are kept: a day, which no clip is long.
const POSES_MS: u64 = 86_400_000;
/// Calibrations that differ by less are the same: far below what is judged, far above rounding.
const SAME_PLACE_M: f64 = 1e-3;
const SAME_TURN_RAD: f64 = 1e-4;
/// Every so many images of a camera are written with the points over them: three of a camera.
const OVERLAY_EVERY: usize = 8;

pub(crate) fn execute(args: &CalibArgs) -> anyhow::Result<Outcome> {
    let CalibAction::Check(args) = &args.action;
    check(args)
}

fn check(args: &CalibCheckArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), None)?;
    let temporary;
    let (dataset, is_truncated) = match (args.dataset.as_deref(), args.from.as_deref()) {
        (Some(dataset), None) => (Dataset::open_at(&locate(dataset, &config.store)?)?, false),
        (None, Some([format, path])) => {
            temporary = into_temporary_dataset(config.clone(), format, path)?;
            (temporary.dataset.clone(), temporary.is_truncated)
        }
        _ => bail!("expected a dataset or a recording, got neither\nhint: calib check DATASET, or calib check --from mcap FILE"),
    };
    if let Some(folder) = &args.overlay {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let (mut reports, mut left_out) = (Vec::new(), BTreeMap::new());
    let chosen = choose(&dataset)?;
    let bar = ui::bar(Some(chosen.iter().flatten().map(|(_, wanted)| wanted.len() as u64).sum()));
    // Vehicle after vehicle: what is kept of one are some megabytes a camera.
    for clips in chosen {
        bar.set_message("samples");
        let mut collected = Collected {
            config: &config,
            overlay: args.overlay.as_deref(),
            cameras: BTreeMap::new(),
            given: BTreeMap::new(),
            left_out: BTreeMap::new(),
        };
        for (entry, wanted) in clips {
            collected.clip(&dataset, &entry, &wanted)?;
            bar.inc(wanted.len() as u64);
        }
        left_out.extend(collected.left_out);
        // Without a picture there is nothing to search; why not is among what was left out.
        collected.cameras.retain(|_, (_, images)| *images > 0);
        bar.set_message("samples, searching for the turns that fit");
        reports.extend(finish(collected.cameras)?);
    }
    bar.finish_and_clear();
    if reports.is_empty() && left_out.is_empty() {
        bail!(
            "expected samples with a sweep and an image, got none\nhint: calibration is checked where lidar and cameras are in one sample"
        );
    }
    if reports.is_empty() {
        let reasons: Vec<String> = left_out.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        bail!("expected a camera that can be checked, got none\nhint: what each lacks: {}", reasons.join("; "));
    }
    if args.json {
        ui::print(&report::json(&reports, &left_out));
    } else {
        ui::print(report::text(&reports, &left_out).trim_end());
    }
    let outcome = if is_truncated { Outcome::DataLost } else { Outcome::Done };
    Ok(if reports.iter().any(|(_, report)| report.verdict.is_flagged()) { Outcome::Flagged } else { outcome })
}

/// Sensor and stamp of the members of a sample.
type Members = Vec<(Arc<str>, i64)>;

/// A clip, and the samples to look at in it.
type Chosen = (ManifestEntry, Vec<Members>);

/// The samples to look at, by vehicle and clip: of each vehicle as many as [`MAX_SAMPLES`], evenly over all that have two members at least.
fn choose(dataset: &Dataset) -> anyhow::Result<Vec<Vec<Chosen>>> {
    let mut by_vehicle: BTreeMap<String, Vec<(usize, Members)>> = BTreeMap::new();
    let entries = dataset.clips(None)?;
    for (index, entry) in entries.iter().enumerate() {
        let of_vehicle = by_vehicle.entry(entry.vehicle.to_string()).or_default();
        for sample in ClipReader::open(dataset, entry)?.samples()?.iter().filter(|sample| sample.members.len() > 1) {
            of_vehicle.push((index, sample.members.iter().map(|member| (member.sensor.clone(), member.stamp_ns)).collect()));
        }
    }
    let spread = |samples: Vec<(usize, Members)>| {
        let (count, all) = (samples.len().min(MAX_SAMPLES), samples.len());
        let mut wanted = (0..count).map(|number| number * all / count).peekable();
        let mut by_clip: BTreeMap<usize, Vec<Members>> = BTreeMap::new();
        for (number, (index, members)) in samples.into_iter().enumerate() {
            if wanted.next_if_eq(&number).is_some() {
                by_clip.entry(index).or_default().push(members);
            }
        }
        by_clip.into_iter().map(|(index, members)| (entries[index].clone(), members)).collect()
    };
    Ok(by_vehicle.into_values().map(spread).collect())
}

/// What has been seen of every camera so far.
struct Collected<'a> {
    config: &'a Config,
    overlay: Option<&'a Path>,
    cameras: BTreeMap<String, (CameraCheck, usize)>,
    /// The first calibration of every camera.
    given: BTreeMap<String, CalibrationRow>,
    /// Cameras that cannot be checked, and why.
    left_out: BTreeMap<String, String>,
}

impl Collected<'_> {
    fn clip(&mut self, dataset: &Dataset, entry: &ManifestEntry, wanted: &[Members]) -> anyhow::Result<()> {
        let reader = ClipReader::open(dataset, entry)?;
        let mut poses = PoseTrack::new(&MotionConfig { window_ms: POSES_MS, ..self.config.motion.clone() });
        reader.ego_poses()?.into_iter().for_each(|pose| {
            poses.push(pose);
        });
        let rows = reader.calibrations()?;
        rows.iter().try_for_each(|row| self.same_as_before(&format!("{}/{}", entry.vehicle, row.sensor), row))?;
        let calibrations: BTreeMap<Arc<str>, CalibrationRow> = rows.into_iter().map(|row| (row.sensor.clone(), row)).collect();
        let sample_of = |sensor: &Arc<str>, stamp_ns: i64| {
            wanted.iter().position(|members| members.iter().any(|(name, at)| name == sensor && *at == stamp_ns))
        };
        let mut sweeps: Vec<Vec<(Arc<str>, i64, Arc<PointCloud>)>> = vec![Vec::new(); wanted.len()];
        for row in reader.lidar()? {
            let row = row?;
            if let Some(sample) = sample_of(&row.sensor, row.stamp_ns) {
                sweeps[sample].push((row.sensor, row.stamp_ns, row.points));
            }
        }
        for row in reader.camera()? {
            let row = row?;
            let Some(sweeps) = sample_of(&row.sensor, row.stamp_ns).map(|sample| &sweeps[sample]) else { continue };
            let name = format!("{}/{}", entry.vehicle, row.sensor);
            let lidar = sweeps.first().and_then(|(sensor, ..)| calibrations.get(sensor)?.ego_from_sensor);
            if !sweeps.is_empty() && self.is_ready(&name, calibrations.get(&row.sensor), lidar.as_ref()) {
                let points = self.points_at(&row, sweeps, &poses);
                self.image(&name, &row, &points, calibrations.get(&row.sensor))?;
            }
        }
        Ok(())
    }

    /// One verdict is for one calibration: frames of another are not judged with the first.
    fn same_as_before(&mut self, name: &str, row: &CalibrationRow) -> anyhow::Result<()> {
        let (Some(model), Some(pose)) = (&row.model, &row.ego_from_sensor) else { return Ok(()) };
        let Some(first) = self.given.get(name) else {
            self.given.insert(name.to_owned(), row.clone());
            return Ok(());
        };
        let moved = first.ego_from_sensor.is_some_and(|given| {
            (given.translation.vector - pose.translation.vector).norm() > SAME_PLACE_M
                || given.rotation.angle_to(&pose.rotation) > SAME_TURN_RAD
        });
        ensure!(
            !moved && first.model.as_ref() == Some(model),
            "expected one calibration of {name}, got that of stamp {} and another one of stamp {}\nhint: check the drives before and after that stamp as datasets of their own",
            first.stamp_ns,
            row.stamp_ns
        );
        Ok(())
    }

    /// Whether a camera can be checked; begins its check with the first image.
    fn is_ready(&mut self, name: &str, calibration: Option<&CalibrationRow>, ego_from_lidar: Option<&Pose>) -> bool {
        if self.cameras.contains_key(name) {
            return true;
        }
        let known = calibration.and_then(|row| Some((row.model.clone()?, row.ego_from_sensor?)));
        let check = match known {
            None => Err("its intrinsics or its place on the vehicle are unknown".to_owned()),
            Some((model, ego_from_camera)) => {
                CameraCheck::new(model, &ego_from_camera, ego_from_lidar).map_err(|error| error.to_string())
            }
        };
        match check {
            Ok(check) => {
                self.cameras.insert(name.to_owned(), (check, 0));
                true
            }
            Err(reason) => {
                self.left_out.insert(name.to_owned(), reason);
                false
            }
        }
    }

    /// The points of the sweeps where they were, for what stands, in the ego frame of the middle of the image's exposure.
    fn points_at(&self, row: &CameraRow, sweeps: &[(Arc<str>, i64, Arc<PointCloud>)], poses: &PoseTrack) -> Vec<Point3<f32>> {
        let timing = &self.config.sync.timing;
        let image_ns = timing.get(&*row.sensor).cloned().unwrap_or_default().instant_ns(row.stamp_ns, row.stamp_ref);
        let mut points = Vec::new();
        for (sensor, stamp_ns, cloud) in sweeps {
            let sweep_ns = stamp_ns.saturating_add(timing.get(&**sensor).map_or(0, |timing| timing.offset_ns()));
            let moved = match (poses.at(image_ns), poses.at(sweep_ns)) {
                (Some(image), Some(sweep)) => image.world_from_ego.inverse() * sweep.world_from_ego,
                _ => Pose::identity(),
            };
            let moved = moved.cast::<f32>();
            points.extend(cloud.x.iter().zip(&cloud.y).zip(&cloud.z).map(|((x, y), z)| moved * Point3::new(*x, *y, *z)));
        }
        points
    }

    fn image(
        &mut self,
        name: &str,
        row: &CameraRow,
        points: &[Point3<f32>],
        calibration: Option<&CalibrationRow>,
    ) -> anyhow::Result<()> {
        let picture = match Picture::decode(&EncodedImage { format: &row.format, data: &row.data }) {
            Ok(picture) => picture,
            Err(reason) => {
                self.left_out.entry(name.to_owned()).or_insert(reason);
                return Ok(());
            }
        };
        let Some((check, images)) = self.cameras.get_mut(name) else { return Ok(()) };
        let Some(gray) = Gray::from_rgb(picture.width, picture.height, &picture.rgb) else {
            let (width, height, bytes) = (picture.width, picture.height, picture.rgb.len());
            let reason = format!("expected three bytes for each pixel of an image of {width} x {height}, got {bytes} bytes");
            self.left_out.entry(name.to_owned()).or_insert(reason);
            return Ok(());
        };
        check.push(&gray, points);
        let number = *images;
        *images += 1;
        match (self.overlay, calibration) {
            (Some(folder), Some(calibration)) if number.is_multiple_of(OVERLAY_EVERY) => {
                let file = folder.join(format!("{}-{}.png", plain(name), row.stamp_ns));
                picture::write(&picture::with_points(picture, points, calibration), &file)
            }
            _ => Ok(()),
        }
    }
}

/// A name from anybody's headers as part of a file's name.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' }).collect()
}

/// Every camera on a thread of its own: each is seconds of searching.
fn finish(cameras: BTreeMap<String, (CameraCheck, usize)>) -> anyhow::Result<Vec<(String, CameraReport)>> {
    std::thread::scope(|scope| {
        let searches: Vec<_> = cameras.into_iter().map(|(name, (check, _))| (name, scope.spawn(move || check.finish()))).collect();
        // All are waited for before the first failure is told.
        let ended: Vec<_> = searches.into_iter().map(|(name, search)| (name, search.join())).collect();
        let report = |(name, ended): (String, std::thread::Result<CameraReport>)| match ended {
            Ok(report) => Ok((name, report)),
            Err(_) => Err(anyhow!(
                "expected a verdict on camera {name}, got a search that broke off\nhint: this is a fault of the program; please report it with what was printed above"
            )),
        };
        ended.into_iter().map(report).collect()
    })
}
