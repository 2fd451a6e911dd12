//! `predictions.tsv`: one gene a row, beside what simple predictors say.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use dataset::{ExampleSource, Split};

use crate::baseline::{BaselineKind, Baselines};
use crate::discover::Provenance;
use crate::ensemble::EnsemblePredictions;
use crate::error::RunError;

/// File of the predictions, in a run's output folder.
pub const PREDICTIONS_FILE: &str = "predictions.tsv";

/// Columns before the baselines' and the seeds' own.
const COLUMNS: &str =
    "gene_id\tsymbol\tchrom\ttss\tstrand\tsplit\tobserved\tpredicted\tpredicted_sd\tmask_ratio";

/// Writes the predictions of all genes, in their order.
///
/// `observed` and `predicted` are in the target's unit, `tss` is 0-based, `NA` stands for what was not measured or does
/// not apply. `predicted` is the mean over the networks whose own predictions follow as `seed_<n>`. Lines that start
/// with `#` say where the file comes from.
///
/// # Errors
/// What writing causes.
pub fn write_predictions_table(
    out: &mut impl Write,
    source: &dyn ExampleSource,
    predictions: &EnsemblePredictions,
    baselines: Option<&Baselines>,
    provenance: &Provenance,
) -> std::io::Result<()> {
    for (name, value) in provenance.entries() {
        writeln!(out, "# {name}={value}")?;
    }
    write!(out, "{COLUMNS}")?;
    if baselines.is_some() {
        for kind in BaselineKind::ALL {
            write!(out, "\tbaseline_{}", kind.name())?;
        }
    }
    for (seed, _) in &predictions.by_seed {
        write!(out, "\tseed_{seed}")?;
    }
    writeln!(out)?;
    for (row, (mean, spread)) in predictions.mean.iter().zip(&predictions.spread).enumerate() {
        let gene = source.gene(mean.gene_index);
        let split = source.split(mean.gene_index);
        write!(
            out,
            "{}\t{}\t{}\t{}\t{}\t{split}\t{}\t{}\t{}\t{}",
            gene.gene_id,
            gene.symbol,
            gene.chrom,
            gene.tss,
            gene.strand,
            or_na(mean.observed),
            mean.predicted,
            or_na(spread.map(|sd| sd as f32)),
            or_na(mean.mask_ratio)
        )?;
        if let Some(baselines) = baselines {
            for kind in BaselineKind::ALL {
                write!(out, "\t{}", baselines.predict(kind, &mean.features) as f32)?;
            }
        }
        for (_, by_seed) in &predictions.by_seed {
            write!(out, "\t{}", by_seed[row].predicted)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn or_na(value: Option<f32>) -> String {
    value.map_or("NA".to_string(), |value| value.to_string())
}

/// One row of a `predictions.tsv`, as far as pooling needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionRow {
    /// The gene.
    pub symbol: String,
    /// What the gene was used for.
    pub split: Split,
    /// Measured expression.
    pub observed: Option<f64>,
    /// Standard deviation of the prediction between networks.
    pub spread: Option<f64>,
    /// Predicted expression: that of the network first, then each baseline's, as [`PredictionTable::predictors`] names them.
    pub predicted: Vec<f64>,
}

/// A `predictions.tsv` that was read back.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionTable {
    /// Column names of the predictors: `predicted` and the baselines.
    pub predictors: Vec<String>,
    /// One row per gene.
    pub rows: Vec<PredictionRow>,
}

/// Reads a `predictions.tsv`.
///
/// # Errors
/// [`RunError::NotEvaluated`] when it is not there; [`RunError::Io`]; [`RunError::BadTable`] with the line that does not
/// fit.
pub fn read_predictions_table(path: &Path) -> Result<PredictionTable, RunError> {
    if !path.exists() {
        return Err(RunError::NotEvaluated {
            path: path.to_path_buf(),
        });
    }
    let io = |source| RunError::Io {
        path: path.to_path_buf(),
        source,
    };
    let reader = BufReader::new(std::fs::File::open(path).map_err(io)?);
    let mut header: Option<Header> = None;
    let mut rows = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(io)?;
        let bad = |message: String| RunError::BadTable {
            path: PathBuf::from(path),
            line: index as u64 + 1,
            message,
        };
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        match &header {
            None => header = Some(Header::parse(&fields).map_err(bad)?),
            Some(header) => rows.push(header.row(&fields).map_err(bad)?),
        }
    }
    let header = header.ok_or_else(|| RunError::BadTable {
        path: path.to_path_buf(),
        line: 1,
        message: "the file has no header line".to_string(),
    })?;
    Ok(PredictionTable {
        predictors: header
            .predictors
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
        rows,
    })
}

/// Where the columns are.
struct Header {
    symbol: usize,
    split: usize,
    observed: usize,
    spread: usize,
    predictors: Vec<(String, usize)>,
}

