//! Options of the embedded broker, known also to builds that leave it out.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Options of the embedded broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder for topics, offsets and messages; empty keeps them in memory.
    pub data_dir: PathBuf,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9092)), data_dir: PathBuf::new() }
    }
}
