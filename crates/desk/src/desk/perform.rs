//! What people do to labels: planned on the labels as they stand, stored, and only then applied.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, allow, check_id, foreign, refusal};
use crate::clip::{DeskClip, Work};
use crate::error::DeskError;
use crate::labels::{Change, Labels, Verdict, reversed, touched};
use crate::operation::{Context, Operation, plan};
use crate::people::{Person, Right};
use crate::scene::Scene;
use crate::store::{ClipName, Done, Outgoing};

/// A look that took longer than this was a break; its time is not counted.
const LONGEST_LOOK_MS: i64 = 10 * 60_000;

/// What a page sends to change labels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Made by the page: what is sent twice is done once.
    pub id: String,
    /// The last operation that the page had seen on each track that this one is about.
    #[serde(default)]
    pub base: BTreeMap<u32, i64>,
    /// An [`Operation`], or `{"kind": "undo"}`, or `{"kind": "redo"}`.
    pub operation: Value,
    /// From the item being shown to this, in milliseconds.
    #[serde(default)]
    pub spent_ms: Option<i64>,
    /// The database that it is meant for: what a page kept must not be done to another one that listens where the first did. Scripts that
    /// speak to one server may leave it out.
    #[serde(default)]
    pub database: Option<String>,
}

/// An operation with where it came from.
enum Kind {
    New(Box<Operation>),
    Undo,
    Redo,
}

/// What is asked, by whom and of what.
struct Asking<'a> {
    person: &'a Person,
    name: &'a ClipName,
    asked: &'a Asked,
    kind: &'a Kind,
    clip: &'a DeskClip,
    scene: &'a Scene,
    now_ms: i64,
}

impl Desk {
    /// Does what a person asks, once.
    ///
    /// # Errors
    /// [`DeskError::Conflict`] with both sides where somebody else has changed or holds one of the tracks; a refusal where it makes no
    /// sense; or when the person may not, or the database fails: then nothing was changed.
    pub fn perform(&self, person: &Person, name: &ClipName, asked: &Asked, now_ms: i64) -> Result<Value, DeskError> {
        allow(person, Right::Edit)?;
        check_id(&asked.id)?;
        if let Some(other) = asked.database.as_ref().filter(|database| **database != self.identity) {
            return Err(DeskError::OtherDatabase { expected: self.identity.clone(), got: other.clone() });
        }
        let clip = self.clip(person, name, now_ms)?;
        let scene = self.scene_of(&clip)?;
        let kind = kind_of(&asked.operation)?;
        if let Kind::New(operation) = &kind
            && operation.is_verdict()
        {
            allow(person, Right::Decide)?;
        }
        let asking = Asking { person, name, asked, kind: &kind, clip: &clip, scene: &scene, now_ms };
        // To plan may take seconds (an object is followed through the clip), so it is done on a copy of the labels: nobody waits for it.
        let labels = {
            let work = clip.current(self.store())?;
            if let Some(done) = work.history.iter().find(|done| done.id == asked.id) {
                return Ok(outcome(&clip, &work, done, &scene));
            }
            self.check_base(&asking, &work)?;
            work.labels.clone()
        };
        let mut planned = self.planned(&asking, &labels)?;
        drop(labels);
        let mut work = clip.current(self.store())?;
        if let Some(done) = work.history.iter().find(|done| done.id == asked.id) {
            return Ok(outcome(&clip, &work, done, &scene));
        }
        self.check_base(&asking, &work)?;
        if planned.as_ref().is_some_and(|changes| !work.labels.fits(changes)) {
            // The number of a new track was given to another one meanwhile: planned again, this time with the others waiting.
            planned = self.planned(&asking, &work.labels)?;
        }
        let (changes, undoes, op_name) = match (&kind, planned) {
            (Kind::New(operation), Some(changes)) => (changes, None, operation.name()),
            (Kind::Redo, _) => take_back(work.redo_of(&person.name), "redo")?,
            _ => take_back(work.undo_of(&person.name), "undo")?,
        };
        let changes = as_stored(&changes)?;
        if !work.labels.fits(&changes) {
            return Err(conflict(asked, &touched(&changes).into_iter().collect::<Vec<_>>(), &clip, &work, &scene, None));
        }
        let done = Done {
            seq: work.seq() + 1,
            id: asked.id.clone(),
            person: person.name.clone(),
            at_ms: now_ms,
            name: op_name.to_owned(),
            class: class_of(&changes, &work),
            request: asked.operation.clone(),
            changes,
            undoes,
            spent_ms: asked.spent_ms.filter(|spent| (0..LONGEST_LOOK_MS).contains(spent)),
        };
        let is_verdict = matches!(&kind, Kind::New(operation) if operation.is_verdict());
        let verdict = (is_verdict || decides(&done.changes)).then(|| verdict(name, &done, &work));
        // Until its end is known, others wait for this clip: what they do must follow it, or take its place.
        work.unsure = true;
        self.store().add_operation(name, &done, verdict.as_ref())?;
        work.unsure = false;
        let seq = done.seq;
        work.take(done);
        let Some(done) = work.history.iter().rfind(|done| done.seq == seq) else {
            return Err(DeskError::Foreign("an operation is missing from its own history".to_owned()));
        };
        Ok(outcome(&clip, &work, done, &scene))
    }

