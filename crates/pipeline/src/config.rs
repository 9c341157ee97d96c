//! Configuration: one embedded `default.toml` documents every option, a user's file is laid over it, unknown keys are refused.
//!
//! Parsed once, resolved once, passed in. There are no globals and no environment variables.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_label::LabelConfig;
use boxwright_model::{ClipGrid, Taxonomy};
use boxwright_odometry::OdometryConfig;
use boxwright_review::ViewConfig;
use boxwright_shard::{StoreConfig, WriterConfig};
use boxwright_source::broker_config::BrokerConfig;
use boxwright_source::kafka::KafkaConfig;
use boxwright_timesync::clock::ClockConfig;
use boxwright_timesync::matcher::MatcherConfig;
use boxwright_timesync::motion::MotionConfig;
use boxwright_timesync::order::OrderConfig;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::detector::{DetectorConfig, Provider};
use crate::networks::NetworksConfig;

/// The documented defaults, as `boxwright config default` prints them.
pub const DEFAULT_TOML: &str = include_str!("../../../configs/default.toml");
/// The classes that are used where no taxonomy file is named.
pub const DEFAULT_TAXONOMY_TOML: &str = include_str!("../../../configs/taxonomy.toml");

/// Tables whose keys are not known beforehand: names of somebody else's options, of sensors, or options that depend on another one. What
/// they hold is looked at when it is used.
const FREE_TABLES: [&str; 5] = ["kafka.client", "store.options", SYNC_POLICY, "sync.timing", "detector.classes"];
/// Table that is empty where the policy is the usual one.
const SYNC_POLICY: &str = "sync.policy";

/// Everything a run can be told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The run itself.
    pub run: RunConfig,
    /// The window of event time that is the unit of work.
    pub clip: ClipConfig,
    /// Names of frames in the transform tree.
    pub frames: FramesConfig,
    /// Canonical order of a vehicle's messages.
    pub order: OrderConfig,
    /// Samples.
    pub sync: MatcherConfig,
    /// When a sensor's clock is worth an alarm.
    pub clock: ClockConfig,
    /// Poses and deskew.
    pub motion: MotionConfig,
    /// Poses from the sweeps themselves.
    pub odometry: OwnMotionConfig,
    /// Boxes and tracks.
    pub label: LabelConfig,
    /// Who finds the objects of sweeps.
    pub detector: DetectorConfig,
    /// Networks that take part in labelling.
    pub networks: NetworksConfig,
    /// Parquet shards.
    pub shard: WriterConfig,
    /// Object stores that datasets may live in.
    pub store: StoreConfig,
    /// Live view.
    pub view: ViewConfig,
    /// Kafka.
    pub kafka: KafkaConfig,
    /// The embedded broker.
    pub broker: BrokerConfig,
    /// The Prometheus endpoint.
    pub metrics: MetricsConfig,
    /// OpenTelemetry traces.
    pub traces: TracesConfig,
    /// Classes.
    pub taxonomy: TaxonomyConfig,
}

/// Options of the run itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Threads that decode and label; 0 takes one a core. A vehicle stays on one of them.
    pub lanes: usize,
    /// A vehicle that is silent for so long has its open clips sealed, in seconds of wall time. Only live sources can be silent.
    pub seal_after_silence_s: u64,
    /// Vehicles one worker takes, because memory is bounded by it. Beyond, the one that has been silent for longest is forgotten; where
    /// none is silent the run ends.
    pub max_vehicles: usize,
    /// Mebibytes of payloads that may wait for their turn in the order, over all vehicles, before reading is held back.
    pub buffer_mib: usize,
    /// Data-security grade written into manifest entries whose frames bring none.
    pub default_grade: String,
}

impl RunConfig {
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_mib << 20
    }
}

/// Options of clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// Length in seconds of event time.
    pub length_s: u32,
}

/// Names of the frames that matter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FramesConfig {
    /// Names a world frame may have; the first that is linked to the ego frame is used.
    pub world: Vec<String>,
    /// Names the ego frame may have; the first that appears in the transform tree is used.
    pub ego: Vec<String>,
}

/// When a clip's poses are the vehicle's own odometry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OdometryMode {
    /// In clips that get no pose by a message.
    #[default]
    Auto,
    /// In every clip, whatever messages say.
    Always,
    /// Never.
    Off,
}

