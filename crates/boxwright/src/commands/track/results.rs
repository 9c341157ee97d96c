//! KITTI tracking results: `frame id type truncated occluded alpha l t r b h w l x y z ry score`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, bail};
use boxwright_label::track::sequence::{Origin, TrackedBox};
use boxwright_model::Cuboid;
use boxwright_model::space::wrap_rad;

use super::detections::{Detection, Kind};
use super::own_score;

/// `P2` of a sequence: from the rectified camera frame into the left colour image.
pub(super) struct Projection {
    rows: [[f64; 4]; 3],
}

impl Projection {
    /// The calibration of every sequence, `DIR/<sequence>.txt`.
    pub(super) fn read_all<'a>(
        folder: &Path,
        sequences: impl Iterator<Item = &'a String>,
    ) -> anyhow::Result<BTreeMap<String, Self>> {
        sequences.map(|name| Ok((name.clone(), Self::read(&folder.join(format!("{name}.txt")))?))).collect()
    }

    fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("cannot read {}\nhint: --calib wants one file a sequence, named as the detections", file.display())
        })?;
        let line = text.lines().find_map(|line| line.strip_prefix("P2:")).map(str::split_whitespace);
        let values: Vec<f64> =
            line.into_iter().flatten().filter_map(|value| value.parse().ok()).filter(|value: &f64| value.is_finite()).collect();
        let Ok(values) = <[f64; 12]>::try_from(values) else {
            bail!("{}: expected a line P2: with 12 numbers, got none", file.display());
        };
        Ok(Self { rows: std::array::from_fn(|row| std::array::from_fn(|column| values[4 * row + column])) })
    }

    /// Rectangle around the corners of a box (x forward, y left, z up); `None` where a corner is behind the camera.
    fn project(&self, cuboid: &Cuboid) -> Option<[f64; 4]> {
        let mut ltrb = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        for corner in cuboid.corners() {
            let camera = [-corner.y, -corner.z, corner.x, 1.0];
            let [u, v, w] = self.rows.map(|row| row.iter().zip(camera).map(|(a, b)| a * b).sum::<f64>());
            if w < 0.1 {
                return None;
            }
            ltrb = [ltrb[0].min(u / w), ltrb[1].min(v / w), ltrb[2].max(u / w), ltrb[3].max(v / w)];
        }
        Some(ltrb)
    }
}

/// The lines of a sequence, by frame, then track.
pub(super) fn lines(detections: &[Detection], tracks: &[(Kind, Vec<TrackedBox>)], projection: Option<&Projection>) -> String {
    let mut boxes: Vec<(usize, usize, Kind, &TrackedBox)> = tracks
        .iter()
        .enumerate()
        .flat_map(|(id, (kind, boxes))| boxes.iter().map(move |one| (one.frame, id, *kind, one)))
        .collect();
    boxes.sort_by_key(|(frame, id, ..)| (*frame, *id));
    let mut text = String::new();
    for (frame, id, kind, one) in boxes {
        let [left, top, right, bottom] = image_box(detections, one, projection);
        let (center, size) = (one.ego_from_box.center_m, one.ego_from_box.size_lwh_m);
        let ry = wrap_rad(-one.ego_from_box.yaw_rad() - std::f64::consts::FRAC_PI_2);
        let alpha = match one.origin {
            Origin::Seen(index) => detections[index].alpha_rad,
            Origin::Between(..) => wrap_rad(ry - (-center.y).atan2(center.x)),
        };
        let _ = writeln!(
            text,
            "{frame} {id} {} -1 -1 {alpha:.6} {left:.4} {top:.4} {right:.4} {bottom:.4} {:.4} {:.4} {:.4} {:.4} {:.4} {:.4} {ry:.6} {:.6}",
            kind.kitti(),
            size.z,
            size.y,
            size.x,
            -center.y,
            size.z / 2.0 - center.z,
            center.x,
            own_score(detections, one)
        );
    }
    text
}

/// Where it is in the image: as detected, or for a filled gap as projected within the image that the detections span, or on the way
/// between its neighbours.
fn image_box(detections: &[Detection], one: &TrackedBox, projection: Option<&Projection>) -> [f64; 4] {
    match one.origin {
        Origin::Seen(index) => detections[index].ltrb_px,
        Origin::Between([(_, a), (_, b)], share) => {
            let (a, b) = (&detections[a].ltrb_px, &detections[b].ltrb_px);
            let on_the_way = std::array::from_fn(|side| a[side] + share * (b[side] - a[side]));
            projection.and_then(|projection| projection.project(&one.ego_from_box)).map_or(on_the_way, |projected| {
                // Detections end at the edge of the image.
                let edge = |pick: fn(f64, f64) -> f64, side: usize| detections.iter().map(|d| d.ltrb_px[side]).fold(a[side], pick);
                let (low, high) = ([edge(f64::min, 0), edge(f64::min, 1)], [edge(f64::max, 2), edge(f64::max, 3)]);
                std::array::from_fn(|side| projected[side].max(low[side % 2]).min(high[side % 2]))
            })
        }
    }
}
