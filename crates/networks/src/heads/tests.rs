//! What becomes of heads.

use std::f64::consts::PI;

use super::*;

const CELLS: Cells = Cells { grid: [3, 2], start_m: [0.0, -1.0], side_m: [2.0, 1.0] };

fn head(channels: usize, values: &[(usize, usize, f32)]) -> Tensor {
    let mut data = vec![0.0; channels * 6];
    values.iter().for_each(|(channel, cell, value)| data[channel * 6 + cell] = *value);
    Tensor { shape: vec![1, channels, 2, 3], data }
}

fn center() -> Heads {
    let text = "decoder = \"center\"\nstride = 1\nheat = \"h\"\noffset = \"o\"\nheight = \"z\"\nsize = \"s\"\nheading = \"r\"\n\
                heat_is_logit = false\nwidth_first = true\nmin_score = 0.3\nmin_distance_m = 1.0";
    toml::from_str(text).unwrap()
}

fn near(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-3)
}

#[test]
fn a_hot_cell_is_a_box_at_its_offset() {
    let outputs = [
        head(2, &[(1, 4, 0.75), (0, 0, 0.2)]),
        head(2, &[(0, 4, 0.5), (1, 4, 0.25)]),
        head(1, &[(0, 4, -0.5)]),
        head(3, &[(0, 4, 1.8f32.ln()), (1, 4, 4.2f32.ln()), (2, 4, 1.5f32.ln())]),
        head(2, &[(0, 4, 1.0), (1, 4, 0.0)]),
    ];
    let found = center().decode(&outputs, &CELLS, 2, |_| true).unwrap();
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.class, one.score), (1, 0.75));
    // Cell 4 is column 1 of row 1.
    assert!(near(&one.center_m, &[3.0, 0.25, -0.5]) && near(&one.size_lwh_m, &[4.2, 1.8, 1.5]), "{one:?}");
    assert!(near(&[one.yaw_rad], &[PI / 2.0]));
    assert_eq!(center().decode(&outputs, &CELLS, 2, |class| class == 0).unwrap(), []);
    let error = center().decode(&outputs[..3], &CELLS, 2, |_| true).unwrap_err();
    assert_eq!(error, "output \"s\": expected [1, 3, 2, 3], got None");
    let error = center().decode(&outputs, &Cells { grid: [6, 1], ..CELLS }, 2, |_| true).unwrap_err();
    assert!(error.contains("expected [1, 2, 1, 6], got Some([1, 2, 2, 3])"), "{error}");
}

#[test]
fn neighbours_of_a_hot_cell_and_no_numbers_are_no_boxes() {
    let mut outputs = [
        head(1, &[(0, 0, 0.6), (0, 3, 0.9), (0, 5, f32::NAN), (0, 2, 0.8)]),
        head(2, &[(1, 0, 0.9)]),
        head(1, &[]),
        head(3, &[(0, 2, 40.0)]),
        head(2, &[]),
    ];
    let found = center().decode(&outputs, &CELLS, 1, |_| true).unwrap();
    assert_eq!(found.iter().map(|one| one.score).collect::<Vec<_>>(), [922.0 / 1024.0], "of two 0.1 m apart the surer one stays");
    outputs[0] = head(1, &[]);
    assert_eq!(center().decode(&outputs, &CELLS, 1, |_| true).unwrap(), []);
}

#[test]
fn an_anchor_is_moved_scaled_and_turned() {
    let text = "decoder = \"anchors\"\nstride = 1\nclass = \"c\"\nbox = \"b\"\ndirection = \"d\"\nclasses = 1\nmin_score = 0.3\n\
                min_distance_m = 1.0\n[[anchors]]\nsize_lwh_m = [4.0, 3.0, 1.5]\nz_m = -1.0\nyaw_rad = 0.0\n\
                [[anchors]]\nsize_lwh_m = [4.0, 3.0, 1.5]\nz_m = -1.0\nyaw_rad = 1.5708";
    let heads: Heads = toml::from_str(text).unwrap();
    heads.check().unwrap();
    let boxes = [(7, 2, 0.1), (8, 2, -0.1), (9, 2, 1.0), (10, 2, 2f32.ln()), (11, 2, 0.0), (12, 2, 0.0), (13, 2, 0.1)];
    let mut class = vec![(0, 2, 2.0)];
    class.extend((0..6).flat_map(|cell| [(0, cell, -9.0), (1, cell, -9.0)]));
    class.push((1, 2, 2.0));
    let outputs = [head(2, &class), head(14, &boxes), head(4, &[(3, 2, 1.0)])];
    let found = heads.decode(&outputs, &CELLS, 1, |_| true).unwrap();
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert!(near(&one.center_m, &[5.5, -1.0, 0.5]), "{one:?}");
    assert!(near(&one.size_lwh_m, &[4.0, 6.0, 1.5]) && near(&[one.yaw_rad], &[1.6708 - PI]), "{one:?}");
}

#[test]
fn heads_that_cannot_be_are_refused() {
    let Heads::Center(mut heads) = center() else { panic!("a center head") };
    heads.stride = 0;
    assert!(Heads::Center(heads.clone()).check().unwrap_err().contains("expected 1 to 64, got 0"));
    (heads.stride, heads.min_score) = (2, f64::NAN);
    assert!(Heads::Center(heads).check().is_err());
}
