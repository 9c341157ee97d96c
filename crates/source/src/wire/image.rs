//! Images: what format the bytes are in, how large the picture is, and raw pixels as PNG.
//!
//! Only headers are read, never pixels: enough to know the size and that the file was not cut.

use std::sync::Arc;

use boxwright_model::CameraImage;
use bytes::Bytes;

use super::Fault;
use crate::quoted::quoted;

/// Widest and highest picture that is believed; JPEG cannot say more either.
pub(super) const MAX_SIDE_PX: u32 = 65_535;

/// A format that a viewer in a browser can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Jpeg,
    Png,
    Webp,
    Avif,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Avif => "avif",
        }
    }

    /// By its first bytes.
    fn of(data: &[u8]) -> Option<Self> {
        match data {
            [0xFF, 0xD8, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f' | b's', ..] => Some(Self::Avif),
            _ => None,
        }
    }

    /// From what the sender wrote: `jpeg`, or free text as ROS has it, like `bgr8; jpeg compressed bgr8`.
    fn claimed(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let names = [("jpeg", Self::Jpeg), ("jpg", Self::Jpeg), ("png", Self::Png), ("webp", Self::Webp), ("avif", Self::Avif)];
        names.into_iter().find(|(name, _)| text.contains(name)).map(|(_, format)| format)
    }
}

/// Checks a compressed picture against the format it is said to have, and reads its size.
pub(super) fn compressed(frame_id: Arc<str>, format_text: &str, data: Bytes) -> Result<CameraImage, Fault> {
    let found = Format::of(&data);
    let claimed = Format::claimed(format_text);
    let format = match (claimed, found) {
        (Some(claimed), Some(found)) if claimed == found => found,
        (None, Some(found)) if format_text.is_empty() => found,
        (None, _) => return Err(format!("expected format jpeg, png, webp or avif, got {}", quoted(format_text))),
        (Some(claimed), _) => {
            let got = found.map_or_else(|| first_bytes(&data), |found| format!("a {} file", found.name()));
            return Err(format!("expected a {} file as the format {} says, got {got}", claimed.name(), quoted(format_text)));
        }
    };
    let (width_px, height_px) = match format {
        Format::Jpeg => jpeg_size(&data),
        Format::Png => png_size(&data),
        Format::Webp => webp_size(&data),
        Format::Avif => avif_size(&data),
    }
    .map_err(|fault| format!("{} of {} bytes: {fault}", format.name(), data.len()))?;
    if !(1..=MAX_SIDE_PX).contains(&width_px) || !(1..=MAX_SIDE_PX).contains(&height_px) {
        return Err(format!("{}: expected sides of 1 to {MAX_SIDE_PX} px, got {width_px} x {height_px}", format.name()));
    }
    Ok(CameraImage { frame_id, width_px, height_px, format: format.name().into(), data })
}

fn first_bytes(data: &[u8]) -> String {
    if data.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<String> = data.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes that begin with {}", data.len(), shown.join(" "))
}

fn be16(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from(u16::from_be_bytes(*bytes)))
}

fn be32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Little-endian, 24 bits.
fn le24(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|[a, b, c]| u32::from_le_bytes([*a, *b, *c, 0]))
}

/// Walks the marker segments (ITU-T T.81, annex B) to the frame header, and checks that the scan has an end.
fn jpeg_size(data: &[u8]) -> Result<(u32, u32), Fault> {
    let mut at = 2;
    let mut size = None;
    loop {
        let (Some(0xFF), Some(marker)) = (data.get(at).copied(), data.get(at + 1).copied()) else {
            return Err(format!(
                "expected a marker at byte {at}, got {}",
                data.get(at).map_or("the end".to_owned(), |b| format!("{b:02x}"))
            ));
        };
        match marker {
            // Fill bytes, and markers without a segment.
            0xFF => at += 1,
            0x01 | 0xD0..=0xD8 => at += 2,
            0xD9 => return Err("expected a picture, got the end of the file".to_owned()),
            _ => {
                let length =
                    be16(data, at + 2).filter(|length| *length >= 2).ok_or_else(|| format!("the segment at byte {at} is cut"))?;
                // Start of frame: all of C0 to CF but the tables DHT (C4), JPG (C8) and DAC (CC).
                if matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC) {
                    size = be16(data, at + 7).zip(be16(data, at + 5));
                }
                at += 2 + length as usize;
                if marker == 0xDA {
                    break;
                }
            }
        }
    }
    let scan = data.get(at..).unwrap_or_default();
    if !scan.windows(2).rev().any(|pair| pair == [0xFF, 0xD9]) {
        return Err("expected the end marker ff d9 after the scan, got the end of the data: the picture is cut".to_owned());
    }
    size.ok_or_else(|| "expected a frame header before the scan, got none".to_owned())
}

/// Walks the chunks (PNG specification, section 5) to the last one.
fn png_size(data: &[u8]) -> Result<(u32, u32), Fault> {
    if data.get(12..16) != Some(b"IHDR") {
        return Err("expected the chunk IHDR first".to_owned());
    }
    let size = be32(data, 16).zip(be32(data, 20)).ok_or("the chunk IHDR is cut")?;
    let mut at = 8usize;
    while let Some(length) = be32(data, at) {
        let end = at.saturating_add(12).saturating_add(length as usize);
        if end > data.len() {
            break;
        }
        if data.get(at + 4..at + 8) == Some(b"IEND") {
            return Ok(size);
        }
        at = end;
    }
    Err(format!("expected a whole chunk at byte {at}, got the end of the data: the picture is cut"))
}