    /// The changes that an operation comes to on these labels; nothing for what takes back.
    fn planned(&self, asking: &Asking<'_>, labels: &Labels) -> Result<Option<Vec<Change>>, DeskError> {
        let Kind::New(operation) = asking.kind else { return Ok(None) };
        let context = Context { labels, around: asking.scene, taxonomy: &self.setup.taxonomy, person: &asking.person.name };
        Ok(Some(plan(&context, operation)?))
    }

    /// Refuses what is based on labels that somebody has changed since, or holds, or that can never become a revision.
    fn check_base(&self, asking: &Asking<'_>, work: &Work) -> Result<(), DeskError> {
        let Asking { person, name, asked, clip, scene, .. } = asking;
        if let Some(newest) = work.foreign {
            return Err(foreign(work, newest));
        }
        let Kind::New(operation) = asking.kind else { return Ok(()) };
        let tracks = operation.tracks();
        for track in &tracks {
            if asked.base.get(track).copied().unwrap_or(0) != work.rev(*track) {
                return Err(conflict(asked, &tracks, clip, work, scene, None));
            }
            if let Some(holder) = self.store().lease_of_another(name, *track, &person.name, asking.now_ms)? {
                return Err(conflict(asked, &tracks, clip, work, scene, Some(&holder)));
            }
        }
        Ok(())
    }

    /// What was done to a clip, or to one of its tracks, oldest first.
    ///
    /// # Errors
    /// When the person may not.
    pub fn history(&self, person: &Person, name: &ClipName, track: Option<u32>, now_ms: i64) -> Result<Value, DeskError> {
        let clip = self.clip(person, name, now_ms)?;
        let work = clip.work();
        let is_meant = |done: &&Done| track.is_none_or(|track| touched(&done.changes).contains(&track));
        Ok(json!({ "operations": work.history.iter().filter(is_meant).map(summary).collect::<Vec<_>>() }))
    }
}

fn kind_of(operation: &Value) -> Result<Kind, DeskError> {
    match operation.get("kind").and_then(Value::as_str) {
        Some("undo") => Ok(Kind::Undo),
        Some("redo") => Ok(Kind::Redo),
        _ => {
            let parsed = serde_json::from_value(operation.clone());
            parsed
                .map(|one| Kind::New(Box::new(one)))
                .map_err(|error| DeskError::Request(format!("expected an operation: {error}")))
        }
    }
}

fn take_back(found: Option<&Done>, what: &'static str) -> Result<(Vec<Change>, Option<i64>, &'static str), DeskError> {
    match found {
        Some(done) => Ok((reversed(&done.changes), Some(done.seq), what)),
        None => Err(refusal(format!("nothing of yours to {what} in this clip"))),
    }
}

/// Changes as they will be read back from the database.
fn as_stored(changes: &[Change]) -> Result<Vec<Change>, DeskError> {
    let foreign = |error: serde_json::Error| DeskError::Foreign(error.to_string());
    serde_json::from_str(&serde_json::to_string(changes).map_err(foreign)?).map_err(foreign)
}

