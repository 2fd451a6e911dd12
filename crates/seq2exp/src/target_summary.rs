//! What is predicted, in numbers: a wrong column, unit or transform of the expression shows here.

use std::fmt;

use dataset::{ExampleReader, ExampleSource, Split};
use serde::Serialize;

use crate::metric::{Metric, quantile};

/// The measured expression of a data set, transformed as it is predicted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetSummary {
    /// What is predicted: `log10(TPM + 1)`.
    pub name: String,
    /// Genes with a measured value.
    pub n_genes: usize,
    /// The lowest value.
    pub lowest: f64,
    /// The median; of an even number of genes the mean of the middle two.
    pub median: f64,
    /// The highest value.
    pub highest: f64,
    /// Mean squared error on the validation genes of the mean of the training genes; none where one of them is missing.
    pub valid_mse_of_mean: Option<f64>,
}

impl TargetSummary {
    /// Of the genes that a reader has; none when nothing was measured.
    pub fn of(reader: &ExampleReader) -> Option<Self> {
        let genes: Vec<(Split, f64)> = (0..reader.len())
            .filter_map(|index| Some((reader.split(index), f64::from(reader.target(index)?))))
            .collect();
        Self::of_genes(reader.config().expression.target_name(), &genes)
    }

    /// Of the splits and values of genes; none without genes.
    fn of_genes(name: String, genes: &[(Split, f64)]) -> Option<Self> {
        let mut values: Vec<f64> = genes.iter().map(|(_, value)| *value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (&lowest, &highest) = (values.first()?, values.last()?);
        let of = |split: Split| -> Vec<f64> {
            let is_wanted = |gene: &&(Split, f64)| gene.0 == split;
            genes.iter().filter(is_wanted).map(|gene| gene.1).collect()
        };
        let (train, valid) = (of(Split::Train), of(Split::Valid));
        // NaN without training genes, of which there is no score.
        let mean = train.iter().sum::<f64>() / train.len() as f64;
        Some(Self {
            name,
            n_genes: values.len(),
            lowest,
            median: quantile(&values, 0.5)?,
            highest,
            valid_mse_of_mean: Metric::Mse.score(&vec![mean; valid.len()], &valid),
        })
    }
}

impl fmt::Display for TargetSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} genes from {:.3} to {:.3}, median {:.3}",
            self.name, self.n_genes, self.lowest, self.highest, self.median
        )?;
        match self.valid_mse_of_mean {
            Some(mse) => write!(
                f,
                "; the mean of the training genes has a validation mse of {mse:.4}"
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_counts_measured_genes_and_scores_the_training_mean() {
        let (train, valid, test) = (Split::Train, Split::Valid, Split::Test);
        let of = |genes: &[(Split, f64)]| TargetSummary::of_genes("log10(TPM + 1)".into(), genes);
        let genes = [
            (train, 1.0),
            (valid, 2.5),
            (train, 2.0),
            (test, 4.0),
            (valid, 0.0),
        ];
        // The mean of 1 and 2 is 1.5: (1 + 2.25) / 2 = 1.625.
        assert_eq!(
            of(&genes).unwrap().to_string(),
            "log10(TPM + 1) of 5 genes from 0.000 to 4.000, median 2.000; the mean of the training genes has a \
             validation mse of 1.6250"
        );
        // Of 0, 1, 2 and 2.5 the middle two are 1 and 2.
        assert_eq!(
            of(&[genes[0], genes[1], genes[2], genes[4]])
                .unwrap()
                .median,
            1.5
        );
        let alone = of(&[(test, 3.0)]).unwrap();
        assert_eq!((alone.median, alone.valid_mse_of_mean), (3.0, None));
        assert_eq!(of(&[]), None);
    }
}