/// The three kinds of WebP (RFC 9649, section 2): lossy, lossless, extended.
fn webp_size(data: &[u8]) -> Result<(u32, u32), Fault> {
    let riff = data.get(4..8).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if (data.len() as u64) < u64::from(riff) + 8 {
        return Err(format!("expected {} bytes, got fewer: the picture is cut", u64::from(riff) + 8));
    }
    let size = match data.get(12..16) {
        Some(b"VP8 ") => le24(data, 26).zip(le24(data, 28)).map(|(width, height)| (width & 0x3FFF, height & 0x3FFF)),
        Some(b"VP8L") => data.get(21..25).and_then(|bytes| bytes.first_chunk()).map(|bytes| {
            let bits = u32::from_le_bytes(*bytes);
            ((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
        }),
        Some(b"VP8X") => le24(data, 24).zip(le24(data, 27)).map(|(width, height)| (width + 1, height + 1)),
        _ => None,
    };
    size.ok_or_else(|| "expected a chunk VP8, VP8L or VP8X, got none".to_owned())
}

/// The first image-size property (`ispe`, ISO/IEC 23008-12) within the first kilobytes, where the item properties are.
fn avif_size(data: &[u8]) -> Result<(u32, u32), Fault> {
    let head = data.get(..4096).unwrap_or(data);
    let at = head.windows(4).position(|window| window == b"ispe").ok_or("expected a property ispe, got none")?;
    be32(data, at + 8).zip(be32(data, at + 12)).ok_or_else(|| "the property ispe is cut".to_owned())
}

/// Pixels as they came.
pub(super) struct Raw<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) encoding: &'a str,
    /// Bytes from row to row.
    pub(super) step: u32,
    pub(super) data: &'a [u8],
}

/// Where red, green, blue and alpha stand in a pixel.
struct Channels {
    bytes: usize,
    swap_red_blue: bool,
    color: png::ColorType,
}

fn channels(encoding: &str) -> Option<Channels> {
    let (bytes, swap_red_blue, color) = match encoding {
        "rgb8" => (3, false, png::ColorType::Rgb),
        // OpenCV's untyped encodings are blue first, as its own pictures are.
        "bgr8" | "8UC3" => (3, true, png::ColorType::Rgb),
        "rgba8" => (4, false, png::ColorType::Rgba),
        "bgra8" | "8UC4" => (4, true, png::ColorType::Rgba),
        "mono8" | "8UC1" => (1, false, png::ColorType::Grayscale),
        _ => return None,
    };
    Some(Channels { bytes, swap_red_blue, color })
}

impl Raw<'_> {
    /// Packs the pixels without loss. The fastest setting: about 1 ms a megabyte, two thirds of the size.
    pub(super) fn to_png(&self, frame_id: Arc<str>) -> Result<CameraImage, Fault> {
        let channels = channels(self.encoding).ok_or_else(|| {
            format!(
                "unsupported pixels: expected rgb8, bgr8, rgba8, bgra8 or mono8, got {}\nhint: debayer or convert before sending",
                quoted(self.encoding)
            )
        })?;
        let pixels = self.pixels(&channels)?;
        let mut data = Vec::with_capacity(pixels.len() / 2 + 1024);
        let mut encoder = png::Encoder::new(&mut data, self.width, self.height);
        encoder.set_color(channels.color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fastest);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&pixels)?;
            writer.finish()
        });
        written.map_err(|error| format!("cannot pack {} x {} pixels: {error}", self.width, self.height))?;
        Ok(CameraImage { frame_id, width_px: self.width, height_px: self.height, format: "png".into(), data: data.into() })
    }

    /// Rows without padding, red first.
    fn pixels(&self, channels: &Channels) -> Result<Vec<u8>, Fault> {
        if !(1..=MAX_SIDE_PX).contains(&self.width) || !(1..=MAX_SIDE_PX).contains(&self.height) {
            return Err(format!("expected sides of 1 to {MAX_SIDE_PX} px, got {} x {}", self.width, self.height));
        }
        let row_bytes = self.width as usize * channels.bytes;
        let (rows, step) = (self.height as usize, self.step as usize);
        if step < row_bytes {
            return Err(format!(
                "expected at least {row_bytes} bytes a row for {} px of {}, got {step}",
                self.width, self.encoding
            ));
        }
        let needed = (rows - 1).saturating_mul(step).saturating_add(row_bytes);
        if self.data.len() < needed {
            return Err(format!("expected {needed} bytes for {} x {} px, got {}", self.width, self.height, self.data.len()));
        }
        let mut pixels = Vec::with_capacity(rows * row_bytes);
        for row in self.data.chunks(step).take(rows) {
            pixels.extend_from_slice(row.get(..row_bytes).unwrap_or(row));
        }
        if channels.swap_red_blue {
            for pixel in pixels.chunks_exact_mut(channels.bytes) {
                pixel.swap(0, 2);
            }
        }
        Ok(pixels)
    }
}
