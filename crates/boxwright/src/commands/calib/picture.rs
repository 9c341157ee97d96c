//! Images to look at and to draw on.

use std::fs::File;
use std::io::{BufWriter, Cursor};
use std::path::Path;

use anyhow::Context;
use boxwright_shard::CalibrationRow;
use boxwright_timesync::motion::Lens;
use nalgebra::Point3;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Colours go from near to far over this range (metres), by the logarithm: near things differ in metres, far ones in tens.
const COLOUR_RANGE_M: [f32; 2] = [3.0, 70.0];
/// Half of a point's side (pixels).
const POINT_HALF_PX: i64 = 1;

/// Three bytes a pixel.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) rgb: Vec<u8>,
}

impl Picture {
    /// Decodes JPEG and PNG; says why not.
    pub(super) fn decode(format: &str, data: &[u8]) -> Result<Self, String> {
        match format {
            "jpeg" => Self::jpeg(data).map_err(|error| format!("an image cannot be decoded: {error}")),
            "png" => Self::png(data).map_err(|error| format!("an image cannot be decoded: {error}")),
            other => Err(format!("expected images as jpeg or png, got {other}")),
        }
    }

    fn jpeg(data: &[u8]) -> Result<Self, String> {
        let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(Cursor::new(data), options);
        let rgb = decoder.decode().map_err(|error| format!("{error:?}"))?;
        let info = decoder.info().ok_or("it has no size")?;
        Ok(Self { width: usize::from(info.width), height: usize::from(info.height), rgb })
    }

    fn png(data: &[u8]) -> Result<Self, String> {
        let mut decoder = png::Decoder::new(Cursor::new(data));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
        let size = reader.output_buffer_size().ok_or("it is too large")?;
        let mut pixels = vec![0; size];
        let info = reader.next_frame(&mut pixels).map_err(|error| error.to_string())?;
        let samples = info.color_type.samples();
        let rgb = pixels[..info.buffer_size()]
            .chunks_exact(samples)
            .flat_map(|p| if samples < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] })
            .collect();
        Ok(Self { width: info.width as usize, height: info.height as usize, rgb })
    }

    /// The points of the ego frame where the camera should see them, coloured by depth, the nearest on top.
    pub(super) fn with_points(mut self, points: &[Point3<f32>], calibration: &CalibrationRow) -> Self {
        let known = calibration.model.clone().and_then(|model| Some((Lens::new(model).ok()?, calibration.ego_from_sensor?)));
        let Some((lens, ego_from_camera)) = known else { return self };
        let camera_from_ego = ego_from_camera.inverse();
        let scale = self.width as f64 / f64::from(lens.model().width_px);
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
                    self.dot([column, row], colour);
                }
            }
        }
        self
    }

    fn dot(&mut self, [column, row]: [i64; 2], colour: [u8; 3]) {
        if (0..self.width as i64).contains(&column) && (0..self.height as i64).contains(&row) {
            let at = 3 * (row as usize * self.width + column as usize);
            self.rgb[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Writes it as PNG.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let what = || format!("cannot write {}", file.display());
        let target = BufWriter::new(File::create(file).with_context(what)?);
        let mut encoder = png::Encoder::new(target, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.write_header().with_context(what)?.write_image_data(&self.rgb).with_context(what)
    }
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
    use super::*;

    #[test]
    fn colours_go_from_red_over_green_to_blue() {
        assert_eq!(
            [colour(1.0), colour(14.5), colour(200.0)].map(|c| c.iter().position(|v| *v == 255)),
            [Some(0), Some(1), Some(2)]
        );
    }

    #[test]
    fn what_is_no_image_is_told_and_a_picture_comes_back_as_it_was_written() {
        assert!(Picture::decode("jpeg", b"no image").unwrap_err().contains("cannot be decoded"));
        assert_eq!(Picture::decode("avif", b"").unwrap_err(), "expected images as jpeg or png, got avif");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.png");
        let picture = Picture { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6] };
        picture.write(&file).unwrap();
        let back = Picture::decode("png", &std::fs::read(&file).unwrap()).unwrap();
        assert_eq!((back.width, back.height, back.rgb), (2, 1, picture.rgb));
    }
}
