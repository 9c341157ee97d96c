//! How much two boxes overlap: in the image, from above, in space.

use boxwright_label::metrics::Rect;
use boxwright_model::Cuboid;
use serde::{Deserialize, Serialize};

use crate::labels::{ImageBox, Object};
use crate::numbers::Matrix;

/// Where overlap is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// Rectangles in the image.
    Image,
    /// Footprints from above.
    Bev,
    /// Volumes.
    #[serde(rename = "3d")]
    Volume,
}

impl Space {
    /// Its name in options and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Bev => "bev",
            Self::Volume => "3d",
        }
    }

    /// Intersection over union of two objects; 0 where one has no box in this space.
    #[must_use]
    pub fn iou(self, a: &Object, b: &Object) -> f64 {
        match self {
            Self::Image => match (&a.image, &b.image) {
                (Some(a), Some(b)) => image_iou(a, b),
                _ => 0.0,
            },
            Self::Bev => boxwright_label::metrics::bev_iou(&a.cuboid, &b.cuboid),
            Self::Volume => volume_iou(&a.cuboid, &b.cuboid),
        }
    }

    /// [`Self::iou`] of every pair, truth by rows.
    #[must_use]
    pub fn ious(self, truth: &[&Object], labels: &[&Object]) -> Matrix {
        Matrix::by(truth.len(), labels.len(), |row, column| self.iou(truth[row], labels[column]))
    }
}

fn image_intersection(a: &ImageBox, b: &ImageBox) -> f64 {
    let (a, b) = (a.ltrb_px, b.ltrb_px);
    let (width, height) = (a[2].min(b[2]) - a[0].max(b[0]), a[3].min(b[3]) - a[1].max(b[1]));
    if width <= 0.0 || height <= 0.0 { 0.0 } else { width * height }
}

/// Intersection over union of two rectangles in the image.
#[must_use]
pub fn image_iou(a: &ImageBox, b: &ImageBox) -> f64 {
    let shared = image_intersection(a, b);
    if shared > 0.0 { shared / (a.area() + b.area() - shared) } else { 0.0 }
}

/// Share of a rectangle that lies in a region.
#[must_use]
pub fn image_inside(a: &ImageBox, region: &ImageBox) -> f64 {
    let shared = image_intersection(a, region);
    if shared > 0.0 { shared / a.area() } else { 0.0 }
}

/// Intersection over union of two upright cuboids (KITTI's: footprints that are clipped, times the shared height).
#[must_use]
pub fn volume_iou(a: &Cuboid, b: &Cuboid) -> f64 {
    let (ra, rb) = (Rect::of(a), Rect::of(b));
    let reach = ra.half[0].hypot(ra.half[1]) + rb.half[0].hypot(rb.half[1]);
    if (ra.center[0] - rb.center[0]).hypot(ra.center[1] - rb.center[1]) > reach {
        return 0.0;
    }
    let top = |c: &Cuboid| c.center_m.z + c.size_lwh_m.z / 2.0;
    let bottom = |c: &Cuboid| c.center_m.z - c.size_lwh_m.z / 2.0;
    let height = (top(a).min(top(b)) - bottom(a).max(bottom(b))).max(0.0);
    let shared = ra.intersection(&rb) * height;
    let union = ra.area() * a.size_lwh_m.z + rb.area() * b.size_lwh_m.z - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

/// Intersection over union of two cuboids laid over each other with equal centre and heading.
#[must_use]
pub fn aligned_iou(a: &Cuboid, b: &Cuboid) -> f64 {
    let volume = |c: &Cuboid| c.size_lwh_m.product();
    let shared = a.size_lwh_m.inf(&b.size_lwh_m).product();
    shared / (volume(a) + volume(b) - shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Vector3;

    #[test]
    fn overlaps_are_what_geometry_says() {
        let at = |x: f64, z: f64, yaw: f64| Cuboid::upright(Vector3::new(x, 0.0, z), Vector3::new(4.0, 2.0, 2.0), yaw);
        assert!((volume_iou(&at(0.0, 0.0, 0.3), &at(0.0, 0.0, 0.3)) - 1.0).abs() < 1e-12);
        // Half of the height is shared: 8 of 24.
        assert!((volume_iou(&at(0.0, 0.0, 0.0), &at(0.0, 1.0, 0.0)) - 1.0 / 3.0).abs() < 1e-12);
        // Crossed at right angles: 2 by 2 of 4 by 2 each.
        assert!((volume_iou(&at(0.0, 0.0, 0.0), &at(0.0, 0.0, std::f64::consts::FRAC_PI_2)) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(volume_iou(&at(0.0, 0.0, 0.0), &at(50.0, 0.0, 0.0)), 0.0);
        let image = |l: f64| ImageBox { ltrb_px: [l, 0.0, l + 10.0, 10.0] };
        assert!((image_iou(&image(0.0), &image(5.0)) - 1.0 / 3.0).abs() < 1e-12);
        assert!((image_inside(&image(0.0), &image(5.0)) - 0.5).abs() < 1e-12);
        assert!((aligned_iou(&at(0.0, 0.0, 0.0), &at(9.0, 9.0, 1.0)) - 1.0).abs() < 1e-12);
    }
}
