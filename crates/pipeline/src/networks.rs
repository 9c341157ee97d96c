//! The networks that a run uses: opened once, before anything is read, and shared by all lanes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_label::detector::Detector;
use boxwright_label::models::{ImageDetector, ModelSpec};
use boxwright_model::Taxonomy;
use boxwright_networks::{CameraNetwork, LidarNetwork, ManifestError};
use serde::Deserialize;

use crate::config::{Config, ConfigError};
use crate::detector::{Provider, TopicBoxes, Without};

/// Options of the networks. Without a manifest there is none: the product ships no weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworksConfig {
    /// The network that looks at images.
    pub camera: CameraNetworkConfig,
    /// The network that looks at sweeps.
    pub lidar: LidarNetworkConfig,
}

/// Options of the network that looks at sweeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LidarNetworkConfig {
    /// Its manifest, relative to the configuration file. It is opened where `[detector] provider` is `onnx`.
    pub manifest: PathBuf,
}

/// Options of the network that looks at images.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraNetworkConfig {
    /// Its manifest, relative to the configuration file; empty for none.
    pub manifest: PathBuf,
    /// Cameras that it looks through; empty for all.
    pub cameras: Vec<String>,
    /// It looks at the images of each so many-th sample of a clip.
    pub every: u32,
}

impl Default for CameraNetworkConfig {
    fn default() -> Self {
        Self { manifest: PathBuf::new(), cameras: Vec::new(), every: 1 }
    }
}

impl NetworksConfig {
    /// Makes the paths relative to the folder of the configuration file.
    pub(crate) fn relative_to(&mut self, folder: &Path) {
        for manifest in [&mut self.camera.manifest, &mut self.lidar.manifest] {
            if manifest.is_relative() && !manifest.as_os_str().is_empty() {
                *manifest = folder.join(&*manifest);
            }
        }
    }

    pub(crate) fn check(&self, provider: Provider) -> Result<(), String> {
        if provider == Provider::Onnx && self.lidar.manifest.as_os_str().is_empty() {
            return Err(
                "networks.lidar.manifest: expected the manifest of a network, as detector.provider is \"onnx\", got nothing\nhint: configs/networks/pillars.toml in the sources is one"
                    .to_owned(),
            );
        }
        if self.camera.every == 0 {
            return Err("networks.camera.every: expected at least 1, got 0".to_owned());
        }
        Ok(())
    }

    /// What of it decides labels, whatever the machine: the paths are left out, because the files' hashes count.
    pub(crate) fn deciding(&self) -> String {
        format!("{:?}|{}", self.camera.cameras, self.camera.every)
    }
}

/// The networks of a run, and who finds the objects.
#[derive(Clone, Default)]
pub struct Networks {
    /// Looks at images.
    pub(crate) camera: Option<CameraEye>,
    /// Looks at sweeps.
    pub(crate) finder: Finder,
    /// What becomes of a sweep that it has no answer for.
    pub(crate) without: Without,
}

/// Who finds the objects of sweeps, ready to be asked.
#[derive(Clone, Default)]
pub(crate) enum Finder {
    #[default]
    BuiltIn,
    Topic(TopicBoxes),
    Network(Arc<dyn Detector>),
}

/// A network that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    /// Its manifest or its weights.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The classes of `[detector]`.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A network and the images that it looks at.
#[derive(Clone)]
pub(crate) struct CameraEye {
    pub(crate) detector: Arc<dyn ImageDetector>,
    pub(crate) cameras: Vec<String>,
    pub(crate) every: u32,
}

impl Networks {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// When a manifest or its weights cannot be used.
    pub fn open(config: &Config, taxonomy: &Taxonomy) -> Result<Self, NetworksError> {
        let CameraNetworkConfig { manifest, cameras, every } = &config.networks.camera;
        let camera = if manifest.as_os_str().is_empty() {
            None
        } else {
            let network = CameraNetwork::open(manifest, taxonomy)?;
            Some(CameraEye { detector: Arc::new(network), cameras: cameras.clone(), every: *every })
        };
        let wrong = |message| ConfigError::Value { path: "the configuration".to_owned(), message };
        let finder = match config.detector.provider {
            Provider::BuiltIn => Finder::BuiltIn,
            Provider::Topic => Finder::Topic(TopicBoxes::new(&config.detector, taxonomy).map_err(wrong)?),
            Provider::Onnx => {
                let network = LidarNetwork::open(&config.networks.lidar.manifest, taxonomy, config.detector.min_score)?;
                Finder::Network(Arc::new(network))
            }
        };
        Ok(Self { camera, finder, without: config.detector.without })
    }

    /// The models by what they do, with the hashes of their weights and of their manifests: for manifest entries.
    #[must_use]
    pub fn models(&self) -> BTreeMap<String, String> {
        let cameras = self.camera.iter().map(|eye| ("camera", eye.detector.spec()));
        let lidar = self.finder.spec().map(|spec| ("detector", spec));
        cameras.chain(lidar).flat_map(|(role, spec)| hashes(role, spec)).collect()
    }

    /// What of them decides labels, beside the configuration: empty where there is none.
    pub(crate) fn deciding(&self) -> String {
        let specs = self.camera.iter().map(|eye| eye.detector.spec()).chain(self.finder.spec());
        specs.map(|spec| format!("{}|{}|", spec.manifest_sha256, spec.sha256)).collect()
    }
}

impl Finder {
    /// The model, where it runs here.
    fn spec(&self) -> Option<&ModelSpec> {
        match self {
            Self::Network(detector) => detector.spec(),
            Self::BuiltIn | Self::Topic(_) => None,
        }
    }
}

/// `camera:NAME@VERSION` with the hash of the weights, `camera-manifest:NAME@VERSION` with that of the manifest.
fn hashes(role: &str, spec: &ModelSpec) -> [(String, String); 2] {
    let ModelSpec { name, version, sha256, manifest_sha256 } = spec;
    [
        (format!("{role}:{name}@{version}"), sha256.to_string()),
        (format!("{role}-manifest:{name}@{version}"), manifest_sha256.to_string()),
    ]
}

impl CameraEye {
    /// Whether it looks through this camera.
    pub(crate) fn sees(&self, camera: &str) -> bool {
        self.cameras.is_empty() || self.cameras.iter().any(|name| name == camera)
    }
}
