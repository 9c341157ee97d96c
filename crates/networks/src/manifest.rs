//! What a manifest says of a network.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boxwright_label::models::ModelSpec;
use boxwright_model::{ClassId, Taxonomy};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::heads::Heads;
use crate::pillars::PillarInput;
use crate::session::Session;

/// A manifest or a network that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A file cannot be read.
    #[error(
        "cannot read {path}: {source}\nhint: a manifest is named relative to the configuration, its weights relative to the manifest; the program ships none"
    )]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a wrong type.
    #[error("{path}: {message}\nhint: configs/networks in the sources has a documented manifest of every kind")]
    Syntax {
        /// The manifest.
        path: String,
        /// What the parser said.
        message: String,
    },
    /// A value that cannot work.
    #[error("{path}: {message}\nhint: configs/networks in the sources has a documented manifest of every kind")]
    Value {
        /// The manifest.
        path: String,
        /// Both sides of the comparison.
        message: String,
    },
    /// The weights are others than the manifest names.
    #[error(
        "{path}: expected weights with the SHA-256 {expected}, got {got}\nhint: the file was exchanged; name its hash in the manifest if that was meant"
    )]
    OtherWeights {
        /// The weights.
        path: String,
        /// Hash in the manifest.
        expected: String,
        /// Hash of the file.
        got: String,
    },
    /// The runtime cannot take the file.
    #[error(
        "{path} cannot be loaded as ONNX: {message}\nhint: export the network as ONNX in one file, without operators of its own"
    )]
    Onnx {
        /// The weights.
        path: String,
        /// What the runtime said.
        message: String,
    },
}

/// Largest file of weights: a detector has tens to hundreds of megabytes, and the file is held in memory.
const MAX_WEIGHTS_BYTES: u64 = 2 << 30;
/// Most classes of a network: Objects365 has 365, LVIS 1,203.
const MAX_CLASSES: usize = 4096;
/// Longest side of an input (pixels); a tensor of this size has 200 MB.
const MAX_SIDE_PX: u32 = 4096;

/// A 2D detector.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraManifest {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The ONNX file, relative to the manifest.
    pub weights: PathBuf,
    /// SHA-256 of that file in hex; empty takes any file.
    #[serde(default)]
    pub sha256: String,
    /// What goes in.
    pub input: CameraInput,
    /// What comes out.
    pub output: CameraOutput,
    /// Classes of the network that are used.
    pub class: Vec<CameraClass>,
    /// Persons upon something are riders.
    pub rider: Option<Rider>,
}

/// How an image becomes a tensor of `[1, 3, height, width]` (or `[1, height, width, 3]`).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraInput {
    /// Name of the input; empty takes the first.
    #[serde(default)]
    pub name: String,
    /// Order of the dimensions.
    #[serde(default)]
    pub layout: Layout,
    /// Order of the channels.
    pub channels: Channels,
    /// Subtracted from the values (0 to 255), in the order of the channels.
    #[serde(default)]
    pub mean: [f32; 3],
    /// What is left is divided by this.
    #[serde(default = "ones")]
    pub std: [f32; 3],
    /// Value (0 to 255) of what lies right of and below the image.
    #[serde(default)]
    pub pad: f32,
    /// Width and height are multiples of this.
    #[serde(default = "one")]
    pub stride: u32,
    /// Images wider than this are made smaller; the aspect stays.
    #[serde(default)]
    pub max_width_px: u32,
    /// Width and height of a network that takes one size only: the image is made to fit into it, its aspect stays.
    #[serde(default)]
    pub size_px: Option<[u32; 2]>,
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

fn one() -> u32 {
    1
}

/// Order of the dimensions of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Channels before rows.
    #[default]
    Nchw,
    /// Channels last.
    Nhwc,
}

/// Order of the channels of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first, as OpenCV has them.
    Bgr,
}

/// How a tensor becomes boxes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraOutput {
    /// The decoder.
    pub decoder: Decoder,
    /// Name of the output; empty takes the first.
    #[serde(default)]
    pub name: String,
    /// Strides of the grids, in the order of the rows.
    pub strides: Vec<u32>,
    /// Classes that the network tells apart.
    pub classes: usize,
    /// Boxes that are less sure are left out.
    pub min_score: f64,
    /// Of two boxes of a class that overlap more (intersection over union), the surer one stays.
    pub nms_iou: f64,
}

/// The decoders that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoder {
    /// Rows of centre, logarithmic size, objectness and classes: see [`crate::yolox`].
    Yolox,
}

/// A 3D detector that looks at sweeps.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LidarManifest {
    /// Name of the model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The ONNX file, relative to the manifest.
    pub weights: PathBuf,
    /// SHA-256 of that file in hex; empty takes any file.
    #[serde(default)]
    pub sha256: String,
    /// What goes in.
    pub input: PillarInput,
    /// What comes out.
    pub output: Heads,
    /// Classes of the network that are used.
    pub class: Vec<LidarClass>,
}

/// A class of a network of sweeps.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LidarClass {
    /// Its number in the output.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Which of our classes it is.
    pub to: String,
}

