//! What becomes of the rows of a grid.

use super::*;

fn config() -> CameraOutput {
    toml::from_str("decoder = \"yolox\"\nstrides = [8, 16]\nclasses = 2\nmin_score = 0.3\nnms_iou = 0.5").unwrap()
}

/// Rows for a tensor of 32 x 16: 4 x 2 cells of 8 pixels, 2 x 1 of 16.
fn output(rows: &[(usize, [f32; 7])]) -> Tensor {
    let mut data = vec![0.0; 10 * 7];
    for (row, values) in rows {
        data[row * 7..][..7].copy_from_slice(values);
    }
    Tensor { shape: vec![1, 10, 7], data }
}

#[test]
fn a_cell_becomes_a_box_in_pixels_of_the_tensor() {
    // Row 6 is cell (2, 1) of the grid of 8 pixels; row 9 is cell (1, 0) of that of 16.
    let found = decode(
        &output(&[(6, [0.5, 0.25, 0.0, 2.0f32.ln(), 0.8, 0.0, 0.75]), (9, [0.5, 0.5, 0.0, 0.0, 1.0, 0.5, 0.0])]),
        [32, 16],
        &config(),
        |_| true,
    )
    .unwrap();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
    assert_eq!(found.iter().map(|one| one.class).collect::<Vec<_>>(), [1, 0]);
    assert!(near(found[0].score, 0.6) && near(found[1].score, 0.5), "{found:?}");
    assert_eq!(found[0].ltrb_px, [16.0, 2.0, 24.0, 18.0]);
    assert_eq!(found[1].ltrb_px, [16.0, 0.0, 32.0, 16.0]);
}

#[test]
fn of_boxes_of_a_class_that_overlap_the_surest_stays() {
    let rows = [
        (0, [0.5, 0.5, 0.0, 0.0, 0.9, 1.0, 0.0]),
        (1, [-0.4, 0.5, 0.0, 0.0, 0.8, 1.0, 0.0]),
        (2, [-1.4, 0.5, 0.0, 0.0, 0.7, 0.0, 1.0]),
    ];
    let found = decode(&output(&rows), [32, 16], &config(), |_| true).unwrap();
    assert_eq!(found.iter().map(|one| one.class).collect::<Vec<_>>(), [0, 1]);
    let cars_alone = decode(&output(&rows), [32, 16], &config(), |class| class == 0).unwrap();
    assert_eq!(cars_alone.len(), 1);
}

#[test]
fn an_output_of_another_shape_or_of_no_numbers_is_no_panic() {
    let error = decode(&output(&[]), [64, 16], &config(), |_| true).unwrap_err();
    assert!(error.contains("expected an output of [1, 20, 7]") && error.contains("got [1, 10, 7]"), "{error}");
    let broken = [
        (0, [f32::NAN, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]),
        (1, [0.0, 0.0, 1e30, 0.0, 1.0, 1.0, 0.0]),
        (2, [0.0, 0.0, 0.0, 0.0, f32::NAN, 1.0, 0.0]),
    ];
    assert_eq!(decode(&output(&broken), [32, 16], &config(), |_| true).unwrap(), []);
}
