//! The command line, as people type it. Parsed once and resolved into plain structs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Camera and lidar streams become reviewed 3D labels and training shards.
#[derive(Debug, Parser)]
#[command(name = "boxwright", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Show more of what happens on stderr (-v: info of this program, -vv: debug, -vvv: of the libraries too)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Write log lines as JSON
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 bad arguments, 3 done but data was lost, 4 done and what was checked is not as it should be";

impl Cli {
    /// The arguments of this process. Ends it, with the code of bad arguments, where they make no command.
    pub(crate) fn read() -> Self {
        let cli = Self::parse();
        if let Err(message) = cli.check() {
            Self::command().error(ErrorKind::MissingRequiredArgument, message).exit();
        }
        cli
    }

    /// What the types of the arguments cannot say.
    fn check(&self) -> Result<(), &'static str> {
        match &self.command {
            Command::Sync(SyncArgs { report: None, from: None, .. }) => {
                Err("expected a dataset or a recording, got neither\nhint: --report DATASET, or --report --from mcap FILE")
            }
            Command::Sync(SyncArgs { report: Some(_), from: Some(_), .. }) => {
                Err("expected a dataset or a recording, got both\nhint: --report DATASET, or --report --from mcap FILE")
            }
            Command::Run(RunArgs { from: Some(from), .. })
            | Command::Sync(SyncArgs { from: Some(from), .. })
            | Command::Calib(CalibArgs { action: CalibAction::Check(CalibCheckArgs { from: Some(from), .. }) })
                if from.len() != 2 =>
            {
                Err(
                    "expected one recording, got --from more than once\nhint: files of one recording are read as a folder, --from mcap DIR; recordings by themselves",
                )
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See all of it work: a synthetic street goes into Kafka and comes out as shards with boxes
    Demo(DemoArgs),
    /// Consume, sync, label and store, from Kafka or straight from a recording
    Run(RunArgs),
    /// Produce a recording to Kafka
    Replay(ReplayArgs),
    /// Look at a dataset: frames, boxes and tracks in the Rerun viewer
    View(ViewArgs),
    /// Decide about labels and correct them, in the browser; finished clips become the next revision
    Review(ReviewArgs),
    /// Compare revisions of the labels
    Labels(LabelsArgs),
    /// Prove that a dataset is whole: files, hashes, and every message in exactly one place
    Verify(VerifyArgs),
    /// See how well sensors keep time: residuals, what is missing, clocks that drift or jump
    Sync(SyncArgs),
    /// See whether cameras sit where they are said to: lidar edges against image edges
    Calib(CalibArgs),
    /// Measure labels against truth
    Eval(EvalArgs),
    /// Track the boxes of your own detector
    Track(TrackArgs),
    /// Make or list the Kafka topics
    Topics(TopicsArgs),
    /// Run a Kafka-compatible broker for a lab that has none
    Broker(BrokerArgs),
    /// Ask a run with --metrics whether it is alive (for containers: exit code 0 or 1)
    Health(HealthArgs),
    /// Print or check the configuration
    Config(ConfigArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the shards go; by default a new folder boxwright-demo, boxwright-demo-2, … here
    #[arg(long, value_name = "DIR")]
    pub(crate) dataset: Option<PathBuf>,
    /// Length of the synthetic drive in seconds, 1 to 120
    #[arg(long, value_name = "N", default_value_t = 12.0, value_parser = parse_demo_seconds, allow_negative_numbers = true)]
    pub(crate) seconds: f64,
    /// Which street: the same seed makes the same bytes
    #[arg(long, value_name = "N", default_value_t = 7, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// End with one JSON object on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Keep the viewer up at the end, until Ctrl-C
    #[arg(long)]
    pub(crate) serve: bool,
    /// Write the drive as a Rerun recording
    #[arg(long, value_name = "FILE.rrd", value_parser = parse_recording_file)]
    pub(crate) save: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Configuration laid over the defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Kafka brokers, host:port with commas between
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "from")]
    pub(crate) brokers: Option<String>,
    /// Read a recording instead of Kafka: kitti-raw DIR, mcap FILE, or mcap DIR with the files of one recording (a ROS 2 bag)
    #[arg(long, num_args = 2, value_names = ["FORMAT", "PATH"])]
    pub(crate) from: Option<Vec<String>>,
    /// Vehicle id of the recording; by default its file or folder name
    #[arg(long, value_name = "ID", requires = "from", value_parser = parse_vehicle)]
    pub(crate) vehicle: Option<String>,
    /// Where the shards go: a folder, or s3://, gs://, az:// (see [store] in the configuration)
    #[arg(long, value_name = "DIR|URL", default_value = "boxwright-data", value_parser = parse_dataset)]
    pub(crate) dataset: String,
    /// Let a 2D detector vote on classes: the manifest of an ONNX file (wins over [networks.camera] in the configuration)
    #[arg(long, value_name = "MANIFEST")]
    pub(crate) detector2d: Option<PathBuf>,
    /// Show it while it happens: serve, or connect to a viewer that is open (connect=URL)
    #[arg(long, value_name = "serve|connect[=URL]", value_parser = parse_view)]
    pub(crate) view: Option<ViewMode>,
    /// Only read, order and account: label, write and commit nothing, in a consumer group of its own
    #[arg(long, conflicts_with = "view")]
    pub(crate) dry_run: bool,
    /// Tell Prometheus (/metrics) and health checks (/healthz, /readyz) at this address; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub(crate) metrics: Option<SocketAddr>,
    /// End, sealing everything, when all partitions are at their ends and nothing came for so long (5s, 500ms, 2m)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    pub(crate) stop_when_idle: Option<Duration>,
    /// End with one JSON object on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Format of the recording
    pub(crate) format: RecordingFormat,
    /// Its folder or file; of mcap also the folder with the files of one recording
    pub(crate) path: PathBuf,
    /// Configuration laid over the defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Kafka brokers, host:port with commas between
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) brokers: Option<String>,
    /// Vehicle id; by default the recording's file or folder name
    #[arg(long, value_name = "ID", value_parser = parse_vehicle)]
    pub(crate) vehicle: Option<String>,
    /// As fast as possible (max) or a factor of the recorded pace (1.0)
    #[arg(long, value_name = "max|FACTOR", default_value = "max", value_parser = parse_speed, allow_negative_numbers = true)]
    pub(crate) speed: Speed,
    /// End with one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// The dataset: a folder or a URL
    pub(crate) dataset: String,
    /// Only this clip: its number, or vehicle/number
    #[arg(long, value_name = "ID")]
    pub(crate) clip: Option<String>,
    /// Labels as of this revision (0: automatic) instead of the newest
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) revision: Option<i32>,
    /// Write a Rerun recording instead of serving
    #[arg(long, value_name = "FILE.rrd", conflicts_with = "serve", value_parser = parse_recording_file)]
    pub(crate) save: Option<PathBuf>,
    /// Serve the web viewer (the default)
    #[arg(long)]
    pub(crate) serve: bool,
    /// Address of the page; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = parse_address)]
    pub(crate) listen: SocketAddr,
    /// Configuration laid over the defaults (for its taxonomy)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// The dataset: a folder or a URL
    pub(crate) dataset: String,
    /// Address of the page; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = parse_address)]
    pub(crate) listen: SocketAddr,
    /// Where operations are kept: a file, or postgres://USER@HOST/DATABASE (password from PGPASSWORD or ~/.pgpass); by default review.sqlite in the
    /// dataset's folder
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) db: Option<PathBuf>,
    /// Print a sign-in link for this person (annotator, reviewer, lead, data_user, admin; unclassified, general, important, core); may be
    /// given several times. Without it there is one link, for you, or with --oidc none
    #[arg(long, value_name = "NAME=ROLE[,CLEARANCE]", value_parser = parse_account)]
    pub(crate) account: Vec<String>,
    /// Let people sign in by a provider of identities (OpenID Connect), as this file says (example: configs/oidc.toml)
    #[arg(long, value_name = "FILE")]
    pub(crate) oidc: Option<PathBuf>,
    /// Leave the Rerun viewer out of the page; it shows clips in 3D, and the page works without it
    #[arg(long)]
    pub(crate) no_canvas: bool,
    /// How long an item stays with somebody who does nothing
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration, allow_hyphen_values = true)]
    pub(crate) lease: Duration,
    /// Publish verdicts to the topic `<prefix>.verdicts` of these brokers, host:port with commas between
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) brokers: Option<String>,
    /// Configuration laid over the defaults (for its taxonomy, [store] and [kafka])
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct LabelsArgs {
    #[command(subcommand)]
    pub(crate) action: LabelsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabelsAction {
    /// What differs between two revisions, by track
    Diff {
        /// The dataset: a folder or a URL
        dataset: String,
        /// The older revision (0: automatic)
        #[arg(value_name = "A", allow_negative_numbers = true)]
        before: i32,
        /// The newer revision
        #[arg(value_name = "B", allow_negative_numbers = true)]
        after: i32,
        /// Only this clip: its number, or vehicle/number
        #[arg(long, value_name = "ID")]
        clip: Option<String>,
        /// Configuration laid over the defaults (for its taxonomy and [store])
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The dataset: a folder or a URL
    pub(crate) dataset: String,
    /// Also hold it against the topics that it was made of: everything committed must be in it or in the dead-letter topics
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) brokers: Option<String>,
    /// Configuration laid over the defaults (for its [kafka] and [store])
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// End with one JSON object on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Report on this dataset (a folder or a URL), or with --from on a recording
    #[arg(long, value_name = "DATASET", num_args = 0..=1, required = true)]
    pub(crate) report: Option<String>,
    /// The recording: kitti-raw DIR, mcap FILE or mcap DIR. It is read as `run` reads it
    #[arg(long, num_args = 2, value_names = ["FORMAT", "PATH"])]
    pub(crate) from: Option<Vec<String>>,
    /// Configuration laid over the defaults (for its [sync] and [store])
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write it with drawings as one HTML file too
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// End with one JSON object on stdout instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CalibArgs {
    #[command(subcommand)]
    pub(crate) action: CalibAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CalibAction {
    /// Flag extrinsics of cameras that are off by more than half a degree, or given the wrong way round (exit code 4 where one is)
    Check(CalibCheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CalibCheckArgs {
    /// The dataset: a folder or a URL
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    pub(crate) dataset: Option<String>,
    /// A recording instead: kitti-raw DIR, mcap FILE or mcap DIR. It is read as `run` reads it
    #[arg(long, num_args = 2, value_names = ["FORMAT", "PATH"])]
    pub(crate) from: Option<Vec<String>>,
    /// Configuration laid over the defaults (for its [sync.timing] and [store])
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write some images of every camera there as PNG, with the points of the lidar coloured by depth
    #[arg(long, value_name = "DIR")]
    pub(crate) overlay: Option<PathBuf>,
    /// End with one JSON object on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The labels: a dataset (folder or URL), KITTI label files, a nuScenes submission, an Argoverse 2 feather file, or labels.json
    pub(crate) labels: String,
    /// The truth, in the same formats or as tracklet_labels.xml; for a nuScenes submission the folder of the version
    pub(crate) truth: String,
    /// Whose rules
    #[arg(long)]
    pub(crate) protocol: EvalProtocol,
    /// Only this class: a name in the files, a group (vehicle, person, rider), or NAME=A,B; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) class: Vec<String>,
    /// Truth with fewer lidar points does not count
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) min_points: Option<u32>,
    /// Truth and labels farther away do not count
    #[arg(long, value_name = "METRES", value_parser = parse_range_m, allow_negative_numbers = true)]
    pub(crate) max_range_m: Option<f64>,
    /// Least overlaps instead of the official ones, with commas between
    #[arg(long, value_name = "IOU", value_delimiter = ',', value_parser = parse_overlap, allow_negative_numbers = true)]
    pub(crate) iou: Vec<f64>,
    /// Leave out tracks whose mean confidence is lower
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    pub(crate) min_track_score: Option<f64>,
    /// Where overlap is measured for clear and hota: in the image where both sides have image boxes, else in space
    #[arg(long)]
    pub(crate) overlap: Option<EvalOverlap>,
    /// The truth covers only what this camera of the dataset sees: nothing else counts
    #[arg(long, value_name = "CAMERA")]
    pub(crate) in_view: Option<String>,
    /// Of a dataset: compare boxes where they were when their points were measured (truth drawn around the points of a sweep), or at the
    /// stamp of the sample
    #[arg(long, default_value = "points")]
    pub(crate) boxes_at: EvalBoxesAt,
    /// Times of numbered frames: seq.json, or KITTI's timestamps.txt; by default the file at its usual place beside the truth
    #[arg(long, value_name = "FILE")]
    pub(crate) timestamps: Option<PathBuf>,
    /// Configuration laid over the defaults (for its taxonomy and [store])
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// End with one JSON object on stdout instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the report as one HTML file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TrackArgs {
    /// Detections, one text file a sequence: frame,class,x1,y1,x2,y2,score,h,w,l,x,y,z,ry,alpha (class 1 pedestrian, 2 car, 3 cyclist)
    #[arg(long, value_name = "DIR")]
    pub(crate) detections: PathBuf,
    /// KITTI calibrations, one file a sequence: boxes in gaps are projected into the image instead of interpolated there
    #[arg(long, value_name = "DIR")]
    pub(crate) calib: Option<PathBuf>,
    /// Where the KITTI tracking results go, one file a sequence
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Frames a second
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = parse_rate_hz, allow_negative_numbers = true)]
    pub(crate) rate_hz: f64,
    /// Make the boxes of each track better by each other, as at the end of a clip: one size, smooth headings, centres and heights where the frames speak for them
    #[arg(long)]
    pub(crate) refine: bool,
    /// End with one JSON object on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Configuration laid over the defaults (for its [label.track], [label.clip] max_smoothing_m and taxonomy)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TopicsArgs {
    /// create or list
    pub(crate) action: TopicsAction,
    /// Kafka brokers, host:port with commas between
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) brokers: Option<String>,
    /// Partitions of each topic: as many as the vehicles that are worked on at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=10_000), allow_negative_numbers = true)]
    pub(crate) partitions: i32,
    /// Copies of each partition
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=15), allow_negative_numbers = true)]
    pub(crate) replication: i32,
    /// Configuration laid over the defaults
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// End with one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9092", value_parser = parse_address)]
    pub(crate) listen: SocketAddr,
    /// Keep topics, offsets and messages here; without it everything is in memory and gone at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Address of the run's endpoint
    #[arg(default_value = "127.0.0.1:9464", value_parser = parse_address)]
    pub(crate) address: SocketAddr,
    /// Whether it is ready: partitions assigned, dataset open, not draining
    #[arg(long)]
    pub(crate) ready: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Check a file
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the documented defaults
    Default,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopicsAction {
    Create,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordingFormat {
    KittiRaw,
    Mcap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvalProtocol {
    Kitti,
    Nuscenes,
    Av2,
    Clear,
    Hota,
}

impl EvalProtocol {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kitti => "kitti",
            Self::Nuscenes => "nuscenes",
            Self::Av2 => "av2",
            Self::Clear => "clear",
            Self::Hota => "hota",
        }
    }
}

