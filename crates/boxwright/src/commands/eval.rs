//! `boxwright eval`: labels against truth, by the protocols of KITTI, nuScenes, Argoverse 2, CLEAR and HOTA.

use std::path::Path;

use anyhow::Context;
use boxwright_eval::EvalError;
use boxwright_eval::classes::ClassRule;
use boxwright_eval::judge::{Judgement, Options, judge};
use boxwright_eval::labels::LabelSet;
use boxwright_eval::read::times::FrameTimes;
use boxwright_eval::read::{dataset, read_one, read_pair};
use boxwright_eval::report::page;
use boxwright_model::Taxonomy;
use boxwright_shard::Dataset;
use serde::Serialize;

use super::{load_config, locate};
use crate::args::{EvalArgs, EvalBoxesAt};
use crate::{Outcome, ui};

/// Frames printed; `--json` and `--html` have more.
const PRINTED_FRAMES: usize = 5;

/// What `--json` prints.
#[derive(Serialize)]
struct EvalReport<'a> {
    labels: &'a str,
    truth: &'a str,
    #[serde(flatten)]
    judgement: &'a Judgement,
}

pub(crate) fn execute(args: &EvalArgs) -> anyhow::Result<Outcome> {
    let (labels, truth) = read(args)?;
    let is_dataset = is_dataset(&args.labels);
    let load = || -> anyhow::Result<Taxonomy> { Ok(load_config(args.config.as_deref(), None)?.load_taxonomy()?) };
    let taxonomy = is_dataset.then(load).transpose()?;
    let options = Options {
        classes: args.class.iter().map(|text| class_rule(text, taxonomy.as_ref())).collect::<Result<_, _>>()?,
        min_points: args.min_points,
        max_range_m: args.max_range_m,
        overlaps: args.iou.clone(),
        space: args.overlap.map(Into::into),
        in_view: args.in_view.is_some(),
        min_track_score: args.min_track_score,
        view: is_dataset.then(|| ui::quoted(&args.labels).into_owned()),
    };
    let mut judgement = judge(labels, truth, args.protocol.into(), &options)?;
    if is_dataset && args.boxes_at == EvalBoxesAt::Points {
        let note = "boxes are compared where they were when their points were measured; --boxes-at sample compares them at the stamp of the sample";
        judgement.notes.push(note.to_owned());
    }
    if let Some(file) = &args.html {
        write_page(file, args, &judgement)?;
    }
    if args.json {
        let report = EvalReport { labels: &args.labels, truth: &args.truth, judgement: &judgement };
        ui::print(&serde_json::to_string(&report).context("cannot write the report")?);
    } else {
        print(&judgement);
    }
    Ok(Outcome::Done)
}

/// A class of the dataset's taxonomy goes by the names that the taxonomy gives it elsewhere; any other name is what people mean by it.
fn class_rule(text: &str, taxonomy: Option<&Taxonomy>) -> Result<ClassRule, EvalError> {
    let known = taxonomy.and_then(|taxonomy| Some(taxonomy.get(taxonomy.find(text)?)));
    known.map_or_else(|| ClassRule::parse(text), |class| Ok(ClassRule::of_taxonomy(class)))
}

fn is_dataset(path: &str) -> bool {
    path.contains("://") || Path::new(path).join(boxwright_shard::MARKER).is_file()
}

fn read(args: &EvalArgs) -> anyhow::Result<(LabelSet, LabelSet)> {
    let times = args.timestamps.as_deref().map(FrameTimes::read).transpose()?;
    if !is_dataset(&args.labels) {
        return Ok(read_pair(Path::new(&args.labels), Path::new(&args.truth), times.as_ref())?);
    }
    let config = load_config(args.config.as_deref(), None)?;
    let taxonomy = config.load_taxonomy()?;
    let labels = Dataset::open_at(&locate(&args.labels, &config.store)?)?;
    let labels = dataset::read(&labels, &taxonomy, args.in_view.as_deref(), args.boxes_at.into())?;
    let truth = if is_dataset(&args.truth) {
        dataset::read(&Dataset::open_at(&locate(&args.truth, &config.store)?)?, &taxonomy, None, args.boxes_at.into())?
    } else {
        read_one(Path::new(&args.truth), times.as_ref(), true)?
    };
    Ok((labels, truth))
}

fn write_page(file: &Path, args: &EvalArgs, judgement: &Judgement) -> anyhow::Result<()> {
    let heading = page::Heading {
        protocol: args.protocol.as_str().to_owned(),
        labels: args.labels.clone(),
        truth: args.truth.clone(),
        numbers: judgement.numbers.clone(),
        notes: judgement.notes.clone(),
    };
    super::write_page(file, &page::html(&heading, &judgement.breakdown))?;
    ui::say(&format!("report: {}", file.display()));
    Ok(())
}

fn print(judgement: &Judgement) {
    for note in &judgement.notes {
        ui::say(&format!("note: {note}"));
    }
    ui::print(ui::table(&judgement.numbers).trim_end());
    let rows: Vec<(String, String)> = judgement
        .breakdown
        .bands
        .iter()
        .filter(|band| band.truth + band.tp + band.fp > 0)
        .map(|band| {
            let value = format!(
                "truth {:>5}  precision {:5.1} %  recall {:5.1} %  AP {:5.1}  {}({})",
                band.truth,
                100.0 * band.precision,
                100.0 * band.recall,
                band.ap,
                band.trust.map(|t| format!("ECE {:.3}  Brier {:.3}  AURC {:.3}  ", t.ece, t.brier, t.aurc)).unwrap_or_default(),
                band.agreement
            );
            (format!("{}, {}", band.class, page::range(band)), value)
        })
        .collect();
    ui::print(&format!("\nBy class and range, {} frames\n{}", judgement.frames, ui::table(&rows).trim_end()));
    let worst = judgement.breakdown.worst_frames.iter().take(PRINTED_FRAMES).map(|frame| {
        let view = frame.view.as_ref().map(|view| format!("  {view}")).unwrap_or_default();
        (format!("{} {}", frame.sequence, frame.number), format!("{} missed, {} false{view}", frame.missed, frame.false_labels))
    });
    let worst: Vec<(String, String)> = worst.collect();
    if !worst.is_empty() {
        ui::print(&format!("\nWorst frames\n{}", ui::table(&worst).trim_end()));
    }
}