/// A class of the network.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraClass {
    /// Its number in the output.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Which of our classes it can be.
    pub to: Vec<String>,
}

/// Networks find the person and the bicycle; a cyclist is both.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rider {
    /// Name of the network's class of persons.
    pub person: String,
    /// Names of its classes of what one sits on.
    pub mounts: Vec<String>,
    /// Share of the mount's rectangle that the person's must cover.
    pub min_overlap: f64,
    /// Which of our classes both together can be.
    pub to: Vec<String>,
}

/// The classes of a manifest as those of a taxonomy.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClassMap {
    /// By number of the network's class; empty where it is not used.
    pub(crate) to: Vec<Vec<ClassId>>,
    pub(crate) rider: Option<RiderMap>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RiderMap {
    pub(crate) person: usize,
    pub(crate) mounts: Vec<usize>,
    pub(crate) min_overlap: f64,
    pub(crate) to: Vec<ClassId>,
}

/// A manifest with its weights, ready to run.
pub(crate) struct Loaded<M> {
    pub(crate) manifest: M,
    pub(crate) session: Session,
    pub(crate) spec: ModelSpec,
}

/// What every manifest has.
pub(crate) trait Manifest: for<'de> Deserialize<'de> {
    /// What the network looks at: `images` or `sweeps`.
    const LOOKS_AT: &'static str;
    fn weights(&self) -> &Path;
    fn sha256(&self) -> &str;
    fn name_version(&self) -> (&str, &str);
    fn check(&self) -> Result<(), String>;
}

impl Manifest for CameraManifest {
    const LOOKS_AT: &'static str = "images";

    fn weights(&self) -> &Path {
        &self.weights
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn name_version(&self) -> (&str, &str) {
        (&self.name, &self.version)
    }

    fn check(&self) -> Result<(), String> {
        let (input, output) = (&self.input, &self.output);
        if input.std.iter().any(|std| !(std.is_finite() && *std != 0.0)) {
            return Err(format!("input.std: expected finite numbers other than 0, got {:?}", input.std));
        }
        if !(input.mean.iter().chain([&input.pad]).all(|value| value.is_finite())) {
            return Err(format!("input.mean and input.pad: expected finite numbers, got {:?} and {}", input.mean, input.pad));
        }
        if !(1..=1024).contains(&input.stride) {
            return Err(format!("input.stride: expected 1 to 1024, got {}", input.stride));
        }
        if let (Some(size), 1..) = (input.size_px, input.max_width_px) {
            return Err(format!("input.size_px and max_width_px: expected one of them, got {size:?} and {}", input.max_width_px));
        }
        let sides = input.size_px.map_or_else(|| vec![input.max_width_px], |size| size.to_vec());
        if sides.iter().any(|side| !(input.stride..=MAX_SIDE_PX).contains(side)) {
            return Err(format!(
                "input.max_width_px, or input.size_px: expected {} to {MAX_SIDE_PX} pixels, got {sides:?}",
                input.stride
            ));
        }
        if input.size_px.is_some_and(|size| size.iter().any(|side| side % input.stride != 0)) {
            return Err(format!("input.size_px: expected multiples of the stride {}, got {sides:?}", input.stride));
        }
        let strides = &output.strides;
        if strides.is_empty() || strides.iter().any(|stride| *stride == 0 || input.stride % stride != 0) {
            return Err(format!("output.strides: expected divisors of input.stride ({}), got {strides:?}", input.stride));
        }
        if !(1..=MAX_CLASSES).contains(&output.classes) {
            return Err(format!("output.classes: expected 1 to {MAX_CLASSES}, got {}", output.classes));
        }
        for (name, value) in [("output.min_score", output.min_score), ("output.nms_iou", output.nms_iou)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name}: expected 0 to 1, got {value}"));
            }
        }
        match self.class.iter().find(|class| class.index >= output.classes) {
            Some(class) => Err(format!("class {:?}: expected an index below {}, got {}", class.name, output.classes, class.index)),
            None => Ok(()),
        }
    }
}

impl Manifest for LidarManifest {
    const LOOKS_AT: &'static str = "sweeps";

