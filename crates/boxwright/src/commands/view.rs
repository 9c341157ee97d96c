//! `boxwright view`: a dataset as Rerun recordings, saved or served.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use boxwright_model::{ClipId, Taxonomy};
use boxwright_pipeline::scenes::Scenes;
use boxwright_review::{serve_recordings, write_rrd};
use boxwright_shard::{ClipReader, Dataset, ManifestEntry};

use super::{load_config, locate};
use crate::args::ViewArgs;
use crate::{Outcome, signals, ui};

pub(crate) fn execute(args: &ViewArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), None)?;
    let taxonomy = Arc::new(config.load_taxonomy()?);
    let dataset = Dataset::open_at(&locate(&args.dataset, &config.store)?)?;
    refuse_revision(&dataset, args.revision)?;
    let entries = choose(dataset.clips(args.revision)?, args.clip.as_deref())?;
    say_models(&entries);
    say_whose_poses(&dataset, &entries);
    match &args.save {
        Some(file) => {
            let written = save(&dataset, &entries, taxonomy, file)?;
            ui::print(&format!("{}: {} samples, {}", file.display(), written.frames, ui::bytes(written.bytes)));
            let (file, dataset) = (ui::quoted_path(file), ui::quoted(&args.dataset));
            ui::say(&format!("hint: `rerun {file}` opens it, and so does `boxwright view {dataset} --serve`"));
        }
        None => serve(&dataset, &entries, taxonomy, args.listen)?,
    }
    Ok(Outcome::Done)
}

/// Labels as of a revision that no clip has are not what somebody asked for who names it.
fn refuse_revision(dataset: &Dataset, wanted: Option<i32>) -> anyhow::Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let newest = dataset.entries()?.iter().map(|entry| entry.revision).max().unwrap_or(0);
    if !(0..=newest).contains(&wanted) {
        bail!(
            "expected a revision of 0 to {newest}, got {wanted}\nhint: `boxwright review` writes the next one when a clip is finished"
        );
    }
    Ok(())
}

/// The clips that were asked for: all, or those whose number or vehicle/number it is.
fn choose(entries: Vec<ManifestEntry>, clip: Option<&str>) -> anyhow::Result<Vec<ManifestEntry>> {
    let known: Vec<String> = entries.iter().map(name).collect();
    let chosen: Vec<_> = match clip {
        None => entries,
        Some(wanted) => {
            let is_wanted =
                |entry: &ManifestEntry| wanted.parse().is_ok_and(|number| entry.clip == ClipId(number)) || name(entry) == wanted;
            entries.into_iter().filter(is_wanted).collect()
        }
    };
    if chosen.is_empty() {
        match clip {
            Some(wanted) => {
                let known = if known.is_empty() { "none".to_owned() } else { some_of(&known) };
                bail!("no clip {wanted:?}: the dataset has {known}\nhint: name it by its number, or as vehicle/number")
            }
            None => bail!("the dataset has no clip yet\nhint: boxwright run fills it"),
        }
    }
    Ok(chosen)
}

/// Clips that a message speaks of.
const SHOWN: usize = 8;

/// Names that fit into a message.
pub(crate) fn some_of(names: &[String]) -> String {
    match names.get(SHOWN..) {
        Some(more) if !more.is_empty() => format!("{} and {} more", names[..SHOWN].join(", "), more.len()),
        _ => names.join(", "),
    }
}

/// Says once which models had a part in the labels.
fn say_models(entries: &[ManifestEntry]) {
    let models: BTreeSet<_> = entries.iter().flat_map(|entry| &entry.models).collect();
    for (model, sha256) in models {
        ui::say(&format!("labels with {model} (SHA-256 {})", sha256.get(..12).unwrap_or(sha256)));
    }
}

/// Says of every clip whose poses are its own odometry that they are, and where it was lost: what stands still in the viewer rests on it.
fn say_whose_poses(dataset: &Dataset, entries: &[ManifestEntry]) {
    // Each costs a read, which is slow in a bucket: of many clips the first few speak for the others.
    for entry in entries.iter().take(SHOWN) {
        let findings = ClipReader::open(dataset, entry).and_then(|reader| reader.findings());
        for finding in findings.unwrap_or_default() {
            if finding.rule.starts_with("BW-O") {
                ui::say(&format!("{}: {} {}", name(entry), finding.rule, finding.message));
            }
        }
    }
}

fn name(entry: &ManifestEntry) -> String {
    format!("{}/{}", entry.vehicle, entry.clip)
}

/// Writes clips as one recording, one after the other.
pub(crate) fn save(
    dataset: &Dataset,
    entries: &[ManifestEntry],
    taxonomy: Arc<Taxonomy>,
    file: &Path,
) -> anyhow::Result<boxwright_review::Written> {
    let title = entries.iter().map(name).collect::<Vec<_>>().join(" ");
    let scenes = Scenes::open(dataset, entries, taxonomy.clone())?;
    let bar = ui::bar(Some(scenes.total() as u64));
    let written = write_rrd(file, &title, taxonomy, scenes.inspect(|_| bar.inc(1)))
        .with_context(|| format!("cannot write {}", file.display()))?;
    bar.finish_and_clear();
    Ok(written)
}

/// Serves clips, one recording each, until Ctrl-C.
pub(crate) fn serve(
    dataset: &Dataset,
    entries: &[ManifestEntry],
    taxonomy: Arc<Taxonomy>,
    listen: std::net::SocketAddr,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder for the recordings")?;
    let mut recordings: Vec<(String, PathBuf)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let file = folder.path().join(format!("clip-{index}.rrd"));
        save(dataset, std::slice::from_ref(entry), taxonomy.clone(), &file)?;
        recordings.push((name(entry), file));
    }
    let server = serve_recordings(recordings, listen)?;
    ui::print(&format!("viewer: {}", server.url()));
    ui::say("Ctrl-C ends it");
    signals::wait_for_stop()?;
    server.shutdown();
    Ok(())
}