impl Header {
    fn parse(fields: &[&str]) -> Result<Self, String> {
        let column = |name: &str| {
            let place = fields.iter().position(|field| *field == name);
            place.ok_or_else(|| format!("no column {name:?} among {}", fields.join(", ")))
        };
        let mut predictors = vec![("predicted".to_string(), column("predicted")?)];
        let is_baseline = |(_, name): &(usize, &&str)| name.starts_with("baseline_");
        predictors.extend(
            fields
                .iter()
                .enumerate()
                .filter(is_baseline)
                .map(|(place, name)| (name.to_string(), place)),
        );
        Ok(Self {
            symbol: column("symbol")?,
            split: column("split")?,
            observed: column("observed")?,
            spread: column("predicted_sd")?,
            predictors,
        })
    }

    fn row(&self, fields: &[&str]) -> Result<PredictionRow, String> {
        let field = |place: usize| {
            let found = fields.get(place).copied();
            found.ok_or_else(|| {
                format!(
                    "only {} fields, column {} is missing",
                    fields.len(),
                    place + 1
                )
            })
        };
        let number = |text: &str| {
            text.parse::<f64>()
                .map_err(|_| format!("{text:?} is not a number"))
        };
        let split = field(self.split)?;
        let measured = |text: &str| {
            if text == "NA" {
                Ok(None)
            } else {
                number(text).map(Some)
            }
        };
        Ok(PredictionRow {
            symbol: field(self.symbol)?.to_string(),
            split: Split::parse(split)
                .ok_or_else(|| format!("{split:?} is not train, valid or test"))?,
            observed: measured(field(self.observed)?)?,
            spread: measured(field(self.spread)?)?,
            predicted: self
                .predictors
                .iter()
                .map(|(_, place)| number(field(*place)?))
                .collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PredictionTable, RunError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("predictions.tsv");
        std::fs::write(&path, text).expect("writable");
        read_predictions_table(&path)
    }

    #[test]
    fn written_table_is_read_back() {
        let source = crate::synthetic::SyntheticSource::new(5, 16);
        let prediction = |gene_index, observed, predicted| crate::predict::Prediction {
            gene_index,
            predicted,
            observed,
            mask_ratio: Some(0.25),
            features: [0.0; dataset::N_FEATURES],
        };
        let rows = vec![prediction(3, Some(1.5), 0.5), prediction(0, None, 2.5)];
        let predictions = EnsemblePredictions {
            by_seed: vec![(7, rows.clone())],
            mean: rows,
            spread: vec![None, Some(0.125)],
        };
        let provenance = Provenance {
            version: "0.0.0".to_string(),
            seeds: vec![7],
            ..Provenance::default()
        };
        let mut bytes = Vec::new();
        write_predictions_table(&mut bytes, &source, &predictions, None, &provenance)
            .expect("a Vec");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let expected = "# seq2exp=0.0.0\n# seeds=7\n\
            gene_id\tsymbol\tchrom\ttss\tstrand\tsplit\tobserved\tpredicted\tpredicted_sd\tmask_ratio\tseed_7\n\
            ENSG_G3\tG3\tchr1\t1300\t+\tvalid\t1.5\t0.5\tNA\t0.25\t0.5\n\
            ENSG_G0\tG0\tchr1\t1000\t+\ttrain\tNA\t2.5\t0.125\t0.25\t2.5\n";
        assert_eq!(text, expected);
        let table = read(&text).expect("what was written is read");
        assert_eq!(table.predictors, ["predicted"]);
        assert_eq!(table.rows[0].observed, Some(1.5));
        assert_eq!(table.rows[1].spread, Some(0.125));
    }

    #[test]
    fn read_takes_columns_by_name() {
        let text = "# seeds=2\nsymbol\tbaseline_a\tsplit\tpredicted\tobserved\tpredicted_sd\nG\t0.5\ttest\t1.5\tNA\t0.25\n";
        let table = read(text).expect("a table");
        assert_eq!(table.predictors, ["predicted", "baseline_a"]);
        let expected = PredictionRow {
            symbol: "G".into(),
            split: Split::Test,
            observed: None,
            spread: Some(0.25),
            predicted: vec![1.5, 0.5],
        };
        assert_eq!(table.rows, [expected]);
    }

    #[test]
    fn read_of_a_bad_table_names_the_line() {
        let cases = [
            ("", "predictions.tsv:1"),
            ("symbol\tsplit\n", "predicted"),
            (
                "symbol\tsplit\tobserved\tpredicted\tpredicted_sd\nG\ttest\t1\n",
                "predictions.tsv:2",
            ),
            (
                "symbol\tsplit\tobserved\tpredicted\tpredicted_sd\nG\tother\t1\t1\tNA\n",
                "other",
            ),
            (
                "symbol\tsplit\tobserved\tpredicted\tpredicted_sd\nG\ttest\t1\tx\tNA\n",
                "\"x\"",
            ),
        ];
        for (text, expected) in cases {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
