//! `boxwright labels diff`: what differs between two revisions of the labels.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use boxwright_desk::revision::{TrackDiff, diff};
use boxwright_shard::{Dataset, ManifestEntry};

use super::view::some_of;
use super::{load_config, locate};
use crate::args::{LabelsAction, LabelsArgs};
use crate::{Outcome, ui};

pub(crate) fn execute(args: &LabelsArgs) -> anyhow::Result<Outcome> {
    let LabelsAction::Diff { dataset, before, after, clip, config, json } = &args.action;
    let config = load_config(config.as_deref(), None)?;
    let taxonomy = config.load_taxonomy()?;
    let dataset = Dataset::open_at(&locate(dataset, &config.store)?)?;
    let name = |entry: &ManifestEntry| format!("{}/{}", entry.vehicle, entry.clip);
    let is_wanted =
        |entry: &&ManifestEntry| clip.as_ref().is_none_or(|wanted| *wanted == name(entry) || *wanted == entry.clip.to_string());
    let entries = dataset.entries()?;
    let wanted: Vec<&ManifestEntry> = entries.iter().filter(is_wanted).collect();
    if let (Some(clip), true) = (clip, wanted.is_empty()) {
        let known: BTreeSet<String> = entries.iter().map(name).collect();
        let known = some_of(&known.into_iter().collect::<Vec<_>>());
        bail!("no clip {clip:?}: the dataset has {known}\nhint: name it by its number, or as vehicle/number");
    }
    let revisions: BTreeSet<i32> = wanted.iter().map(|entry| entry.revision).collect();
    if let Some(missing) = [*before, *after].into_iter().find(|revision| !revisions.contains(revision)) {
        let there = revisions.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
        bail!(
            "expected revision {missing} of a clip, got revisions {there}\nhint: `boxwright review` writes the next one when a clip is finished"
        );
    }
    let mut found = Vec::new();
    let mut clips = 0;
    for entry in wanted.into_iter().filter(|entry| entry.revision == *after) {
        clips += 1;
        found.extend(diff(&dataset, &taxonomy, &entry.vehicle, entry.clip, [*before, *after])?);
    }
    if *json {
        ui::print(&serde_json::to_string(&found).context("cannot write the differences")?);
        return Ok(Outcome::Done);
    }
    for one in &found {
        ui::print(&line(one));
    }
    ui::print(&format!("{} tracks of {clips} clips differ between revisions {before} and {after}", found.len()));
    Ok(Outcome::Done)
}

fn line(one: &TrackDiff) -> String {
    let class = match &one.class {
        [Some(before), Some(after)] if before != after => format!("{before} → {after}"),
        [before, after] => after.clone().or_else(|| before.clone()).unwrap_or_default(),
    };
    let boxes = format!("+{} -{} ~{} boxes", one.boxes_added, one.boxes_removed, one.boxes_changed);
    let mut text = format!("{:8} {} {}  {class}  {boxes}", one.what, one.vehicle, one.track);
    if one.boxes_changed > 0 {
        let degrees = one.max_turn_rad.to_degrees();
        text += &format!("  moved {:.2} m, turned {degrees:.1}°, resized {:.2} m at most", one.max_move_m, one.max_size_m);
    }
    text
}