impl From<EvalProtocol> for boxwright_eval::judge::Protocol {
    fn from(protocol: EvalProtocol) -> Self {
        match protocol {
            EvalProtocol::Kitti => Self::Kitti,
            EvalProtocol::Nuscenes => Self::Nuscenes,
            EvalProtocol::Av2 => Self::Av2,
            EvalProtocol::Clear => Self::Clear,
            EvalProtocol::Hota => Self::Hota,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvalBoxesAt {
    Points,
    Sample,
}

impl From<EvalBoxesAt> for boxwright_eval::read::dataset::BoxTime {
    fn from(at: EvalBoxesAt) -> Self {
        match at {
            EvalBoxesAt::Points => Self::Points,
            EvalBoxesAt::Sample => Self::Sample,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvalOverlap {
    Image,
    Bev,
    #[value(name = "3d")]
    Volume,
}

impl From<EvalOverlap> for boxwright_eval::overlap::Space {
    fn from(overlap: EvalOverlap) -> Self {
        match overlap {
            EvalOverlap::Image => Self::Image,
            EvalOverlap::Bev => Self::Bev,
            EvalOverlap::Volume => Self::Volume,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ViewMode {
    Serve,
    Connect(Option<String>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    Max,
    Factor(f64),
}

fn parse_view(text: &str) -> Result<ViewMode, String> {
    match text.split_once('=') {
        None if text == "serve" => Ok(ViewMode::Serve),
        None if text == "connect" => Ok(ViewMode::Connect(None)),
        Some(("connect", url)) if !url.is_empty() => Ok(ViewMode::Connect(Some(url.to_owned()))),
        _ => Err(format!("expected serve, connect or connect=URL, got {text:?}")),
    }
}

/// Checked here, so that a wrong one ends with the code of bad arguments.
fn parse_account(text: &str) -> Result<String, String> {
    boxwright_desk::Person::parse(text).map(|_| text.to_owned())
}

/// An unset variable of a script would make a dataset of the folder that one happens to be in.
fn parse_dataset(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a folder or an address, got nothing".to_owned()) } else { Ok(text.to_owned()) }
}

/// The viewer knows a recording by the end of its name.
fn parse_recording_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.extension().is_some_and(|end| end == "rrd") {
        Ok(path)
    } else {
        Err(format!("expected a name that ends in .rrd, got {text:?}"))
    }
}

/// Names are not looked up, as in the configuration: which of a name's addresses is meant must not depend on somebody's resolver.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("expected an address and a port, as 127.0.0.1:9464, got {text:?}\nhint: 127.0.0.1 is this machine alone, 0.0.0.0 every interface, port 0 any free one, [::1] is IPv6")
    })
}

/// Every message of a vehicle that cannot have a folder would be set aside.
fn parse_vehicle(text: &str) -> Result<String, String> {
    boxwright_source::record::check_vehicle(text).map(|()| text.to_owned())
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        // Slower than a thousandth is a typing error: a ten-second drive would take three hours.
        Ok(factor) if (0.001..=1000.0).contains(&factor) => Ok(Speed::Factor(factor)),
        _ => Err(format!("expected max or a factor between 0.001 and 1000, got {text:?}")),
    }
}

fn parse_rate_hz(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // Slower than one in ten seconds nothing can be tracked; faster than a kilohertz no detector is.
        Ok(rate) if (0.1..=1000.0).contains(&rate) => Ok(rate),
        _ => Err(format!("expected 0.1 to 1000 frames a second, got {text:?}")),
    }
}

fn parse_range_m(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(metres) if metres > 0.0 && metres.is_finite() => Ok(metres),
        _ => Err(format!("expected metres above 0, got {text:?}")),
    }
}

fn parse_overlap(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(overlap) if overlap > 0.0 && overlap < 1.0 => Ok(overlap),
        _ => Err(format!("expected an overlap between 0 and 1, got {text:?}")),
    }
}

fn parse_demo_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (1.0..=120.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("expected 1 to 120 seconds, got {text:?}")),
    }
}

