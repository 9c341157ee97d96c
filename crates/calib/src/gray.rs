//! Gray images, and means over boxes of them.

/// Brightness of an image, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Gray {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `width * height` values.
    pub values: Vec<f32>,
}

impl Gray {
    /// From three bytes a pixel; `None` where there are not as many as the size says.
    #[must_use]
    pub fn from_rgb(width: usize, height: usize, rgb: &[u8]) -> Option<Self> {
        if width == 0 || height == 0 || rgb.len() != width.checked_mul(height)?.checked_mul(3)? {
            return None;
        }
        let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        Some(Self { width, height, values: rgb.chunks_exact(3).map(luma).collect() })
    }

    /// The same image with at most this many columns, every pixel the mean of those that it covers.
    #[must_use]
    pub fn at_most_wide(&self, columns: usize) -> Self {
        let width = columns.clamp(1, self.width);
        let height = (self.height * width / self.width).max(1);
        let sums = Sums::of(self.width, self.height, &self.values);
        let bound = |index: usize, from: usize, to: usize| index * from / to;
        let mut values = Vec::with_capacity(width * height);
        for row in 0..height {
            let (top, bottom) = (bound(row, self.height, height), bound(row + 1, self.height, height));
            for column in 0..width {
                let (left, right) = (bound(column, self.width, width), bound(column + 1, self.width, width));
                values.push(sums.mean([left, top], [right.max(left + 1), bottom.max(top + 1)]));
            }
        }
        Self { width, height, values }
    }
}

/// Sums over everything above and to the left: the mean of any box in four look-ups.
pub(crate) struct Sums {
    width: usize,
    height: usize,
    sums: Vec<f64>,
}

impl Sums {
    pub(crate) fn of(width: usize, height: usize, values: &[f32]) -> Self {
        let stride = width + 1;
        let mut sums = vec![0.0; stride * (height + 1)];
        for row in 0..height {
            let mut along = 0.0;
            for column in 0..width {
                along += f64::from(values[row * width + column]);
                sums[(row + 1) * stride + column + 1] = sums[row * stride + column + 1] + along;
            }
        }
        Self { width, height, sums }
    }

    /// Mean over `[left, right) x [top, bottom)`, which must hold a pixel.
    fn mean(&self, [left, top]: [usize; 2], [right, bottom]: [usize; 2]) -> f32 {
        let at = |column: usize, row: usize| self.sums[row * (self.width + 1) + column];
        let sum = at(right, bottom) - at(left, bottom) - at(right, top) + at(left, top);
        (sum / ((right - left) * (bottom - top)) as f64) as f32
    }

    /// Mean over the box of `2 * half + 1` pixels about a pixel, as far as it is in the image.
    pub(crate) fn mean_about(&self, column: usize, row: usize, half: usize) -> f32 {
        let low = |at: usize| at.saturating_sub(half);
        let high = |at: usize, size: usize| (at + half + 1).min(size);
        self.mean([low(column), low(row)], [high(column, self.width), high(row, self.height)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_image_has_the_means_of_the_larger() {
        let rgb: Vec<u8> = (0..6 * 4).flat_map(|pixel| [(pixel % 6 / 3 * 100) as u8; 3]).collect();
        let small = Gray::from_rgb(6, 4, &rgb).unwrap().at_most_wide(2);
        assert_eq!((small.width, small.height), (2, 1));
        assert!(small.values[0].abs() < 1e-3 && (small.values[1] - 100.0).abs() < 1e-3, "{small:?}");
        assert!(Gray::from_rgb(6, 4, &rgb[1..]).is_none());
    }
}