    fn weights(&self) -> &Path {
        &self.weights
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn name_version(&self) -> (&str, &str) {
        (&self.name, &self.version)
    }

    fn check(&self) -> Result<(), String> {
        self.input.check()?;
        self.output.check()?;
        let stride = self.output.stride();
        if self.input.grid().iter().any(|side| side % stride != 0) {
            return Err(format!("output.stride: expected a divisor of the grid {:?}, got {stride}", self.input.grid()));
        }
        match self.class.iter().find(|class| class.index >= MAX_CLASSES) {
            Some(class) => Err(format!("class {:?}: expected an index below {MAX_CLASSES}, got {}", class.name, class.index)),
            None if self.class.is_empty() => Err("class: expected at least one [[class]], got none".to_owned()),
            None => Ok(()),
        }
    }
}

impl LidarManifest {
    /// Our classes by number of the network's; `None` where it is not used.
    pub(crate) fn class_map(&self, taxonomy: &Taxonomy) -> Result<Vec<Option<ClassId>>, String> {
        let most = self.class.iter().map(|class| class.index + 1).max().unwrap_or(0);
        let mut map = vec![None; most];
        for class in &self.class {
            map[class.index] = Some(class_id(&class.to, taxonomy)?);
        }
        Ok(map)
    }
}

impl CameraManifest {
    pub(crate) fn class_map(&self, taxonomy: &Taxonomy) -> Result<ClassMap, String> {
        let ours = |names: &[String]| names.iter().map(|name| class_id(name, taxonomy)).collect::<Result<Vec<_>, _>>();
        let mut to = vec![Vec::new(); self.output.classes];
        for class in &self.class {
            to[class.index] = ours(&class.to)?;
        }
        let theirs = |name: &String| {
            let found = self.class.iter().find(|class| class.name == *name).map(|class| class.index);
            found.ok_or_else(|| format!("rider: expected the name of a [[class]] of this manifest, got {name:?}"))
        };
        let rider = self.rider.as_ref().map(|rider| {
            let mounts = rider.mounts.iter().map(theirs).collect::<Result<_, _>>()?;
            if !(0.0..=1.0).contains(&rider.min_overlap) {
                return Err(format!("rider.min_overlap: expected 0 to 1, got {}", rider.min_overlap));
            }
            Ok(RiderMap { person: theirs(&rider.person)?, mounts, min_overlap: rider.min_overlap, to: ours(&rider.to)? })
        });
        Ok(ClassMap { to, rider: rider.transpose()? })
    }
}

/// The class of a name.
pub(crate) fn class_id(name: &str, taxonomy: &Taxonomy) -> Result<ClassId, String> {
    let names = || taxonomy.classes().iter().map(|class| &*class.name).collect::<Vec<_>>().join(", ");
    taxonomy.find(name).ok_or_else(|| format!("expected a class of the taxonomy ({}), got {name:?}", names()))
}

/// What a network said when it was tried before any data.
pub(crate) fn misfit(message: String) -> String {
    format!("the network does not fit the manifest, as a trial shows: {message}")
}

/// Reads a manifest and the weights that it names.
pub(crate) fn load<M: Manifest>(path: &Path) -> Result<Loaded<M>, ManifestError> {
    let shown = path.display().to_string();
    let read = |path: &Path| std::fs::read(path).map_err(|source| ManifestError::Read { path: path.display().to_string(), source });
    let text = read(path)?;
    let manifest_sha256 = sha256(&text);
    let text =
        String::from_utf8(text).map_err(|error| ManifestError::Syntax { path: shown.clone(), message: error.to_string() })?;
    let manifest: M = toml::from_str(&text).map_err(|error| {
        let message = other_kind::<M>(&text).unwrap_or_else(|| error.to_string());
        ManifestError::Syntax { path: shown.clone(), message }
    })?;
    manifest.check().map_err(|message| ManifestError::Value { path: shown.clone(), message })?;
    let file = path.parent().unwrap_or(Path::new(".")).join(manifest.weights());
    let shown_file = file.display().to_string();
    let size = std::fs::metadata(&file).map_err(|source| ManifestError::Read { path: shown_file.clone(), source })?.len();
    if size > MAX_WEIGHTS_BYTES {
        let message = format!("{shown_file}: expected at most {MAX_WEIGHTS_BYTES} bytes of weights, got {size}");
        return Err(ManifestError::Value { path: shown, message });
    }
    let bytes = read(&file)?;
    let got = sha256(&bytes);
    let expected = manifest.sha256().to_ascii_lowercase();
    if !expected.is_empty() && (expected.len() != got.len() || !expected.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        let message = format!("sha256: expected {} hexadecimal digits or nothing, got {expected:?}", got.len());
        return Err(ManifestError::Value { path: shown, message });
    }
    if !expected.is_empty() && expected != got {
        return Err(ManifestError::OtherWeights { path: shown_file, expected, got });
    }
    let session = Session::load(bytes).map_err(|message| ManifestError::Onnx { path: shown_file, message })?;
    let (name, version) = manifest.name_version();
    let spec = ModelSpec {
        name: name.into(),
        version: version.into(),
        sha256: Arc::from(got),
        manifest_sha256: Arc::from(manifest_sha256),
    };
    Ok(Loaded { manifest, session, spec })
}

/// What a text is that is no manifest of the kind that is wanted, but one of the other.
fn other_kind<M: Manifest>(text: &str) -> Option<String> {
    let kinds = [
        (CameraManifest::LOOKS_AT, toml::from_str::<CameraManifest>(text).is_ok()),
        (LidarManifest::LOOKS_AT, toml::from_str::<LidarManifest>(text).is_ok()),
    ];
    let (other, _) = kinds.into_iter().find(|(looks_at, is_one)| *is_one && *looks_at != M::LOOKS_AT)?;
    Some(format!("expected the manifest of a network that looks at {}, got one of a network that looks at {other}", M::LOOKS_AT))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
