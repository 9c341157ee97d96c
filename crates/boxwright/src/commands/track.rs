//! `boxwright track`: the pipeline's tracker on the boxes of somebody else's detector.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use boxwright_label::track::sequence::{Finish, Origin, SequenceFrame, TrackedBox, track_sequence};
use boxwright_label::track::{SeenBox, TrackConfig};
use boxwright_model::time::NS_PER_S;
use boxwright_model::{Pose, Taxonomy};

use super::load_config;
use crate::args::TrackArgs;
use crate::{Outcome, ui};
use detections::{Detection, Kind};

mod detections;

mod results;

/// A probability that was rounded may lie this far outside of 0 to 1; what lies farther is a logit, and so are all of the same detector.
const SCORE_SLACK: f64 = 1e-3;

pub(crate) fn execute(args: &TrackArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), None)?;
    let taxonomy = Arc::new(config.load_taxonomy()?);
    let sequences = detections::read_folder(&args.detections)?;
    let calibrations = args.calib.as_deref().map(|folder| results::Projection::read_all(folder, sequences.keys())).transpose()?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}\nhint: a file may be in its way", args.out.display()))?;
    refuse_inputs(args)?;
    let scores_are_logits =
        sequences.values().flatten().any(|detection| !(-SCORE_SLACK..=1.0 + SCORE_SLACK).contains(&detection.score));
    let finish = if args.refine { Finish::Refined(config.label.clip.max_smoothing_m) } else { Finish::AsDetected };
    let (mut tracks, mut boxes) = (0, 0);
    for (sequence, detections) in &sequences {
        let tracked = track(detections, args.rate_hz, scores_are_logits, &config.label.track, finish, &taxonomy)?;
        tracks += tracked.len();
        boxes += tracked.iter().map(|(_, boxes)| boxes.len()).sum::<usize>();
        let projection = calibrations.as_ref().and_then(|all| all.get(sequence));
        write(&args.out.join(format!("{sequence}.txt")), &results::lines(detections, &tracked, projection))?;
    }
    if args.json {
        let detections = sequences.values().map(Vec::len).sum::<usize>();
        let report = serde_json::json!({
            "sequences": sequences.len(), "detections": detections, "tracks": tracks, "boxes": boxes, "results": args.out,
        });
        ui::print(&report.to_string());
        return Ok(Outcome::Done);
    }
    let rows = [
        ui::row("sequences", sequences.len().to_string()),
        ui::row("detections", sequences.values().map(Vec::len).sum::<usize>().to_string()),
        ui::row("tracks", tracks.to_string()),
        ui::row("boxes", boxes.to_string()),
        ui::row("results", args.out.display().to_string()),
    ];
    ui::print(ui::table(&rows).trim_end());
    Ok(Outcome::Done)
}

/// Results have the names of their sequences: in a folder of inputs they would take their place.
fn refuse_inputs(args: &TrackArgs) -> anyhow::Result<()> {
    let real = |folder: &Path| std::fs::canonicalize(folder).with_context(|| format!("cannot find {}", folder.display()));
    let out = real(&args.out)?;
    for (option, folder) in [("--detections", Some(args.detections.as_path())), ("--calib", args.calib.as_deref())] {
        if let Some(folder) = folder
            && real(folder)? == out
        {
            bail!(
                "--out: expected a folder of its own, got that of {option}, {}\nhint: the files there would be overwritten",
                out.display()
            );
        }
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The tracks of one sequence: kind and boxes of each. A detector that tells classes apart has told objects apart: each class is tracked
/// by itself. `SeenBox::index` counts the detections of the sequence.
fn track(
    detections: &[Detection],
    rate_hz: f64,
    scores_are_logits: bool,
    config: &TrackConfig,
    finish: Finish,
    taxonomy: &Arc<Taxonomy>,
) -> anyhow::Result<Vec<(Kind, Vec<TrackedBox>)>> {
    let frames = detections.iter().map(|detection| detection.frame + 1).max().unwrap_or(0);
    let mut found = Vec::new();
    for kind in Kind::ALL {
        let Some(class) = taxonomy.find(kind.class()) else {
            bail!("expected class {} in the taxonomy, got none\nhint: [taxonomy] file of the configuration", kind.class());
        };
        let stamp_ns = |frame: usize| (frame as f64 / rate_hz * NS_PER_S as f64) as i64;
        let empty = |frame| SequenceFrame { stamp_ns: stamp_ns(frame), world_from_ego: Pose::identity(), boxes: Vec::new() };
        let mut sequence: Vec<SequenceFrame> = (0..frames).map(empty).collect();
        for (index, detection) in detections.iter().enumerate().filter(|(_, detection)| detection.kind == kind) {
            let score = if scores_are_logits {
                boxwright_label::classify::probability(detection.score)
            } else {
                detection.score.clamp(0.0, 1.0)
            };
            sequence[detection.frame].boxes.push(SeenBox { class, score, ego_from_box: detection.cuboid(), index });
        }
        let mut tracks: BTreeMap<u32, Vec<TrackedBox>> = BTreeMap::new();
        for one in track_sequence(&sequence, config, finish, taxonomy) {
            tracks.entry(one.track).or_default().push(one);
        }
        found.extend(tracks.into_values().map(|boxes| (kind, boxes)));
    }
    Ok(found)
}

/// Confidence of a tracked box in the detector's own units.
fn own_score(detections: &[Detection], one: &TrackedBox) -> f64 {
    match one.origin {
        Origin::Seen(index) => detections[index].score,
        Origin::Between([(_, a), (_, b)], share) => detections[a].score + share * (detections[b].score - detections[a].score),
    }
}
