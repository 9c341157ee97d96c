//! `boxwright config check|default`.

use boxwright_pipeline::config::DEFAULT_TOML;
use boxwright_pipeline::{Config, Networks};

use crate::args::{ConfigAction, ConfigArgs};
use crate::{Outcome, ui};

pub(crate) fn execute(args: &ConfigArgs) -> anyhow::Result<Outcome> {
    match &args.action {
        ConfigAction::Check { file } => {
            let config = Config::load(file)?;
            let taxonomy = config.load_taxonomy()?;
            // They are tried when they are opened.
            let models = Networks::open(&config, &taxonomy)?.models();
            let classes: Vec<&str> = taxonomy.classes().iter().map(|class| &*class.name).collect();
            ui::print(&format!(
                "{} is usable: clips of {} s, classes {}{}",
                file.display(),
                config.clip.length_s,
                classes.join(", "),
                models.keys().map(|model| format!("\n  {model}")).collect::<String>()
            ));
        }
        ConfigAction::Default => ui::print(DEFAULT_TOML.trim_end()),
    }
    Ok(Outcome::Done)
}
