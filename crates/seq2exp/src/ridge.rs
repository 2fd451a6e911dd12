//! Ridge regression with a penalty chosen by leave-one-out error.

/// Penalties among which [`Ridge::fit`] chooses, per gene and standardised feature.
pub const PENALTIES: [f64; 6] = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0];

/// Linear regression on standardised features with a squared penalty on the coefficients.
///
/// A feature that is the same for all training genes is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    intercept: f64,
    features: Vec<StandardisedFeature>,
    penalty: f64,
}

#[derive(Debug, Clone, PartialEq)]
struct StandardisedFeature {
    index: usize,
    mean: f64,
    sd: f64,
    coefficient: f64,
}

impl Ridge {
    /// Fits `targets` to `rows`; of `penalties` the one with the lowest leave-one-out error over the rows is used.
    ///
    /// `None` without rows. A penalty of 0 is ordinary least squares and is passed over where that has no unique
    /// solution; when nothing is left, the mean of the targets is predicted.
    ///
    /// # Shapes
    /// - `rows`: `[n_genes][n_features]`; `targets`: `[n_genes]`
    ///
    /// # Reference
    /// Leave-one-out residual `r_i / (1 - h_i)` of a linear smoother: Golub, Heath & Wahba 1979
    pub fn fit(rows: &[Vec<f64>], targets: &[f64], penalties: &[f64]) -> Option<Self> {
        if rows.is_empty() || rows.len() != targets.len() {
            return None;
        }
        let n_genes = rows.len() as f64;
        let intercept = targets.iter().sum::<f64>() / n_genes;
        let features = standardise(rows);
        let columns: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| standardised(&features, row))
            .collect();
        let centred: Vec<f64> = targets.iter().map(|target| target - intercept).collect();
        let mut best: Option<(f64, f64, Vec<f64>)> = None;
        for &penalty in penalties {
            let Some((error, coefficients)) = fit_one(&columns, &centred, features.len(), penalty)
            else {
                continue;
            };
            if best.as_ref().is_none_or(|(lowest, ..)| error < *lowest) {
                best = Some((error, penalty, coefficients));
            }
        }
        let (penalty, coefficients) = match best {
            Some((_, penalty, coefficients)) => (penalty, coefficients),
            None => (f64::INFINITY, vec![0.0; features.len()]),
        };
        let features = features
            .into_iter()
            .zip(coefficients)
            .map(|(feature, coefficient)| StandardisedFeature {
                coefficient,
                ..feature
            })
            .collect();
        Some(Self {
            intercept,
            features,
            penalty,
        })
    }

    /// The prediction for one gene's features, in the unit of the targets.
    ///
    /// # Shapes
    /// - `row`: `[n_features]` as in [`Ridge::fit`]
    pub fn predict(&self, row: &[f64]) -> f64 {
        let values = standardised(&self.features, row);
        self.intercept
            + self
                .features
                .iter()
                .zip(values)
                .map(|(f, value)| f.coefficient * value)
                .sum::<f64>()
    }

    /// The penalty that was chosen; infinite when only the mean is predicted.
    pub fn penalty(&self) -> f64 {
        self.penalty
    }
}

fn standardise(rows: &[Vec<f64>]) -> Vec<StandardisedFeature> {
    let n_features = rows.iter().map(Vec::len).min().unwrap_or(0);
    let n_genes = rows.len() as f64;
    let mut features = Vec::new();
    for index in 0..n_features {
        let first = rows[0][index];
        if rows.iter().all(|row| row[index] == first) {
            continue;
        }
        let mean = rows.iter().map(|row| row[index]).sum::<f64>() / n_genes;
        let variance = rows
            .iter()
            .map(|row| (row[index] - mean).powi(2))
            .sum::<f64>()
            / n_genes;
        let sd = variance.sqrt();
        if sd > 0.0 && sd.is_finite() {
            features.push(StandardisedFeature {
                index,
                mean,
                sd,
                coefficient: 0.0,
            });
        }
    }
    features
}

fn standardised(features: &[StandardisedFeature], row: &[f64]) -> Vec<f64> {
    features
        .iter()
        .map(|feature| {
            row.get(feature.index)
                .map_or(0.0, |value| (value - feature.mean) / feature.sd)
        })
        .collect()
}

