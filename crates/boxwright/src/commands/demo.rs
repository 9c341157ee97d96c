//! `boxwright demo`: a synthetic street goes into a real Kafka protocol and comes out as shards, and the labels are held against the
//! exact truth.

#[cfg(not(feature = "embedded-broker"))]
pub(crate) fn execute(_args: &crate::args::DemoArgs) -> anyhow::Result<crate::Outcome> {
    anyhow::bail!(
        "this build has no embedded broker, which the demo needs\nhint: build with the feature embedded-broker (on by default)"
    )
}

#[cfg(feature = "embedded-broker")]
pub(crate) use with_broker::execute;

#[cfg(feature = "embedded-broker")]
mod with_broker {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::JoinHandle;
    use std::time::{Duration, Instant};

    use anyhow::{Context, bail};
    use boxwright_label::metrics::{self, Criterion, Evaluation};
    use boxwright_model::{Box3, Taxonomy};
    use boxwright_pipeline::{Config, Progress, Report, RunJob, StopSignal};
    use boxwright_shard::{ClipReader, Dataset};
    use boxwright_source::Recording;
    use boxwright_source::broker::EmbeddedBroker;
    use boxwright_source::kafka::topics::{self, TopicPlan};
    use boxwright_source::kafka::{KafkaConfig, KafkaSink, KafkaSource, ReplaySpeed, replay};
    use boxwright_source::synthetic::{SyntheticConfig, SyntheticDrive, TruthBox};
    use serde::Serialize;

    use super::super::view;
    use crate::args::DemoArgs;
    use crate::{Outcome, signals, ui};

    /// The drive is over when nothing came for so long after everything that was sent has been read.
    const IDLE: Duration = Duration::from_millis(200);
    const FLUSH: Duration = Duration::from_secs(60);
    /// How long the consumer may lag behind the producer before the demo goes on without the rest.
    const CONSUMER_LAG: Duration = Duration::from_secs(120);

    /// What `--json` prints: the run's report with the evaluation beside it.
    #[derive(Serialize)]
    struct DemoReport {
        #[serde(flatten)]
        report: Report,
        /// Where the drive came to its end: of a part of it, precision and recall would say nothing.
        #[serde(flatten)]
        quality: Option<Quality>,
        truth_boxes: usize,
        dataset: PathBuf,
        seed: u64,
    }

    /// The labels against exact truth.
    #[derive(Serialize)]
    struct Quality {
        precision: f64,
        recall: f64,
        evaluation: Evaluation,
    }

    pub(crate) fn execute(args: &DemoArgs) -> anyhow::Result<Outcome> {
        let mut config = Config::embedded()?;
        let taxonomy = Arc::new(config.load_taxonomy()?);
        let folder = dataset_folder(args)?;
        let stop = Arc::new(StopSignal::default());
        let stop_producer = Arc::new(AtomicBool::new(false));
        signals::listen(stop.clone(), stop_producer.clone())?;

        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = EmbeddedBroker::start(loopback, None).context("the demo needs a free port on 127.0.0.1")?;
        config.kafka.brokers = broker.address();
        // Nobody else will join this group, and the embedded broker lets a group wait for half of this before it forms.
        config.kafka.session_timeout_ms = 3000;
        topics::create(&config.kafka, &TopicPlan { partitions: 2, replication: 1, ..TopicPlan::for_config(&config.kafka) })?;

        let dataset = Dataset::open_or_create(&folder, config.grid())?;
        let drive = SyntheticDrive::new(SyntheticConfig { seed: args.seed, seconds: args.seconds, ..SyntheticConfig::default() })?;
        let total = drive.total_messages_hint();
        if !args.json {
            ui::say(&format!(
                "a {} s synthetic drive (seed {}) → Kafka at {} → {}",
                args.seconds,
                args.seed,
                broker.address(),
                folder.display()
            ));
        }
        let mut source = KafkaSource::connect(&config.kafka)?;
        let more_to_come = Arc::new(AtomicBool::new(true));
        let progress = Arc::new(Progress::default());
        let producer = produce(drive, config.kafka.clone(), stop_producer, progress.clone(), more_to_come.clone())?;
        let display = ui::ProgressDisplay::start(progress.clone(), total);
        let stop_told = stop.clone();
        let job = RunJob {
            progress,
            stop,
            stop_when_idle: Some(IDLE),
            more_to_come,
            ..RunJob::new(Arc::new(config), taxonomy.clone(), Some(dataset.clone()))
        };
        let run = boxwright_pipeline::run(&mut source, job);
        drop(display);
        let truth = join(producer);
        let (report, truth) = (run?, truth?);
        drop(source);
        drop(broker);

        let quality = if stop_told.is_draining() {
            ui::say("interrupted: what was made is kept, and not compared with the truth");
            None
        } else {
            let labels = read_labels(&dataset, &taxonomy)?;
            let evaluation = metrics::evaluate(&convert(&truth), &labels, &taxonomy, &Criterion::default());
            Some(Quality { precision: evaluation.precision, recall: evaluation.recall, evaluation })
        };
        let lost = report.lost_data();
        let finished = DemoReport { quality, truth_boxes: truth.len(), dataset: folder, seed: args.seed, report };
        show(&finished, args)?;
        after(&finished, &dataset, &taxonomy, args)?;
        Ok(if lost { Outcome::DataLost } else { Outcome::Done })
    }