fn class_of(changes: &[Change], work: &Work) -> String {
    let tracks = touched(changes);
    let only = if tracks.len() == 1 { tracks.first() } else { None };
    let known = only.and_then(|track| work.labels.track(*track)).map(|track| track.state.class.clone());
    let made = || {
        changes.iter().find_map(|change| match change {
            Change::Track { after: Some(after), .. } => Some(after.class.clone()),
            _ => None,
        })
    };
    known.or_else(made).unwrap_or_default()
}

fn summary(done: &Done) -> Value {
    json!({
        "seq": done.seq, "id": done.id, "person": done.person, "at_ms": done.at_ms, "name": done.name, "request": done.request,
        "tracks": touched(&done.changes), "undoes": done.undoes,
    })
}

/// Tracks as they stand, by number; null for those that are gone.
fn standing(
    tracks: impl IntoIterator<Item = u32>,
    clip: &DeskClip,
    work: &Work,
    scene: &Scene,
) -> (BTreeMap<String, Value>, BTreeMap<u32, i64>) {
    let numbers: Vec<u32> = tracks.into_iter().collect();
    let page = |number: &u32| {
        let track = work.labels.track(*number).map_or(Value::Null, |track| clip.page_track(*number, track, scene));
        (number.to_string(), track)
    };
    (numbers.iter().map(page).collect(), numbers.iter().map(|number| (*number, work.rev(*number))).collect())
}

fn outcome(clip: &DeskClip, work: &Work, done: &Done, scene: &Scene) -> Value {
    let (tracks, revs) = standing(touched(&done.changes), clip, work, scene);
    let samples: BTreeSet<u32> = done
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Box { sample, .. } => Some(*sample),
            Change::Track { .. } => None,
        })
        .collect();
    // A class or a verdict shows in every box of its track.
    let shows = done.changes.iter().filter(|change| matches!(change, Change::Track { .. })).map(Change::track);
    let of_tracks = shows.filter_map(|track| work.labels.track(track)).flat_map(|track| track.boxes.keys().copied());
    let samples: BTreeSet<u32> = samples.into_iter().chain(of_tracks).collect();
    json!({ "seq": done.seq, "id": done.id, "name": done.name, "tracks": tracks, "revs": revs, "samples": samples })
}

fn conflict(asked: &Asked, tracks: &[u32], clip: &DeskClip, work: &Work, scene: &Scene, held_by: Option<&str>) -> DeskError {
    let since = |done: &&Done| {
        touched(&done.changes).iter().any(|track| tracks.contains(track) && done.seq > asked.base.get(track).copied().unwrap_or(0))
    };
    let theirs: Vec<Value> = work.history.iter().filter(since).map(summary).collect();
    let (standing, revs) = standing(tracks.iter().copied(), clip, work, scene);
    DeskError::Conflict(Box::new(json!({
        "yours": asked.operation, "theirs": theirs, "tracks": standing, "revs": revs, "held_by": held_by,
    })))
}

/// Whether changes alter what is decided about a track, or whether it is there at all: others hear of that, whatever the operation is
/// called. An undo of a verdict is one of these, and so is an edit of a track that was accepted.
fn decides(changes: &[Change]) -> bool {
    changes.iter().any(|change| match change {
        Change::Track { before, after, .. } => {
            before.as_ref().map(|state| state.verdict) != after.as_ref().map(|state| state.verdict)
        }
        Change::Box { .. } => false,
    })
}

/// A decision as others hear of it: what was done, what it takes back, and how the tracks stand since.
fn verdict(name: &ClipName, done: &Done, before: &Work) -> Outgoing {
    let standing: BTreeMap<u32, Option<Verdict>> = done
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Track { track, after, .. } => Some((*track, after.as_ref().map(|state| state.verdict))),
            Change::Box { .. } => None,
        })
        .collect();
    let undoes = done.undoes.and_then(|seq| before.history.iter().find(|other| other.seq == seq)).map(|other| &other.id);
    let body = json!({
        "kind": done.name, "id": done.id, "vehicle": name.vehicle, "clip": name.clip, "tracks": touched(&done.changes),
        "standing": standing, "undoes": undoes, "class": done.class, "error": done.request.get("error"), "person": done.person,
        "at_ms": done.at_ms, "seq": done.seq, "spent_ms": done.spent_ms,
    });
    Outgoing { id: done.id.clone(), vehicle: name.vehicle.clone(), at_ms: done.at_ms, body: body.to_string() }
}
