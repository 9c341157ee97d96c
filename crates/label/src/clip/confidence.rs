//! How likely a track is right: its score as a probability.
//!
//! The score adds up what speaks for a track, but the parts know of each other, so it is too sure or not sure enough. A logistic map per group
//! (Platt, "Probabilistic outputs for support vector machines", 1999) is the smallest monotone model that mends this: it changes no order
//! within a group and has two numbers, because the clips that it is fitted on are few. The numbers are configuration; a version and a hash of
//! them stand in the evidence of every box, so that a score can be traced to the fit that made it.

use boxwright_model::Taxonomy;
use serde::Deserialize;

use super::placed::Placed;
use crate::classify::{Kind, probability};

/// Scores nearer to 0 or 1 than this are taken for this: their log-odds would be endless.
const LEAST_SCORE: f64 = 0.001;

/// The map of one group: log-odds of being right = `slope` times log-odds of the score + `shift`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logistic {
    /// More than 1 spreads the scores, less pulls them together; positive, so that the order stays.
    pub slope: f64,
    /// Below 0 the scores were too high.
    pub shift: f64,
}

impl Default for Logistic {
    fn default() -> Self {
        Self { slope: 1.0, shift: 0.0 }
    }
}

/// The confidence model: one map for vehicles and one for people and riders.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfidenceConfig {
    /// Name of the fit, as it stands in the evidence.
    pub version: String,
    /// Vehicles.
    pub vehicle: Logistic,
    /// People and riders.
    pub people: Logistic,
}

impl Default for ConfidenceConfig {
    /// Fitted on 37 sweeps of one drive and 15 of another: 569 boxes of 48 vehicles and 78 boxes of 6 people, riders and things taken for them.
    /// That is little; fit it anew on reviewed clips.
    fn default() -> Self {
        Self {
            version: "two-drives-1".to_owned(),
            vehicle: Logistic { slope: 1.44, shift: 0.44 },
            people: Logistic { slope: 1.18, shift: -2.66 },
        }
    }
}

impl Logistic {
    /// The probability for a score.
    #[must_use]
    pub fn probability(&self, score: f64) -> f64 {
        let score = score.clamp(LEAST_SCORE, 1.0 - LEAST_SCORE);
        probability(self.slope * (score / (1.0 - score)).ln() + self.shift)
    }
}

impl ConfidenceConfig {
    /// Version and hash of the numbers (FNV-1a of their bits, 64 bits: it tells fits apart and guards against nothing worse than a mix-up).
    #[must_use]
    pub fn id(&self) -> String {
        let numbers = [self.vehicle.slope, self.vehicle.shift, self.people.slope, self.people.shift];
        let bytes = numbers.iter().flat_map(|number| number.to_bits().to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("{}:{hash:016x}", self.version)
    }

    /// Turns the scores of tracks into probabilities. What fits no class keeps its score, because no truth says when it is right, and so does
    /// what another detector gave: the maps are for our own scores.
    pub(super) fn apply(&self, placed: &mut [Placed], taxonomy: &Taxonomy) {
        for track in placed.iter_mut().filter(|track| track.class != taxonomy.unknown() && track.given_by.is_none()) {
            let map = if Kind::of(taxonomy.get(track.class)) == Kind::Vehicle { self.vehicle } else { self.people };
            track.score = map.probability(track.score);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maps_keep_the_order_and_stay_probabilities() {
        let config = ConfidenceConfig::default();
        for map in [config.vehicle, config.people] {
            let scores: Vec<f64> = (0..=1000).map(|step| map.probability(f64::from(step) / 1000.0)).collect();
            assert!(scores.windows(2).all(|pair| pair[0] <= pair[1]));
            assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
        }
        let same = Logistic::default();
        assert!((same.probability(0.73) - 0.73).abs() < 1e-12);
        assert!(same.probability(f64::INFINITY) < 1.0 && same.probability(-1.0) > 0.0);
    }

    #[test]
    fn another_number_is_another_hash() {
        let one = ConfidenceConfig::default();
        let mut other = one.clone();
        other.people.shift += 1e-9;
        assert_eq!(one.id(), ConfidenceConfig::default().id());
        assert_ne!(one.id(), other.id());
        assert!(one.id().starts_with("two-drives-1:"), "{}", one.id());
    }
}
