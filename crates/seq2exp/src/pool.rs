//! The test genes of several runs taken together, for leave-out blocks and folds.

use std::collections::HashMap;
use std::path::PathBuf;

use dataset::Split;
use serde::Serialize;

use crate::error::RunError;
use crate::evaluate::Scores;
use crate::metric::BootstrapConfig;
use crate::predictions_table::read_predictions_table;

/// Scores over the test genes of several runs, each gene tested once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolReport {
    /// Runs pooled.
    pub n_runs: usize,
    /// The network first, then the baselines.
    pub predictors: Vec<PredictorScores>,
}

/// The scores of one predictor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictorScores {
    /// Its column in `predictions.tsv`.
    pub name: String,
    /// Its scores.
    #[serde(flatten)]
    pub scores: Scores,
}

/// Seed of the bootstrap intervals.
const BOOTSTRAP_SEED: u64 = 2;

/// Pools the measured test genes of several `predictions.tsv`.
///
/// # Errors
/// What reading a table causes; [`RunError::PooledTwice`] when two runs tested the same gene,
/// [`RunError::PooledColumns`] when their predictors differ.
pub fn pool(files: &[PathBuf], config: BootstrapConfig) -> Result<PoolReport, RunError> {
    let mut tested_in: HashMap<String, &PathBuf> = HashMap::new();
    let mut predictors: Option<Vec<String>> = None;
    let mut observed = Vec::new();
    let mut predicted: Vec<Vec<f64>> = Vec::new();
    for path in files {
        let table = read_predictions_table(path)?;
        let names = predictors.get_or_insert_with(|| table.predictors.clone());
        if *names != table.predictors {
            return Err(RunError::PooledColumns {
                path: path.clone(),
                expected: names.join(", "),
            });
        }
        predicted.resize(names.len(), Vec::new());
        for row in table
            .rows
            .into_iter()
            .filter(|row| row.split == Split::Test)
        {
            let Some(value) = row.observed else { continue };
            if let Some(other) = tested_in.insert(row.symbol.clone(), path) {
                return Err(RunError::PooledTwice {
                    symbol: row.symbol,
                    first: other.clone(),
                    second: path.clone(),
                });
            }
            observed.push(value);
            for (column, value) in predicted.iter_mut().zip(row.predicted) {
                column.push(value);
            }
        }
    }
    let scores = |column: &Vec<f64>| Scores::new(column, &observed, config, BOOTSTRAP_SEED);
    let predictors = predictors
        .unwrap_or_default()
        .into_iter()
        .zip(&predicted)
        .map(|(name, column)| PredictorScores {
            name,
            scores: scores(column),
        })
        .collect();
    Ok(PoolReport {
        n_runs: files.len(),
        predictors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "symbol\tsplit\tobserved\tpredicted\tpredicted_sd\tbaseline_x\n";

    #[test]
    fn pool_takes_each_test_gene_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, rows: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("{HEADER}{rows}")).expect("writable");
            path
        };
        let first = write(
            "a.tsv",
            "A\ttest\t1\t2\tNA\t1\nB\ttrain\t9\t9\tNA\t9\nC\ttest\tNA\t5\tNA\t5\n",
        );
        let second = write("b.tsv", "B\ttest\t3\t3\tNA\t1\nA\ttrain\t1\t1\tNA\t1\n");
        let config = BootstrapConfig {
            n_resamples: 10,
            level: 0.95,
        };
        let report = pool(&[first.clone(), second], config).expect("disjoint test genes");
        // Test genes A (observed 1, predicted 2) and B (3, 3): squared errors 1 and 0; baseline 0 and 4.
        assert_eq!(report.predictors[0].scores.n_genes, 2);
        assert_eq!(report.predictors[0].scores.mse.value, Some(0.5));
        assert_eq!(report.predictors[1].scores.mse.value, Some(2.0));

        let error = pool(&[first.clone(), first], config)
            .expect_err("A is tested twice")
            .to_string();
        assert!(error.contains("\"A\""), "{error}");
    }
}
