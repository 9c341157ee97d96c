//! A clip at the desk: its labels as they stand, and everything that was done to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boxwright_model::space::yaw_rad;
use boxwright_model::{Box3, Sample, Taxonomy, Track};
use boxwright_shard::{ClipReader, Dataset, ManifestEntry, StoredFinding};
use serde_json::{Value, json};

use crate::error::DeskError;
use crate::labels::{Labels, TrackDoc};
use crate::operation::Surroundings;
use crate::people::Grade;
use crate::queue;
use crate::scene::{OpenScenes, Scene};
use crate::store::{ClipName, ClipRow, Done, Store};
use crate::suggestion;

/// One clip.
pub(crate) struct DeskClip {
    pub(crate) name: ClipName,
    pub(crate) grade: Grade,
    /// Entry of revision 0: the frames.
    pub(crate) entry: ManifestEntry,
    pub(crate) samples: Vec<Sample>,
    /// Labels that the operations start from.
    pub(crate) boxes: Vec<Box3>,
    pub(crate) tracks: Vec<Track>,
    /// The lot that it is in where nobody has put it into one: its day.
    pub(crate) day: String,
    /// What the numbered rules say, by track.
    findings: BTreeMap<u32, Vec<StoredFinding>>,
    /// Why the box of most points of each track is as it is: a JSON object.
    evidence: BTreeMap<u32, Value>,
    /// The same labels by track and sample.
    base: Labels,
    work: Mutex<Work>,
    /// Held while a revision is written: one after the other. The work goes on meanwhile.
    pub(crate) finishing: Mutex<()>,
    /// Held while the scene is read, so that it is read once.
    scene: Mutex<Option<Arc<Scene>>>,
    /// When the scene was last asked for, by a count of all questions.
    scene_used: AtomicU64,
}

/// What changes.
pub(crate) struct Work {
    /// Shared with whoever plans on them: what is planned must not keep others waiting.
    pub(crate) labels: Arc<Labels>,
    pub(crate) history: Vec<Done>,
    /// Last operation on each track.
    pub(crate) revs: BTreeMap<u32, i64>,
    pub(crate) row: ClipRow,
    /// The newest revision, where it was not written from here: then nothing more can come of this work.
    pub(crate) foreign: Option<i32>,
    /// An operation was given to the database and nobody heard what became of it: it may be there, and more than this may be known there.
    pub(crate) unsure: bool,
}

impl Work {
    /// Place of the newest operation.
    pub(crate) fn seq(&self) -> i64 {
        self.history.last().map_or(0, |done| done.seq)
    }

    pub(crate) fn rev(&self, track: u32) -> i64 {
        self.revs.get(&track).copied().unwrap_or(0)
    }

    /// Takes an operation that is stored.
    pub(crate) fn take(&mut self, done: Done) {
        Arc::make_mut(&mut self.labels).apply(&done.changes);
        for track in crate::labels::touched(&done.changes) {
            self.revs.insert(track, done.seq);
        }
        self.history.push(done);
    }

    /// Whether nothing has taken an operation back, or what did was taken back itself.
    fn is_live(&self, seq: i64) -> bool {
        !self.history.iter().any(|done| done.undoes == Some(seq) && self.is_live(done.seq))
    }

    /// The operation that `undo` of a person means: their last one that stands.
    pub(crate) fn undo_of(&self, person: &str) -> Option<&Done> {
        let own = self.history.iter().rev().filter(|done| done.person == person && done.undoes.is_none());
        own.into_iter().find(|done| self.is_live(done.seq))
    }

    /// The undo that `redo` of a person takes back: their last one that stands, if they have done nothing since.
    pub(crate) fn redo_of(&self, person: &str) -> Option<&Done> {
        for done in self.history.iter().rev().filter(|done| done.person == person) {
            let Some(undone) = done.undoes else { return None };
            let is_redo = self.history.iter().any(|other| other.seq == undone && other.undoes.is_some());
            if !is_redo && self.is_live(done.seq) {
                return Some(done);
            }
        }
        None
    }
}

