//! Arithmetic that the official tools take from numpy and scipy, with the same answers in the corners.

/// Piecewise linear interpolation at `x` through points of rising abscissa, as `numpy.interp`: where abscissas are equal the last
/// ordinate holds, left of the first point the first ordinate, right of the last point `right`.
#[must_use]
pub fn interp(x: f64, xs: &[f64], ys: &[f64], right: Option<f64>) -> f64 {
    let (Some(first), Some(last), Some(last_y)) = (xs.first(), xs.last(), ys.last()) else { return f64::NAN };
    if x > *last {
        return right.unwrap_or(*last_y);
    }
    if x < *first {
        return ys[0];
    }
    let at = xs.partition_point(|v| *v <= x) - 1;
    if at + 1 >= xs.len() || xs[at] == x {
        return ys[at];
    }
    let slope = (ys[at + 1] - ys[at]) / (xs[at + 1] - xs[at]);
    slope * (x - xs[at]) + ys[at]
}

/// `count` evenly spaced numbers from `low` to `high`, both included.
#[must_use]
pub fn linspace(low: f64, high: f64, count: usize) -> Vec<f64> {
    let step = (high - low) / (count.max(2) - 1) as f64;
    (0..count).map(|i| if i + 1 == count { high } else { i as f64 * step + low }).collect()
}

/// Running mean that passes over NaN; ones where there is nothing but NaN.
#[must_use]
pub fn running_mean(values: &[f64]) -> Vec<f64> {
    if values.iter().all(|v| v.is_nan()) {
        return vec![1.0; values.len()];
    }
    let (mut sum, mut count) = (0.0, 0.0);
    values
        .iter()
        .map(|v| {
            if !v.is_nan() {
                sum += v;
                count += 1.0;
            }
            if count > 0.0 { sum / count } else { 0.0 }
        })
        .collect()
}

/// Mean; NaN of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Mean of what is not NaN; NaN where nothing is.
#[must_use]
pub fn nan_mean(values: &[f64]) -> f64 {
    let kept: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    mean(&kept)
}

/// Sum of what is not NaN.
#[must_use]
pub fn nan_sum(values: &[f64]) -> f64 {
    values.iter().filter(|v| !v.is_nan()).sum()
}

/// Indices by falling score; of equal scores the earlier one first.
#[must_use]
pub fn by_falling_score(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order
}

/// A share; 0 of nothing.
#[must_use]
pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// A dense matrix, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Number of columns.
    pub columns: usize,
    /// The values, row by row.
    pub values: Vec<f64>,
}

impl Matrix {
    /// `rows` times `columns` values by a function of row and column.
    #[must_use]
    pub fn by(rows: usize, columns: usize, mut value: impl FnMut(usize, usize) -> f64) -> Self {
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            values.extend((0..columns).map(|column| value(row, column)));
        }
        Self { columns, values }
    }

    /// One value.
    #[must_use]
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        if self.columns == 0 { 0 } else { self.values.len() / self.columns }
    }

    /// The pairs `(row, column)` of greatest total gain, as many as the shorter side has, by row
    /// (`scipy.optimize.linear_sum_assignment` of the negated gains).
    #[must_use]
    pub fn assign_most(&self) -> Vec<(usize, usize)> {
        let rows = self.rows();
        if rows == 0 {
            return Vec::new();
        }
        // Gains are finite by construction, so there is always a solution.
        match lsap::solve(rows, self.columns, &self.values, true) {
            Ok((rows, columns)) => {
                let mut pairs: Vec<(usize, usize)> = rows.into_iter().zip(columns).collect();
                pairs.sort_unstable();
                pairs
            }
            Err(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_is_numpys_in_the_corners() {
        // numpy.interp([-1, 0, .5, 1, 1.5, 2, 3], [0, 1, 1, 2], [0, 10, 20, 30], right=7)
        let (xs, ys) = ([0.0, 1.0, 1.0, 2.0], [0.0, 10.0, 20.0, 30.0]);
        let got = [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0].map(|x| interp(x, &xs, &ys, Some(7.0)));
        assert_eq!(got, [0.0, 0.0, 5.0, 20.0, 25.0, 30.0, 7.0]);
    }

    #[test]
    fn running_means_pass_over_what_is_unknown() {
        assert_eq!(running_mean(&[f64::NAN, 2.0, f64::NAN, 4.0]), [0.0, 2.0, 2.0, 3.0]);
        assert_eq!(running_mean(&[f64::NAN; 2]), [1.0; 2]);
    }

    #[test]
    fn the_assignment_gains_most_also_where_sides_differ() {
        let gains = Matrix { columns: 3, values: vec![1.0, 5.0, 2.0, 4.0, 6.0, 0.0] };
        assert_eq!(gains.assign_most(), [(0, 1), (1, 0)]);
        assert!(Matrix::default().assign_most().is_empty());
    }
}
