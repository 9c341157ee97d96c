//! The desk itself: every request of a person, without HTTP.
//!
//! Each method takes the person who asks and the time, checks what they may, notes it, and does it. An operation is planned on the labels as
//! they stand, stored, and only then applied: what a person was told is on the disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use boxwright_model::{ClipId, Taxonomy};
use boxwright_shard::{Dataset, ManifestEntry, SealOutcome};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::canvas::{self, Canvas, Recording};
use crate::clip::{DeskClip, Work};
use crate::error::DeskError;
use crate::geometry::Refusal;
use crate::labels::{Change, Labels, Verdict, reversed, touched};
use crate::operation::{Around, Context, Operation, plan};
use crate::pace;
use crate::people::{Person, Right, is_name};
use crate::queue;
use crate::revision;
use crate::scene::{OpenScenes, Scene};
use crate::secret;
use crate::store::{Audited, ClipName, Done, Outgoing, Remark, Store};

/// How long a session lasts: a shift with its breaks.
const SESSION_MS: i64 = 12 * 3_600_000;
/// How long a sign-in link can be used.
const KEY_MS: i64 = 24 * 3_600_000;
/// Wrong passwords for one name after which it is closed for a while, and for how long.
const WRONG_PASSWORDS: i64 = 5;
/// See [`WRONG_PASSWORDS`].
const CLOSED_MS: i64 = 60_000;
/// Shortest password.
const PASSWORD_CHARS: usize = 10;
/// Longest remark.
const REMARK_CHARS: usize = 4_000;
/// Longest id that a page may give to what it sends.
const ID_CHARS: usize = 64;
/// Lines of the audit log that are answered at once.
const AUDIT_LINES: usize = 500;
/// A look that took longer than this was a break; its time is not counted.
const LONGEST_LOOK_MS: i64 = 10 * 60_000;
/// Disk that the sweeps of clips which somebody looked at may take: some ten clips of 200 sweeps with 120k points.
pub const SPOOL_BYTES: u64 = 4 << 30;
/// Longest name of a lot.
const LOT_CHARS: usize = 100;
/// How long the address of a recording can be used: it is made for a viewer that asks at once.
const ADDRESS_MS: i64 = 60_000;

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
}

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

/// An operation with where it came from.
enum Kind {
    New(Box<Operation>),
    Undo,
    Redo,
}

