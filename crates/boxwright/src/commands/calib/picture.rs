//! Pictures of points over an image.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Context;
use boxwright_networks::image::Picture;
use boxwright_shard::CalibrationRow;
use boxwright_timesync::motion::Lens;
use nalgebra::Point3;

/// Colours go from near to far over this range (metres), by the logarithm: near things differ in metres, far ones in tens.
const COLOUR_RANGE_M: [f32; 2] = [3.0, 70.0];
/// Half of a point's side (pixels).
const POINT_HALF_PX: i64 = 1;

/// The points of the ego frame where the camera should see them, coloured by depth, the nearest on top.
pub(super) fn with_points(mut picture: Picture, points: &[Point3<f32>], calibration: &CalibrationRow) -> Picture {
    let known = calibration.model.clone().and_then(|model| Some((Lens::new(model).ok()?, calibration.ego_from_sensor?)));
    let Some((lens, ego_from_camera)) = known else { return picture };
    let camera_from_ego = ego_from_camera.inverse();
    let scale = picture.width as f64 / f64::from(lens.model().width_px);
    let mut seen: Vec<(f32, [i64; 2])> = points
        .iter()
        .filter_map(|p| {
            let in_camera = camera_from_ego * p.cast::<f64>();
            let pixel = lens.pixel(&in_camera).filter(|pixel| lens.contains(*pixel))?;
            Some((in_camera.z as f32, pixel.map(|at| ((at + 0.5) * scale) as i64)))
        })
        .collect();
    seen.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (depth_m, [u, v]) in seen {
        let colour = colour(depth_m);
        for row in v - POINT_HALF_PX..=v + POINT_HALF_PX {
            for column in u - POINT_HALF_PX..=u + POINT_HALF_PX {
                dot(&mut picture, [column, row], colour);
            }
        }
    }
    picture
}

fn dot(picture: &mut Picture, [column, row]: [i64; 2], colour: [u8; 3]) {
    if (0..picture.width as i64).contains(&column) && (0..picture.height as i64).contains(&row) {
        let at = 3 * (row as usize * picture.width + column as usize);
        picture.rgb[at..at + 3].copy_from_slice(&colour);
    }
}

/// Writes it as PNG.
pub(super) fn write(picture: &Picture, file: &Path) -> anyhow::Result<()> {
    let what = || format!("cannot write {}", file.display());
    let target = BufWriter::new(File::create(file).with_context(what)?);
    let mut encoder = png::Encoder::new(target, picture.width as u32, picture.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header().with_context(what)?.write_image_data(&picture.rgb).with_context(what)
}

/// Red is near, then yellow, green, blue.
fn colour(depth_m: f32) -> [u8; 3] {
    let [near, far] = COLOUR_RANGE_M;
    let share = ((depth_m / near).ln() / (far / near).ln()).clamp(0.0, 1.0);
    let hue = 4.0 * share;
    let ramp = |distance: f32| (255.0 * (2.0 - distance.abs()).clamp(0.0, 1.0)) as u8;
    [ramp(hue), ramp(hue - 2.0), ramp(hue - 4.0)]
}

#[cfg(test)]
mod tests {
    use boxwright_label::models::EncodedImage;

    use super::*;

    #[test]
    fn colours_go_from_red_over_green_to_blue() {
        assert_eq!(
            [colour(1.0), colour(14.5), colour(200.0)].map(|c| c.iter().position(|v| *v == 255)),
            [Some(0), Some(1), Some(2)]
        );
    }

    #[test]
    fn a_picture_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.png");
        let picture = Picture { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6] };
        write(&picture, &file).unwrap();
        let data = std::fs::read(&file).unwrap();
        assert_eq!(Picture::decode(&EncodedImage { format: "png", data: &data }).unwrap(), picture);
    }
}