/// Leave-one-out error and coefficients at one penalty.
fn fit_one(
    columns: &[Vec<f64>],
    centred: &[f64],
    n_features: usize,
    penalty: f64,
) -> Option<(f64, Vec<f64>)> {
    let n_genes = columns.len() as f64;
    let mut gram = vec![vec![0.0; n_features]; n_features];
    let mut right = vec![0.0; n_features];
    for (row, target) in columns.iter().zip(centred) {
        for i in 0..n_features {
            right[i] += row[i] * target;
            for j in 0..n_features {
                gram[i][j] += row[i] * row[j];
            }
        }
    }
    for (i, row) in gram.iter_mut().enumerate() {
        row[i] += penalty;
    }
    let factor = cholesky(gram)?;
    let coefficients = solve(&factor, &right);
    let mut error = 0.0;
    for (row, target) in columns.iter().zip(centred) {
        let dot = |weights: &[f64]| weights.iter().zip(row).map(|(w, v)| w * v).sum::<f64>();
        let leverage = 1.0 / n_genes + dot(&solve(&factor, row));
        let residual = (target - dot(&coefficients)) / (1.0 - leverage);
        error += residual * residual / n_genes;
    }
    // An exact fit leaves nothing to judge it by: it is used when there is no other.
    let error = if error.is_finite() {
        error
    } else {
        f64::INFINITY
    };
    Some((error, coefficients))
}

/// The lower triangular factor of a symmetric matrix; none when it is not positive definite.
fn cholesky(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    // Pivots below this share of the largest are rounding noise of dependent columns.
    let largest = matrix
        .iter()
        .enumerate()
        .map(|(i, row)| row[i])
        .fold(0.0, f64::max);
    for j in 0..matrix.len() {
        let pivot = matrix[j][j] - matrix[j][..j].iter().map(|v| v * v).sum::<f64>();
        if pivot.is_nan() || pivot <= 1e-12 * largest {
            return None;
        }
        let root = pivot.sqrt();
        matrix[j][j] = root;
        for i in j + 1..matrix.len() {
            let dot: f64 = (0..j).map(|k| matrix[i][k] * matrix[j][k]).sum();
            matrix[i][j] = (matrix[i][j] - dot) / root;
        }
    }
    Some(matrix)
}

