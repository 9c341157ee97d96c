//! Labels as people have left them, written as the next revision; and what differs between two revisions.
//!
//! A revision holds the tables `box3` and `track` of its clip whole. Sweeps, images, samples and findings stay where they are, in revision 0.
//! A box that nobody touched is written as it was read, so bit for bit but for quaternions that are not quite of unit length. What was decided about a track stands in the `evidence` of its boxes:
//! `{"review": {"verdict": "accepted", "by": "ana"}}`.

use std::collections::BTreeMap;

use boxwright_model::space::wrap_rad;
use boxwright_model::{Box3, ClipId, Cuboid, LabelSource, Sample, Taxonomy, Track, TrackId};
use boxwright_shard::{ClipKey, ClipReader, ClipWriter, Dataset, ManifestEntry, SealInfo, SealOutcome, ShardError, WriterConfig};
use nalgebra::Vector3;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::DeskError;
use crate::labels::{BoxState, Labels, TrackDoc, TrackState, Verdict, state_of};
use crate::operation::Surroundings;

/// The labels that a revision is made of.
pub(crate) struct Source<'a> {
    /// Entry of revision 0.
    pub(crate) entry: &'a ManifestEntry,
    /// Samples of the clip.
    pub(crate) samples: &'a [Sample],
    /// Boxes that the operations started from.
    pub(crate) boxes: &'a [Box3],
    /// Tracks that they started from.
    pub(crate) tracks: &'a [Track],
    /// As people left them.
    pub(crate) labels: &'a Labels,
}

/// Writes a revision. What another server has written under this number stays, and is returned as theirs.
pub(crate) fn write(
    dataset: &Dataset,
    source: &Source<'_>,
    around: &dyn Surroundings,
    taxonomy: &Taxonomy,
    revision: i32,
) -> Result<SealOutcome, DeskError> {
    let entry = source.entry;
    let key = ClipKey { vehicle: entry.vehicle.clone(), clip: entry.clip, grid: dataset.grid(), revision };
    let mut writer = ClipWriter::create(dataset, key, &WriterConfig::default())?;
    for one in boxes(source, around, taxonomy) {
        writer.box3(&one, taxonomy)?;
    }
    for one in tracks(source, around, taxonomy) {
        writer.track(&one, taxonomy)?;
    }
    let info = SealInfo {
        first_stamp_ns: entry.first_stamp_ns,
        last_stamp_ns: entry.last_stamp_ns,
        grade: entry.grade.clone(),
        config_sha256: entry.config_sha256.clone(),
        models: entry.models.clone(),
        ..SealInfo::default()
    };
    Ok(writer.seal(info)?)
}

/// Tracks that go into a revision: those that were sent back and not corrected do not, nor does what was only suggested.
fn kept(labels: &Labels) -> impl Iterator<Item = (u32, &TrackDoc)> {
    labels.tracks().iter().filter(|(_, track)| track.state.verdict.is_label()).map(|(number, track)| (*number, track))
}

fn boxes(source: &Source<'_>, around: &dyn Surroundings, taxonomy: &Taxonomy) -> Vec<Box3> {
    let before: BTreeMap<(u32, i64), &Box3> =
        source.boxes.iter().map(|one| ((one.track_id.number, one.sample_stamp_ns), one)).collect();
    let mut rows = Vec::new();
    for (number, track) in kept(source.labels) {
        let class = taxonomy.find(&track.state.class).unwrap_or_else(|| taxonomy.unknown());
        for (sample, state) in &track.boxes {
            let Some(of_sample) = source.samples.get(*sample as usize) else { continue };
            let track_id = TrackId { clip: source.entry.clip, number };
            // Split or merged away, a box is still the one that was measured.
            let stored = before.get(&(state.origin.unwrap_or(number), of_sample.stamp_ns)).copied();
            let mut row = match stored {
                Some(stored) if state_of(stored).same(state) => Box3 { track_id, ..stored.clone() },
                _ => {
                    let velocity = velocity(track, *sample, around);
                    made(state, stored, of_sample, track_id, velocity, &around.world_from_ego(*sample))
                }
            };
            row.class = class;
            row.evidence = evidence(&row.evidence, &track.state);
            rows.push(row);
        }
    }
    // The order of the automatic labels: by sample, then by track.
    rows.sort_by_key(|row| (row.sample_stamp_ns, row.track_id.number));
    rows
}

