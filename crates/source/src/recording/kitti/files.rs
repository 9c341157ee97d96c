//! Frame files: points, images and lines of text, each checked before it is believed. Errors are sentences that name the file.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use crate::quoted::quoted;

/// Bytes of one point: x, y, z and reflectance as little-endian `f32`.
const POINT_BYTES: usize = 16;
/// Largest frame file that is read: a sweep of four million points has as much.
const MAX_FRAME_BYTES: u64 = 64 << 20;
/// How far from the end of an image its end marker is looked for: writers may pad.
const IMAGE_TAIL_BYTES: usize = 64 << 10;
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_SIGNATURE: &[u8] = b"\xff\xd8\xff";

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?.len();
    if size == 0 || size > MAX_FRAME_BYTES {
        return Err(format!("{}: expected 1 to {MAX_FRAME_BYTES} bytes, got {size}", path.display()));
    }
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// A small text file.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    String::from_utf8(read_file(path)?).map_err(|_| format!("{}: expected text, got other bytes", path.display()))
}

/// One sweep as packed points (x, y, z, reflectance; little-endian `f32`): a `.bin` as it is, or a `.txt` with one point per line
/// (`*_extract` drives).
pub(super) fn read_points(path: &Path) -> Result<Bytes, String> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) {
        return points_from_text(path);
    }
    let bytes = read_file(path)?;
    if bytes.len() % POINT_BYTES != 0 {
        let size = bytes.len();
        return Err(format!("{}: expected a multiple of {POINT_BYTES} bytes, got {size}", path.display()));
    }
    Ok(bytes.into())
}

fn points_from_text(path: &Path) -> Result<Bytes, String> {
    let text = read_text(path)?;
    let mut packed = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Option<Vec<f32>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        match words.as_deref() {
            Some([]) => {}
            Some(point) if point.len() == POINT_BYTES / size_of::<f32>() => {
                packed.extend(point.iter().flat_map(|value| value.to_le_bytes()));
            }
            _ => return Err(format!("{}: line {}: expected 4 numbers, got {}", path.display(), number + 1, quoted(line))),
        }
    }
    Ok(packed.into())
}

/// One image as it is, with its format (`png`, `jpeg`) by its first bytes; one that was cut off is refused.
pub(super) fn read_image(path: &Path) -> Result<(&'static str, Vec<u8>), String> {
    let data = read_file(path)?;
    let (format, complete) = if data.starts_with(PNG_SIGNATURE) {
        ("png", data.windows(4).rev().take(IMAGE_TAIL_BYTES).any(|window| window == b"IEND"))
    } else if data.starts_with(JPEG_SIGNATURE) {
        ("jpeg", data.windows(2).rev().take(IMAGE_TAIL_BYTES).any(|window| window == [0xff, 0xd9]))
    } else {
        return Err(format!("{}: expected a PNG or JPEG image, got {} bytes of something else", path.display(), data.len()));
    };
    if !complete {
        let size = data.len();
        return Err(format!("{}: expected a whole {format} image, got {size} bytes without its end", path.display()));
    }
    Ok((format, data))
}
