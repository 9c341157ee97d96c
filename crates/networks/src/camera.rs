//! A 2D detector that looks at images.

use std::path::Path;

use boxwright_label::models::{EncodedImage, ImageBox, ImageDetector, ModelError, ModelSpec};
use boxwright_model::Taxonomy;

use crate::image::{Picture, prepare};
use crate::manifest::{self, CameraManifest, ClassMap, Loaded, ManifestError, RiderMap};
use crate::yolox::{self, RawBox};

/// Width and height of the picture that a network is tried with, small because a network of any input is as fast with it as it gets, and its colour.
const TRIAL_PX: [usize; 2] = [64, 48];
/// See [`TRIAL_PX`].
const GREY: u8 = 114;

/// A network with its manifest.
pub struct CameraNetwork {
    loaded: Loaded<CameraManifest>,
    classes: ClassMap,
}

impl CameraNetwork {
    /// Reads a manifest and the weights that it names, and lets the network look at a grey picture: whether the two fit is known before any data is.
    ///
    /// # Errors
    /// When a file cannot be read, does not say what is needed, names classes that the taxonomy lacks, or when the network does not take or give
    /// what the manifest says.
    pub fn open(path: &Path, taxonomy: &Taxonomy) -> Result<Self, ManifestError> {
        let loaded: Loaded<CameraManifest> = manifest::load(path)?;
        let value = |message| ManifestError::Value { path: path.display().to_string(), message };
        let classes = loaded.manifest.class_map(taxonomy).map_err(value)?;
        loaded.session.check(&[&loaded.manifest.input.name], &[&loaded.manifest.output.name]).map_err(value)?;
        let network = Self { loaded, classes };
        let [width, height] = TRIAL_PX;
        let tried = network.look(&Picture { width, height, rgb: vec![GREY; 3 * width * height] });
        // The runtime's words for it name a size that nobody has given: that of the trial.
        let of_one_size = |error| format!("{error} (a network that takes one size of images only needs input.size_px)");
        tried.map_err(of_one_size).map_err(manifest::misfit).map_err(value)?;
        Ok(network)
    }

    fn look(&self, picture: &Picture) -> Result<Vec<ImageBox>, String> {
        let manifest = &self.loaded.manifest;
        let prepared = prepare(picture, &manifest.input);
        let outputs = self.loaded.session.run(vec![(&manifest.input.name, prepared.tensor.into())], &[&manifest.output.name])?;
        let [output] = outputs.as_slice() else { return Err(format!("expected one output, got {}", outputs.len())) };
        let used = |class: usize| self.classes.to.get(class).is_some_and(|to| !to.is_empty());
        let mut found = yolox::decode(output, prepared.size_px, &manifest.output, used)?;
        // The middle of the first pixel is at 0 for us, its corner for the network.
        found.iter_mut().for_each(|one| one.ltrb_px = one.ltrb_px.map(|value| value / prepared.scale - 0.5));
        Ok(ours(&found, &self.classes))
    }
}

impl ImageDetector for CameraNetwork {
    fn spec(&self) -> &ModelSpec {
        &self.loaded.spec
    }

    fn detect(&self, image: &EncodedImage<'_>) -> Result<(Vec<ImageBox>, [u32; 2]), ModelError> {
        let picture = Picture::decode(image).map_err(ModelError)?;
        let boxes = self.look(&picture).map_err(ModelError)?;
        Ok((boxes, [picture.width as u32, picture.height as u32]))
    }
}

/// The boxes with our classes; persons upon something become riders.
fn ours(found: &[RawBox], classes: &ClassMap) -> Vec<ImageBox> {
    let mut rides = vec![false; found.len()];
    let mut boxes = Vec::with_capacity(found.len());
    if let Some(map) = &classes.rider {
        for (person, mount) in riders(found, map) {
            rides[person] = true;
            rides[mount] = true;
            let (a, b) = (&found[person], &found[mount]);
            let [al, at, ar, ab] = a.ltrb_px;
            let [bl, bt, br, bb] = b.ltrb_px;
            let ltrb_px = [al.min(bl), at.min(bt), ar.max(br), ab.max(bb)];
            boxes.push(ImageBox { classes: map.to.clone(), score: a.score.max(b.score), ltrb_px });
        }
    }
    let alone = found.iter().zip(rides).filter(|(_, rides)| !rides).map(|(one, _)| one);
    boxes.extend(alone.map(|one| ImageBox { classes: classes.to[one.class].clone(), score: one.score, ltrb_px: one.ltrb_px }));
    boxes
}

/// Pairs of a person and what it sits on, the surest persons first; each is in one pair.
fn riders(found: &[RawBox], map: &RiderMap) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (index, person) in found.iter().enumerate().filter(|(_, one)| one.class == map.person) {
        let free = |mount: &usize| !pairs.iter().any(|(_, taken)| taken == mount);
        let mounts = (0..found.len()).filter(|mount| map.mounts.contains(&found[*mount].class)).filter(free);
        let covered = mounts.map(|mount| (mount, share_below(&person.ltrb_px, &found[mount].ltrb_px)));
        let best =
            covered.filter(|(_, share)| *share >= map.min_overlap).reduce(|best, one| if one.1 > best.1 { one } else { best });
        pairs.extend(best.map(|(mount, _)| (index, mount)));
    }
    pairs
}

/// Share of a mount's rectangle that a person covers.
fn share_below([left, top, right, bottom]: &[f64; 4], mount: &[f64; 4]) -> f64 {
    let common = (right.min(mount[2]) - left.max(mount[0])).max(0.0) * (bottom.min(mount[3]) - top.max(mount[1])).max(0.0);
    common / ((mount[2] - mount[0]) * (mount[3] - mount[1])).max(1e-9)
}

#[cfg(test)]
mod tests;
