//! What becomes of pixels.

use super::*;

fn input(text: &str) -> CameraInput {
    toml::from_str(text).unwrap()
}

fn picture(width: usize, height: usize, rgb: impl Fn(usize, usize) -> [u8; 3]) -> Picture {
    let rgb = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| rgb(x, y)).collect();
    Picture { width, height, rgb }
}

#[test]
fn an_image_of_the_right_size_keeps_its_values_and_is_padded_to_the_stride() {
    let picture = picture(5, 3, |x, y| [x as u8, y as u8, 9]);
    let prepared = prepare(&picture, &input("channels = \"bgr\"\npad = 114.0\nstride = 4\nmax_width_px = 64"));
    assert_eq!((prepared.size_px, prepared.scale), ([8, 4], 1.0));
    assert_eq!(prepared.tensor.shape, [1, 3, 4, 8]);
    let at = |channel: usize, y: usize, x: usize| prepared.tensor.data[(channel * 4 + y) * 8 + x];
    assert_eq!([at(0, 2, 4), at(1, 2, 4), at(2, 2, 4)], [9.0, 2.0, 4.0], "blue first");
    assert_eq!([at(0, 3, 0), at(2, 0, 5)], [114.0; 2]);
}

#[test]
fn a_large_image_is_made_smaller_and_normalised() {
    let picture = picture(200, 100, |_, _| [100, 50, 25]);
    let text =
        "channels = \"rgb\"\nlayout = \"nhwc\"\nmean = [100.0, 0.0, 0.0]\nstd = [1.0, 50.0, 5.0]\nstride = 10\nmax_width_px = 100";
    let prepared = prepare(&picture, &input(text));
    assert_eq!((prepared.size_px, prepared.scale), ([100, 50], 0.5));
    assert_eq!(prepared.tensor.shape, [1, 50, 100, 3]);
    assert!(prepared.tensor.data.chunks_exact(3).all(|pixel| pixel == [0.0, 1.0, 5.0]));
}

#[test]
fn a_network_of_one_size_gets_that_size() {
    let prepared = prepare(&picture(30, 60, |_, _| [7; 3]), &input("channels = \"rgb\"\nstride = 2\nsize_px = [20, 20]"));
    assert_eq!(prepared.size_px, [20, 20]);
    assert_eq!(prepared.tensor.data.iter().filter(|value| **value == 7.0).count(), 10 * 20 * 3);
}

#[test]
fn what_is_no_image_is_said() {
    for (format, said) in
        [("jpeg", "cannot be decoded"), ("png", "cannot be decoded"), ("webp", "expected images as jpeg or png, got webp")]
    {
        let error = Picture::decode(&EncodedImage { format, data: b"no image" }).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn an_image_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 60_000, 60_000);
    encoder.set_color(png::ColorType::Rgb);
    // The header, and pixels that end where they begin.
    encoder.write_header().unwrap().write_chunk(png::chunk::IDAT, &[0x78, 0x9c, 0x03, 0x00]).unwrap();
    let error = Picture::decode(&EncodedImage { format: "png", data: &png }).unwrap_err();
    assert!(error.contains("expected at most 16384 pixels a side") && error.contains("got 60000 x 60000"), "{error}");
}

#[test]
fn a_jpeg_gives_its_pixels() {
    let mut jpeg = Vec::new();
    let rgb = [200, 30, 90].repeat(16 * 8);
    jpeg_encoder::Encoder::new(&mut jpeg, 95).encode(&rgb, 16, 8, jpeg_encoder::ColorType::Rgb).unwrap();
    let picture = Picture::decode(&EncodedImage { format: "jpeg", data: &jpeg }).unwrap();
    assert_eq!((picture.width, picture.height), (16, 8));
    assert!(picture.rgb.chunks_exact(3).all(|pixel| pixel.iter().zip([200, 30, 90]).all(|(a, b)| a.abs_diff(b) < 8)));
    for cut in [0, 1, 20, jpeg.len() / 2] {
        // Whatever comes of a part of a file, it is no panic.
        let _ = Picture::decode(&EncodedImage { format: "jpeg", data: &jpeg[..cut] });
    }
}
