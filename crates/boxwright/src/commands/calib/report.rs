//! What is said about the cameras, for people and for programs.

use std::collections::BTreeMap;

use boxwright_calib::{CameraReport, Verdict};
use serde_json::{Value, json};

use crate::ui;

/// The axes of a camera, in the order of a turn.
const AXES: [&str; 3] = ["right", "down", "forward"];

pub(super) fn text(reports: &[(String, CameraReport)], left_out: &BTreeMap<String, String>) -> String {
    let mut rows: Vec<(String, String)> = reports.iter().map(|(name, report)| (name.clone(), line(report))).collect();
    rows.extend(left_out.iter().map(|(name, reason)| (name.clone(), format!("not checked: {reason}"))));
    let mut page = ui::table(&rows);
    for (name, report) in reports.iter().filter(|(_, report)| report.verdict != Verdict::Fits) {
        page += &format!("{name}: {}\n", advice(report));
    }
    page
}

fn line(report: &CameraReport) -> String {
    let Some(found) = report.found else { return format!("no agreement: too few edges in {} frames", report.frames) };
    let angle = |axis: usize| {
        let unsure = if report.axes[axis].as_str() == "unsure" { " (unsure)" } else { "" };
        format!("{} {:+.2} ± {:.2}{unsure}", AXES[axis], found.turn_deg[axis], found.spread_deg[axis])
    };
    let verdict = match report.verdict {
        Verdict::Fits => "fits",
        Verdict::Off => "OFF",
        Verdict::WrongWay(_) => "WRONG WAY",
        Verdict::NoAgreement => "no agreement",
    };
    format!(
        "{verdict}: {} degrees; agreement {:.1} (chance below {:.1}), {} edges of {} frames",
        [0, 1, 2].map(angle).join(", "),
        found.significance,
        report.least_significance,
        found.edges,
        report.frames
    )
}

fn advice(report: &CameraReport) -> String {
    match report.verdict {
        Verdict::WrongWay(meaning) => meaning.hint().to_owned(),
        Verdict::NoAgreement => "edges agree nowhere within 6 degrees: it is off by more, or these frames show too little; look at --overlay".to_owned(),
        _ => "edges of the lidar and of the images agree when the camera's frame is turned by these angles about its axes; calibrate it anew"
            .to_owned(),
    }
}

pub(super) fn json(reports: &[(String, CameraReport)], left_out: &BTreeMap<String, String>) -> String {
    let cameras: Vec<Value> = reports.iter().map(|(name, report)| camera(name, report)).collect();
    json!({ "limit_deg": boxwright_calib::verdict::LIMIT_DEG, "cameras": cameras, "not_checked": left_out }).to_string()
}

fn camera(name: &str, report: &CameraReport) -> Value {
    let meaning = if let Verdict::WrongWay(meaning) = report.verdict { Some(meaning.as_str()) } else { None };
    let significance: BTreeMap<&str, f64> = report.significance.iter().map(|(meaning, value)| (meaning.as_str(), *value)).collect();
    json!({
        "camera": name,
        "verdict": report.verdict.as_str(),
        "flagged": report.verdict.is_flagged(),
        "given_is": meaning,
        "hint": (report.verdict != Verdict::Fits).then(|| advice(report)),
        "axes": report.axes.map(|axis| axis.as_str()),
        "turn_right_down_forward_deg": report.found.map(|found| found.turn_deg),
        "spread_deg": report.found.map(|found| found.spread_deg),
        "agreement": significance,
        "chance_below": report.least_significance,
        "edges": report.found.map_or(0, |found| found.edges),
        "frames": report.frames,
    })
}
