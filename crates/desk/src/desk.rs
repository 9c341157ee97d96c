//! The desk itself: every request of a person, without HTTP.
//!
//! Each method takes the person who asks and the time, checks what they may, notes it, and does it. An operation is planned on the labels as
//! they stand, stored, and only then applied: what a person was told is on the disk.
//!
//! Here are clips, the queue, revisions, remarks and statistics; who is there is in `entrance`, what they do to labels in `perform`, and the 3D view
//! in `viewer`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use boxwright_model::{ClipId, Taxonomy};
use boxwright_shard::{Dataset, ManifestEntry, SealOutcome};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::canvas::Canvas;
use crate::clip::{DeskClip, Work};
use crate::error::DeskError;
use crate::geometry::Refusal;
use crate::labels::Verdict;
use crate::oidc::{Oidc, OidcSetup};
use crate::operation::Around;
use crate::pace;
use crate::people::{Person, Right};
use crate::queue;
use crate::revision;
use crate::scene::{OpenScenes, Scene};
use crate::secret;
use crate::store::{Audited, ClipName, Outgoing, Remark, Store};

mod entrance;

mod perform;

mod viewer;

pub use entrance::Entered;
pub use perform::Asked;
pub use viewer::RecordingAddress;

/// Longest remark.
const REMARK_CHARS: usize = 4_000;
/// Longest id that a page may give to what it sends.
const ID_CHARS: usize = 64;
/// Lines of the audit log that are answered at once.
const AUDIT_LINES: usize = 500;
/// Disk that the sweeps of clips which somebody looked at may take: some ten clips of 200 sweeps with 120k points.
pub const SPOOL_BYTES: u64 = 4 << 30;
/// Longest name of a lot.
const LOT_CHARS: usize = 100;

/// What a desk is made of.
pub struct DeskSetup {
    /// The clips.
    pub dataset: Dataset,
    /// Classes.
    pub taxonomy: Arc<Taxonomy>,
    /// The database.
    pub store: Store,
    /// Opens the sweeps and images of a clip.
    pub scenes: OpenScenes,
    /// How long an item stays with a person who does nothing.
    pub lease_ms: i64,
    /// See [`SPOOL_BYTES`].
    pub spool_bytes: u64,
    /// The viewer in the page, where there is one.
    pub canvas: Option<Arc<dyn Canvas>>,
    /// The provider that people may sign in by, where there is one.
    pub oidc: Option<OidcSetup>,
}

/// The desk.
pub struct Desk {
    setup: DeskSetup,
    /// Clips in order; read again when new ones were sealed.
    clips: Mutex<BTreeMap<ClipName, Arc<DeskClip>>>,
    /// See [`Store::identity`].
    identity: String,
    /// Counts the questions for sweeps, so that those that nobody asks for any more can go first.
    looks: AtomicU64,
    /// Signs addresses of recordings; another one with every start.
    signing: String,
    oidc: Option<Oidc>,
}

/// What a page sends to make a remark.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRemark {
    /// Made by the page.
    pub id: String,
    /// Track; none for the clip as a whole.
    #[serde(default)]
    pub track: Option<u32>,
    /// Sample; none for the whole track.
    #[serde(default)]
    pub sample: Option<u32>,
    /// Kind of error.
    #[serde(default)]
    pub error: Option<crate::labels::ErrorKind>,
    /// What they say.
    pub body: String,
}

impl Desk {
    /// Reads the labels of every clip.
    ///
    /// # Errors
    /// When the dataset or the database cannot be read.
    pub fn open(setup: DeskSetup) -> Result<Self, DeskError> {
        let identity = setup.store.identity()?;
        let oidc = setup.oidc.clone().map(Oidc::new).transpose()?;
        let desk = Self { setup, clips: Mutex::default(), identity, looks: AtomicU64::new(0), signing: secret::token(), oidc };
        desk.find_clips()?;
        Ok(desk)
    }

    /// Clips whose newest revision was not written from this database, with that revision: nothing that is done to them here can become a
    /// revision.
    #[must_use]
    pub fn foreign(&self) -> Vec<(ClipName, i32)> {
        self.all().iter().filter_map(|clip| Some((clip.name.clone(), clip.work().foreign?))).collect()
    }

