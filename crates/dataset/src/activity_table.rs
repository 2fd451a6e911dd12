//! Promoter activity that was measured before, by gene.

use std::path::{Path, PathBuf};

use genome::{Expression, Gene, read_expression};
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;
use crate::features::promoter_activity;

/// A table with the signal of each assay at the start site of each gene, for example ABC's
/// `GeneList.txt`; their geometric mean is the promoter activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivityConfig {
    /// TSV with a header.
    pub path: PathBuf,
    /// Column with the gene's symbol or identifier. Default: `symbol`.
    #[serde(default = "default_key")]
    pub key: String,
    /// Columns with the signals, for example `["H3K27ac.RPM.TSS1Kb", "DHS.RPM.TSS1Kb"]`.
    pub columns: Vec<String>,
}

fn default_key() -> String {
    "symbol".to_string()
}

/// The signals of every gene of the table.
#[derive(Debug)]
pub(crate) struct ActivityTable(Vec<Expression>);

impl ActivityTable {
    pub(crate) fn open(config: &ActivityConfig) -> Result<Self, DatasetError> {
        let columns = config
            .columns
            .iter()
            .map(|column| read_expression(&config.path, &config.key, column))
            .collect::<Result<_, _>>()?;
        Ok(ActivityTable(columns))
    }

    /// The promoter activity of a gene.
    ///
    /// # Errors
    /// [`DatasetError::NoActivity`] when the table has no signal of it.
    pub(crate) fn get(&self, gene: &Gene, genes: &Path) -> Result<f64, DatasetError> {
        let signal = |table: &Expression| {
            [&gene.symbol, &gene.gene_id]
                .into_iter()
                .find_map(|key| table.get(key))
                .ok_or_else(|| DatasetError::NoActivity {
                    path: genes.to_path_buf(),
                    line: gene.line,
                    symbol: gene.symbol.clone(),
                    table: table.path().to_path_buf(),
                })
        };
        let signals = self.0.iter().map(signal).collect::<Result<Vec<f64>, _>>()?;
        Ok(promoter_activity(&signals))
    }
}
