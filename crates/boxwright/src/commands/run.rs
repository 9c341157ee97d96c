//! `boxwright run`: the pipeline, from Kafka or straight from a recording.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use boxwright_model::{SensorKind, Taxonomy};
use boxwright_pipeline::{Config, Metrics, MetricsServer, Networks, Progress, Report, RunJob, StopSignal};
use boxwright_review::LiveView;
use boxwright_shard::Dataset;
use boxwright_source::kafka::KafkaSource;
use boxwright_source::recording::RecordingSource;
use boxwright_source::{Recording, Source};

use super::{load_config, locate, open_recording, parse_format};
use crate::args::{RunArgs, ViewMode};
use crate::{Outcome, signals, ui};

pub(crate) fn execute(args: &RunArgs) -> anyhow::Result<Outcome> {
    let mut config = load_config(args.config.as_deref(), args.brokers.as_deref())?;
    if args.dry_run {
        // A group of its own: it must not take partitions from workers, and without commits it begins at the beginning each time.
        config.kafka.group_id.push_str(".dry-run");
    }
    if let Some(manifest) = &args.detector2d {
        config.networks.camera.manifest.clone_from(manifest);
    }
    let config = Arc::new(config);
    let taxonomy = Arc::new(config.load_taxonomy()?);
    let networks = Networks::open(&config, &taxonomy)?;
    let stop = Arc::new(StopSignal::default());
    signals::listen(stop.clone(), Arc::new(AtomicBool::new(false)))?;
    // First of all, so that whoever watches sees that the broker is waited for.
    let metrics = Metrics::start(&config)?;
    let endpoint = args.metrics.or(config.metrics.listen).map(|address| serve_metrics(address, &metrics)).transpose()?;
    // The input and the viewer are opened before the dataset, so that a wrong path or address leaves no empty folder behind.
    let mut input = Input::open(args, &config)?;
    let view = args.view.as_ref().map(|mode| open_view(mode, &config, taxonomy.clone())).transpose()?;
    let group = config.kafka.group_id.clone();
    let location = locate(&args.dataset, &config.store)?;
    let dataset = if args.dry_run { None } else { Some(Dataset::open_or_create_at(&location, config.grid())?) };
    if let Some(dataset) = &dataset {
        dataset.remove_orphans()?;
    }
    let progress = Arc::new(Progress::default());
    let job = RunJob {
        networks,
        view,
        progress: progress.clone(),
        metrics: metrics.clone(),
        stop,
        stop_when_idle: args.stop_when_idle,
        ..RunJob::new(config, taxonomy, dataset)
    };
    let display = ui::ProgressDisplay::start(progress, input.total());
    let ended = boxwright_pipeline::run(input.source(), job);
    drop(display);
    metrics.finish();
    drop(endpoint);
    let mut report = ended?;
    input.add_to(&mut report);
    if report.frames == 0 && args.from.is_none() {
        ui::say(&format!(
            "no message came: group {group} has read its topics to their end before, or they are empty\nhint: `boxwright topics list` says what they hold; another [kafka] group_id reads them from their beginning"
        ));
    }
    finish(&report, args)
}

fn serve_metrics(address: SocketAddr, metrics: &Arc<Metrics>) -> anyhow::Result<MetricsServer> {
    let server = boxwright_pipeline::metrics::serve(address, metrics.clone())?;
    ui::say(&format!("metrics: http://{}/metrics", server.address()));
    Ok(server)
}

fn finish(report: &Report, args: &RunArgs) -> anyhow::Result<Outcome> {
    for warning in &report.warnings {
        ui::say(&format!("warning: {warning}"));
    }
    for channel in &report.skipped_channels {
        ui::say(&format!("skipped {channel}"));
    }
    if args.from.is_some() && !report.frames_by_kind.contains_key(SensorKind::Lidar.as_str()) {
        let came = if report.frames == 0 { "no message" } else { "no lidar sweep" };
        ui::say(&format!(
            "{came} came, and boxes are found in sweeps\nhint: channels that are skipped are listed with the reason; those of lidars have sensor_msgs/msg/PointCloud2 or foxglove.PointCloud"
        ));
    }
    if report.samples == 0 && report.dropped.contains_key("already_sealed") && !report.lost_data() {
        ui::say("every clip of this input is in the dataset already: nothing was left to label");
    }
    if args.json {
        ui::print(&serde_json::to_string(report).context("cannot write the report")?);
    } else {
        let rows = if args.dry_run { ui::dry_rows(report) } else { ui::report_rows(report) };
        ui::print(ui::table(&rows).trim_end());
        if !args.dry_run && (report.clips > 0 || report.dropped.contains_key("already_sealed")) {
            ui::print(&format!("\nLook at it:  boxwright view {}", ui::quoted(&args.dataset)));
        }
    }
    Ok(if report.lost_data() { Outcome::DataLost } else { Outcome::Done })
}

/// Kafka, or a recording read directly.
enum Input {
    Kafka(Box<KafkaSource>),
    Recording(Box<RecordingSource>),
}

impl Input {
    fn open(args: &RunArgs, config: &Config) -> anyhow::Result<Self> {
        match args.from.as_deref() {
            Some([format, path]) => {
                let recording = open_recording(parse_format(format)?, path.as_ref(), args.vehicle.as_deref())?;
                Ok(Self::Recording(Box::new(RecordingSource::new(recording, &config.kafka.topic_prefix))))
            }
            _ => Ok(Self::Kafka(Box::new(KafkaSource::connect(&config.kafka)?))),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Kafka(source) => source.as_mut(),
            Self::Recording(source) => source.as_mut(),
        }
    }

    fn total(&self) -> Option<u64> {
        match self {
            Self::Kafka(_) => None,
            Self::Recording(source) => source.recording().total_messages_hint(),
        }
    }

    fn add_to(&self, report: &mut Report) {
        if let Self::Recording(source) = self {
            add_recording(source.recording(), report);
        }
    }
}

/// What the recording has to say of itself.
fn add_recording(recording: &dyn Recording, report: &mut Report) {
    report.skipped_channels = recording.skipped().iter().map(ToString::to_string).collect();
    report.warnings.extend(recording.warnings());
    report.input_truncated = recording.is_truncated();
}

pub(crate) fn open_view(mode: &ViewMode, config: &Config, taxonomy: Arc<Taxonomy>) -> anyhow::Result<Arc<LiveView>> {
    let target = match mode {
        ViewMode::Serve => config.view.serve(),
        ViewMode::Connect(url) => config.view.connect(url.as_deref()),
    };
    let view = LiveView::start(target, taxonomy, config.view.queue_frames)?;
    ui::say(&format!("live view: {}", view.url()));
    Ok(Arc::new(view))
}
