//! How the workers of a group share the partitions: protocol, assignor and layout of topics, and which of them go together.
//!
//! A vehicle's sensors must reach one worker. With a topic per kind this needs an assignor that gives out partitions *by number*
//! (`range`, whoever computes it); the others spread them evenly, and so need all kinds in one topic, where a vehicle has one partition.
//!
//! | protocol | assignor | layout | who shares out | when partitions move |
//! | --- | --- | --- | --- | --- |
//! | `classic` | `range` | both | the group's leader | every worker gives up everything |
//! | `classic` | `cooperative-sticky` | `single` | the group's leader | only what moves |
//! | `consumer` (KIP-848) | `range` | both | the broker | only what moves |
//! | `consumer` (KIP-848) | `uniform` | `single` | the broker | only what moves |

use std::fmt;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use serde::Deserialize;

use super::KafkaConfig;
use super::config::{is_topic_name, refused};
use crate::error::SourceError;

/// Options of `[kafka.client]` that have an option of their own, because more than one thing hangs on them.
const OWN_OPTION: [(&str, &str); 5] = [
    ("group.id", "group_id"),
    ("group.protocol", "group_protocol"),
    ("partition.assignment.strategy", "assignor"),
    ("group.remote.assignor", "assignor"),
    ("group.instance.id", "group_instance_id"),
];
/// What the broker decides in the consumer protocol; librdkafka refuses to start with them.
const BROKERS_CHOICE: [(&str, &str); 2] = [
    ("session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
];

/// How a worker and the broker agree on who reads what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupProtocol {
    /// The one that every broker speaks.
    #[default]
    Classic,
    /// KIP-848: the broker shares out and times members. Apache Kafka 4.0 and later.
    Consumer,
}

/// Who gets which partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assignor {
    /// By number: partition 3 of every topic goes to the same worker.
    #[default]
    Range,
    /// Evenly, and as few as possible move (classic protocol).
    CooperativeSticky,
    /// Evenly, and as few as possible move (consumer protocol).
    Uniform,
}

/// Which topics hold the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicLayout {
    /// `<prefix>.lidar`, `.camera`, `.calibration` and `.transform`.
    #[default]
    PerKind,
    /// `<prefix>.frames` for all kinds; the header `schema` tells them apart.
    Single,
}

impl fmt::Display for GroupProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        })
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
            Self::Uniform => "uniform",
        })
    }
}

impl fmt::Display for TopicLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerKind => "per_kind",
            Self::Single => "single",
        })
    }
}

/// Refuses what does not go together.
pub(crate) fn check(config: &KafkaConfig) -> Result<(), SourceError> {
    check_assignor(config)?;
    let instance = &config.group_instance_id;
    if !instance.is_empty() && !is_topic_name(instance) {
        return Err(refused(format!(
            "group_instance_id: expected nothing, or 1 to 200 letters, digits, dots, dashes or underscores, got {instance:?}"
        )));
    }
    for (option, own) in OWN_OPTION {
        if let Some(value) = config.client.get(option) {
            return Err(refused(format!("client.{option}: expected kafka.{own} in its place, got {value:?}\nhint: {own} = …")));
        }
    }
    if config.group_protocol == GroupProtocol::Consumer {
        for (option, brokers) in BROKERS_CHOICE {
            if let Some(value) = config.client.get(option) {
                return Err(refused(format!(
                    "client.{option}: expected nothing with group_protocol consumer, got {value:?}: the broker decides\nhint: \
                     {brokers} of the broker, or group_protocol = \"classic\""
                )));
            }
        }
    }
    Ok(())
}

/// Refuses a time between two polls that a revocation would break: it holds up the thread that polls until the pipeline is done.
pub(crate) fn check_poll_interval(config: &KafkaConfig, revocation: Duration) -> Result<(), SourceError> {
    let Some(text) = config.client.get("max.poll.interval.ms") else { return Ok(()) };
    let least_ms = 2 * revocation.as_millis();
    match text.parse::<u128>() {
        Ok(interval_ms) if interval_ms >= least_ms => Ok(()),
        _ => Err(refused(format!(
            "client.max.poll.interval.ms: expected at least {least_ms}, got {text}: partitions that go away wait up to {} s for the \
             pipeline",
            revocation.as_secs()
        ))),
    }
}

fn check_assignor(config: &KafkaConfig) -> Result<(), SourceError> {
    let (protocol, assignor, layout) = (config.group_protocol, config.assignor, config.topic_layout);
    let (allowed, other) = match protocol {
        GroupProtocol::Classic => (Assignor::CooperativeSticky, GroupProtocol::Consumer),
        GroupProtocol::Consumer => (Assignor::Uniform, GroupProtocol::Classic),
    };
    if assignor != Assignor::Range && assignor != allowed {
        return Err(refused(format!(
            "assignor: expected range or {allowed} with group_protocol {protocol}, got {assignor}\nhint: {assignor} goes with \
             group_protocol = \"{other}\""
        )));
    }
    if assignor != Assignor::Range && layout == TopicLayout::PerKind {
        return Err(refused(format!(
            "assignor: expected range with topic_layout {layout}, got {assignor}: it would give the sensors of one vehicle to several \
             workers\nhint: topic_layout = \"single\" keeps all kinds in one topic"
        )));
    }
    Ok(())
}

