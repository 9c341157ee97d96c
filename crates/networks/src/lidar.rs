//! A 3D detector that looks at sweeps.

use std::path::Path;
use std::sync::Arc;

use boxwright_label::detect::Candidate;
use boxwright_label::detector::{Detector, GivenBox, Scene, candidates};
use boxwright_label::models::{ModelError, ModelSpec};
use boxwright_model::{ClassId, Cuboid, Taxonomy};
use nalgebra::Vector3;

use crate::heads::{Cells, Heads};
use crate::manifest::{self, LidarManifest, Loaded, ManifestError};
use crate::pillars::{Origin, pillars};
use crate::session::Input;

/// A network with its manifest.
pub struct LidarNetwork {
    loaded: Loaded<LidarManifest>,
    spec: Arc<ModelSpec>,
    classes: Vec<Option<ClassId>>,
    /// Boxes that are less likely are left out.
    min_score: f64,
}

impl LidarNetwork {
    /// Reads a manifest and the weights that it names, and lets the network look at a single point: whether the two fit is known before any data is.
    /// Boxes less likely than `min_score` are left out.
    ///
    /// # Errors
    /// When a file cannot be read, does not say what is needed, names classes that the taxonomy lacks, or when the network does not take or give
    /// what the manifest says.
    pub fn open(path: &Path, taxonomy: &Taxonomy, min_score: f64) -> Result<Self, ManifestError> {
        let loaded: Loaded<LidarManifest> = manifest::load(path)?;
        let value = |message| ManifestError::Value { path: path.display().to_string(), message };
        let classes = loaded.manifest.class_map(taxonomy).map_err(value)?;
        let input = &loaded.manifest.input;
        let mut inputs = vec![input.points.as_str(), input.places.as_str()];
        inputs.extend(Some(input.counts.as_str()).filter(|name| !name.is_empty()));
        loaded.session.check(&inputs, &loaded.manifest.output.outputs()).map_err(value)?;
        let spec = Arc::new(loaded.spec.clone());
        let network = Self { loaded, spec, classes, min_score };
        let range_m = network.loaded.manifest.input.range_m;
        let middle = [0, 1, 2].map(|axis| f64::midpoint(range_m[axis], range_m[axis + 3]) as f32);
        let trial = [[middle[0], middle[1], middle[2], 0.0]];
        network.look(trial.into_iter(), [0.0; 3]).map_err(manifest::misfit).map_err(value)?;
        Ok(network)
    }

    fn look_around(&self, scene: &Scene<'_>) -> Result<Vec<GivenBox>, String> {
        let origin_m = match self.loaded.manifest.input.origin {
            Origin::Lidar => scene.origin_m,
            Origin::Ego => [0.0; 3],
        };
        let from_origin = |value: f32, axis: usize| (f64::from(value) - origin_m[axis]) as f32;
        let points = scene
            .points
            .iter()
            .enumerate()
            .map(|(index, [x, y, z])| [from_origin(*x, 0), from_origin(*y, 1), from_origin(*z, 2), scene.intensity(index)]);
        self.look(points, origin_m)
    }

    /// Boxes in the ego frame from points (x, y, z, intensity) that count from `origin_m` of it.
    fn look(&self, points: impl Iterator<Item = [f32; 4]>, origin_m: [f64; 3]) -> Result<Vec<GivenBox>, String> {
        let manifest = &self.loaded.manifest;
        let Some(found) = pillars(points, &manifest.input) else { return Ok(Vec::new()) };
        let mut inputs: Vec<(&str, Input)> =
            vec![(&manifest.input.points, found.points.into()), (&manifest.input.places, found.places.into())];
        if !manifest.input.counts.is_empty() {
            inputs.push((&manifest.input.counts, found.counts.into()));
        }
        let outputs = self.loaded.session.run(inputs, &manifest.output.outputs())?;
        let stride = manifest.output.stride();
        let cells = Cells {
            grid: manifest.input.grid().map(|side| side / stride),
            start_m: [manifest.input.range_m[0], manifest.input.range_m[1]],
            side_m: manifest.input.pillar_m.map(|side| side * stride as f64),
        };
        // Heads may tell more classes apart than are used.
        let classes = match &manifest.output {
            Heads::Center(_) => outputs.first().and_then(|heat| heat.shape.get(1)).copied().unwrap_or(0),
            Heads::Anchors(heads) => heads.classes,
        };
        let ours = |class: usize| self.classes.get(class).copied().flatten();
        let raw = manifest.output.decode(&outputs, &cells, classes, |class| ours(class).is_some())?;
        let given = raw.into_iter().filter(|one| one.score >= self.min_score).filter_map(|one| {
            let center = Vector3::from(one.center_m) + Vector3::from(origin_m);
            let ego_from_box = Cuboid::upright(center, Vector3::from(one.size_lwh_m), one.yaw_rad);
            Some(GivenBox { ego_from_box, class: ours(one.class)?, score: one.score })
        });
        Ok(given.collect())
    }
}

impl Detector for LidarNetwork {
    fn spec(&self) -> Option<&ModelSpec> {
        Some(&self.spec)
    }

    fn detect(&self, scene: &Scene<'_>) -> Result<Vec<Candidate>, ModelError> {
        let boxes = self.look_around(scene).map_err(ModelError)?;
        Ok(candidates(scene, &boxes, &self.spec))
    }
}

#[cfg(test)]
mod tests;
