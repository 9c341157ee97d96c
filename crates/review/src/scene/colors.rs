//! Colours: cold ones for points, warm or clear ones for boxes, so that a label never drowns in the cloud.

use boxwright_model::frame::PointCloud;

/// Background of the 3D views.
pub(crate) const BACKGROUND_RGB: [u8; 3] = [13, 16, 22];

/// Points above the ground, by height in metres. Between two stops the colour is mixed linearly.
const HEIGHT_STOPS: [(f32, [f32; 3]); 6] = [
    (0.0, [74.0, 92.0, 126.0]),
    (0.3, [44.0, 98.0, 160.0]),
    (1.0, [38.0, 160.0, 205.0]),
    (2.0, [112.0, 224.0, 222.0]),
    (3.5, [206.0, 244.0, 236.0]),
    (9.0, [132.0, 136.0, 196.0]),
];

/// Only points this near say where the ground is: far away the street may climb.
const GROUND_RADIUS_M: f32 = 40.0;
/// Histogram of heights: from this height on, in bins of [`GROUND_BIN_M`].
const GROUND_LOWEST_M: f32 = -6.0;
const GROUND_BIN_M: f32 = 0.2;
const GROUND_BINS: usize = 45;

/// Height of the ground in the cloud's frame: the fullest bin of a histogram of heights near the vehicle, 0 without points.
///
/// The view needs no better: it only decides where the colours begin.
pub(crate) fn ground_height_m(points: &PointCloud) -> f32 {
    let mut bins = [0_u32; GROUND_BINS];
    for ((x, y), z) in points.x.iter().zip(&points.y).zip(&points.z) {
        let near = x * x + y * y < GROUND_RADIUS_M * GROUND_RADIUS_M;
        let bin = ((z - GROUND_LOWEST_M) / GROUND_BIN_M).floor();
        // NaN fails both comparisons.
        if near
            && bin >= 0.0
            && let Some(count) = bins.get_mut(bin as usize)
        {
            *count += 1;
        }
    }
    let fullest = bins.iter().enumerate().max_by_key(|(index, count)| (**count, GROUND_BINS - index));
    match fullest {
        Some((index, count)) if *count > 0 => GROUND_LOWEST_M + (index as f32 + 0.5) * GROUND_BIN_M,
        _ => 0.0,
    }
}

/// The intensity that counts as bright: sensors use 0 to 1, 0 to 255 or 0 to 65535, and a few mirrors outshine everything.
pub(crate) fn bright_intensity(points: &PointCloud) -> f32 {
    // Every 61st point is a fair sample of a sweep and keeps this off the profile.
    let mut sample: Vec<f32> = points.intensity.iter().step_by(61).copied().filter(|value| value.is_finite()).collect();
    sample.sort_by(f32::total_cmp);
    sample.get(sample.len() * 9 / 10).copied().unwrap_or(0.0)
}

/// Colour of a point by its height above the ground; `shine` in `[0, 1]` (relative intensity) makes lane markings and signs stand out.
pub(crate) fn point_rgb(height_m: f32, shine: f32) -> [u8; 3] {
    let base = gradient(height_m);
    let gain = 0.72 + 0.5 * shine.clamp(0.0, 1.0);
    base.map(|channel| (channel * gain).min(255.0) as u8)
}

fn gradient(height_m: f32) -> [f32; 3] {
    for pair in HEIGHT_STOPS.windows(2) {
        if let [(low, from), (high, to)] = pair
            && height_m < *high
        {
            let share = ((height_m - low) / (high - low)).clamp(0.0, 1.0);
            return std::array::from_fn(|channel| from[channel] + share * (to[channel] - from[channel]));
        }
    }
    HEIGHT_STOPS[HEIGHT_STOPS.len() - 1].1
}

/// A lighter shade of a class colour, for boxes that were carried over a gap and not measured.
pub(crate) fn lighter(rgb: [u8; 3]) -> [u8; 3] {
    rgb.map(|channel| channel / 3 + 255 / 3 * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ground_is_where_most_points_lie_whatever_the_height_of_the_sensor() {
        let mut cloud = PointCloud::default();
        for index in 0..1000 {
            let angle = index as f32 * 0.1;
            let (z, range) = if index % 3 == 0 { (index as f32 * 0.003 - 1.0, 12.0) } else { (-1.73, 8.0) };
            cloud.x.push(range * angle.cos());
            cloud.y.push(range * angle.sin());
            cloud.z.push(z);
        }
        assert!((ground_height_m(&cloud) + 1.73).abs() <= GROUND_BIN_M);
    }

    #[test]
    fn a_cloud_of_nonsense_still_has_a_colour() {
        let nan = f32::NAN;
        let cloud = PointCloud {
            x: vec![nan, 1.0],
            y: vec![0.0, f32::INFINITY],
            z: vec![0.0, nan],
            intensity: vec![nan, nan],
            ..Default::default()
        };
        assert_eq!(ground_height_m(&cloud), 0.0);
        assert_eq!(bright_intensity(&cloud), 0.0);
        point_rgb(nan, nan);
        point_rgb(f32::INFINITY, -1.0);
    }
}
