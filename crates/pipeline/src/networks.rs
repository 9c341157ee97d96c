//! The networks that a run uses: opened once, before anything is read, and shared by all lanes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_label::models::{ImageDetector, ModelSpec};
use boxwright_model::Taxonomy;
use boxwright_networks::{CameraNetwork, ManifestError};
use serde::Deserialize;

/// Options of the networks. Without a manifest there is none: the product ships no weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworksConfig {
    /// The network that looks at images.
    pub camera: CameraNetworkConfig,
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
        let manifest = &mut self.camera.manifest;
        if manifest.is_relative() && !manifest.as_os_str().is_empty() {
            *manifest = folder.join(&*manifest);
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
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

/// The networks of a run.
#[derive(Clone, Default)]
pub struct Networks {
    /// Looks at images.
    pub(crate) camera: Option<CameraEye>,
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
    pub fn open(config: &NetworksConfig, taxonomy: &Taxonomy) -> Result<Self, ManifestError> {
        let CameraNetworkConfig { manifest, cameras, every } = &config.camera;
        if manifest.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let network = CameraNetwork::open(manifest, taxonomy)?;
        let camera = CameraEye { detector: Arc::new(network), cameras: cameras.clone(), every: *every };
        Ok(Self { camera: Some(camera) })
    }

    /// The models by what they do, with the hashes of their weights and of their manifests: for manifest entries.
    #[must_use]
    pub fn models(&self) -> BTreeMap<String, String> {
        let cameras = self.camera.iter().map(|eye| ("camera", eye.detector.spec()));
        cameras.flat_map(|(role, spec)| hashes(role, spec)).collect()
    }

    /// What of them decides labels, beside the configuration: empty where there is none.
    pub(crate) fn deciding(&self) -> String {
        self.camera.iter().map(|eye| format!("{}|{}", eye.detector.spec().manifest_sha256, eye.detector.spec().sha256)).collect()
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