impl DeskClip {
    /// Reads the labels of a clip and does again what was done to them.
    pub(crate) fn open(
        dataset: &Dataset,
        entries: &[ManifestEntry],
        taxonomy: &Taxonomy,
        store: &Store,
    ) -> Result<Option<Self>, DeskError> {
        let (Some(first), Some(newest)) = (entries.first(), entries.last()) else { return Ok(None) };
        let name = ClipName { vehicle: first.vehicle.to_string(), clip: first.clip.0 };
        let row = store.clip(&name, newest.revision)?;
        let Some(base) = entries.iter().find(|entry| entry.revision == row.base_revision) else {
            let message =
                format!("expected revision {} of clip {name:?}, from which its operations start, got none", row.base_revision);
            return Err(DeskError::Foreign(message));
        };
        let reader =
            ClipReader::open(dataset, &if base.revision == first.revision { first.clone() } else { first.with_labels_of(base) })?;
        let samples = reader.samples()?;
        let (boxes, tracks) = (reader.boxes(taxonomy)?, reader.tracks(taxonomy)?);
        let places: BTreeMap<i64, u32> = samples.iter().zip(0..).map(|(sample, index)| (sample.stamp_ns, index)).collect();
        let mut labels = Labels::from_shards(&tracks, &boxes, taxonomy, |stamp_ns| places.get(&stamp_ns).copied());
        let mut findings: BTreeMap<u32, Vec<StoredFinding>> = BTreeMap::new();
        for finding in reader.findings()? {
            let Some(track) = finding.track_id.map(|id| id.number) else { continue };
            if finding.rule.as_ref() != suggestion::RULE {
                findings.entry(track).or_default().push(finding);
            } else if base.revision != first.revision {
                // What people closed before that revision is not asked again.
            } else if let Some(suggested) = suggestion::read(&finding, |stamp_ns| places.get(&stamp_ns).copied()) {
                labels.suggest(track, suggested);
            }
        }
        let base_labels = labels.clone();
        let mut work =
            Work { labels: Arc::new(labels), history: Vec::new(), revs: BTreeMap::new(), row, foreign: None, unsure: false };
        for done in store.operations(&name, 0)? {
            work.take(done);
        }
        let path = first.files.first().map_or("", |file| file.path.as_str());
        let day = path.split('/').find_map(|part| part.strip_prefix("date=")).unwrap_or_default().to_owned();
        let clip = Self {
            day,
            findings,
            evidence: evidence(&boxes),
            base: base_labels,
            finishing: Mutex::new(()),
            name,
            grade: Grade::of_clip(&first.grade),
            entry: first.clone(),
            samples,
            boxes,
            tracks,
            work: Mutex::new(work),
            scene: Mutex::new(None),
            scene_used: AtomicU64::new(0),
        };
        clip.settle(dataset, newest, taxonomy, store)?;
        Ok(Some(clip))
    }

    /// Holds the newest revision of the clip against what was written from here. One of whose end nobody has heard is ours if it holds what
    /// was to be written; whatever else stands there is somebody else's, and noted as such.
    pub(crate) fn settle(
        &self,
        dataset: &Dataset,
        newest: &ManifestEntry,
        taxonomy: &Taxonomy,
        store: &Store,
    ) -> Result<(), DeskError> {
        let revision = newest.revision;
        // The database knows of a revision whose writing was begun, or ended, also where its answer never came here.
        let row = if self.work().row.last_revision == revision { self.work().row } else { store.clip(&self.name, revision)? };
        if revision == row.last_revision {
            let mut work = self.work();
            (work.row, work.foreign) = (row, None);
            return Ok(());
        }
        let written = {
            let work = self.current(store)?;
            let up_to = work.history.iter().take_while(|done| done.seq <= row.finishing_seq);
            let mut labels = self.base.clone();
            up_to.for_each(|done| labels.apply(&done.changes));
            labels
        };
        if row.finishing_revision == Some(revision) {
            let reader = ClipReader::open(dataset, &self.entry.with_labels_of(newest))?;
            if crate::revision::holds(&reader, &written, &self.samples, taxonomy)? {
                store.end_finish(&self.name)?;
                let mut work = self.work();
                (work.row, work.foreign) = (store.clip(&self.name, revision)?, None);
                return Ok(());
            }
            store.forget_finish(&self.name)?;
        }
        let mut work = self.work();
        (work.row, work.foreign) = (store.clip(&self.name, revision)?, Some(revision));
        Ok(())
    }

