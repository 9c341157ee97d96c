//! How fast people are, and how long what is left will take.
//!
//! A lot is what is handed over and judged together: clips that a lead has put into one, else those of a day. Its forecast is what a decision
//! costs in it (everything that was measured there, edits included, over the tracks that were decided about) times the tracks that are left,
//! in seconds of one person's work. Where nothing was decided yet, the cost in all lots is taken.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::labels::touched;
use crate::store::Done;

/// Seconds of one action of one person in one class and lot.
type Key = (String, String, String, String);

/// What is measured, put together clip by clip.
#[derive(Debug, Default)]
pub(crate) struct Paces {
    spent_ms: BTreeMap<Key, Vec<i64>>,
    lots: BTreeMap<String, Lot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lot {
    clips: usize,
    tracks: usize,
    left: usize,
    decided: usize,
    spent_ms: i64,
}

impl Lot {
    fn per_track_s(&self) -> Option<f64> {
        (self.decided > 0).then(|| self.spent_ms as f64 / 1e3 / self.decided as f64)
    }
}

impl Paces {
    /// A clip of a lot: its tracks, those that are not accepted, and what was done.
    pub(crate) fn add(&mut self, lot: &str, tracks: usize, left: usize, history: &[Done]) {
        let sum = self.lots.entry(lot.to_owned()).or_default();
        sum.clips += 1;
        sum.tracks += tracks;
        sum.left += left;
        for done in history {
            let Some(spent_ms) = done.spent_ms else { continue };
            sum.spent_ms += spent_ms;
            if is_decision(&done.name) {
                sum.decided += touched(&done.changes).len();
            }
            let key = (lot.to_owned(), done.person.clone(), done.name.clone(), done.class.clone());
            self.spent_ms.entry(key).or_default().push(spent_ms);
        }
    }

    /// As leads are told.
    pub(crate) fn told(self) -> Value {
        let all = self.lots.values().fold(Lot::default(), |sum, lot| Lot {
            clips: sum.clips + lot.clips,
            tracks: sum.tracks + lot.tracks,
            left: sum.left + lot.left,
            decided: sum.decided + lot.decided,
            spent_ms: sum.spent_ms + lot.spent_ms,
        });
        let lot = |(name, lot): (&String, &Lot)| {
            let cost_s = lot.per_track_s().or_else(|| all.per_track_s());
            json!({
                "lot": name, "clips": lot.clips, "tracks": lot.tracks, "left": lot.left, "decided": lot.decided,
                "spent_s": lot.spent_ms as f64 / 1e3, "per_track_s": lot.per_track_s(),
                "forecast_s": cost_s.map(|cost_s| cost_s * lot.left as f64),
            })
        };
        let lots: Vec<Value> = self.lots.iter().map(lot).collect();
        let forecasts: Option<Vec<f64>> = lots.iter().map(|lot| lot["forecast_s"].as_f64()).collect();
        let spent: Vec<Value> = self
            .spent_ms
            .into_iter()
            .map(|((lot, person, action, class), mut each_ms)| {
                each_ms.sort_unstable();
                let median_ms = each_ms.get(each_ms.len() / 2).copied().unwrap_or(0);
                let mean_s = each_ms.iter().sum::<i64>() as f64 / 1e3 / each_ms.len().max(1) as f64;
                json!({
                    "lot": lot, "person": person, "action": action, "class": class, "count": each_ms.len(), "mean_s": mean_s,
                    "median_s": median_ms as f64 / 1e3,
                })
            })
            .collect();
        json!({
            "spent": spent, "lots": lots, "left": all.left, "decided": all.decided,
            "forecast_s": forecasts.map(|each| each.iter().fold(0.0, |sum, one| sum + one)),
        })
    }
}

/// Whether an operation ends the work on its tracks.
fn is_decision(name: &str) -> bool {
    matches!(name, "accept" | "delete" | "accept_all" | "delete_all")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{Change, TrackState, Verdict};

    fn done(name: &str, tracks: std::ops::Range<u32>, spent_ms: i64) -> Done {
        let state =
            TrackState { class: "car".into(), score: 0.8, is_static: false, verdict: Verdict::Open, decided_by: None, error: None };
        Done {
            seq: 1,
            id: String::new(),
            person: "ana".to_owned(),
            at_ms: 1,
            name: name.to_owned(),
            class: "car".to_owned(),
            request: Value::Null,
            changes: tracks.map(|track| Change::Track { track, before: None, after: Some(state.clone()) }).collect(),
            undoes: None,
            spent_ms: Some(spent_ms),
        }
    }

    #[test]
    fn a_lot_is_forecast_by_its_own_pace_and_a_new_one_by_that_of_all() {
        let mut paces = Paces::default();
        // Three tracks for 2 + 4 + 3 seconds: 3 s each, of which 10 are left.
        paces.add("monday", 13, 10, &[done("accept", 0..1, 2_000), done("move", 1..2, 4_000), done("accept_all", 1..3, 3_000)]);
        paces.add("tuesday", 5, 5, &[]);
        let told = paces.told();
        assert_eq!((told["lots"][0]["lot"].clone(), told["lots"][0]["forecast_s"].clone()), (json!("monday"), json!(30.0)));
        assert_eq!((told["lots"][1]["per_track_s"].clone(), told["lots"][1]["forecast_s"].clone()), (Value::Null, json!(15.0)));
        assert_eq!((told["forecast_s"].clone(), told["left"].clone(), told["decided"].clone()), (json!(45.0), json!(15), json!(3)));
        assert_eq!(told["spent"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn without_a_decision_nothing_is_foretold() {
        let mut paces = Paces::default();
        paces.add("monday", 3, 3, &[done("move", 0..1, 4_000)]);
        assert_eq!(paces.told()["forecast_s"], Value::Null);
    }
}
