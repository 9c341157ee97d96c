//! Which frame of the labels belongs to which frame of the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::EvalError;
use crate::labels::{Frame, FrameKey, FrameNumbers, LabelSet};

/// Characters of the truth's own note that are told: some sentences.
const MAX_NOTE: usize = 400;
/// Stamps this near to each other are one moment: formats round to the microsecond or the millisecond.
const SAME_MOMENT_NS: i64 = 1_000_000;

/// One frame with both sides.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Which one, by the names of the truth.
    pub key: FrameKey,
    /// What is there.
    pub truth: Frame,
    /// What was labelled.
    pub labels: Frame,
}

/// All frames, in the order of the labels' file, and what is worth knowing about how they were found.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// The frames.
    pub frames: Vec<Pair>,
    /// Sentences for the reader of the report.
    pub notes: Vec<String>,
}

impl Pairs {
    /// (truth, labels) of every frame.
    #[must_use]
    pub fn plain(&self) -> Vec<(&Frame, &Frame)> {
        self.frames.iter().map(|pair| (&pair.truth, &pair.labels)).collect()
    }

    /// (key, truth, labels) of every frame in order of sequences and numbers.
    #[must_use]
    pub fn in_time(&self) -> Vec<(&FrameKey, &Frame, &Frame)> {
        let mut frames: Vec<_> = self.frames.iter().map(|pair| (&pair.key, &pair.truth, &pair.labels)).collect();
        frames.sort_by_key(|(key, ..)| *key);
        frames
    }
}

/// The beginning of a text as one line that a terminal shows as it is.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(MAX_NOTE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_NOTE).is_some() {
        line.push('…');
    }
    line
}

/// Pairs the frames.
///
/// A frame of the truth without labels counts as one in which nothing was found. A frame of labels without truth is left out where the
/// truth names its frames, and counts as one in which nothing is there where it does not (KITTI tracking: no line, no object).
///
/// # Errors
/// When the sides count frames in different ways, or have no sequence or no frame in common.
pub fn pair(mut labels: LabelSet, mut truth: LabelSet) -> Result<Pairs, EvalError> {
    if labels.numbers != truth.numbers {
        let say = |set: &LabelSet| match set.numbers {
            FrameNumbers::Index => format!("{} numbers its frames", set.path.display()),
            FrameNumbers::StampNs => format!("{} has stamps", set.path.display()),
        };
        let message = format!(
            "expected labels and truth that name frames in one way, got: {}; {}\nhint: --timestamps FILE gives the times of numbered frames",
            say(&labels),
            say(&truth)
        );
        return Err(EvalError::Mismatch(message));
    }
    let mut pairs = Pairs::default();
    // Such as that only what one camera sees was labelled, which decides how the figures are to be read.
    pairs.notes.extend(truth.note.as_deref().map(|note| format!("the truth says of itself: {}", one_line(note))));
    same_sequences(&mut labels, &truth, &mut pairs.notes)?;
    if labels.numbers == FrameNumbers::StampNs {
        same_stamps(&mut labels, &truth);
    }
    let common = truth.frames.keys().filter(|key| labels.frames.contains_key(key)).count();
    if common == 0 {
        return Err(nothing_in_common(&labels, &truth));
    }
    let missing: Vec<FrameKey> = truth.frames.keys().filter(|key| !labels.frames.contains_key(key)).cloned().collect();
    if labels.frames_are_complete && !missing.is_empty() {
        if labels.numbers == FrameNumbers::Index {
            let message = format!(
                "{}: expected a file for each of the {} frames of the truth, got none for {} of them (such as {})\nhint: an empty file \
                 stands for a frame without objects",
                labels.path.display(),
                truth.frames.len(),
                missing.len(),
                missing[0].number
            );
            return Err(EvalError::Mismatch(message));
        }
        pairs.notes.push(format!(
            "{} of {} frames of the truth have no sample: nothing was found in them",
            missing.len(),
            truth.frames.len()
        ));
    }
    let extra = labels.frames.keys().filter(|key| !truth.frames.contains_key(key)).count();
    if extra > 0 && truth.frames_are_complete {
        pairs.notes.push(format!("{extra} of {} labelled frames have no truth: left out", labels.frames.len()));
        labels.order.retain(|key| truth.frames.contains_key(key));
    }
    let order = std::mem::take(&mut labels.order);
    let keys: Vec<FrameKey> = order.into_iter().chain(missing).chain(between(&labels, &truth)).collect();
    for key in keys {
        let take = |set: &mut LabelSet| set.frames.remove(&key).unwrap_or_default();
        let (truth, labels) = (take(&mut truth), take(&mut labels));
        pairs.frames.push(Pair { key, truth, labels });
    }
    Ok(pairs)
}

