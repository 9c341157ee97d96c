//! From an encoded image to the tensor of a network.

use std::io::Cursor;

use boxwright_label::models::EncodedImage;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::manifest::{CameraInput, Channels, Layout};
use crate::session::Tensor;

/// Most pixels of an image: the largest cameras on vehicles have 12 million. A picture of this size has 192 MB, and a few bytes of a file can claim
/// far more.
pub const MAX_PIXELS: usize = 64 << 20;
/// Longest side of an image: a strip of one row must not pass for a small one.
pub const MAX_SIDE_PX: usize = 16_384;

/// Three bytes a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green, blue, row by row.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// Decodes JPEG and PNG.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn decode(image: &EncodedImage<'_>) -> Result<Self, String> {
        let decoded = match image.format {
            "jpeg" => Self::jpeg(image.data),
            "png" => Self::png(image.data),
            other => return Err(format!("expected images as jpeg or png, got {other}")),
        };
        let picture = decoded.map_err(|error| format!("an image cannot be decoded: {error}"))?;
        if picture.width == 0 || picture.height == 0 || picture.rgb.len() != picture.width * picture.height * 3 {
            return Err(format!("expected {} x {} pixels, got {} bytes", picture.width, picture.height, picture.rgb.len()));
        }
        Ok(picture)
    }

    fn jpeg(data: &[u8]) -> Result<Self, String> {
        let options = DecoderOptions::default()
            .set_max_width(MAX_SIDE_PX)
            .set_max_height(MAX_SIDE_PX)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(Cursor::new(data), options);
        decoder.decode_headers().map_err(|error| format!("{error:?}"))?;
        let (width, height) = decoder.dimensions().ok_or("it has no size")?;
        check_size(width, height)?;
        let rgb = decoder.decode().map_err(|error| format!("{error:?}"))?;
        let info = decoder.info().ok_or("it has no size")?;
        Ok(Self { width: usize::from(info.width), height: usize::from(info.height), rgb })
    }

    fn png(data: &[u8]) -> Result<Self, String> {
        let mut decoder = png::Decoder::new(Cursor::new(data));
        decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
        let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
        let (width, height) = reader.info().size();
        check_size(width as usize, height as usize)?;
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
}

/// What a file claims to be is checked before memory is taken for it.
fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width.max(height) > MAX_SIDE_PX || width.saturating_mul(height) > MAX_PIXELS {
        return Err(format!("expected at most {MAX_SIDE_PX} pixels a side and {MAX_PIXELS} together, got {width} x {height}"));
    }
    Ok(())
}

/// An image as a network takes it.
pub(crate) struct Prepared {
    pub(crate) tensor: Tensor,
    /// Width and height of the tensor.
    pub(crate) size_px: [usize; 2],
    /// Pixels of the tensor for a pixel of the image.
    pub(crate) scale: f64,
}

/// Fits the image into the top left corner of the network's input; what is left has the value of the padding.
pub(crate) fn prepare(picture: &Picture, input: &CameraInput) -> Prepared {
    let fits = |size: u32, of: usize| f64::from(size) / of as f64;
    let up = |length: f64| (length.round().max(1.0) as usize).next_multiple_of(input.stride as usize);
    let (scale, size_px) = match input.size_px {
        Some([width, height]) => (fits(width, picture.width).min(fits(height, picture.height)), [width as usize, height as usize]),
        None => {
            // An image as tall as wide bounds the tensor's other side too.
            let scale = fits(input.max_width_px, picture.width.max(picture.height)).min(1.0);
            (scale, [up(picture.width as f64 * scale), up(picture.height as f64 * scale)])
        }
    };
    let [width, height] = size_px;
    let (filled_w, filled_h) = (scaled(picture.width, scale, width), scaled(picture.height, scale, height));
    let order = if input.channels == Channels::Rgb { [0, 1, 2] } else { [2, 1, 0] };
    let normal = |value: f32, channel: usize| (value - input.mean[channel]) / input.std[channel];
    let mut data = vec![0.0; 3 * width * height];
    let at = |column: usize, row: usize, channel: usize| match input.layout {
        Layout::Nchw => (channel * height + row) * width + column,
        Layout::Nhwc => (row * width + column) * 3 + channel,
    };
    let columns: Vec<Sample> = (0..filled_w).map(|column| Sample::of(column, scale, picture.width)).collect();
    for row in 0..height {
        let rows = (row < filled_h).then(|| Sample::of(row, scale, picture.height));
        for column in 0..width {
            let inside = rows.zip(columns.get(column));
            for (channel, source) in order.into_iter().enumerate() {
                let value = inside.map_or(input.pad, |(row, column)| bilinear(picture, *column, row, source));
                data[at(column, row, channel)] = normal(value, channel);
            }
        }
    }
    let shape = match input.layout {
        Layout::Nchw => vec![1, 3, height, width],
        Layout::Nhwc => vec![1, height, width, 3],
    };
    Prepared { tensor: Tensor { shape, data }, size_px, scale }
}

fn scaled(length: usize, scale: f64, most: usize) -> usize {
    ((length as f64 * scale).round() as usize).clamp(1, most)
}

/// Between which two pixels a pixel of the tensor lies, and how far from the first to the second.
#[derive(Clone, Copy)]
struct Sample {
    first: usize,
    second: usize,
    share: f32,
}

impl Sample {
    fn of(at: usize, scale: f64, length: usize) -> Self {
        let source = ((at as f64 + 0.5) / scale - 0.5).clamp(0.0, (length - 1) as f64);
        let first = source as usize;
        Self { first, second: (first + 1).min(length - 1), share: (source - first as f64) as f32 }
    }
}

fn bilinear(picture: &Picture, column: Sample, row: Sample, channel: usize) -> f32 {
    let value = |column: usize, row: usize| f32::from(picture.rgb[(row * picture.width + column) * 3 + channel]);
    let along = |row: usize| {
        let (a, b) = (value(column.first, row), value(column.second, row));
        a + (b - a) * column.share
    };
    let (above, below) = (along(row.first), along(row.second));
    above + (below - above) * row.share
}

#[cfg(test)]
mod tests;
