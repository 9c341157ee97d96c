//! `boxwright review`: people decide about the labels of a dataset, in the browser.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use boxwright_desk::{Desk, DeskSetup, Person, Store, now_ms};
use boxwright_pipeline::scenes::Scenes;
use boxwright_shard::{Dataset, DatasetLocation};
use boxwright_source::kafka::KafkaConfig;
use boxwright_source::kafka::verdicts::VerdictSink;

use super::{load_config, locate};
use crate::args::ReviewArgs;
use crate::{Outcome, signals, ui};

/// Name of the database beside the tables of a dataset in a folder.
const DATABASE: &str = "review.sqlite";
/// How often the database is looked into for verdicts: nobody waits for them.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// Verdicts that are read at once.
const PUBLISH_AT_ONCE: u32 = 100;
/// The account of whoever starts the review.
const OWNER: &str = "me=admin,core";

pub(crate) fn execute(args: &ReviewArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), args.brokers.as_deref())?;
    let taxonomy = Arc::new(config.load_taxonomy()?);
    let location = locate(&args.dataset, &config.store)?;
    let dataset = Dataset::open_at(&location)?;
    if dataset.entry_count()? == 0 {
        bail!("the dataset has no clip yet\nhint: boxwright run fills it");
    }
    let store = Store::open(&database(args, &location)?)?;
    let (of_scenes, classes) = (dataset.clone(), taxonomy.clone());
    let scenes: boxwright_desk::scene::OpenScenes = Arc::new(move |entry| {
        let scenes = Scenes::open(&of_scenes, std::slice::from_ref(entry), classes.clone())?;
        Ok(Box::new(scenes))
    });
    let lease_ms = i64::try_from(args.lease.as_millis()).unwrap_or(i64::MAX);
    let desk = Arc::new(Desk::open(DeskSetup { dataset, taxonomy, store, scenes, lease_ms })?);
    let server = boxwright_desk::serve(desk.clone(), args.listen)?;
    for person in invited(args)? {
        let key = desk.invite(&person, now_ms())?;
        ui::print(&format!("review: {}#key={key}  ({}, {}, {})", server.url(), person.name, person.role, person.clearance));
    }
    let publisher = args.brokers.is_some().then(|| publish(desk, config.kafka.clone())).transpose()?;
    ui::say("each link signs in once; Ctrl-C ends the review, and nothing is lost");
    signals::wait_for_stop()?;
    server.shutdown();
    if let Some((over, thread)) = publisher {
        over.store(true, Ordering::SeqCst);
        // What is not published by then stays in the database and goes out with the next review.
        let _ = thread.join();
    }
    Ok(Outcome::Done)
}

/// Publishes verdicts from the database, oldest first, until it is told that the review is over. A broker that is away costs nothing: they
/// wait in the database.
fn publish(desk: Arc<Desk>, kafka: KafkaConfig) -> anyhow::Result<(Arc<AtomicBool>, JoinHandle<()>)> {
    let over = Arc::new(AtomicBool::new(false));
    let told = over.clone();
    let work = move || {
        let mut sink = None;
        loop {
            let is_last = told.load(Ordering::SeqCst);
            if let Err(error) = publish_waiting(&desk, &kafka, &mut sink) {
                tracing::warn!("verdicts wait in the database: {error:#}");
                sink = None;
            }
            if is_last {
                return;
            }
            std::thread::sleep(PUBLISH_EVERY);
        }
    };
    let thread = std::thread::Builder::new().name("verdicts".to_owned()).spawn(work).context("cannot start the publisher")?;
    Ok((over, thread))
}

fn publish_waiting(desk: &Desk, kafka: &KafkaConfig, sink: &mut Option<VerdictSink>) -> anyhow::Result<()> {
    for one in desk.outgoing(PUBLISH_AT_ONCE)? {
        let sink = match sink {
            Some(sink) => sink,
            None => sink.insert(VerdictSink::connect(kafka)?),
        };
        sink.send(&one.vehicle, &one.id, &one.body)?;
        desk.published(&one.id)?;
    }
    Ok(())
}

/// Who gets a link: those who are named, or whoever started it.
fn invited(args: &ReviewArgs) -> anyhow::Result<Vec<Person>> {
    let given: Vec<&str> = args.account.iter().map(String::as_str).collect();
    let all = if given.is_empty() { vec![OWNER] } else { given };
    let people: Vec<Person> = all
        .into_iter()
        .map(|text| Person::parse(text).map_err(anyhow::Error::msg).context("--account"))
        .collect::<Result<_, _>>()?;
    let mut names = BTreeSet::new();
    for person in &people {
        // Each link would carry the rights of the last.
        ensure!(
            names.insert(&person.name),
            "--account: expected every name once, got {} twice\nhint: one role a person",
            person.name
        );
    }
    Ok(people)
}

fn database(args: &ReviewArgs, location: &DatasetLocation) -> anyhow::Result<PathBuf> {
    if let Some(file) = &args.db {
        return Ok(file.clone());
    }
    match location.folder_path() {
        Some(folder) => Ok(folder.join(DATABASE)),
        None => bail!("a dataset in an object store has no place for the review database\nhint: --db FILE names one here"),
    }
}