    /// The given folder, or the first of boxwright-demo, boxwright-demo-2, … that does not exist.
    fn dataset_folder(args: &DemoArgs) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &args.dataset {
            if folder.join("manifest").exists() {
                bail!("{} holds clips already: expected a new or empty folder\nhint: name another --dataset", folder.display());
            }
            return Ok(folder.clone());
        }
        let named =
            |number: u32| PathBuf::from(if number == 1 { "boxwright-demo".to_owned() } else { format!("boxwright-demo-{number}") });
        // A thousand demos in one folder: more likely a loop than a person.
        (1..=1000)
            .map(named)
            .find(|folder| !folder.exists())
            .context("a thousand boxwright-demo folders exist here\nhint: delete some")
    }

    type Producer = JoinHandle<anyhow::Result<Vec<TruthBox>>>;

    /// Sends the drive from a thread of its own; `more_to_come` is cleared when all of it has been read, or never will be.
    fn produce(
        mut drive: SyntheticDrive,
        kafka: KafkaConfig,
        stop: Arc<AtomicBool>,
        progress: Arc<Progress>,
        more_to_come: Arc<AtomicBool>,
    ) -> anyhow::Result<Producer> {
        let work = move || {
            let sent = KafkaSink::connect(&kafka).and_then(|mut sink| {
                replay(&mut drive, &mut sink, ReplaySpeed::Max, &mut |_| {}, &stop)?;
                sink.flush(FLUSH)
            });
            let expected = sent.as_ref().map_or(0, |delivered| delivered.messages);
            let until = Instant::now() + CONSUMER_LAG;
            while progress.frames.load(Ordering::SeqCst) < expected && Instant::now() < until && !stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            more_to_come.store(false, Ordering::SeqCst);
            sent?;
            Ok(drive.truth().to_vec())
        };
        std::thread::Builder::new().name("drive".to_owned()).spawn(work).context("cannot start the producer")
    }

    fn join(producer: Producer) -> anyhow::Result<Vec<TruthBox>> {
        match producer.join() {
            Ok(result) => result.context("the drive could not be produced"),
            Err(_) => bail!("the producer ended unexpectedly"),
        }
    }

    fn read_labels(dataset: &Dataset, taxonomy: &Taxonomy) -> anyhow::Result<Vec<Box3>> {
        let mut labels = Vec::new();
        for entry in dataset.clips(None)? {
            labels.extend(ClipReader::open(dataset, &entry)?.boxes(taxonomy)?);
        }
        Ok(labels)
    }

    fn convert(truth: &[TruthBox]) -> Vec<metrics::TruthBox> {
        truth
            .iter()
            .map(|one| metrics::TruthBox {
                stamp_ns: one.sweep_stamp_ns,
                object_id: one.object_id,
                class: one.class.clone(),
                ego_from_box: one.ego_from_box,
                num_lidar_pts: one.num_lidar_pts,
            })
            .collect()
    }

    fn show(finished: &DemoReport, args: &DemoArgs) -> anyhow::Result<()> {
        if args.json {
            ui::print(&serde_json::to_string(finished).context("cannot write the report")?);
            return Ok(());
        }
        let mut rows = ui::report_rows(&finished.report);
        if let Some(quality) = &finished.quality {
            rows.push(ui::row("precision", format!("{:.1} % against exact truth", 100.0 * quality.precision)));
            rows.push(ui::row("recall", format!("{:.1} %", 100.0 * quality.recall)));
        }
        ui::print(ui::table(&rows).trim_end());
        let folder = ui::quoted_path(&finished.dataset);
        if finished.report.clips == 0 {
            ui::print(&format!("\nNo clip was finished. Once more:  boxwright demo --dataset {folder}"));
            return Ok(());
        }
        ui::print(&format!(
            "\nWhere to look next\n  boxwright view {folder}                 3D boxes, tracks and cameras in the browser\n  \
             boxwright view {folder} --save a.rrd    the same as a Rerun recording\n  \
             boxwright review {folder}               accept and correct the labels\n  \
             python -c \"import polars as pl; print(pl.read_parquet('{}/box3/**/*.parquet'))\"\n  \
             boxwright run --from mcap FILE          your own drive, no broker needed",
            finished.dataset.display()
        ));
        Ok(())
    }

    fn after(finished: &DemoReport, dataset: &Dataset, taxonomy: &Arc<Taxonomy>, args: &DemoArgs) -> anyhow::Result<()> {
        let entries = dataset.clips(None)?;
        if let Some(file) = &args.save {
            let written = view::save(dataset, &entries, taxonomy.clone(), file)?;
            ui::say(&format!("{}: {} samples, {}", file.display(), written.frames, ui::bytes(written.bytes)));
        }
        if args.serve && finished.report.samples > 0 {
            view::serve(dataset, &entries, taxonomy.clone(), std::net::SocketAddr::from(([127, 0, 0, 1], 0)))?;
        }
        Ok(())
    }
}
