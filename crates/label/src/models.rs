//! What a trained model must give to take part: its name, and what it finds.
//!
//! The traits stand here so that the stages know no runtime; who implements them is handed in (`boxwright-networks` runs ONNX files). A model
//! keeps nothing from one call to the next: the same input gives the same answer, or the labels would depend on what a worker saw before.

use std::sync::Arc;

use boxwright_model::ClassId;

/// Which model it is: written into manifests and into the evidence of every box that it had a say in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelSpec {
    /// Name that its manifest gives it.
    pub name: Arc<str>,
    /// Version that its manifest gives it.
    pub version: Arc<str>,
    /// SHA-256 of its weights in hex.
    pub sha256: Arc<str>,
    /// SHA-256 of its manifest in hex: thresholds and class maps decide as much as weights do. Empty for a model that runs elsewhere.
    pub manifest_sha256: Arc<str>,
}

/// Why a model could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

/// An object found in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageBox {
    /// What it can be. A network's classes are not ours: its truck may be a truck or a large car. Never empty.
    pub classes: Vec<ClassId>,
    /// Confidence in `[0, 1]`.
    pub score: f64,
    /// Left, top, right, bottom in pixels; the middle of the first pixel is at 0.
    pub ltrb_px: [f64; 4],
}

/// An image as a camera sends it.
#[derive(Clone, Copy, Debug)]
pub struct EncodedImage<'a> {
    /// `jpeg` or `png`.
    pub format: &'a str,
    /// Its bytes.
    pub data: &'a [u8],
}

/// Finds objects in images. It may be asked by several threads at once.
pub trait ImageDetector: Send + Sync {
    /// Which model it is.
    fn spec(&self) -> &ModelSpec;

    /// The objects of an image, and its width and height in pixels.
    ///
    /// # Errors
    /// When the image cannot be decoded, or the network cannot take it.
    fn detect(&self, image: &EncodedImage<'_>) -> Result<(Vec<ImageBox>, [u32; 2]), ModelError>;
}