    /// The work, with everything that the database has of it: where the answer to an operation got lost, it is looked for first.
    pub(crate) fn current(&self, store: &Store) -> Result<MutexGuard<'_, Work>, DeskError> {
        let mut work = self.work();
        if work.unsure {
            for done in store.operations(&self.name, work.seq())? {
                work.take(done);
            }
            work.unsure = false;
        }
        Ok(work)
    }

    pub(crate) fn work(&self) -> MutexGuard<'_, Work> {
        // What panics changes nothing before the database has it, and then only by `take`, which does not panic.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the numbered rules say of a track, as long as it is as they saw it.
    pub(crate) fn findings(&self, number: u32, track: &TrackDoc) -> &[StoredFinding] {
        let is_as_found = |base: &TrackDoc| base.boxes == track.boxes && base.state.class == track.state.class;
        match self.findings.get(&number) {
            Some(findings) if self.base.track(number).is_some_and(is_as_found) => findings,
            _ => &[],
        }
    }

    /// What the sensors saw; read when somebody asks and it is not there. `now` counts the questions to all clips.
    pub(crate) fn scene(&self, open: &OpenScenes, now: u64) -> Result<Arc<Scene>, DeskError> {
        let mut slot = self.scene.lock().unwrap_or_else(PoisonError::into_inner);
        self.scene_used.store(now, Ordering::Relaxed);
        if let Some(scene) = &*slot {
            return Ok(scene.clone());
        }
        let scene = Arc::new(Scene::spool(open(&self.entry)?)?);
        if scene.samples() as usize != self.samples.len() {
            let message = format!("clip {:?}: expected {} moments, got {}", self.name, self.samples.len(), scene.samples());
            return Err(DeskError::Foreign(message));
        }
        *slot = Some(scene.clone());
        Ok(scene)
    }

    /// When the scene was last asked for and its bytes; none while there is none, or while it is being read.
    pub(crate) fn spooled(&self) -> Option<(u64, u64)> {
        let slot = self.scene.try_lock().ok()?;
        slot.as_ref().map(|scene| (self.scene_used.load(Ordering::Relaxed), scene.bytes()))
    }

    /// Lets go of the scene. Who reads from it has it until they are done; then the file is gone.
    pub(crate) fn unspool(&self) {
        if let Ok(mut slot) = self.scene.try_lock() {
            *slot = None;
        }
    }

    /// The clip as the page has it.
    pub(crate) fn page(&self, scene: &Scene) -> Value {
        let origin = scene.world_from_ego(0).inverse();
        let samples: Vec<Value> = (0..scene.samples())
            .map(|sample| {
                let local_from_ego = origin * scene.world_from_ego(sample);
                let place = local_from_ego.translation.vector;
                let images: Vec<&str> = scene.images(sample).iter().map(|image| &*image.sensor).collect();
                json!({
                    "stamp_ns": scene.stamp_ns(sample).to_string(),
                    "local_from_ego": [place.x, place.y, place.z, yaw_rad(&local_from_ego.rotation)],
                    "images": images,
                })
            })
            .collect();
        let cameras: Vec<Value> = scene.cameras().iter().map(camera).collect();
        let work = self.work();
        let tracks: BTreeMap<String, Value> = work
            .labels
            .tracks()
            .iter()
            .map(|(number, track)| (number.to_string(), self.page_track(*number, track, scene)))
            .collect();
        json!({
            "vehicle": self.name.vehicle, "clip": self.name.clip, "grade": self.grade,
            "revision": work.row.last_revision, "seq": work.seq(), "unfinished": work.seq() > work.row.finished_seq,
            "samples": samples, "cameras": cameras, "tracks": tracks, "revs": work.revs, "foreign": work.foreign,
        })
    }

    /// A track for the page: its boxes in the ego frame of their samples, by number of the sample, as
    /// `[x, y, z, length, width, height, yaw, points, predicted, keyed]`.
    pub(crate) fn page_track(&self, number: u32, track: &TrackDoc, scene: &Scene) -> Value {
        let boxes: BTreeMap<String, Value> = track
            .boxes
            .iter()
            .map(|(sample, state)| {
                let ego = state.cuboid().transformed(&scene.world_from_ego(*sample).inverse());
                let (c, s) = (ego.center_m, ego.size_lwh_m);
                let row = json!([c.x, c.y, c.z, s.x, s.y, s.z, ego.yaw_rad(), state.points, state.predicted, state.keyed]);
                (sample.to_string(), row)
            })
            .collect();
        let (state, findings) = (&track.state, self.findings(number, track));
        let said: Vec<Value> = findings.iter().map(|one| json!({ "rule": &*one.rule, "message": one.message })).collect();
        json!({
            "class": state.class, "score": state.score, "static": state.is_static, "verdict": state.verdict,
            "decided_by": state.decided_by, "error": state.error, "boxes": boxes, "findings": said,
            "evidence": self.evidence.get(&number),
            "saved_s": queue::saved_s(track, findings.len()), "worst": queue::worst_sample(track),
            "clean": queue::is_clean(track, findings.len()),
        })
    }
}

/// What speaks for each track, as its best-seen box has it.
fn evidence(boxes: &[Box3]) -> BTreeMap<u32, Value> {
    let mut best: BTreeMap<u32, &Box3> = BTreeMap::new();
    for one in boxes {
        let kept = best.entry(one.track_id.number).or_insert(one);
        if one.num_lidar_pts > kept.num_lidar_pts {
            *kept = one;
        }
    }
    best.into_iter().filter_map(|(number, one)| Some((number, serde_json::from_str(&one.evidence).ok()?))).collect()
}

/// A camera for the page: its matrix `image_from_ego`, row by row, without distortion.
fn camera(camera: &boxwright_model::SceneCamera) -> Value {
    let sensor_from_ego = camera.ego_from_sensor.inverse().to_homogeneous();
    let rows: Vec<f64> = (0..3).flat_map(|row| (0..4).map(move |column| (row, column))).map(|at| sensor_from_ego[at]).collect();
    let model = &camera.model;
    json!({
        "sensor": &*camera.sensor, "sensor_from_ego": rows, "width": model.width_px, "height": model.height_px,
        "fx": model.fx_px, "fy": model.fy_px, "cx": model.cx_px, "cy": model.cy_px,
    })
}
