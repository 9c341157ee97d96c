//! A network from its manifest to our classes.

use super::*;
use boxwright_model::ClassId;

fn taxonomy() -> Taxonomy {
    Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap()
}

const SHIPPED: &str = include_str!("../../../../configs/networks/yolox.toml");

fn classes() -> ClassMap {
    toml::from_str::<CameraManifest>(SHIPPED).unwrap().class_map(&taxonomy()).unwrap()
}

fn raw(class: usize, score: f64, ltrb_px: [f64; 4]) -> RawBox {
    RawBox { class, score, ltrb_px }
}

#[test]
fn a_person_upon_a_bicycle_is_a_cyclist_and_one_beside_it_is_not() {
    let cyclist = taxonomy().find("cyclist").unwrap();
    let person = raw(0, 0.8, [10.0, 0.0, 30.0, 60.0]);
    let upon = ours(&[person, raw(1, 0.6, [5.0, 30.0, 35.0, 70.0])], &classes());
    assert_eq!(upon, [ImageBox { classes: vec![cyclist], score: 0.8, ltrb_px: [5.0, 0.0, 35.0, 70.0] }]);
    let beside = ours(&[person, raw(1, 0.6, [29.0, 30.0, 60.0, 70.0])], &classes());
    assert_eq!(beside.len(), 2);
}

#[test]
fn a_truck_of_the_network_may_be_a_car() {
    let found = ours(&[raw(7, 0.5, [0.0, 0.0, 9.0, 9.0])], &classes());
    let named: Vec<ClassId> = ["truck", "car"].iter().map(|name| taxonomy().find(name).unwrap()).collect();
    assert_eq!(found[0].classes, named);
}

#[test]
fn what_is_wrong_with_a_manifest_is_said_with_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.toml");
    let open = |text: &str| {
        std::fs::write(&path, text).unwrap();
        CameraNetwork::open(&path, &taxonomy()).err().unwrap().to_string()
    };
    assert!(open(SHIPPED).contains("yolox_nano.onnx"), "no weights are shipped");
    std::fs::write(folder.path().join("yolox_nano.onnx"), b"no network").unwrap();
    let cases = [
        ("stride = 32", "stride = 30", "output.strides: expected divisors of input.stride (30), got [8, 16, 32]"),
        ("std = [1.0, 1.0, 1.0]", "std = [1.0, 0.0, 1.0]", "input.std: expected finite numbers other than 0"),
        ("index = 7", "index = 80", "expected an index below 80, got 80"),
        ("max_width_px = 1248", "max_width_px = 0", "expected 32 to 4096 pixels, got [0]"),
        ("layout = \"nchw\"", "layuot = \"nchw\"", "layuot"),
        ("sha256 = \"\"", "sha256 = \"ab\"", "expected 64 hexadecimal digits or nothing, got \"ab\""),
        ("sha256 = \"\"", &format!("sha256 = \"{}\"", "ab".repeat(32)), "expected weights with the SHA-256 abab"),
        ("max_width_px = 1248", "max_width_px = 1248\nsize_px = [640, 480]", "expected one of them, got [640, 480] and 1248"),
        ("sha256 = \"\"", "sha256 = \"\"", "cannot be loaded as ONNX"),
    ];
    for (from, to, said) in cases {
        assert!(SHIPPED.contains(from), "{from}");
        let error = open(&SHIPPED.replacen(from, to, 1));
        assert!(error.contains(said), "{error}");
    }
    std::fs::write(&path, include_str!("../../../../configs/networks/pillars.toml")).unwrap();
    let error = CameraNetwork::open(&path, &taxonomy()).err().unwrap().to_string();
    assert!(error.contains("looks at images, got one of a network that looks at sweeps"), "{error}");
    let map =
        |from: &str, to: &str| toml::from_str::<CameraManifest>(&SHIPPED.replacen(from, to, 1)).unwrap().class_map(&taxonomy());
    let error = map("to = [\"car\"]", "to = [\"auto\"]").unwrap_err();
    assert!(error.contains("expected a class of the taxonomy (car, truck,") && error.contains("got \"auto\""), "{error}");
    let error = map("person = \"person\"", "person = \"human\"").unwrap_err();
    assert!(error.contains("got \"human\""), "{error}");
}