impl OdometryMode {
    /// The spelling in configurations and findings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Off => "off",
        }
    }
}

/// Options of the vehicle's own odometry.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnMotionConfig {
    /// When it is used.
    pub mode: OdometryMode,
    /// Milliseconds of event time after a clip's first sweep within which a pose must have come.
    pub wait_for_pose_ms: u64,
    /// The lidar that is followed; empty takes the one with most points.
    pub lidar: String,
    /// The registration.
    pub icp: OdometryConfig,
}

impl Default for OwnMotionConfig {
    fn default() -> Self {
        // A second: sensors that send ten poses a second or one are told apart from none, for at most a few ten megabytes of sweeps.
        Self { mode: OdometryMode::Auto, wait_for_pose_ms: 1000, lidar: String::new(), icp: OdometryConfig::default() }
    }
}

/// Options of the Prometheus endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address that it listens on; port 0 takes a free one, `None` means no endpoint.
    #[serde(deserialize_with = "address_or_nothing")]
    pub listen: Option<SocketAddr>,
}

fn address_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| serde::de::Error::custom(format!("expected an address such as 127.0.0.1:9464, or nothing, got {text:?}"));
    text.parse().map(Some).map_err(wrong)
}

/// Options of OpenTelemetry traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// Collector that takes OTLP over HTTP; empty means no traces.
    pub otlp_endpoint: String,
}

impl TracesConfig {
    /// Where spans are sent, if anywhere: the standard's path is added to an address without one.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        let endpoint = self.otlp_endpoint.trim_end_matches('/');
        let authority = endpoint.strip_prefix("http://").unwrap_or_default();
        match (endpoint.is_empty(), authority.contains('/')) {
            (true, _) => None,
            (false, true) => Some(endpoint.to_owned()),
            (false, false) => Some(format!("{endpoint}/v1/traces")),
        }
    }

    /// TLS is left to a collector beside the worker, which is where OpenTelemetry wants one.
    fn check(&self) -> Result<(), String> {
        let host = self.otlp_endpoint.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        if self.otlp_endpoint.is_empty() || host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace)) {
            return Ok(());
        }
        Err(format!("traces.otlp_endpoint: expected http://host:port of a collector, or nothing, got {:?}", self.otlp_endpoint))
    }
}

/// Where the classes come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxonomyConfig {
    /// Path of a taxonomy file, relative to the configuration file; empty takes the embedded one.
    pub file: PathBuf,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}\nhint: `boxwright config default` prints a documented one")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The taxonomy's file cannot be read.
    #[error(
        "cannot read {path}: {source}\nhint: [taxonomy] file names a list of classes, relative to the configuration; configs/taxonomy.toml in the sources is one"
    )]
    ReadTaxonomy {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("{path} is not TOML: {message}\nhint: `boxwright config default` prints a file that is")]
    Syntax {
        /// The file.
        path: String,
        /// What the parser said.
        message: String,
    },
    /// A key that no option has.
    #[error("{path}: unknown key `{key}`{}", nearest_hint(.nearest))]
    UnknownKey {
        /// The file.
        path: String,
        /// The key, with its tables.
        key: String,
        /// The most similar key that exists.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("{path}: {message}{}", value_hint(.message))]
    Value {
        /// The file.
        path: String,
        /// Both sides of the comparison.
        message: String,
    },
    /// The taxonomy.
    #[error("{path}: {source}\nhint: configs/taxonomy.toml in the sources documents what a class says")]
    Taxonomy {
        /// The taxonomy's file.
        path: String,
        /// What is wrong with it.
        source: boxwright_model::taxonomy::TaxonomyError,
    },
}

fn nearest_hint(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("\nhint: did you mean `{name}`?"),
        None => "\nhint: `boxwright config default` prints every option".to_owned(),
    }
}

/// What to do about a value; some messages know better.
fn value_hint(message: &str) -> &'static str {
    if message.contains("hint:") { "" } else { "\nhint: `boxwright config default` says what every option is and what it may be" }
}

impl Config {
    /// The embedded defaults.
    ///
    /// # Errors
    /// Never in a released build: a test reads the embedded file.
    pub fn embedded() -> Result<Self, ConfigError> {
        Self::resolve("default.toml", "")
    }