/// Sets what belongs to the protocol. What the broker decides is left out: librdkafka refuses it even at its default.
pub(crate) fn set_options(config: &KafkaConfig, options: &mut ClientConfig) {
    options.set("group.id", &config.group_id).set("group.protocol", config.group_protocol.to_string());
    match config.group_protocol {
        GroupProtocol::Classic => {
            options
                .set("partition.assignment.strategy", config.assignor.to_string())
                .set("session.timeout.ms", config.session_timeout_ms.to_string())
                // Kafka asks for at most a third of it; a quarter leaves room for a late one.
                .set("heartbeat.interval.ms", (config.session_timeout_ms / 4).clamp(1, 3000).to_string());
        }
        GroupProtocol::Consumer => {
            // Named always: the broker's own default spreads evenly.
            options.set("group.remote.assignor", config.assignor.to_string());
        }
    }
    if !config.group_instance_id.is_empty() {
        options.set("group.instance.id", &config.group_instance_id);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config(group_protocol: GroupProtocol, assignor: Assignor, topic_layout: TopicLayout) -> KafkaConfig {
        KafkaConfig { group_protocol, assignor, topic_layout, ..KafkaConfig::default() }
    }

    #[test]
    fn only_what_keeps_a_vehicle_together_is_allowed() {
        use Assignor::{CooperativeSticky, Range, Uniform};
        use GroupProtocol::{Classic, Consumer};
        use TopicLayout::{PerKind, Single};
        let mut allowed = Vec::new();
        for protocol in [Classic, Consumer] {
            for assignor in [Range, CooperativeSticky, Uniform] {
                for layout in [PerKind, Single] {
                    match config(protocol, assignor, layout).consumer_config() {
                        Ok(options) => {
                            // librdkafka agrees with what we allow.
                            options.create_native_config().unwrap();
                            let _: rdkafka::consumer::BaseConsumer = options.create().unwrap();
                            allowed.push((protocol, assignor, layout));
                        }
                        Err(error) => {
                            let text = error.to_string();
                            assert!(text.contains(&format!("got {assignor}")) && text.contains("hint:"), "{text}");
                        }
                    }
                }
            }
        }
        assert_eq!(
            allowed,
            [
                (Classic, Range, PerKind),
                (Classic, Range, Single),
                (Classic, CooperativeSticky, Single),
                (Consumer, Range, PerKind),
                (Consumer, Range, Single),
                (Consumer, Uniform, Single),
            ]
        );
    }

    #[test]
    fn the_consumer_protocol_leaves_times_to_the_broker() {
        let options = config(GroupProtocol::Consumer, Assignor::Range, TopicLayout::PerKind).consumer_config().unwrap();
        for absent in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "group.instance.id"] {
            assert_eq!(options.get(absent), None, "{absent}");
        }
        assert_eq!((options.get("group.protocol"), options.get("group.remote.assignor")), (Some("consumer"), Some("range")));
    }

    #[test]
    fn a_static_member_has_its_name() {
        let named = |name: &str| KafkaConfig { group_instance_id: name.to_owned(), ..KafkaConfig::default() };
        assert_eq!(named("worker-3").consumer_config().unwrap().get("group.instance.id"), Some("worker-3"));
        let text = named("worker 3").consumer_config().unwrap_err().to_string();
        assert!(text.contains("\"worker 3\""), "{text}");
    }

    #[test]
    fn a_poll_interval_that_a_revocation_would_break_is_refused() {
        let with = |value: &str| KafkaConfig {
            client: BTreeMap::from([("max.poll.interval.ms".to_owned(), value.to_owned())]),
            ..KafkaConfig::default()
        };
        let patience = Duration::from_secs(20);
        check_poll_interval(&with("40000"), patience).unwrap();
        let text = check_poll_interval(&with("30000"), patience).unwrap_err().to_string();
        assert!(text.contains("at least 40000, got 30000"), "{text}");
    }

    #[test]
    fn client_strings_do_not_go_around_the_options() {
        for (option, own) in OWN_OPTION {
            let client = BTreeMap::from([(option.to_owned(), "x".to_owned())]);
            let text = KafkaConfig { client, ..KafkaConfig::default() }.consumer_config().unwrap_err().to_string();
            assert!(text.contains(&format!("kafka.{own}")), "{text}");
        }
        let client = BTreeMap::from([("session.timeout.ms".to_owned(), "9000".to_owned())]);
        let consumer = KafkaConfig { client, ..config(GroupProtocol::Consumer, Assignor::Range, TopicLayout::PerKind) };
        let text = consumer.consumer_config().unwrap_err().to_string();
        assert!(text.contains("the broker decides") && text.contains("group.consumer.session.timeout.ms"), "{text}");
    }
}