/// `5s`, `500ms`, `2m`, or plain seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration such as 5s, 500ms or 2m, got {text:?}");
    let (number, unit_s) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1e-3)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60.0)
    } else {
        (text, 1.0)
    };
    let seconds = number.trim().parse::<f64>().map_err(|_| wrong())? * unit_s;
    // A day: a longer wait is not a wait for the end of a replay.
    if seconds > 0.0 && seconds <= 86_400.0 { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_manual_parses() {
        for line in [
            "boxwright demo --dataset d --seconds 5 --json --serve",
            "boxwright broker --listen 127.0.0.1:9092 --data d",
            "boxwright topics create --brokers b:9092",
            "boxwright topics list",
            "boxwright replay kitti-raw DIR --brokers b:9092 --vehicle v --speed max",
            "boxwright replay mcap FILE --speed 1.0",
            "boxwright run --config c.toml --brokers b:9092 --dataset d --view serve --metrics 127.0.0.1:0 --stop-when-idle 5s --json",
            "boxwright run --from kitti-raw DIR",
            "boxwright run --from mcap FILE --view connect=rerun+http://127.0.0.1:9876/proxy",
            "boxwright view d --clip 12 --save f.rrd",
            "boxwright view d --serve",
            "boxwright review d --listen 127.0.0.1:0 --db f --account ana=reviewer,important --account bo=annotator --lease 30s",
            "boxwright review s3://b/d --db postgres://me@127.0.0.1/review",
            "boxwright labels diff d 0 1 --clip car/12 --json",
            "boxwright verify d --json",
            "boxwright sync --report d --html r.html",
            "boxwright sync --report --from mcap FILE --json",
            "boxwright calib check d --overlay o --json",
            "boxwright calib check --from kitti-raw DIR",
            "boxwright eval d truth.xml --protocol kitti --class vehicle --iou .5,.7 --in-view image_02 --json --html r.html",
            "boxwright track --detections d --calib c --out o",
            "boxwright eval results label_02 --protocol hota --overlap 3d",
            "boxwright config check f.toml",
            "boxwright health 127.0.0.1:9464 --ready",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_report_is_on_one_thing_and_a_vehicle_has_a_name() {
        let of = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().check();
        assert!(of("boxwright sync --report").is_err());
        assert!(of("boxwright sync --report d --from mcap f").is_err());
        assert!(of("boxwright sync --report d").is_ok() && of("boxwright sync --report --from mcap f").is_ok());
        // Two recordings are two runs, and never Kafka.
        for command in ["run", "sync --report", "calib check"] {
            assert!(of(&format!("boxwright {command} --from mcap f")).is_ok(), "{command}");
            assert!(of(&format!("boxwright {command} --from mcap f --from mcap g")).is_err(), "{command}");
        }
        for wrong in ["", "..", &"é".repeat(100)] {
            assert!(parse_vehicle(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_vehicle("car 7"), Ok("car 7".to_owned()));
        assert!(parse_dataset("").is_err() && parse_dataset(".").is_ok());
        assert!(parse_recording_file("k.txt").is_err() && parse_recording_file("a/k.rrd").is_ok());
    }

    #[test]
    fn a_wrong_value_is_told_what_was_expected() {
        for (line, expected) in [
            ("boxwright eval d t --protocol kitti --max-range-m -5", "expected metres above 0, got \"-5\""),
            ("boxwright eval d t --protocol kitti --iou -0.5", "expected an overlap between 0 and 1"),
            ("boxwright run --metrics my-host:9464", "expected an address and a port"),
            ("boxwright run --metrics :9464", "hint: 127.0.0.1"),
            ("boxwright health 9464", "expected an address and a port"),
            ("boxwright view d --save k.txt", "expected a name that ends in .rrd"),
            ("boxwright run --stop-when-idle -5s", "expected a duration such as 5s"),
            ("boxwright eval d t --protocol kitti --min-points -1", "invalid value '-1'"),
            ("boxwright demo --seconds -1", "expected 1 to 120 seconds"),
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("5"), Ok(Duration::from_secs(5)));
        for wrong in ["", "s", "-1s", "0s", "nan", "inf", "2 weeks"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