impl Desk {
    /// Reads the labels of every clip.
    ///
    /// # Errors
    /// When the dataset or the database cannot be read.
    pub fn open(setup: DeskSetup) -> Result<Self, DeskError> {
        let identity = setup.store.identity()?;
        let desk = Self { setup, clips: Mutex::default(), identity, looks: AtomicU64::new(0), signing: secret::token() };
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

    // Who is there.

    /// Makes or changes an account and returns the key of a link that signs it in once.
    ///
    /// # Errors
    /// When the database fails.
    pub fn invite(&self, person: &Person, now_ms: i64) -> Result<String, DeskError> {
        self.store().put_person(person, None)?;
        let key = secret::token();
        self.store().put_key(&key, &person.name, now_ms + KEY_MS)?;
        self.store().note(now_ms, &person.name, "invited", None, person.role.as_str())?;
        Ok(key)
    }

    /// Opens a session with the key of a link.
    ///
    /// # Errors
    /// When the key opens nothing, or the database fails.
    pub fn sign_in_by_key(&self, key: &str, now_ms: i64) -> Result<(String, Person), DeskError> {
        let Some(person) = self.store().take_key(key, now_ms)? else {
            return Err(DeskError::SignIn("this link was used before or is too old: ask for another one".to_owned()));
        };
        self.open_session(person, now_ms)
    }

    /// Opens a session with a password.
    ///
    /// # Errors
    /// When the two do not fit, the name was tried too often, or the database fails.
    pub fn sign_in(&self, name: &str, password: &str, now_ms: i64) -> Result<(String, Person), DeskError> {
        if !is_name(name) {
            // No account has it, and anybody could fill the audit with it.
            return Err(DeskError::SignIn("wrong name or password".to_owned()));
        }
        if !self.store().begin_attempt(name, now_ms, now_ms - CLOSED_MS, WRONG_PASSWORDS)? {
            return Err(DeskError::TooMany(format!("{WRONG_PASSWORDS} wrong passwords within a minute: wait a minute")));
        }
        match self.store().person_by_password(name, password)? {
            Some(person) => {
                self.store().end_attempts(name)?;
                self.open_session(person, now_ms)
            }
            None => {
                self.store().note(now_ms, name, "refused", None, "wrong name or password")?;
                Err(DeskError::SignIn("wrong name or password".to_owned()))
            }
        }
    }

    fn open_session(&self, person: Person, now_ms: i64) -> Result<(String, Person), DeskError> {
        let token = secret::token();
        self.store().put_session(&token, &person.name, now_ms, now_ms + SESSION_MS)?;
        self.store().note(now_ms, &person.name, "signed in", None, "")?;
        Ok((token, person))
    }

    /// Whose session it is.
    ///
    /// # Errors
    /// When it is nobody's, or the database fails.
    pub fn person(&self, token: &str, now_ms: i64) -> Result<Person, DeskError> {
        self.store().session(token, now_ms)?.ok_or_else(|| DeskError::SignIn("nobody is signed in".to_owned()))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sign_out(&self, token: &str) -> Result<(), DeskError> {
        self.store().end_session(token)
    }

    /// All accounts.
    ///
    /// # Errors
    /// When the person may not, or the database fails.
    pub fn people(&self, person: &Person) -> Result<Vec<Person>, DeskError> {
        allow(person, Right::Oversee)?;
        self.store().people()
    }

    /// Makes or changes an account.
    ///
    /// # Errors
    /// When the person may not, name or password are none, or the database fails.
    pub fn put_person(&self, person: &Person, account: &Person, password: Option<&str>, now_ms: i64) -> Result<(), DeskError> {
        allow(person, Right::Administer)?;
        account.check().map_err(DeskError::Request)?;
        // Nobody gives what they do not have, to themselves either, nor takes it from those who have more.
        let standing = self.store().people()?.into_iter().find(|one| one.name == account.name).map(|one| one.clearance);
        if let Some(grade) = [Some(account.clearance), standing].into_iter().flatten().find(|grade| *grade > person.clearance) {
            self.store().note(now_ms, &person.name, "not cleared", None, &account.name)?;
            return Err(DeskError::Clearance { grade, clearance: person.clearance });
        }
        if password.is_some_and(|password| password.chars().count() < PASSWORD_CHARS) {
            return Err(DeskError::Request(format!("expected a password of {PASSWORD_CHARS} characters or more")));
        }
        self.store().put_person(account, password)?;
        let detail = format!("{} {} {}", account.name, account.role, account.clearance);
        self.store().note(now_ms, &person.name, "account", None, &detail)
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

    // The viewer in the page.

    /// The viewer, where there is one.
    #[must_use]
    pub fn canvas(&self) -> Option<&Arc<dyn Canvas>> {
        self.setup.canvas.as_ref()
    }

    fn drawn(&self) -> Result<&Arc<dyn Canvas>, DeskError> {
        self.canvas().ok_or_else(|| DeskError::NotFound("this desk has no viewer".to_owned()))
    }

    /// Gives a recording of a clip a name and signs the address where it can be had for a minute: the viewer asks without a cookie.
    ///
    /// # Errors
    /// When the person may not, or there is no viewer.
    pub fn recording_address(
        &self,
        person: &Person,
        name: &ClipName,
        now_ms: i64,
    ) -> Result<(String, RecordingAddress), DeskError> {
        self.drawn()?;
        self.clip(person, name, now_ms)?;
        self.store().note(now_ms, &person.name, "opened in 3D", Some(name), "")?;
        let nonce: String = secret::token().chars().take(16).collect();
        let expires_ms = now_ms + ADDRESS_MS;
        let signature = self.signature(name, &nonce, expires_ms);
        Ok((recording_name(name, &nonce), RecordingAddress { nonce, expires_ms, signature }))
    }

    fn signature(&self, name: &ClipName, nonce: &str, expires_ms: i64) -> String {
        // The vehicle comes last: it alone may hold any character.
        secret::sign(&self.signing, &format!("{expires_ms} {nonce} {} {}", name.clip, name.vehicle))
    }

    /// Begins a recording whose address was signed: who has the address was allowed to see the clip.
    ///
    /// # Errors
    /// When the address is not one of ours or too old, or the clip cannot be read.
    pub fn signed_recording(
        &self,
        name: &ClipName,
        address: &RecordingAddress,
        now_ms: i64,
    ) -> Result<(Arc<Scene>, Box<dyn Recording>), DeskError> {
        let expected = self.signature(name, &address.nonce, address.expires_ms);
        if !secret::same(&expected, &address.signature) || address.expires_ms <= now_ms {
            return Err(DeskError::Forbidden("this address is not signed, or too old".to_owned()));
        }
        let canvas = self.drawn()?;
        let found = self.clips.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let clip = found.ok_or_else(|| DeskError::NotFound("the clip is gone".to_owned()))?;
        Ok((self.scene_of(&clip)?, canvas.recording(&recording_name(name, &address.nonce))))
    }

    /// Boxes as they stand, of all samples or of some, for a recording; and which track each is of, by sample.
    ///
    /// # Errors
    /// When the person may not, there is no viewer, or its encoder fails.
    pub fn canvas_boxes(
        &self,
        person: &Person,
        name: &ClipName,
        recording: &str,
        samples: Option<&[u32]>,
        now_ms: i64,
    ) -> Result<(Value, Vec<u8>), DeskError> {
        let (canvas, clip) = (self.drawn()?, self.clip(person, name, now_ms)?);
        let scene = self.scene_of(&clip)?;
        let (labels, seq) = {
            let work = clip.work();
            (work.labels.clone(), work.seq())
        };
        let samples = canvas::chosen(samples, &scene);
        let (frames, tracks) = canvas::boxed_frames(&samples, &labels, &scene, &self.setup.taxonomy, ClipId(name.clip));
        let bytes = canvas.boxes(recording, &frames).map_err(|error| DeskError::Draw(error.to_string()))?;
        Ok((json!({ "seq": seq, "tracks": tracks }), bytes))
    }

    /// The box that somebody looks at, for a recording.
    ///
    /// # Errors
    /// As [`Self::canvas_boxes`], or when there is no such sample.
    pub fn canvas_focus(
        &self,
        person: &Person,
        name: &ClipName,
        recording: &str,
        track: Option<u32>,
        sample: u32,
        now_ms: i64,
    ) -> Result<Vec<u8>, DeskError> {
        let (canvas, clip) = (self.drawn()?, self.clip(person, name, now_ms)?);
        let scene = self.scene_of(&clip)?;
        let labels = clip.work().labels.clone();
        let frame = canvas::focused_frame(sample, track, &labels, &scene, &self.setup.taxonomy, ClipId(name.clip));
        let frame = frame.ok_or_else(|| DeskError::NotFound(format!("expected a sample, got {sample}")))?;
        canvas.focus(recording, &frame).map_err(|error| DeskError::Draw(error.to_string()))
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

    // Operations.

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

/// Where a recording can be had, for how long, and that we said so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RecordingAddress {
    /// Tells it from other recordings of the same clip.
    pub nonce: String,
    /// Until when.
    pub expires_ms: i64,
    /// See [`Desk::signed_recording`].
    pub signature: String,
}

fn recording_name(name: &ClipName, nonce: &str) -> String {
    format!("{}/{} {nonce}", name.vehicle, name.clip)
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
    let samples: std::collections::BTreeSet<u32> = done
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
    let samples: std::collections::BTreeSet<u32> = samples.into_iter().chain(of_tracks).collect();
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

#[cfg(test)]
mod tests;
