//! Which names of labels and truth mean the class that is scored.

use std::collections::BTreeSet;

use boxwright_model::ClassSpec;

use crate::error::EvalError;
use crate::labels::LabelSet;

/// A class to score: the names it goes by, and those that are close enough to be excused.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassRule {
    /// Name in the report.
    pub name: String,
    /// Names in files, in lower case.
    pub members: BTreeSet<String>,
    /// Names in lower case that are neither right nor wrong (KITTI's `Van` for `Car`).
    pub neighbours: BTreeSet<String>,
    /// Whether it is a person or rider: the official overlap is 0.5 instead of 0.7.
    pub is_small: bool,
}

/// Names of vehicles in KITTI, nuScenes, Argoverse 2, PandaSet, Waymo and our own taxonomy, in lower case.
const VEHICLES: &[&str] = &[
    "vehicle",
    "car",
    "van",
    "truck",
    "bus",
    "trailer",
    "construction_vehicle",
    "regular_vehicle",
    "large_vehicle",
    "box_truck",
    "truck_cab",
    "vehicular_trailer",
    "school_bus",
    "articulated_bus",
    "pickup truck",
    "medium-sized truck",
    "semi-truck",
    "towed object",
    "other vehicle - construction vehicle",
    "other vehicle - pedicab",
    "other vehicle - uncommon",
    "tram",
    "emergency vehicle",
];
const PEOPLE: &[&str] =
    &["pedestrian", "person", "person_sitting", "pedestrian with object", "official_signaler", "person (sitting)"];
const RIDERS: &[&str] =
    &["cyclist", "bicycle", "bicyclist", "motorcycle", "motorcyclist", "motorized scooter", "personal mobility device"];

impl ClassRule {
    fn of(name: &str, members: &[&str], neighbours: &[&str]) -> Self {
        let lower = |names: &[&str]| names.iter().map(|name| name.to_lowercase()).collect::<BTreeSet<_>>();
        let members = lower(members);
        let is_small = members.iter().any(|member| PEOPLE.contains(&member.as_str()) || RIDERS.contains(&member.as_str()));
        Self { name: name.to_owned(), members, neighbours: lower(neighbours), is_small }
    }

    /// A class of a taxonomy, with what other data sets call it.
    #[must_use]
    pub fn of_taxonomy(class: &ClassSpec) -> Self {
        let names: Vec<&str> = std::iter::once(&*class.name).chain(class.names.values().flatten().map(String::as_str)).collect();
        Self::of(&class.name, &names, &[])
    }

    /// KITTI's three classes with the neighbours that its tool excuses.
    #[must_use]
    pub fn kitti() -> Vec<Self> {
        vec![
            Self::of("Car", &["car"], &["van"]),
            Self::of("Pedestrian", &["pedestrian"], &["person_sitting"]),
            Self::of("Cyclist", &["cyclist"], &[]),
        ]
    }

    /// Groups that every source of labels has: vehicles, people, riders.
    #[must_use]
    pub fn groups() -> Vec<Self> {
        vec![Self::of("vehicle", VEHICLES, &[]), Self::of("person", PEOPLE, &[]), Self::of("rider", RIDERS, &[])]
    }

    /// A class as somebody types it: one of KITTI's (`Car`), a group (`vehicle`), a plain name, or `NAME=A,B` for several names.
    ///
    /// # Errors
    /// When the text names nothing.
    pub fn parse(text: &str) -> Result<Self, EvalError> {
        let (name, members) = text.split_once('=').map_or((text, vec![text]), |(name, list)| (name, list.split(',').collect()));
        let members: Vec<&str> = members.into_iter().map(str::trim).filter(|member| !member.is_empty()).collect();
        if name.trim().is_empty() || members.is_empty() {
            let message = format!("--class {text:?}: expected a name or NAME=A,B, got no name\nhint: for example --class vehicle");
            return Err(EvalError::Mismatch(message));
        }
        let name = name.trim();
        let mut known = Self::kitti().into_iter().chain(Self::groups()).filter(|_| !text.contains('='));
        let known = known.find(|rule| rule.name.eq_ignore_ascii_case(name)).map(|rule| Self { name: name.to_owned(), ..rule });
        Ok(known.unwrap_or_else(|| Self::of(name, &members, &[])))
    }

    /// Whether a name in a file means this class.
    #[must_use]
    pub fn has(&self, class: &str) -> bool {
        self.members.contains(&class.to_lowercase())
    }

    /// Whether a name in a file is excused.
    #[must_use]
    pub fn excuses(&self, class: &str) -> bool {
        self.neighbours.contains(&class.to_lowercase())
    }

    /// Refuses a class that occurs on neither side: most likely it is misspelt.
    ///
    /// # Errors
    /// When no object has it.
    pub fn check(&self, labels: &LabelSet, truth: &LabelSet) -> Result<(), EvalError> {
        let there = |set: &LabelSet| set.classes().keys().any(|class| self.has(class));
        if there(labels) || there(truth) {
            return Ok(());
        }
        let names = |set: &LabelSet| {
            let names: Vec<String> = set.classes().iter().map(|(name, count)| format!("{name} ({count})")).collect();
            if names.is_empty() { "no object at all".to_owned() } else { names.join(", ") }
        };
        Err(EvalError::Mismatch(format!(
            "class {}: expected it in the labels or the truth, got none\n  labels have {}\n  truth has {}\nhint: --class takes one of \
             these names, a group (vehicle, person, rider), or NAME=A,B",
            self.name,
            names(labels),
            names(truth)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_without_regard_to_case_and_groups_hold_every_spelling() {
        let car = ClassRule::parse("Car").unwrap();
        assert!(car.has("CAR") && car.excuses("Van") && !car.is_small);
        assert_eq!(ClassRule { name: car.name.clone(), ..ClassRule::parse(" car").unwrap() }, car, "TrackEval writes it so");
        let vehicle = ClassRule::parse("vehicle").unwrap();
        assert!(["Car", "Van", "REGULAR_VEHICLE", "Pickup Truck"].iter().all(|name| vehicle.has(name)));
        let mine = ClassRule::parse("small=Car, Cyclist").unwrap();
        assert!(mine.has("car") && mine.has("cyclist") && !mine.has("van") && mine.is_small);
        assert!(ClassRule::parse("=").is_err());
    }

    #[test]
    fn a_class_of_the_taxonomy_goes_by_its_names_elsewhere() {
        let taxonomy = boxwright_model::Taxonomy::from_toml(include_str!("../../../configs/taxonomy.toml")).unwrap();
        let rule = |name: &str| ClassRule::of_taxonomy(taxonomy.get(taxonomy.find(name).unwrap()));
        let (car, truck, cyclist) = (rule("car"), rule("truck"), rule("cyclist"));
        assert!(["car", "Van", "REGULAR_VEHICLE", "Pickup Truck", "TYPE_VEHICLE"].iter().all(|name| car.has(name)));
        assert!(truck.has("Semi-truck") && truck.has("vehicle.bus.bendy") && !truck.has("Van") && !truck.is_small);
        assert!(cyclist.has("BICYCLIST") && cyclist.has("TYPE_CYCLIST") && cyclist.is_small);
    }
}
