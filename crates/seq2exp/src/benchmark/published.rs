//! The published scores, to be printed beside ours.

use dataset::SplitConfig;
use serde::{Deserialize, Serialize};

/// A data set that scores were published for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::upper_case_acronyms, reason = "names of cell lines")]
pub enum PublishedData {
    /// CAGE of K562, test chromosomes 22 and X.
    K562,
    /// CAGE of GM12878, test chromosomes 22 and X.
    GM12878,
}

impl PublishedData {
    fn name(self) -> &'static str {
        match self {
            Self::K562 => "K562",
            Self::GM12878 => "GM12878",
        }
    }
}

/// The published scores of one model on one data set; what was not published is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedRow {
    /// Mean squared error.
    pub mse: Option<f64>,
    /// Its standard deviation over seeds.
    pub mse_sd: Option<f64>,
    /// Mean absolute error.
    pub mae: Option<f64>,
    /// Pearson correlation.
    pub pearson: Option<f64>,
    /// Its standard deviation over seeds.
    pub pearson_sd: Option<f64>,
    /// Share of positions that the mask selects.
    pub mask_ratio: Option<f64>,
}

/// The table, with its provenance in its first lines.
const TABLE: &str = include_str!("published.tsv");

/// The published scores of a model, by its name: that of a network's kind, or `epinformer`, `macs3`, `seq2exp_retrain`.
pub fn published_row(data: PublishedData, model: &str) -> Option<PublishedRow> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    let fields = |line: &'static str| line.split('\t').collect::<Vec<_>>();
    let fields = rows
        .map(fields)
        .find(|fields| fields[..2] == [data.name(), model])?;
    let number = |column: usize| fields.get(column)?.parse::<f64>().ok();
    Some(PublishedRow {
        mse: number(2),
        mse_sd: number(3),
        mae: number(4),
        pearson: number(5),
        pearson_sd: number(6),
        mask_ratio: number(7),
    })
}

/// Whether a split tests the genes of the published scores: fold 11, which is that of the released code.
pub(super) fn is_published_split(split: &SplitConfig) -> bool {
    match split {
        SplitConfig::Fold { fold } => *fold == PUBLISHED_FOLD,
        SplitConfig::Table { column, .. } => *column == format!("fold_{PUBLISHED_FOLD}"),
        _ => false,
    }
}

/// The fold of the published scores; counted from 1.
const PUBLISHED_FOLD: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_all_columns_and_plausible_scores() {
        let rows: Vec<&str> = TABLE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        assert_eq!(
            rows[0],
            "data\tmodel\tmse\tmse_sd\tmae\tpearson\tpearson_sd\tmask_ratio"
        );
        // Eleven models on two cell types.
        assert_eq!(rows.len(), 1 + 2 * 11);
        for row in &rows[1..] {
            let fields: Vec<&str> = row.split('\t').collect();
            assert_eq!(fields.len(), 8, "{row}");
            for field in &fields[2..] {
                let is_share = |x: f64| (0.0..1.0).contains(&x);
                assert!(*field == "NA" || field.parse().is_ok_and(is_share), "{row}");
            }
        }
    }

    #[test]
    fn row_is_that_of_the_paper() {
        // Su et al. 2025: Seq2Exp-soft on K562.
        let row = published_row(PublishedData::K562, "seq2exp_soft").expect("published");
        assert_eq!((row.mse, row.mse_sd), (Some(0.1856), Some(0.0032)));
        assert_eq!((row.mae, row.pearson), (Some(0.3054), Some(0.8723)));
        let prism = published_row(PublishedData::GM12878, "prism").expect("published");
        assert_eq!(
            (prism.mse, prism.mse_sd, prism.mae),
            (Some(0.1759), None, None)
        );
        assert_eq!(
            (prism.pearson, prism.pearson_sd),
            (Some(0.9016), Some(0.0024))
        );
        let hard = published_row(PublishedData::K562, "seq2exp_hard").expect("published");
        assert_eq!(hard.mask_ratio, Some(0.069));
        assert_eq!(published_row(PublishedData::K562, "mine"), None);
    }
}