fn solve(factor: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let n = factor.len();
    let mut x = right.to_vec();
    for i in 0..n {
        let dot: f64 = (0..i).map(|k| factor[i][k] * x[k]).sum();
        x[i] = (x[i] - dot) / factor[i][i];
    }
    for i in (0..n).rev() {
        let dot: f64 = (i + 1..n).map(|k| factor[k][i] * x[k]).sum();
        x[i] = (x[i] - dot) / factor[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    // The numbers below are printed by oracle/ridge_expected.py (numpy 2.4.6), which leaves each row out in turn.
    const FEATURES: [[f64; 3]; 8] = [
        [0.5, -1.2, 3.0],
        [1.1, 0.3, 3.0],
        [-0.7, 0.9, 3.0],
        [2.2, -0.4, 3.0],
        [0.0, 1.5, 3.0],
        [-1.4, -0.8, 3.0],
        [0.9, 0.7, 3.0],
        [1.7, -1.9, 3.0],
    ];
    const TARGETS: [f64; 8] = [1.0, 2.3, 0.8, 2.9, 1.9, -0.6, 2.0, 1.3];
    const NEW: [f64; 3] = [0.4, 0.2, 3.0];

    fn rows() -> Vec<Vec<f64>> {
        FEATURES.iter().map(|row| row.to_vec()).collect()
    }

    #[test]
    fn prediction_matches_numpy_at_every_penalty() {
        let cases = [
            (0.0, 0.054340776696775235, 1.4971697094137266),
            (0.01, 0.0541996771345762, 1.497022402403454),
            (0.1, 0.05441678813669006, 1.495724958624862),
            (1.0, 0.13201158629804322, 1.4850949180410713),
            (10.0, 0.7932175129032235, 1.4551390458131868),
            (100.0, 1.2557176857977814, 1.4492635947123513),
        ];
        for (penalty, error, expected) in cases {
            let ridge = Ridge::fit(&rows(), &TARGETS, &[penalty]).expect("rows");
            let found = ridge.predict(&NEW);
            assert!(
                (found - expected).abs() < 1e-12,
                "penalty {penalty}: {found}, expected {expected}"
            );
            let features = standardise(&rows());
            let columns: Vec<Vec<f64>> = rows()
                .iter()
                .map(|row| standardised(&features, row))
                .collect();
            let centred: Vec<f64> = TARGETS
                .iter()
                .map(|t| t - TARGETS.iter().sum::<f64>() / 8.0)
                .collect();
            let (found, _) = fit_one(&columns, &centred, 2, penalty).expect("positive definite");
            assert!(
                (found - error).abs() < 1e-12,
                "penalty {penalty}: {found}, expected {error}"
            );
        }
    }

    #[test]
    fn prediction_from_four_correlated_features_matches_numpy() {
        let rows = [
            [1.0, 0.8, -0.5, 2.0],
            [2.0, 1.9, 0.4, 1.0],
            [3.0, 2.2, -1.1, 0.5],
            [4.0, 4.1, 0.9, -1.0],
            [5.0, 4.4, 2.0, -0.5],
            [6.0, 6.5, 1.2, -2.0],
            [7.0, 6.6, 3.1, -2.5],
        ]
        .map(|row| row.to_vec());
        let targets = [0.3, 1.1, 0.2, 2.4, 1.7, 3.9, 2.8];
        for (penalty, expected) in [(0.0, 1.1031245691963383), (1.0, 1.478784994310433)] {
            let ridge = Ridge::fit(&rows, &targets, &[penalty]).expect("rows");
            let found = ridge.predict(&[3.5, 3.0, 1.5, 0.0]);
            // The condition number of the unpenalised system, about 1e3, times a few roundings.
            assert!(
                (found - expected).abs() < 1e-11,
                "penalty {penalty}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn fit_chooses_the_lowest_leave_one_out_error() {
        assert_eq!(
            Ridge::fit(&rows(), &TARGETS, &PENALTIES)
                .expect("rows")
                .penalty(),
            0.01
        );
    }

    #[test]
    fn least_squares_recovers_a_line() {
        // y = 2 x + 1
        let rows: Vec<Vec<f64>> = [0.0, 1.0, 2.0, 4.0].iter().map(|x| vec![*x]).collect();
        let ridge = Ridge::fit(&rows, &[1.0, 3.0, 5.0, 9.0], &[0.0]).expect("rows");
        assert!((ridge.predict(&[10.0]) - 21.0).abs() < 1e-12);
    }

    #[test]
    fn exact_fit_is_used_when_it_is_the_only_one() {
        let rows = [vec![0.0], vec![1.0]];
        let ridge = Ridge::fit(&rows, &[4.0, 2.0], &[0.0]).expect("rows");
        assert!((ridge.predict(&[3.0]) + 2.0).abs() < 1e-12);
        assert_eq!(
            Ridge::fit(&rows, &[4.0, 2.0], &[0.0, 1.0])
                .expect("rows")
                .penalty(),
            1.0
        );
    }

    #[expect(clippy::type_complexity, reason = "a table of cases, read once")]
    #[test]
    fn fit_without_a_solution_predicts_the_mean() {
        let cases: [(Vec<Vec<f64>>, &[f64], f64); 5] = [
            (vec![vec![]; 2], &[1.0, 2.0], 1.5),
            (vec![vec![3.0]; 2], &[1.0, 2.0], 1.5),
            (vec![vec![5.0]], &[4.0], 4.0),
            // The mean of three 0.1 is not 0.1, which must not turn into a feature: the targets less their mean do not
            // quite add up to 0 either.
            (vec![vec![0.1]; 3], &[1.0, 2.0, 4.0], 7.0 / 3.0),
            // Twice the same column has no unique least-squares solution.
            (
                vec![vec![1.0, 1.0], vec![2.0, 2.0], vec![3.0, 3.0]],
                &[1.0, 2.0, 6.0],
                3.0,
            ),
        ];
        for (rows, targets, expected) in cases {
            let ridge = Ridge::fit(&rows, targets, &[0.0]).expect("rows");
            assert!(
                (ridge.predict(&[9.0, -9.0]) - expected).abs() < 1e-12,
                "{rows:?}"
            );
        }
        assert_eq!(Ridge::fit(&[], &[], &PENALTIES), None);
    }
}
