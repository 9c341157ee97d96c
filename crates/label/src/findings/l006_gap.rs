//! `BW-L006`: was not measured for long. One finding a track, at the end of its longest row of predicted boxes. Where a thing was hidden for longer than
//! a track coasts it has no boxes, and that is no row.

use boxwright_model::{Finding, Severity};

use super::{Labels, about};

pub(super) fn check(labels: &Labels<'_>, found: &mut Vec<Finding>) {
    let limit = labels.config.max_predicted_in_row as usize;
    for boxes in labels.by_track.values() {
        let rows = boxes.chunk_by(|a, b| a.predicted && b.predicted).filter(|row| row[0].predicted);
        let Some(longest) = rows.reduce(|best, row| if row.len() > best.len() { row } else { best }) else { continue };
        if longest.len() > limit {
            let message = format!("expected at most {limit} predicted boxes in a row, got {}", longest.len());
            let values = serde_json::json!({"predicted_in_row": longest.len(), "max_predicted_in_row": limit});
            found.push(about("BW-L006", Severity::Info, longest[longest.len() - 1], message, values));
        }
    }
}