/// Numbered frames of a sequence that neither side has a line for: they are there all the same.
fn between(labels: &LabelSet, truth: &LabelSet) -> Vec<FrameKey> {
    if truth.numbers != FrameNumbers::Index || truth.frames_are_complete {
        return Vec::new();
    }
    let keys: BTreeSet<&FrameKey> = labels.frames.keys().chain(truth.frames.keys()).collect();
    let mut last: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    for key in &keys {
        last.insert(key.sequence.clone(), key.number);
    }
    // An hour at 100 Hz: a frame number beyond it is a broken line, and is not worth a frame for each number before it.
    let bounded = |(sequence, last): (Arc<str>, i64)| {
        (0..=last.min(360_000)).map(move |number| FrameKey { sequence: sequence.clone(), number })
    };
    last.into_iter().flat_map(bounded).filter(|key| !keys.contains(key)).collect()
}

/// Gives the labels the names of the truth's sequences where each side has but one; else the names must be among them.
fn same_sequences(labels: &mut LabelSet, truth: &LabelSet, notes: &mut Vec<String>) -> Result<(), EvalError> {
    let (ours, theirs) = (labels.sequences(), truth.sequences());
    if let ([one], [other]) = (ours.as_slice(), theirs.as_slice()) {
        if one != other {
            labels.order.iter_mut().for_each(|key| key.sequence = other.clone());
            let renamed = std::mem::take(&mut labels.frames).into_iter();
            labels.frames = renamed.map(|(key, frame)| (FrameKey { sequence: other.clone(), ..key }, frame)).collect();
        }
        return Ok(());
    }
    if theirs.iter().all(|name| name.is_empty()) && ours.len() > 1 {
        return Err(EvalError::Mismatch(format!(
            "expected labels of one drive, because the truth names none, got {}: {}\nhint: a dataset with the labels of this drive alone",
            ours.len(),
            ours.join(", ")
        )));
    }
    let unknown: Vec<&str> = ours.iter().filter(|name| !theirs.contains(name)).map(|name| &**name).collect();
    if !unknown.is_empty() {
        let message = format!(
            "expected sequences that the truth has ({}), got {}\nhint: labels and truth must name their sequences alike",
            theirs.join(", "),
            unknown.join(", ")
        );
        return Err(EvalError::Mismatch(message));
    }
    let left: Vec<&str> = theirs.iter().filter(|name| !ours.contains(name)).map(|name| &**name).collect();
    if !left.is_empty() {
        notes.push(format!("sequences of the truth without any label: {}; nothing was found in them", left.join(", ")));
    }
    Ok(())
}

/// Moves the stamps of the labels onto the truth's where they mean the same moment.
fn same_stamps(labels: &mut LabelSet, truth: &LabelSet) {
    let nearest = |key: &FrameKey| -> FrameKey {
        let at = |number: i64| FrameKey { sequence: key.sequence.clone(), number };
        let near =
            truth.frames.range(at(key.number.saturating_sub(SAME_MOMENT_NS))..=at(key.number.saturating_add(SAME_MOMENT_NS)));
        near.map(|(found, _)| found).min_by_key(|found| found.number.abs_diff(key.number)).unwrap_or(key).clone()
    };
    labels.order = labels.order.iter().map(nearest).collect();
    labels.frames = std::mem::take(&mut labels.frames).into_iter().map(|(key, frame)| (nearest(&key), frame)).collect();
}

fn nothing_in_common(labels: &LabelSet, truth: &LabelSet) -> EvalError {
    let say = |set: &LabelSet| {
        let numbers = || set.frames.keys().map(|key| key.number);
        match (numbers().min(), numbers().max()) {
            (Some(first), Some(last)) => format!("{} frames from {first} to {last}", set.frames.len()),
            _ => "no frame".to_owned(),
        }
    };
    EvalError::Mismatch(format!(
        "expected frames that labels and truth have in common, got none: labels have {}, truth has {}\nhint: are they of the same drive?",
        say(labels),
        say(truth)
    ))
}