/// Whether a revision that is there holds labels as they were to be written: the same boxes of the same tracks, and the same decisions.
/// Tells a revision of ours, of whose end nobody has heard, from one that somebody else wrote under its number.
pub(crate) fn holds(reader: &ClipReader, labels: &Labels, samples: &[Sample], taxonomy: &Taxonomy) -> Result<bool, ShardError> {
    let written = reader.boxes(taxonomy)?;
    let stamps: BTreeMap<i64, u32> = samples.iter().zip(0..).map(|(sample, index)| (sample.stamp_ns, index)).collect();
    let expected: usize = kept(labels).map(|(_, track)| track.boxes.len()).sum();
    for one in &written {
        let track = labels.track(one.track_id.number);
        let found = track.zip(stamps.get(&one.sample_stamp_ns)).and_then(|(track, sample)| Some((track, track.boxes.get(sample)?)));
        let Some((track, state)) = found else { return Ok(false) };
        // Whether a person set a box is written as whose it is, which says less.
        let stands = BoxState { keyed: state.keyed, ..state_of(one) };
        let class = taxonomy.find(&track.state.class).unwrap_or_else(|| taxonomy.unknown());
        if !stands.same(state) || one.class != class || one.evidence != evidence(&one.evidence, &track.state) {
            return Ok(false);
        }
    }
    Ok(written.len() == expected)
}

/// A box that a person set, or that follows from one.
fn made(
    state: &BoxState,
    stored: Option<&Box3>,
    sample: &Sample,
    track_id: TrackId,
    velocity: Vector3<f64>,
    world_from_ego: &boxwright_model::Pose,
) -> Box3 {
    let world_from_box = state.cuboid();
    let stamp_ns = stored.map_or(sample.stamp_ns, |one| one.stamp_ns);
    let points_ns = stored.map_or([stamp_ns; 2], |one| one.points_ns);
    // Where it was while it was seen: moved back by its speed.
    let seen_ns = points_ns[0] + (points_ns[1] - points_ns[0]) / 2;
    let since_s = (sample.stamp_ns - seen_ns) as f64 * 1e-9;
    Box3 {
        sample_id: sample.sample_id.clone(),
        sample_stamp_ns: sample.stamp_ns,
        stamp_ns,
        points_ns,
        measured_world_center_m: world_from_box.center_m - velocity * since_s,
        track_id,
        class: boxwright_model::ClassId(0),
        score: 1.0,
        ego_from_box: world_from_box.transformed(&world_from_ego.inverse()),
        world_from_box,
        velocity_world_mps: [velocity.x, velocity.y],
        num_lidar_pts: state.points,
        predicted: state.predicted,
        source: LabelSource::Human,
        evidence: stored.map_or_else(|| "{}".to_owned(), |one| one.evidence.clone()),
    }
}

/// Speed in the world frame from the neighbouring boxes (metres per second).
fn velocity(track: &TrackDoc, sample: u32, around: &dyn Surroundings) -> Vector3<f64> {
    if track.state.is_static {
        return Vector3::zeros();
    }
    let here = track.boxes.get(&sample).map(|state| (sample, state));
    let before = track.boxes.range(..sample).next_back().map(|(at, state)| (*at, state)).or(here);
    let after = track.boxes.range(sample + 1..).next().map(|(at, state)| (*at, state)).or(here);
    let (Some((from, first)), Some((to, last))) = (before, after) else { return Vector3::zeros() };
    let span_s = (around.stamp_ns(to) - around.stamp_ns(from)) as f64 * 1e-9;
    if span_s <= 0.0 { Vector3::zeros() } else { (last.cuboid().center_m - first.cuboid().center_m) / span_s }
}

fn evidence(stored: &str, state: &TrackState) -> String {
    if state.verdict == Verdict::Open {
        return stored.to_owned();
    }
    let mut evidence = match serde_json::from_str(stored) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    evidence.insert("review".to_owned(), json!({ "verdict": state.verdict, "by": state.decided_by }));
    Value::Object(evidence).to_string()
}

fn tracks(source: &Source<'_>, around: &dyn Surroundings, taxonomy: &Taxonomy) -> Vec<Track> {
    let before: BTreeMap<u32, &Track> = source.tracks.iter().map(|track| (track.track_id.number, track)).collect();
    let mut rows = Vec::new();
    for (number, track) in kept(source.labels) {
        let (Some((first, _)), Some((last, _))) = (track.boxes.first_key_value(), track.boxes.last_key_value()) else { continue };
        // Of the box that was seen best.
        let size = track.boxes.values().max_by_key(|state| (state.keyed, state.points)).map_or([0.0; 3], |state| state.size_lwh_m);
        let is_decided = track.state.verdict != Verdict::Open;
        rows.push(Track {
            track_id: TrackId { clip: source.entry.clip, number },
            class: taxonomy.find(&track.state.class).unwrap_or_else(|| taxonomy.unknown()),
            score: track.state.score,
            first_stamp_ns: around.stamp_ns(*first),
            last_stamp_ns: around.stamp_ns(*last),
            boxes: u32::try_from(track.boxes.len()).unwrap_or(u32::MAX),
            is_static: track.state.is_static,
            size_lwh_m: size,
            // What was decided costs nobody anything any more.
            review_priority_s: if is_decided { 0.0 } else { before.get(&number).map_or(0.0, |track| track.review_priority_s) },
        });
    }
    rows
}

