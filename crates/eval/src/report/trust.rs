//! How far confidences can be trusted: what they say against what was right.

use serde::Serialize;

use crate::numbers::share;

/// Bins of equal width of the calibration error.
const BINS: usize = 15;

/// Confidences of labels against whether they were right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trust {
    /// Expected calibration error: distance of confidence and share that is right, mean over 15 bins of equal width, weighted by their labels
    /// (Guo et al., "On calibration of modern neural networks", 2017).
    pub ece: f64,
    /// Brier score: mean squared distance of confidence and outcome.
    pub brier: f64,
    /// Area under risk over coverage: the share that is wrong among the surest labels, mean over all shares of labels that are taken.
    pub aurc: f64,
}

impl Trust {
    /// From confidences and outcomes, the surest first; `None` without labels or where a confidence is no probability.
    #[must_use]
    pub fn of(judged: &[(f64, bool)]) -> Option<Self> {
        if judged.is_empty() || judged.iter().any(|(score, _)| !(0.0..=1.0).contains(score)) {
            return None;
        }
        let count = judged.len() as f64;
        let mut bins = [(0.0, 0.0, 0.0); BINS];
        let (mut brier, mut wrong, mut aurc) = (0.0, 0.0, 0.0);
        for (index, (score, right)) in judged.iter().enumerate() {
            let outcome = f64::from(*right);
            let bin = &mut bins[((score * BINS as f64) as usize).min(BINS - 1)];
            *bin = (bin.0 + 1.0, bin.1 + score, bin.2 + outcome);
            brier += (score - outcome).powi(2) / count;
            wrong += 1.0 - outcome;
            aurc += wrong / (index + 1) as f64 / count;
        }
        let ece = bins.iter().map(|(labels, scores, right)| share((scores - right).abs(), *labels) * labels / count).sum();
        Some(Self { ece, brier, aurc })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_what_a_hand_calculation_gives() {
        let judged = [(0.9, true), (0.9, true), (0.9, false), (0.1, false)];
        let trust = Trust::of(&judged).unwrap();
        // Bin of 0.9: 2.7 said, 2 right; bin of 0.1: 0.1 said, 0 right.
        assert!((trust.ece - (0.7 + 0.1) / 4.0).abs() < 1e-12, "{trust:?}");
        assert!((trust.brier - (0.01 + 0.01 + 0.81 + 0.01) / 4.0).abs() < 1e-12, "{trust:?}");
        assert!((trust.aurc - (0.0 + 0.0 + 1.0 / 3.0 + 2.0 / 4.0) / 4.0).abs() < 1e-12, "{trust:?}");
        assert_eq!(Trust::of(&[]), None);
        assert_eq!(Trust::of(&[(3.2, true)]), None, "a logit is no probability");
    }
}
