//! When the numbered frames of a drive were taken: KITTI's `timestamps.txt`, or a `seq.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::{EvalError, read_text};

/// Stamps by number of the frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameTimes {
    stamp_ns: BTreeMap<i64, i64>,
}

#[derive(Deserialize)]
struct SequenceFile {
    frames: Vec<SequenceFrame>,
}

#[derive(Deserialize)]
struct SequenceFrame {
    index: i64,
    lidar_ts_ns: i64,
}

impl FrameTimes {
    /// Reads `FILE`: JSON with `frames` of `index` and `lidar_ts_ns`, or one time a line (`2011-09-26 13:04:32.335337762`, UTC), the first
    /// of frame 0.
    ///
    /// # Errors
    /// When it is neither.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let text = read_text(path)?;
        if text.trim_start().starts_with('{') {
            let file: SequenceFile = serde_json::from_str(&text)
                .map_err(|e| EvalError::format(path, format!("expected frames with index and lidar_ts_ns, got {e}")))?;
            return Ok(Self { stamp_ns: file.frames.into_iter().map(|frame| (frame.index, frame.lidar_ts_ns)).collect() });
        }
        let mut found = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let stamp = parse_time(line.trim()).ok_or_else(|| {
                EvalError::format(
                    path,
                    format!("line {}: expected a time such as 2011-09-26 13:04:32.335337762, got {line:?}", index + 1),
                )
            })?;
            found.stamp_ns.insert(index as i64, stamp);
        }
        Ok(found)
    }

    /// The file that belongs to a truth file, where it stands at its usual place: `seq.json` one folder up, or the drive's
    /// `velodyne_points/timestamps.txt` beside it.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub fn beside(truth: &Path) -> Result<Option<Self>, EvalError> {
        let here = truth.parent().unwrap_or(Path::new("."));
        let places = [here.join("../seq.json"), here.join("seq.json"), here.join("velodyne_points/timestamps.txt")];
        places.iter().find(|place| place.is_file()).map(|place| Self::read(place)).transpose()
    }

    /// The stamp of a frame.
    #[must_use]
    pub fn stamp_of(&self, frame: i64) -> Option<i64> {
        self.stamp_ns.get(&frame).copied()
    }

    /// Every stamp, by rising number.
    pub fn stamps(&self) -> impl Iterator<Item = i64> + '_ {
        self.stamp_ns.values().copied()
    }
}

/// Nanoseconds since 1970 of `YYYY-MM-DD HH:MM:SS.fffffffff`, UTC.
fn parse_time(text: &str) -> Option<i64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
    let (second, fraction) = time.next()?.split_once('.').unwrap_or((text.rsplit(':').next()?, "0"));
    let second = second.parse::<i64>().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos = digits.parse::<i64>().ok()?;
    let plausible = (1970..2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !(plausible && (0..24).contains(&hour) && (0..60).contains(&minute) && (0..61).contains(&second)) {
        return None;
    }
    // Days since 1970 by Hinnant, "chrono-compatible low-level date algorithms": years begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_to_the_nanosecond() {
        // date -u -d '2011-09-26 13:04:32' +%s
        assert_eq!(parse_time("2011-09-26 13:04:32.335337762"), Some(1_317_042_272_335_337_762));
        assert_eq!(parse_time("2000-02-29T00:00:00"), Some(951_782_400_000_000_000));
        for wrong in
            ["", "2011-09-26", "2011-13-01 00:00:00", "x 00:00:00", "2011-09-26 25:00:00", "99999999999999999999-1-1 0:0:0"]
        {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }
}
