//! `boxwright broker`: the embedded broker by itself.

use crate::Outcome;
use crate::args::BrokerArgs;

#[cfg(feature = "embedded-broker")]
pub(crate) fn execute(args: &BrokerArgs) -> anyhow::Result<Outcome> {
    use boxwright_source::broker::EmbeddedBroker;

    use crate::{signals, ui};

    let broker = EmbeddedBroker::start(args.listen, args.data.as_deref())?;
    ui::say(&format!("broker at {}", broker.address()));
    match &args.data {
        Some(dir) => ui::say(&format!("everything is kept in {}", dir.display())),
        None => ui::say("everything is kept in memory and gone at the end (--data DIR keeps it)"),
    }
    ui::say(boxwright_source::broker::LIMITS);
    ui::say(&format!("next: boxwright topics create --brokers {}", broker.address()));
    signals::wait_for_stop()?;
    drop(broker);
    Ok(Outcome::Done)
}

#[cfg(not(feature = "embedded-broker"))]
pub(crate) fn execute(_args: &BrokerArgs) -> anyhow::Result<Outcome> {
    anyhow::bail!(
        "this build has no embedded broker\nhint: build with the feature embedded-broker (on by default), or run Apache Kafka"
    )
}