/// How one track differs between two revisions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrackDiff {
    /// Vehicle.
    pub vehicle: String,
    /// Clip.
    pub clip: i64,
    /// Track.
    pub track: String,
    /// `added`, `removed` or `changed`.
    pub what: &'static str,
    /// Class before and after.
    pub class: [Option<String>; 2],
    /// Boxes that came.
    pub boxes_added: u32,
    /// Boxes that went.
    pub boxes_removed: u32,
    /// Boxes that differ.
    pub boxes_changed: u32,
    /// Farthest that a centre moved (metres).
    pub max_move_m: f64,
    /// Farthest that a box turned (radians).
    pub max_turn_rad: f64,
    /// Most that a side grew or shrank (metres).
    pub max_size_m: f64,
}

/// A track in a revision: its class and its boxes in the world frame by stamp of their sample.
type Stored = BTreeMap<u32, (String, BTreeMap<i64, Cuboid>)>;

/// What differs between two revisions of a clip, by track.
///
/// # Errors
/// When a revision is not there or cannot be read.
pub fn diff(
    dataset: &Dataset,
    taxonomy: &Taxonomy,
    vehicle: &str,
    clip: ClipId,
    revisions: [i32; 2],
) -> Result<Vec<TrackDiff>, DeskError> {
    let read = |revision: i32| -> Result<Stored, DeskError> {
        let Some(entry) = dataset.entry(vehicle, clip, revision)? else {
            return Err(DeskError::NotFound(format!(
                "expected revision {revision} of clip {vehicle}/{clip}, got none\nhint: a clip has the revisions that were finished in `boxwright review`"
            )));
        };
        Ok(stored(&ClipReader::open(dataset, &entry)?, taxonomy)?)
    };
    let [before, after] = revisions;
    let (before, after) = (read(before)?, read(after)?);
    let mut numbers: Vec<u32> = before.keys().chain(after.keys()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    let of = |number: u32| compare(before.get(&number), after.get(&number));
    let named = |(number, diff): (u32, TrackDiff)| TrackDiff {
        vehicle: vehicle.to_owned(),
        clip: clip.0,
        track: TrackId { clip, number }.to_string(),
        ..diff
    };
    Ok(numbers.into_iter().filter_map(|number| Some((number, of(number)?))).map(named).collect())
}

fn stored(reader: &ClipReader, taxonomy: &Taxonomy) -> Result<Stored, ShardError> {
    let mut stored = Stored::new();
    for one in reader.boxes(taxonomy)? {
        let class = || taxonomy.get(one.class).name.to_string();
        let (_, boxes) = stored.entry(one.track_id.number).or_insert_with(|| (class(), BTreeMap::new()));
        boxes.insert(one.sample_stamp_ns, one.world_from_box);
    }
    Ok(stored)
}

/// `None` where both are the same.
fn compare(before: Option<&(String, BTreeMap<i64, Cuboid>)>, after: Option<&(String, BTreeMap<i64, Cuboid>)>) -> Option<TrackDiff> {
    let none = BTreeMap::new();
    let boxes = |side: Option<&'_ (String, BTreeMap<i64, Cuboid>)>| side.map(|(_, boxes)| boxes.clone());
    let (first, second) = (boxes(before).unwrap_or_else(|| none.clone()), boxes(after).unwrap_or(none));
    let mut diff = TrackDiff {
        vehicle: String::new(),
        clip: 0,
        track: String::new(),
        what: if before.is_none() {
            "added"
        } else if after.is_none() {
            "removed"
        } else {
            "changed"
        },
        class: [before, after].map(|side| side.map(|(class, _)| class.clone())),
        boxes_added: 0,
        boxes_removed: 0,
        boxes_changed: 0,
        max_move_m: 0.0,
        max_turn_rad: 0.0,
        max_size_m: 0.0,
    };
    for (stamp, one) in &first {
        let Some(two) = second.get(stamp) else {
            diff.boxes_removed += 1;
            continue;
        };
        if one != two {
            diff.boxes_changed += 1;
            diff.max_move_m = diff.max_move_m.max((one.center_m - two.center_m).norm());
            diff.max_turn_rad = diff.max_turn_rad.max(wrap_rad(one.yaw_rad() - two.yaw_rad()).abs());
            diff.max_size_m = diff.max_size_m.max((one.size_lwh_m - two.size_lwh_m).amax());
        }
    }
    diff.boxes_added = u32::try_from(second.keys().filter(|stamp| !first.contains_key(*stamp)).count()).unwrap_or(u32::MAX);
    let is_same = diff.class[0] == diff.class[1] && (diff.boxes_added, diff.boxes_removed, diff.boxes_changed) == (0, 0, 0);
    (!is_same).then_some(diff)
}
