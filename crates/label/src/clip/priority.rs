//! How long will a reviewer need?
//!
//! A stated model, not a measurement: everybody looks at a track once; with probability `1 - score` it is wrong, and then it is corrected.
//! A correction of a parked object is one edit, one of a moving object grows with its boxes.

/// Seconds to look at a track.
const LOOK_S: f64 = 1.5;
/// Seconds to correct size, class or pose once.
const EDIT_S: f64 = 12.0;
/// Seconds more for each box of a moving object.
const EDIT_BOX_S: f64 = 0.4;

/// Seconds that a reviewer is expected to spend on a track with this many boxes and this likelihood of being right.
#[must_use]
pub fn expected_seconds(boxes: usize, score: f64, is_static: bool) -> f64 {
    let correction = EDIT_S + if is_static { 0.0 } else { EDIT_BOX_S * boxes as f64 };
    LOOK_S + (1.0 - score.clamp(0.0, 1.0)) * correction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_and_length_cost_time() {
        assert!(expected_seconds(100, 0.5, false) > expected_seconds(100, 0.9, false));
        assert!(expected_seconds(100, 0.5, false) > expected_seconds(10, 0.5, false));
        assert_eq!(expected_seconds(10, 1.0, true), LOOK_S);
    }
}
