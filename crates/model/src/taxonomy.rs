//! Classes of objects: names, colours, size priors, gates and how rare they are, edited in `configs/taxonomy.toml` without code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;

/// Index of a class in its [`Taxonomy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u16);

/// Log-odds of [`ClassSpec::rarity`]: 1 to 150 either way. What is rarer than that needs another detector, not a prior.
const RARITY: std::ops::RangeInclusive<f64> = -5.0..=5.0;

/// One class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSpec {
    /// Name in shards, views and reports.
    pub name: Arc<str>,
    /// Colour in views: red, green, blue.
    pub color_rgb: [u8; 3],
    /// Usual length, width and height.
    pub prior_lwh_m: [f64; 3],
    /// Smallest plausible length, width and height of the full object.
    pub min_lwh_m: [f64; 3],
    /// Largest plausible length, width and height.
    pub max_lwh_m: [f64; 3],
    /// Fastest plausible speed.
    pub max_speed_mps: f64,
    /// Log-odds that speak against it in every vote of a shape: more than 0 for what is rare and is to be taken only where shapes leave no doubt. Boxes that a
    /// detector gives whole are judged by the detector, and the last class is none that shapes vote for.
    #[serde(default)]
    pub rarity: f64,
    /// What other data sets call it, by data set: with these names its labels are held against their truth.
    #[serde(default)]
    pub names: BTreeMap<String, Vec<String>>,
}

/// The classes of a dataset. The last one is what a thing is called when nothing else fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Taxonomy {
    classes: Vec<ClassSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaxonomyFile {
    class: Vec<ClassSpec>,
}

/// A taxonomy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TaxonomyError {
    /// Not TOML, a key that is unknown or missing.
    #[error("cannot read the taxonomy: {0}")]
    Parse(#[from] toml::de::Error),
    /// Too few or too many classes, a name twice, or a size that is no size.
    #[error("the taxonomy is not usable: {0}")]
    Invalid(String),
}

impl Taxonomy {
    /// Reads `[[class]]` tables.
    ///
    /// # Errors
    /// When the text is not a taxonomy, or a class is not usable.
    pub fn from_toml(text: &str) -> Result<Self, TaxonomyError> {
        let classes = toml::from_str::<TaxonomyFile>(text)?.class;
        if classes.is_empty() || classes.len() > usize::from(u16::MAX) {
            return Err(TaxonomyError::Invalid(format!("expected 1 to {} classes, got {}", u16::MAX, classes.len())));
        }
        let mut names = BTreeSet::new();
        for class in &classes {
            if class.name.is_empty() {
                return Err(TaxonomyError::Invalid("expected a name for every class, got an empty one".to_owned()));
            }
            // Names of other data sets are compared without regard to case, and so are these.
            if !names.insert(class.name.to_lowercase()) {
                return Err(TaxonomyError::Invalid(format!("class {:?} stands twice", class.name)));
            }
            if !RARITY.contains(&class.rarity) {
                return Err(TaxonomyError::Invalid(format!(
                    "class {:?}: expected a rarity between {} and {}, got {}",
                    class.name,
                    RARITY.start(),
                    RARITY.end(),
                    class.rarity
                )));
            }
            if !(class.max_speed_mps > 0.0 && class.max_speed_mps.is_finite()) {
                return Err(TaxonomyError::Invalid(format!(
                    "class {:?}: expected a finite max_speed_mps above 0, got {}",
                    class.name, class.max_speed_mps
                )));
            }
            if let Some((data_set, _)) = class.names.iter().find(|(_, names)| names.iter().any(|name| name.trim().is_empty())) {
                return Err(TaxonomyError::Invalid(format!(
                    "class {:?}: expected the names of {data_set} to have letters, got an empty one",
                    class.name
                )));
            }
            for axis in 0..3 {
                let (min, prior, max) = (class.min_lwh_m[axis], class.prior_lwh_m[axis], class.max_lwh_m[axis]);
                if !(min > 0.0 && min <= prior && prior <= max && max.is_finite()) {
                    return Err(TaxonomyError::Invalid(format!(
                        "class {:?}: expected 0 < min <= prior <= max on axis {axis}, got {min}, {prior}, {max}",
                        class.name
                    )));
                }
            }
        }
        Ok(Self { classes })
    }

    /// The classes in order.
    #[must_use]
    pub fn classes(&self) -> &[ClassSpec] {
        &self.classes
    }

    /// A class by its index; an index from another taxonomy gives the last class.
    #[must_use]
    pub fn get(&self, id: ClassId) -> &ClassSpec {
        self.classes.get(usize::from(id.0)).unwrap_or(&self.classes[self.classes.len() - 1])
    }

    /// The index of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<ClassId> {
        self.classes.iter().position(|class| &*class.name == name).map(|index| ClassId(index as u16))
    }

    /// The class of things that fit nothing else.
    #[must_use]
    pub fn unknown(&self) -> ClassId {
        ClassId((self.classes.len() - 1) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../configs/taxonomy.toml");

    #[test]
    fn the_shipped_taxonomy_is_usable() {
        let taxonomy = Taxonomy::from_toml(SHIPPED).unwrap();
        assert_eq!(&*taxonomy.get(taxonomy.unknown()).name, "unknown_movable");
        assert!(taxonomy.find("car").is_some());
    }

    #[test]
    fn a_prior_outside_its_gate_is_refused_with_both_numbers() {
        let wrong = SHIPPED.replacen("prior_lwh_m = [4.25", "prior_lwh_m = [40.5", 1);
        let message = Taxonomy::from_toml(&wrong).unwrap_err().to_string();
        assert!(message.contains("40.5"), "{message}");
    }

    #[test]
    fn a_speed_that_is_no_speed_and_a_class_without_a_name_are_refused() {
        for speed in ["nan", "inf", "-1.0", "0"] {
            let wrong = SHIPPED.replacen("max_speed_mps = 70.0", &format!("max_speed_mps = {speed}"), 1);
            let message = Taxonomy::from_toml(&wrong).unwrap_err().to_string();
            assert!(message.contains("expected a finite max_speed_mps above 0, got"), "{speed}: {message}");
        }
        let wrong = SHIPPED.replacen("name = \"car\"", "name = \"\"", 1);
        assert!(Taxonomy::from_toml(&wrong).unwrap_err().to_string().contains("expected a name for every class"));
    }

    #[test]
    fn names_that_differ_by_case_only_are_refused() {
        let wrong = SHIPPED.replacen("name = \"car\"", "name = \"Truck\"", 1);
        assert!(Taxonomy::from_toml(&wrong).unwrap_err().to_string().contains("class \"truck\" stands twice"));
    }

    #[test]
    fn a_rarity_that_is_no_number_or_decides_alone_is_refused() {
        assert_eq!(Taxonomy::from_toml(SHIPPED).unwrap().get(ClassId(0)).rarity, 0.0);
        for rarity in ["nan", "5.1", "-inf"] {
            let wrong = SHIPPED.replacen("max_speed_mps = 70.0", &format!("max_speed_mps = 70.0\nrarity = {rarity}"), 1);
            let message = Taxonomy::from_toml(&wrong).unwrap_err().to_string();
            assert!(message.contains("class \"car\": expected a rarity between -5 and 5, got"), "{rarity}: {message}");
        }
    }
}