    /// Clips that this database begins from a later revision than the automatic one, with that revision: another database has the decisions
    /// that led to it.
    #[must_use]
    pub fn continued(&self) -> Vec<(ClipName, i32)> {
        let base = |clip: &Arc<DeskClip>| (clip.name.clone(), clip.work().row.base_revision);
        self.all().iter().map(base).filter(|(_, revision)| *revision > 0).collect()
    }

    /// What tells the database of this desk from every other one.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Looks for clips that were sealed since.
    fn find_clips(&self) -> Result<(), DeskError> {
        let mut by_clip: BTreeMap<ClipName, Vec<ManifestEntry>> = BTreeMap::new();
        for entry in self.setup.dataset.entries()? {
            by_clip.entry(ClipName { vehicle: entry.vehicle.to_string(), clip: entry.clip.0 }).or_default().push(entry);
        }
        for (name, entries) in by_clip {
            if self.clips.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&name) {
                continue;
            }
            if let Some(clip) = DeskClip::open(&self.setup.dataset, &entries, &self.setup.taxonomy, &self.setup.store)? {
                self.clips.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert_with(|| Arc::new(clip));
            }
        }
        Ok(())
    }

    fn all(&self) -> Vec<Arc<DeskClip>> {
        self.clips.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn store(&self) -> &Store {
        &self.setup.store
    }

    // Clips.

    /// A clip, if the person is cleared for it. A refusal is noted.
    fn clip(&self, person: &Person, name: &ClipName, now_ms: i64) -> Result<Arc<DeskClip>, DeskError> {
        let found = self.clips.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let Some(clip) = found else {
            return Err(DeskError::NotFound(format!("expected a clip of the dataset, got {}/{}", name.vehicle, name.clip)));
        };
        if clip.grade > person.clearance {
            self.store().note(now_ms, &person.name, "not cleared", Some(name), clip.grade.as_str())?;
            return Err(DeskError::Clearance { grade: clip.grade, clearance: person.clearance });
        }
        drop(clip.current(self.store())?);
        Ok(clip)
    }

    /// The clips that a person may see, and how far they are.
    ///
    /// # Errors
    /// When new clips cannot be read.
    pub fn clips(&self, person: &Person) -> Result<Value, DeskError> {
        self.find_clips()?;
        let row = |clip: &DeskClip| {
            let work = clip.work();
            let count = |verdict: Verdict| work.labels.tracks().values().filter(|track| track.state.verdict == verdict).count();
            json!({
                "vehicle": clip.name.vehicle, "clip": clip.name.clip, "grade": clip.grade, "samples": clip.samples.len(),
                "tracks": work.labels.tracks().len(), "open": count(Verdict::Open), "returned": count(Verdict::Returned),
                "accepted": count(Verdict::Accepted), "suggested": count(Verdict::Suggested), "revision": work.row.last_revision,
                "unfinished": work.seq() > work.row.finished_seq,
            })
        };
        let all = self.all();
        for clip in &all {
            drop(clip.current(self.store())?);
        }
        let cleared = all.iter().filter(|clip| clip.grade <= person.clearance);
        Ok(json!({ "clips": cleared.map(|clip| row(clip)).collect::<Vec<_>>() }))
    }

    /// A clip with all its labels. That it was seen is noted.
    ///
    /// # Errors
    /// When the person may not, or the clip cannot be read.
    pub fn open_clip(&self, person: &Person, name: &ClipName, now_ms: i64) -> Result<Value, DeskError> {
        let clip = self.clip(person, name, now_ms)?;
        let scene = self.scene_of(&clip)?;
        self.store().note(now_ms, &person.name, "opened", Some(name), "")?;
        Ok(clip.page(&scene))
    }

    /// The scene of a clip. Where it had to be read, the scenes that were not asked for the longest make room.
    fn scene_of(&self, clip: &DeskClip) -> Result<Arc<Scene>, DeskError> {
        let now = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        let scene = clip.scene(&self.setup.scenes, now)?;
        let all = self.all();
        let mut spooled: Vec<(u64, u64, &Arc<DeskClip>)> =
            all.iter().filter_map(|one| one.spooled().map(|(used, bytes)| (used, bytes, one))).collect();
        spooled.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut sum = 0u64;
        for (index, (_, bytes, one)) in spooled.iter().enumerate() {
            sum = sum.saturating_add(*bytes);
            // The one that was just asked for stays, however large.
            if index > 0 && sum > self.setup.spool_bytes {
                one.unspool();
            }
        }
        Ok(scene)
    }

    /// The sweeps and images of a clip.
    ///
    /// # Errors
    /// When the person may not, or the clip cannot be read.
    pub fn scene(&self, person: &Person, name: &ClipName, now_ms: i64) -> Result<Arc<Scene>, DeskError> {
        let clip = self.clip(person, name, now_ms)?;
        self.scene_of(&clip)
    }

    // The queue.

    /// The next item for a person, which nobody else will get while it is theirs: in one clip where `only` names one. `after` is what they
    /// have passed over.
    ///
    /// # Errors
    /// When the person may not, or the database fails.
    pub fn next(
        &self,
        person: &Person,
        only: Option<&ClipName>,
        after: &[(ClipName, u32)],
        now_ms: i64,
    ) -> Result<Value, DeskError> {
        allow(person, Right::Edit)?;
        if let Some(name) = only {
            self.clip(person, name, now_ms)?;
        }
        let mut items: Vec<(f64, ClipName, u32, Option<u32>)> = Vec::new();
        for clip in self.all() {
            if clip.grade > person.clearance || only.is_some_and(|name| *name != clip.name) {
                continue;
            }
            let work = clip.current(self.store())?;
            let waiting = work.labels.tracks().iter().filter(|(_, track)| track.state.verdict != Verdict::Accepted);
            items.extend(waiting.map(|(number, track)| {
                let saved_s = queue::saved_s(track, clip.findings(*number, track).len());
                (saved_s, clip.name.clone(), *number, queue::worst_sample(track))
            }));
        }
        let left = items.len();
        items.retain(|(_, name, track, _)| !after.iter().any(|(passed, number)| passed == name && number == track));
        items.sort_by(|one, two| two.0.total_cmp(&one.0).then_with(|| (&one.1, one.2).cmp(&(&two.1, two.2))));
        let keys: Vec<(ClipName, u32)> = items.iter().map(|(_, name, track, _)| (name.clone(), *track)).collect();
        let taken = self.store().take_lease(&keys, &person.name, now_ms, now_ms + self.setup.lease_ms)?;
        let item = taken.and_then(|index| items.get(index)).map(|(saved_s, name, track, worst)| {
            json!({ "vehicle": name.vehicle, "clip": name.clip, "track": track, "sample": worst, "saved_s": saved_s })
        });
        Ok(json!({ "item": item, "left": left, "lease_ms": self.setup.lease_ms }))
    }

    /// Takes a track that the person chose, or makes their lease last longer. False where somebody else has it.
    ///
    /// # Errors
    /// When the person may not, or the database fails.
    pub fn hold(&self, person: &Person, name: &ClipName, track: u32, now_ms: i64) -> Result<bool, DeskError> {
        allow(person, Right::Edit)?;
        self.clip(person, name, now_ms)?;
        self.store().renew_lease(name, track, &person.name, now_ms, now_ms + self.setup.lease_ms)
    }

    /// How long a track is a person's who does not hold on to it.
    #[must_use]
    pub fn lease_ms(&self) -> i64 {
        self.setup.lease_ms
    }

    /// Gives a track back.
    ///
    /// # Errors
    /// When the person may not, or the database fails.
    pub fn release(&self, person: &Person, name: &ClipName, track: u32, now_ms: i64) -> Result<(), DeskError> {
        self.clip(person, name, now_ms)?;
        self.store().end_lease(name, track, &person.name)
    }

    // The end of a clip.

    /// Writes the labels as they stand as the next revision. With `anyway` also where tracks were not decided about (they stay as they
    /// are) or were returned (they are left out).
    ///
    /// # Errors
    /// When the person may not, something is undecided, somebody else has written a revision, or writing fails.
    pub fn finish(&self, person: &Person, name: &ClipName, anyway: bool, now_ms: i64) -> Result<Value, DeskError> {
        allow(person, Right::Decide)?;
        let clip = self.clip(person, name, now_ms)?;
        let scene = self.scene_of(&clip)?;
        let _one = clip.finishing.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.newest_entry(&clip)?;
        clip.settle(&self.setup.dataset, &newest, &self.setup.taxonomy, self.store())?;
        // The labels are written as they stand now; who works on while they are written has something for the next revision.
        let (labels, seq, row) = {
            let work = clip.current(self.store())?;
            if let Some(newest) = work.foreign {
                return Err(foreign(&work, newest));
            }
            (work.labels.clone(), work.seq(), work.row)
        };
        let count = |verdict: Verdict| labels.tracks().values().filter(|track| track.state.verdict == verdict).count();
        let (open, returned, suggested) = (count(Verdict::Open), count(Verdict::Returned), count(Verdict::Suggested));
        if !anyway && open + returned + suggested > 0 {
            let message = format!(
                "expected a decision about every track, got {open} open, {returned} returned and {suggested} only suggested"
            );
            return Err(refusal(message));
        }
        if seq == row.finished_seq && row.last_revision > row.base_revision {
            return Ok(json!({ "revision": row.last_revision, "written": false }));
        }
        let next = newest.revision + 1;
        let body = json!({
            "kind": "finish", "vehicle": name.vehicle, "clip": name.clip, "revision": next, "person": person.name, "at_ms": now_ms,
            "tracks": labels.tracks().len(), "open": open, "returned": returned, "suggested": suggested,
        });
        let id = format!("{}/{}/r{next}", name.vehicle, name.clip);
        let outgoing = Outgoing { id, vehicle: name.vehicle.clone(), at_ms: now_ms, body: body.to_string() };
        self.store().begin_finish(name, next, seq, &outgoing)?;
        let source = revision::Source {
            entry: &clip.entry,
            samples: &clip.samples,
            boxes: &clip.boxes,
            tracks: &clip.tracks,
            labels: &labels,
        };
        let sealed = match revision::write(&self.setup.dataset, &source, &*scene, &self.setup.taxonomy, next)? {
            SealOutcome::Sealed(entry) => entry,
            SealOutcome::AlreadySealed(_) => {
                return Err(refusal(format!("expected to write revision {next}, got it from somebody else at the same time")));
            }
        };
        self.store().end_finish(name)?;
        self.store().note(now_ms, &person.name, "finished", Some(name), &format!("revision {next}"))?;
        clip.work().row = self.store().clip(name, next)?;
        let files: Vec<&str> = sealed.files.iter().map(|file| file.path.as_str()).collect();
        Ok(json!({ "revision": next, "written": true, "files": files }))
    }

    fn newest_entry(&self, clip: &DeskClip) -> Result<ManifestEntry, DeskError> {
        let entries = self.setup.dataset.entries()?;
        let of_clip =
            entries.into_iter().filter(|entry| *entry.vehicle == *clip.name.vehicle && entry.clip == ClipId(clip.name.clip));
        Ok(of_clip.max_by_key(|entry| entry.revision).unwrap_or_else(|| clip.entry.clone()))
    }

    // Remarks, statistics, audit.

    /// Adds a remark.
    ///
    /// # Errors
    /// When the person may not, it is too long, or the database fails.
    pub fn remark(&self, person: &Person, name: &ClipName, new: NewRemark, now_ms: i64) -> Result<Value, DeskError> {
        allow(person, Right::Edit)?;
        self.clip(person, name, now_ms)?;
        check_id(&new.id)?;
        let length = new.body.chars().count();
        if length > REMARK_CHARS || (length == 0 && new.error.is_none()) {
            return Err(DeskError::Request(format!("expected a remark of 1 to {REMARK_CHARS} characters, got {length}")));
        }
        let error = new.error.and_then(|error| serde_json::to_value(error).ok()).and_then(|word| Some(word.as_str()?.to_owned()));
        let remark = Remark {
            id: new.id,
            track: new.track,
            sample: new.sample,
            person: person.name.clone(),
            at_ms: now_ms,
            error,
            body: new.body,
            resolved_by: None,
        };
        self.store().add_remark(name, &remark)?;
        self.remarks(person, name, now_ms)
    }

    /// Settles a remark.
    ///
    /// # Errors
    /// When the person may not, there is no such remark, or the database fails.
    pub fn resolve(&self, person: &Person, name: &ClipName, id: &str, now_ms: i64) -> Result<Value, DeskError> {
        allow(person, Right::Edit)?;
        self.clip(person, name, now_ms)?;
        if !self.store().resolve_remark(name, id, &person.name)? {
            return Err(DeskError::NotFound(format!("expected a remark of this clip, got {id:?}")));
        }
        self.remarks(person, name, now_ms)
    }

    /// The remarks on a clip.
    ///
    /// # Errors
    /// When the person may not, or the database fails.
    pub fn remarks(&self, person: &Person, name: &ClipName, now_ms: i64) -> Result<Value, DeskError> {
        self.clip(person, name, now_ms)?;
        Ok(json!({ "remarks": self.store().remarks(name)? }))
    }

    /// Seconds by lot, person, action and class, and how long what is left will take; of the clips that the person is cleared for.
    ///
    /// # Errors
    /// When the person may not, or the database fails.
    pub fn statistics(&self, person: &Person) -> Result<Value, DeskError> {
        allow(person, Right::Oversee)?;
        let lots = self.store().lots()?;
        let mut paces = pace::Paces::default();
        for clip in self.all().iter().filter(|clip| clip.grade <= person.clearance) {
            let work = clip.work();
            let left = work.labels.tracks().values().filter(|track| track.state.verdict != Verdict::Accepted).count();
            paces.add(lots.get(&clip.name).unwrap_or(&clip.day), work.labels.tracks().len(), left, &work.history);
        }
        Ok(paces.told())
    }

    /// Puts clips into a lot.
    ///
    /// # Errors
    /// When the person may not, the name is none, or the database fails.
    pub fn put_lot(&self, person: &Person, lot: &str, clips: &[ClipName], now_ms: i64) -> Result<Value, DeskError> {
        allow(person, Right::Oversee)?;
        let length = lot.chars().count();
        if length == 0 || length > LOT_CHARS || lot.chars().any(char::is_control) {
            return Err(DeskError::Request(format!("expected the name of a lot of 1 to {LOT_CHARS} characters, got {length}")));
        }
        for name in clips {
            self.clip(person, name, now_ms)?;
        }
        self.store().put_lot(lot, clips)?;
        for name in clips {
            self.store().note(now_ms, &person.name, "lot", Some(name), lot)?;
        }
        self.statistics(person)
    }

    /// Who saw and did what, newest first; of clips only those that the person is cleared for.
    ///
    /// # Errors
    /// When the person may not, or the database fails.
    pub fn audit(&self, person: &Person) -> Result<Vec<Audited>, DeskError> {
        allow(person, Right::Oversee)?;
        let grades: BTreeMap<ClipName, crate::people::Grade> =
            self.all().iter().map(|clip| (clip.name.clone(), clip.grade)).collect();
        let is_cleared = |line: &Audited| match (&line.vehicle, line.clip) {
            (Some(vehicle), Some(clip)) => {
                // Of a clip that is gone nobody knows the grade any more: it counts as the strictest.
                let grade = grades.get(&ClipName { vehicle: vehicle.clone(), clip }).copied();
                grade.unwrap_or(crate::people::Grade::Core) <= person.clearance
            }
            _ => true,
        };
        self.store().audit(AUDIT_LINES, is_cleared)
    }

    /// Verdicts that wait to be published, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn outgoing(&self, most: u32) -> Result<Vec<Outgoing>, DeskError> {
        self.store().outgoing(most)
    }

    /// Forgets a verdict that was published.
    ///
    /// # Errors
    /// When the database fails.
    pub fn published(&self, id: &str) -> Result<(), DeskError> {
        self.store().published(id)
    }

    /// The classes, for the page.
    #[must_use]
    pub fn classes(&self) -> Value {
        let classes = self.setup.taxonomy.classes().iter();
        classes.map(|class| json!({ "name": &*class.name, "color": class.color_rgb, "prior_lwh_m": class.prior_lwh_m })).collect()
    }
}

fn allow(person: &Person, right: Right) -> Result<(), DeskError> {
    if person.role.may(right) {
        return Ok(());
    }
    let needed = match right {
        Right::Look => "an account",
        Right::Edit => "an annotator",
        Right::Decide => "a reviewer",
        Right::Oversee => "a lead",
        Right::Administer => "an administrator",
    };
    Err(DeskError::Forbidden(format!("expected {needed}, got the role {}", person.role)))
}

fn foreign(work: &Work, newest: i32) -> DeskError {
    refusal(format!(
        "expected revision {} to be the newest of this clip, got {newest}, which was not written from here\n\
         hint: start the review with a new --db, which begins from that revision",
        work.row.last_revision
    ))
}

fn refusal(message: String) -> DeskError {
    DeskError::Operation(Around::Refused(Refusal(message)))
}

fn check_id(id: &str) -> Result<(), DeskError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if id.is_empty() || id.len() > ID_CHARS || !id.chars().all(is_plain) {
        return Err(DeskError::Request(format!("expected an id of 1 to {ID_CHARS} letters, digits and dashes, got {id:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
