//! What `boxwright-model` promises for any text.

use boxwright_model::Taxonomy;

/// A taxonomy is usable or refused with a reason.
pub fn taxonomy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let taxonomy = match Taxonomy::from_toml(text) {
        Ok(taxonomy) => taxonomy,
        Err(error) => return assert!(!error.to_string().trim().is_empty()),
    };
    for (index, class) in taxonomy.classes().iter().enumerate() {
        let id = taxonomy.find(&class.name).expect("a class is found by its name");
        assert_eq!(usize::from(id.0), index, "{:?} stands twice", class.name);
        assert_eq!(taxonomy.get(id), class);
        assert!(class.rarity.abs() <= 5.0);
        assert!(!class.name.is_empty(), "a class without a name");
        for axis in 0..3 {
            let (min, prior, max) = (class.min_lwh_m[axis], class.prior_lwh_m[axis], class.max_lwh_m[axis]);
            assert!(0.0 < min && min <= prior && prior <= max && max.is_finite(), "{min} {prior} {max}");
        }
        assert!(class.max_speed_mps > 0.0 && class.max_speed_mps.is_finite(), "speed {}", class.max_speed_mps);
    }
    assert_eq!(usize::from(taxonomy.unknown().0) + 1, taxonomy.classes().len());
}
