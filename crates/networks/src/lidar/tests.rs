//! A made-up network from its ONNX bytes to boxes: of every pillar it looks at the highest point, and calls what stands higher than its neighbours a car.

use boxwright_label::LabelConfig;
use boxwright_label::moments::Moments;
use boxwright_model::PointCloud;

use super::*;

/// A field of a protobuf message: its tag, and bytes with their length.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut out = vec![tag << 3 | 2];
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    [out, bytes.to_vec()].concat()
}

fn number(tag: u8, value: u8) -> Vec<u8> {
    vec![tag << 3, value]
}

/// A NodeProto.
fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    bytes.extend(field(2, output.as_bytes()));
    bytes.extend(field(4, op.as_bytes()));
    attributes.iter().for_each(|attribute| bytes.extend(field(5, attribute)));
    field(1, &bytes)
}

/// An attribute of one whole number, or of a list of them.
fn int(name: &str, value: u8) -> Vec<u8> {
    [field(1, name.as_bytes()), number(3, value), vec![0xA0, 0x01, 2]].concat()
}

fn ints(name: &str, values: &[u8]) -> Vec<u8> {
    let list: Vec<u8> = values.iter().flat_map(|value| number(8, *value)).collect();
    [field(1, name.as_bytes()), list, vec![0xA0, 0x01, 7]].concat()
}

/// A TensorProto as a constant: 1 for floats, 7 for 64-bit whole numbers.
fn constant(name: &str, shape: &[u8], kind: u8, raw: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = shape.iter().flat_map(|side| number(1, *side)).collect();
    bytes.extend(number(2, kind));
    bytes.extend(field(8, name.as_bytes()));
    bytes.extend(field(9, raw));
    field(5, &bytes)
}

fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A ValueInfoProto: 1 for floats, 6 for 32-bit whole numbers; -1 is a side that is not known.
fn value(tag: u8, name: &str, kind: u8, shape: &[i8]) -> Vec<u8> {
    let side = |side: &i8| match u8::try_from(*side) {
        Ok(known) => field(1, &number(1, known)),
        Err(_) => field(1, &field(2, b"n")),
    };
    let dims: Vec<u8> = shape.iter().flat_map(side).collect();
    let tensor = [number(1, kind), field(2, &dims)].concat();
    field(tag, &[field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat())
}

/// Four columns, four rows; the feature is z. Heat of a cell is its highest z (0 where nothing stands); all boxes have one size and heading.
fn network() -> Vec<u8> {
    let graph = [
        // [n, points, 1] to [n, 1]: the highest point.
        node("ReduceMax", &["points"], "highest", &[ints("axes", &[1]), int("keepdims", 0)]),
        // y, x of each pillar as indices of the canvas.
        node("Cast", &["places"], "wide", &[int("to", 7)]),
        node("Gather", &["wide", "yx"], "cells", &[int("axis", 1)]),
        node("ScatterND", &["canvas", "cells", "highest"], "drawn", &[]),
        node("Reshape", &["drawn", "one_map"], "heat", &[]),
        node("Mul", &["heat", "none"], "height", &[]),
        node("Concat", &["height", "height"], "offset", &[int("axis", 1)]),
        node("Add", &["offset", "heading_values"], "heading", &[]),
        node("Concat", &["height", "height", "height"], "nothing3", &[int("axis", 1)]),
        node("Add", &["nothing3", "size_values"], "size", &[]),
        field(2, b"g"),
        constant("yx", &[2], 7, &longs(&[2, 3])),
        constant("canvas", &[4, 4, 1], 1, &floats(&[0.0; 16])),
        constant("one_map", &[4], 7, &longs(&[1, 1, 4, 4])),
        constant("none", &[1], 1, &floats(&[0.0])),
        constant("heading_values", &[1, 2, 1, 1], 1, &floats(&[0.0, 1.0])),
        constant("size_values", &[1, 3, 1, 1], 1, &floats(&[4f32.ln(), 2f32.ln(), 1.5f32.ln()])),
        value(11, "points", 1, &[-1, 4, 1]),
        value(11, "places", 6, &[-1, 4]),
        value(12, "heat", 1, &[1, 1, 4, 4]),
        value(12, "offset", 1, &[1, 2, 4, 4]),
        value(12, "height", 1, &[1, 1, 4, 4]),
        value(12, "size", 1, &[1, 3, 4, 4]),
        value(12, "heading", 1, &[1, 2, 4, 4]),
    ]
    .concat();
    let version = field(8, &number(2, 13));
    [number(1, 8), field(7, &graph), version].concat()
}

const MANIFEST: &str = r#"
name = "highest"
version = "1"
weights = "highest.onnx"
[input]
origin = "ego"
range_m = [0.0, 0.0, -1.0, 40.0, 40.0, 3.0]
pillar_m = [10.0, 10.0]
max_pillars = 16
max_points = 4
features = ["z"]
points = "points"
places = "places"
[output]
decoder = "center"
stride = 1
heat = "heat"
offset = "offset"
height = "height"
size = "size"
heading = "heading"
heat_is_logit = false
width_first = false
min_score = 0.3
min_distance_m = 1.0
[[class]]
index = 0
name = "Car"
to = "car"
"#;

fn taxonomy() -> Arc<Taxonomy> {
    Arc::new(Taxonomy::from_toml(include_str!("../../../../configs/taxonomy.toml")).unwrap())
}

fn opened(folder: &Path, manifest: &str) -> Result<LidarNetwork, ManifestError> {
    std::fs::write(folder.join("highest.onnx"), network()).unwrap();
    std::fs::write(folder.join("m.toml"), manifest).unwrap();
    LidarNetwork::open(&folder.join("m.toml"), &taxonomy(), 0.1)
}

fn found(network: &LidarNetwork, points: &[[f32; 3]]) -> Result<Vec<Candidate>, ModelError> {
    let (taxonomy, config) = (taxonomy(), LabelConfig::default());
    let (source, heights): (Vec<u32>, Vec<f32>) = points.iter().enumerate().map(|(index, p)| (index as u32, p[2])).unzip();
    let carried = boxwright_label::carry::Carried::default();
    let moments = Moments { stamp_ns: 0, offset_ns: None, source: &source, carried: &carried };
    let sweep = PointCloud::default();
    let scene = Scene {
        points,
        height_above_m: &heights,
        sweep: &sweep,
        origin_m: [0.0, 0.0, 1.7],
        expected: &[],
        moments,
        taxonomy: &taxonomy,
        config: &config,
        min_score: 0.1,
    };
    network.detect(&scene)
}

#[test]
fn a_sweep_becomes_boxes_in_the_ego_frame() {
    let folder = tempfile::tempdir().unwrap();
    let network = opened(folder.path(), MANIFEST).map_err(|error| error.to_string()).unwrap();
    let points = [[15.0, 25.0, 0.2], [15.5, 25.5, 0.8], [35.0, 5.0, 0.1]];
    let all = found(&network, &points).unwrap();
    let [one] = all.as_slice() else { panic!("{all:?}") };
    // The corner of the cell (1, 2): the network's offsets are 0.
    assert_eq!((one.ego_from_box.center_m.x, one.ego_from_box.center_m.y), (10.0, 20.0));
    assert!((one.ego_from_box.size_lwh_m.x - 4.0).abs() < 1e-3 && (one.score - 0.8).abs() < 1e-3);
    assert_eq!(one.given_by.as_ref().map(|spec| &*spec.name), Some("highest"));
    assert_eq!(found(&network, &points).unwrap(), all, "the same sweep gives the same boxes");
    assert_eq!(found(&network, &[]).unwrap(), [], "an empty sweep is no error");
}

#[test]
fn names_that_the_network_lacks_are_told_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to, said) in [
        ("points = \"points\"", "points = \"voxels\"", "expected an input of the network (points, places), got \"voxels\""),
        ("heat = \"heat\"", "heat = \"hm\"", "got \"hm\""),
        ("to = \"car\"", "to = \"auto\"", "got \"auto\""),
        ("pillar_m = [10.0, 10.0]", "pillar_m = [10.0, 0.0]", "input.pillar_m: expected 0.01 to 10 m"),
        ("stride = 1", "stride = 3", "expected a divisor of the grid [4, 4], got 3"),
    ] {
        let error = opened(folder.path(), &MANIFEST.replacen(from, to, 1)).err().unwrap().to_string();
        assert!(error.contains(said) && error.contains("hint:"), "{error}");
    }
}

#[test]
fn a_network_that_gives_another_shape_than_its_manifest_says_is_refused_before_any_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = MANIFEST.replacen("40.0, 40.0, 3.0]", "40.0, 30.0, 3.0]", 1);
    let error = opened(folder.path(), &manifest).err().unwrap().to_string();
    assert!(error.contains("expected [1, 1, 3, 4], got Some([1, 1, 4, 4])") && error.contains("hint:"), "{error}");
}

#[test]
fn the_example_in_the_sources_is_a_manifest() {
    let manifest: LidarManifest = toml::from_str(include_str!("../../../../configs/networks/pillars.toml")).unwrap();
    manifest::Manifest::check(&manifest).unwrap();
    manifest.class_map(&taxonomy()).unwrap();
}
