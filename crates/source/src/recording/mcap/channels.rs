//! Which channels are read, as which sensor, and which are passed over and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::mcap::records::Channel;
use boxwright_model::SensorKind;

use crate::quoted::quoted;
use crate::record::{Encoding, SkippedChannel};
use crate::wire;

/// Last elements of a topic that say what is sent, not which sensor sends it.
const ENDINGS: [&str; 8] = ["image", "image_raw", "image_rect", "compressed", "points", "points_raw", "calibration", "camera_info"];

/// The sensor that a topic belongs to: the topic without its leading slash and without trailing elements among `image`, `image_raw`,
/// `image_rect`, `compressed`, `points`, `points_raw`, `calibration` and `camera_info`, but never nothing.
///
/// `/camera/front/image` and `/camera/front/calibration` are both `camera/front`; `/points` stays `points`.
#[must_use]
pub fn sensor_of_topic(topic: &str) -> &str {
    let mut name = whole_topic(topic);
    while let Some((before, last)) = name.rsplit_once('/') {
        if before.is_empty() || !ENDINGS.contains(&last) {
            break;
        }
        name = before;
    }
    name
}

fn whole_topic(topic: &str) -> &str {
    topic.strip_prefix('/').filter(|name| !name.is_empty()).unwrap_or(topic)
}

/// What the sensor of a topic is called, by kind and topic.
pub(super) type Names = BTreeMap<(SensorKind, String), Arc<str>>;

/// A channel that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadChannel {
    pub(super) kind: SensorKind,
    pub(super) sensor: Arc<str>,
    pub(super) schema: Arc<str>,
    pub(super) encoding: Encoding,
}

/// What is known of a channel: how it is read, or why not.
struct Entry {
    topic: String,
    schema: String,
    encoding: String,
    use_as: Result<ReadChannel, String>,
    messages: u64,
}

/// The channels of a file, by id.
#[derive(Default)]
pub(super) struct Channels {
    /// Name and encoding of each schema.
    schemas: BTreeMap<u16, (String, String)>,
    entries: BTreeMap<u16, Entry>,
    /// Names of sensors in files before this one of the same recording.
    given: Names,
}

impl Channels {
    /// The channels of a file before which others of its recording were read.
    pub(super) fn after(given: Names) -> Self {
        Self { given, ..Self::default() }
    }

    /// The names of its sensors, and those that were given.
    pub(super) fn names(&self) -> Names {
        let own = self.entries.values().filter_map(|entry| {
            let channel = entry.use_as.as_ref().ok()?;
            Some(((channel.kind, entry.topic.clone()), channel.sensor.clone()))
        });
        self.given.clone().into_iter().chain(own).collect()
    }

    /// The camera or lidar of a channel; nothing for another one.
    pub(super) fn seeing(&self, id: u16) -> Option<(SensorKind, Arc<str>)> {
        let channel = self.entries.get(&id)?.use_as.as_ref().ok()?;
        matches!(channel.kind, SensorKind::Camera | SensorKind::Lidar).then(|| (channel.kind, channel.sensor.clone()))
    }

    /// Notes a schema: its name and its encoding.
    pub(super) fn add_schema(&mut self, id: u16, name: String, encoding: String) {
        self.schemas.insert(id, (name, encoding));
    }

    /// Notes a channel. Files repeat their channels; a repetition changes nothing.
    pub(super) fn add_channel(&mut self, channel: Channel) {
        let Channel { id, schema_id, topic, message_encoding: encoding, .. } = channel;
        let (schema, schema_encoding) = self.schemas.get(&schema_id).cloned().unwrap_or_default();
        let known = self.entries.get(&id);
        if known.is_some_and(|entry| entry.topic == topic && entry.schema == schema && entry.encoding == encoding) {
            return;
        }
        let messages = known.map_or(0, |entry| entry.messages);
        let use_as = self.judge(&topic, &encoding, &schema, &schema_encoding);
        self.entries.insert(id, Entry { topic, schema, encoding, use_as, messages });
    }

    /// Counts a message. `None` where its channel is not known, `Some(None)` where it is not read.
    pub(super) fn count(&mut self, id: u16) -> Option<Option<ReadChannel>> {
        let entry = self.entries.get_mut(&id)?;
        entry.messages += 1;
        Some(entry.use_as.as_ref().ok().cloned())
    }

    /// Whether a channel is read; `None` where it is not known.
    pub(super) fn is_read(&self, id: u16) -> Option<bool> {
        self.entries.get(&id).map(|entry| entry.use_as.is_ok())
    }

    /// The channels that are passed over, by topic.
    pub(super) fn skipped(&self) -> Vec<SkippedChannel> {
        let mut skipped: Vec<SkippedChannel> = self
            .entries
            .values()
            .filter_map(|entry| {
                let reason = entry.use_as.as_ref().err()?.clone();
                Some(SkippedChannel { topic: entry.topic.clone(), schema: entry.schema.clone(), reason, messages: entry.messages })
            })
            .collect();
        skipped.sort_by(|a, b| (&a.topic, &a.schema).cmp(&(&b.topic, &b.schema)));
        skipped
    }

    fn judge(&self, topic: &str, message_encoding: &str, schema: &str, schema_encoding: &str) -> Result<ReadChannel, String> {
        let encoding = Encoding::from_name(message_encoding)
            .ok_or_else(|| format!("message encoding: expected protobuf or cdr, got {}", quoted(message_encoding)))?;
        if schema.is_empty() {
            return Err("the channel has no schema".to_owned());
        }
        let expected: &[&str] = match encoding {
            Encoding::Protobuf => &["protobuf"],
            Encoding::Cdr => &["ros2msg", "ros2idl"],
        };
        if !expected.contains(&schema_encoding) {
            return Err(format!("schema encoding: expected {}, got {}", expected.join(" or "), quoted(schema_encoding)));
        }
        let kind = wire::kind_of(schema, encoding).ok_or_else(|| "not a schema that is used".to_owned())?;
        let given = self.given.get(&(kind, topic.to_owned())).cloned();
        let sensor = given.unwrap_or_else(|| self.sensor_name(topic, kind).into());
        Ok(ReadChannel { kind, sensor, schema: schema.into(), encoding })
    }

    /// Two topics of one kind are two sensors: where both would have the same name (`cam/image_raw` and `cam/image_raw/compressed`),
    /// the later keeps its whole topic.
    fn sensor_name<'a>(&self, topic: &'a str, kind: SensorKind) -> &'a str {
        let short = sensor_of_topic(topic);
        let here = self.entries.values().any(|entry| {
            entry.topic != topic && entry.use_as.as_ref().is_ok_and(|channel| channel.kind == kind && &*channel.sensor == short)
        });
        let before = self.given.iter().any(|((of, other), name)| *of == kind && other != topic && &**name == short);
        if here || before { whole_topic(topic) } else { short }
    }
}