    /// The defaults with a file laid over them.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, has an unknown key or a value that is not usable.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: name.clone(), source })?;
        let mut config = Self::resolve(&name, &text)?;
        if config.taxonomy.file.is_relative() && !config.taxonomy.file.as_os_str().is_empty() {
            config.taxonomy.file = path.parent().unwrap_or(Path::new(".")).join(&config.taxonomy.file);
        }
        config.networks.relative_to(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    fn resolve(name: &str, text: &str) -> Result<Self, ConfigError> {
        let syntax = |source: toml::de::Error| ConfigError::Syntax { path: name.to_owned(), message: source.to_string() };
        let mut merged: Table = DEFAULT_TOML.parse().map_err(syntax)?;
        let user: Table = text.parse().map_err(syntax)?;
        overlay(&mut merged, user, "", name)?;
        drop_empty_policy(&mut merged);
        let mut config: Self = Value::Table(merged)
            .try_into()
            .map_err(|source: toml::de::Error| ConfigError::Value { path: name.to_owned(), message: source.to_string() })?;
        // TOML has no null: an empty name stands for none.
        config.sync.reference = config.sync.reference.take().filter(|name| !name.is_empty());
        config.kafka.detections = config.detector.provider == Provider::Topic;
        config.check(name)?;
        Ok(config)
    }

    fn check(&self, name: &str) -> Result<(), ConfigError> {
        let wrong = |message: String| Err(ConfigError::Value { path: name.to_owned(), message });
        if !(1..=3600).contains(&self.clip.length_s) {
            return wrong(format!("clip.length_s: expected 1 to 3600 seconds, got {}", self.clip.length_s));
        }
        if self.run.lanes > 256 {
            return wrong(format!("run.lanes: expected at most 256 threads, got {}", self.run.lanes));
        }
        if !(16..=1 << 20).contains(&self.run.buffer_mib) {
            return wrong(format!("run.buffer_mib: expected 16 to 1048576 MiB, got {}", self.run.buffer_mib));
        }
        if self.run.max_vehicles == 0 {
            return wrong("run.max_vehicles: expected at least 1, got 0".to_owned());
        }
        self.label.validate().or_else(|error| wrong(error.to_string()))?;
        self.detector.check().or_else(wrong)?;
        self.networks.check(self.detector.provider).or_else(wrong)?;
        self.sync.validate().or_else(|error| wrong(format!("sync: {error}")))?;
        self.clock.validate().or_else(|error| wrong(format!("clock: {error}")))?;
        self.odometry.icp.validate().or_else(|error| wrong(format!("odometry.icp: {error}")))?;
        self.shard.check().or_else(|error| wrong(error.to_string()))?;
        self.traces.check().or_else(wrong)?;
        self.view.check().or_else(|error| wrong(error.to_string()))?;
        self.store.check().or_else(|error| wrong(error.to_string()))?;
        if self.frames.ego.is_empty() || self.frames.world.is_empty() {
            return wrong("frames.ego and frames.world: expected at least one name each, got none".to_owned());
        }
        Ok(())
    }

    /// The grid that clips are cut by.
    #[must_use]
    pub fn grid(&self) -> ClipGrid {
        ClipGrid::new(i64::from(self.clip.length_s) * boxwright_model::time::NS_PER_S)
    }

    /// The classes.
    ///
    /// # Errors
    /// When the named file cannot be read or is no taxonomy.
    pub fn load_taxonomy(&self) -> Result<Taxonomy, ConfigError> {
        let file = &self.taxonomy.file;
        let (path, text) = if file.as_os_str().is_empty() {
            ("taxonomy.toml (embedded)".to_owned(), DEFAULT_TAXONOMY_TOML.to_owned())
        } else {
            let path = file.display().to_string();
            let text = std::fs::read_to_string(file).map_err(|source| ConfigError::ReadTaxonomy { path: path.clone(), source })?;
            (path, text)
        };
        Taxonomy::from_toml(&text).map_err(|source| ConfigError::Taxonomy { path, source })
    }

    /// A hash of everything that decides what the labels are: written into every manifest entry. Threads, addresses and the viewer
    /// are left out, because they change nothing.
    #[must_use]
    pub fn labels_sha256(&self, taxonomy: &Taxonomy) -> String {
        // What other data sets call a class decides no label.
        let mut classes = taxonomy.classes().to_vec();
        classes.iter_mut().for_each(|class| class.names.clear());
        let deciding = format!(
            "{:?}|{:?}|{:?}|{:?}|{:?}|{:?}|{:?}|{:?}|{:?}|{}|{classes:?}",
            self.clip,
            self.frames,
            self.order,
            self.sync,
            self.clock,
            self.motion,
            self.odometry,
            self.label,
            self.detector,
            self.networks.deciding()
        );
        sha256_hex(deciding.as_bytes())
    }

    /// A warning for every sensor that an option names and that is none of those that came: most likely its name is misspelt, and the
    /// option does nothing. None where nothing came.
    pub(crate) fn strangers(&self, sensors: &BTreeSet<Arc<str>>) -> Vec<String> {
        let lidar = Some(&self.odometry.lidar).filter(|name| !name.is_empty()).map(|name| ("odometry", name));
        let has_eye = !self.networks.camera.manifest.as_os_str().is_empty();
        let cameras = self.networks.camera.cameras.iter().filter(|_| has_eye).map(|name| ("networks.camera", name));
        let told = self.sync.timing.keys().map(|name| ("sync.timing", name)).chain(lidar).chain(cameras);
        let unknown = told.filter(|(_, name)| !sensors.is_empty() && !sensors.contains(name.as_str()));
        let warning = |(table, name): (&str, &String)| {
            let nearest = sensors.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let came = nearest.map(|nearest| format!(" (the nearest name that came: {nearest})")).unwrap_or_default();
            format!("[{table}] names {name}, and no message came from a sensor of that name{came}")
        };
        unknown.map(warning).collect()
    }
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// TOML has no null: an empty table stands for no policy of its own.
fn drop_empty_policy(merged: &mut Table) {
    let Some(sync) = merged.get_mut("sync").and_then(Value::as_table_mut) else { return };
    if sync.get("policy").and_then(Value::as_table).is_some_and(Table::is_empty) {
        sync.remove("policy");
    }
}

/// Lays `user` over `base`, refusing keys that `base` does not have.
fn overlay(base: &mut Table, user: Table, prefix: &str, name: &str) -> Result<(), ConfigError> {
    for (key, value) in user {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let free = FREE_TABLES.contains(&prefix);
        if value.as_float().is_some_and(|number| !number.is_finite()) {
            let message = format!("{path}: expected a finite number, got {value:?}");
            return Err(ConfigError::Value { path: name.to_owned(), message });
        }
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(table)) => overlay(inner, table, &path, name)?,
            (Some(Value::Float(slot)), Value::Integer(number)) => *slot = number as f64,
            (Some(slot), value) => {
                if !free && slot.type_str() != value.type_str() {
                    let message = format!("{path}: expected {}, got {}", slot.type_str(), value.type_str());
                    return Err(ConfigError::Value { path: name.to_owned(), message });
                }
                *slot = value;
            }
            (None, value) if free => {
                base.insert(key, value);
            }
            (None, _) => {
                let nearest = nearest(&key, prefix, base);
                return Err(ConfigError::UnknownKey { path: name.to_owned(), key: path, nearest });
            }
        }
    }
    Ok(())
}

/// The most similar known key of the same table, or of the whole file where the table has none.
fn nearest(key: &str, prefix: &str, table: &Table) -> Option<String> {
    let join = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    let here = table.keys().map(|name| (strsim::jaro_winkler(key, name), join(name)));
    let mut everywhere = Vec::new();
    if let Ok(all) = DEFAULT_TOML.parse::<Table>() {
        collect_keys(&all, "", key, &mut everywhere);
    }
    // 0.8: below it Jaro-Winkler names keys that share little more than a first letter.
    here.chain(everywhere).filter(|(score, _)| *score >= 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

fn collect_keys(table: &Table, prefix: &str, key: &str, out: &mut Vec<(f64, String)>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        // A key of another table must be nearly the same word to be worth naming.
        out.push((strsim::jaro_winkler(key, name) - 0.1, path.clone()));
        if let Value::Table(inner) = value {
            collect_keys(inner, &path, key, out);
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod properties;
