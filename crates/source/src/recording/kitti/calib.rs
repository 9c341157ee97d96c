//! Calibration files of a KITTI drive: where the IMU and the cameras are, and how the cameras see.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_model::{CameraModel, Pose};
use nalgebra::{Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

/// Largest calibration file that is read: real ones have 4 kB.
const MAX_CALIB_BYTES: u64 = 1 << 20;
/// Rotations in the files are rounded to 7 digits; one that is farther from orthonormal than this is none.
const MAX_ROTATION_ERROR: f64 = 1e-3;

/// Sensors are metres apart; farther than this is no place on a vehicle.
const MAX_PLACE_M: f64 = 1_000.0;

/// A calibrated camera: its place and its intrinsics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Camera {
    /// `ego_from_camera`; ego is the lidar's frame.
    pub(super) ego_from_camera: Pose,
    /// Intrinsics of the images in the folder.
    pub(super) model: CameraModel,
}

fn on_the_vehicle(key: &str, place_m: Vector3<f64>) -> Result<Vector3<f64>, String> {
    if place_m.iter().all(|value| value.abs() <= MAX_PLACE_M) {
        return Ok(place_m);
    }
    Err(format!("{key}: expected a place within {MAX_PLACE_M} m, got {} {} {}", place_m.x, place_m.y, place_m.z))
}

/// A calibration file: `key: numbers` lines.
pub(super) struct CalibFile {
    path: PathBuf,
    values: BTreeMap<String, Vec<f64>>,
}

impl CalibFile {
    /// Reads `name` from the first of `dirs` that has it; the error is a sentence.
    pub(super) fn find(dirs: &[&Path], name: &str) -> Result<Self, String> {
        let path = dirs
            .iter()
            .map(|dir| dir.join(name))
            .find(|path| path.is_file())
            .ok_or_else(|| format!("{name} is missing: expected it in the date folder, beside the drive"))?;
        let size = fs::metadata(&path).map_err(|error| format!("cannot read {name}: {error}"))?.len();
        if size > MAX_CALIB_BYTES {
            return Err(format!("{name}: expected at most {MAX_CALIB_BYTES} bytes, got {size}"));
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {name}: {error}"))?;
        let values = text.lines().filter_map(|line| line.split_once(':')).filter_map(|(key, rest)| {
            // Lines that are no numbers (`calib_time: 09-Jan-2012 …`) are of no use here.
            let numbers = rest.split_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<f64>>>()?;
            Some((key.trim().to_owned(), numbers))
        });
        Ok(Self { values: values.collect(), path })
    }

    fn numbers<const N: usize>(&self, key: &str) -> Result<[f64; N], String> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let values = self.values.get(key).ok_or_else(|| format!("{name}: expected a line `{key}: …`, got none"))?;
        <[f64; N]>::try_from(values.as_slice()).ok().filter(|numbers| numbers.iter().all(|number| number.is_finite())).ok_or_else(
            || {
                let shown = values.get(..values.len().min(2 * N)).unwrap_or_default();
                format!("{name}: {key}: expected {N} finite numbers, got {} that begin with {shown:?}", values.len())
            },
        )
    }

    fn rotation(&self, key: &str) -> Result<UnitQuaternion<f64>, String> {
        let matrix = Matrix3::from_row_slice(&self.numbers::<9>(key)?);
        let error = (matrix * matrix.transpose() - Matrix3::identity()).abs().max();
        if !(error <= MAX_ROTATION_ERROR) || matrix.determinant() < 0.0 {
            return Err(format!("{key}: expected a rotation matrix, got one that is {error:.1e} from orthonormal"));
        }
        let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(matrix));
        Ok(UnitQuaternion::new_normalize(rotation.into_inner()))
    }

    /// The rigid transform that the file's `R` and `T` with a suffix (`""`, `"_02"`) give.
    pub(super) fn rigid(&self, suffix: &str) -> Result<Pose, String> {
        let rotation = self.rotation(&format!("R{suffix}"))?;
        let translation = on_the_vehicle(&format!("T{suffix}"), Vector3::from(self.numbers::<3>(&format!("T{suffix}"))?))?;
        Ok(Pose::from_parts(Translation3::from(translation), rotation))
    }

    /// The camera `number` (`"02"`) of rectified images: `P_rect` and `R_rect_00`, no distortion.
    pub(super) fn rectified_camera(&self, number: &str, cam0_from_velo: &Pose) -> Result<Camera, String> {
        let p = self.numbers::<12>(&format!("P_rect_{number}"))?;
        let (fx, cx, fy, cy) = (p[0], p[2], p[5], p[6]);
        let rect_from_cam0 = Pose::from_parts(Translation3::identity(), self.rotation("R_rect_00")?);
        // P = K [I | t]: the fourth column is K t.
        let offset = Vector3::new((p[3] - cx * p[11]) / fx, (p[7] - cy * p[11]) / fy, p[11]);
        let offset = on_the_vehicle(&format!("P_rect_{number}"), offset)?;
        let camera_from_velo =
            Pose::from_parts(Translation3::from(offset), UnitQuaternion::identity()) * rect_from_cam0 * cam0_from_velo;
        let model = self.model(&format!("S_rect_{number}"), [fx, fy, cx, cy], "", Vec::new())?;
        Ok(Camera { ego_from_camera: camera_from_velo.inverse(), model })
    }

    /// The camera `number` of images as they were taken (`*_extract` drives): `K`, `D`, `R` and `T`.
    pub(super) fn unrectified_camera(&self, number: &str, cam0_from_velo: &Pose) -> Result<Camera, String> {
        let k = self.numbers::<9>(&format!("K_{number}"))?;
        let distortion = self.numbers::<5>(&format!("D_{number}"))?.to_vec();
        let camera_from_velo = self.rigid(&format!("_{number}"))? * cam0_from_velo;
        let model = self.model(&format!("S_{number}"), [k[0], k[4], k[2], k[5]], "plumb_bob", distortion)?;
        Ok(Camera { ego_from_camera: camera_from_velo.inverse(), model })
    }

    fn model(&self, size_key: &str, fx_fy_cx_cy: [f64; 4], name: &str, distortion: Vec<f64>) -> Result<CameraModel, String> {
        let [width, height] = self.numbers::<2>(size_key)?;
        let [fx_px, fy_px, cx_px, cy_px] = fx_fy_cx_cy;
        if !(fx_px > 0.0 && fy_px > 0.0 && (1.0..65536.0).contains(&width) && (1.0..65536.0).contains(&height)) {
            return Err(format!(
                "{size_key}: expected positive focal lengths and sizes, got {fx_px} {fy_px} px, {width} x {height}"
            ));
        }
        let distortion_model = Arc::from(name);
        Ok(CameraModel {
            fx_px,
            fy_px,
            cx_px,
            cy_px,
            distortion_model,
            distortion,
            width_px: width as u32,
            height_px: height as u32,
        })
    }
}
