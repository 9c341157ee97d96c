//! The section `[view]` of the configuration.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use crate::error::ReviewError;
use crate::live::ViewTarget;

/// Options of the live view and of the review page.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ViewConfig {
    /// Address that the page and the live view listen on. Neither asks for a password: anything but loopback shows the data to the network.
    pub bind: IpAddr,
    /// Port of the page; 0 takes a free one.
    pub web_port: u16,
    /// Port of the live stream that the page connects to; 0 takes a free one.
    pub grpc_port: u16,
    /// How much of the live stream is kept for a viewer that opens late, in MiB. The oldest goes first.
    pub memory_mib: u64,
    /// Frames that may wait for the viewer; when it is slower than the pipeline, the newest stay and the rest is counted as dropped.
    pub queue_frames: usize,
    /// The viewer that `--view connect` sends to when no address is given.
    pub connect_url: String,
}

impl Default for ViewConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            web_port: 9090,
            grpc_port: 9876,
            memory_mib: 256,
            queue_frames: 4,
            connect_url: "rerun+http://127.0.0.1:9876/proxy".to_owned(),
        }
    }
}

impl ViewConfig {
    /// Refuses numbers that make no sense.
    ///
    /// # Errors
    /// When the queue holds no frame, or the page and the stream want the same port.
    pub fn check(&self) -> Result<(), ReviewError> {
        if !(1..=1024).contains(&self.queue_frames) {
            let got = self.queue_frames.to_string();
            return Err(ReviewError::Config { option: "queue_frames", expected: "1 to 1024 frames", got });
        }
        if self.web_port != 0 && self.web_port == self.grpc_port {
            let got = self.grpc_port.to_string();
            return Err(ReviewError::Config { option: "grpc_port", expected: "another port than web_port", got });
        }
        Ok(())
    }

    /// The target of `--view serve`.
    #[must_use]
    pub fn serve(&self) -> ViewTarget {
        ViewTarget::Serve {
            bind: self.bind,
            grpc_port: self.grpc_port,
            web_port: self.web_port,
            memory_limit_bytes: self.memory_mib.saturating_mul(1 << 20),
        }
    }

    /// The target of `--view connect[=URL]`.
    #[must_use]
    pub fn connect(&self, url: Option<&str>) -> ViewTarget {
        ViewTarget::Connect { url: url.unwrap_or(&self.connect_url).to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_stay_on_this_machine_and_are_valid() {
        let config = ViewConfig::default();
        assert!(config.bind.is_loopback());
        config.check().unwrap();
    }

    #[test]
    fn a_queue_without_room_and_a_shared_port_are_refused_with_both_sides() {
        let empty = ViewConfig { queue_frames: 0, ..ViewConfig::default() };
        assert!(empty.check().unwrap_err().to_string().contains("expected 1 to 1024 frames, got 0"));
        let shared = ViewConfig { grpc_port: 9090, ..ViewConfig::default() };
        assert!(shared.check().unwrap_err().to_string().contains("got 9090"));
    }

    #[test]
    fn unknown_options_are_refused() {
        let error = serde_json::from_str::<ViewConfig>(r#"{"web_prot": 1}"#).unwrap_err();
        assert!(error.to_string().contains("web_prot"), "{error}");
    }
}
