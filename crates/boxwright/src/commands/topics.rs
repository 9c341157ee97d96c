//! `boxwright topics create|list`.

use anyhow::Context;
use boxwright_source::kafka::topics::{self, TopicPlan};

use super::load_config;
use crate::args::{TopicsAction, TopicsArgs};
use crate::{Outcome, ui};

pub(crate) fn execute(args: &TopicsArgs) -> anyhow::Result<Outcome> {
    let config = load_config(args.config.as_deref(), args.brokers.as_deref())?;
    match args.action {
        TopicsAction::Create => {
            let plan =
                TopicPlan { partitions: args.partitions, replication: args.replication, ..TopicPlan::for_config(&config.kafka) };
            let created = topics::create(&config.kafka, &plan)?;
            if args.json {
                ui::print(&serde_json::to_string(&created).context("cannot write the list")?);
            } else {
                let rows: Vec<_> = created.iter().map(|topic| (topic.name.clone(), topic.outcome.to_string())).collect();
                ui::print(ui::table(&rows).trim_end());
            }
            let problems = created.iter().filter(|topic| topic.outcome.is_problem()).count();
            anyhow::ensure!(problems == 0, "{problems} topics are not as they must be (see above)");
        }
        TopicsAction::List => {
            let found = topics::list(&config.kafka)?;
            if args.json {
                ui::print(&serde_json::to_string(&found).context("cannot write the list")?);
            } else if found.is_empty() {
                ui::print(&format!("no topic begins with {:?}\nhint: boxwright topics create", config.kafka.topic_prefix));
            } else {
                let text =
                    |topic: &topics::TopicInfo| format!("{} partitions, {} messages", topic.partitions.len(), topic.messages);
                let rows: Vec<_> = found.iter().map(|topic| (topic.name.clone(), text(topic))).collect();
                ui::print(ui::table(&rows).trim_end());
            }
        }
    }
    Ok(Outcome::Done)
}
