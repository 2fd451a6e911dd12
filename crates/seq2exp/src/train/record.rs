//! `metrics.jsonl`: what happened at each step, one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::RunError;

/// One line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// An optimiser update.
    Step(StepRecord),
    /// A pass over all validation genes.
    Validation(ValidationRecord),
}

impl Record {
    /// Completed updates at that moment.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(record) => record.step,
            Self::Validation(record) => record.step,
        }
    }
}

/// An optimiser update; losses are means over its genes, before the update.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Completed updates, this one included; the first is 1.
    pub step: u64,
    /// Visits to training genes so far, in epochs.
    pub epoch: f64,
    /// Learning rate of the update.
    pub lr: f64,
    /// The loss that was minimised.
    pub loss: f64,
    /// Smooth L1 of the prediction.
    pub prediction_loss: f64,
    /// KL divergence of the mask from its marginal, in nats per position; `null` for a network without a mask.
    pub kl: Option<f64>,
    /// Smooth L1 of the prediction under random masks, where the predictor learned from that; not written otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_mask_loss: Option<f64>,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
}

/// A pass over all validation genes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationRecord {
    /// Completed updates.
    pub step: u64,
    /// Visits to training genes so far, in epochs.
    pub epoch: f64,
    /// Mean squared error over the validation genes.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Pearson correlation; `null` where undefined.
    pub pearson: Option<f64>,
    /// Spearman correlation; `null` where undefined.
    pub spearman: Option<f64>,
    /// Mean of the evaluation mask; `null` for a network without a mask.
    pub mask_ratio: Option<f64>,
    /// Whether no earlier validation of the run had a lower error.
    pub is_best: bool,
}

/// `metrics.jsonl` open for appending.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    file: File,
}

impl RecordFile {
    /// Opens the file for a run that continues where `is_kept` says: earlier records for which it is false, and a last
    /// line cut short by a kill, are removed first.
    ///
    /// # Errors
    /// [`RunError::Io`] or [`RunError::Genome`] when the file cannot be read or written, [`RunError::BadRecord`] when
    /// it holds something else than records.
    pub fn open(path: &Path, is_kept: impl Fn(&Record) -> bool) -> Result<Self, RunError> {
        // The bytes of a kept line stay as they are: a number read and written again may differ in its last digit.
        let mut kept = Vec::new();
        if path.exists() {
            visit_lines(path, |line, record| {
                if is_kept(&record) {
                    kept.extend_from_slice(line);
                }
            })?;
        }
        genome::write_atomic(path, |file| file.write_all(&kept))?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|source| RunError::Io {
                path: path.to_path_buf(),
                source,
            })?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Appends one record; it is in the file when this returns.
    ///
    /// # Errors
    /// [`RunError::Io`] when it cannot be written.
    pub fn append(&mut self, record: &Record) -> Result<(), RunError> {
        // One call for the whole line, so that a reader of a growing file rarely sees half of one.
        line_of(record)
            .and_then(|line| self.file.write_all(&line))
            .map_err(|source| RunError::Io {
                path: self.path.clone(),
                source,
            })
    }
}

/// The records of a `metrics.jsonl`, in order; a last line without its end is left out.
///
/// # Errors
/// [`RunError::Io`] when the file cannot be read, [`RunError::BadRecord`] with the line that is not a record.
pub fn read_records(path: &Path) -> Result<Vec<Record>, RunError> {
    let mut records = Vec::new();
    visit_lines(path, |_, record| records.push(record))?;
    Ok(records)
}

/// Calls `visit` with the bytes and the record of each whole line.
fn visit_lines(path: &Path, mut visit: impl FnMut(&[u8], Record)) -> Result<(), RunError> {
    let io = |source| RunError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut line = Vec::new();
    for line_number in 1.. {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(io)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        let record = serde_json::from_slice(&line).map_err(|source| RunError::BadRecord {
            path: path.to_path_buf(),
            line: line_number,
            source,
        })?;
        visit(&line, record);
    }
    Ok(())
}

fn line_of(record: &Record) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn step(step: u64) -> Record {
        Record::Step(StepRecord {
            step,
            epoch: step as f64 / 4.0,
            lr: 5e-4,
            loss: 0.1 + 0.2,
            prediction_loss: 0.3,
            kl: None,
            random_mask_loss: None,
            gradient_norm: 1.5,
        })
    }

    fn validation(step: u64) -> Record {
        Record::Validation(ValidationRecord {
            step,
            epoch: 0.5,
            mse: 0.2,
            mae: 0.3,
            pearson: None,
            spearman: Some(-0.25),
            mask_ratio: Some(0.1),
            is_best: true,
        })
    }

    #[test]
    fn append_then_read_is_identity() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        let records = [step(1), step(2), validation(2)];
        let mut file = RecordFile::open(&path, |_| true).expect("a new file");
        for record in &records {
            file.append(record).expect("appended");
        }
        assert_eq!(read_records(&path).expect("readable"), records);
        let text = fs::read_to_string(&path).expect("readable");
        let first: serde_json::Value =
            serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["kind"], "step");
        assert_eq!(first["kl"], serde_json::Value::Null);
    }

    #[test]
    fn open_for_continuing_removes_later_records_and_half_a_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        let mut file = RecordFile::open(&path, |_| true).expect("a new file");
        for record in [step(1), validation(1), step(2), step(3)] {
            file.append(&record).expect("appended");
        }
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(br#"{"kind":"st"#))
            .expect("writable");
        let mut file = RecordFile::open(&path, |record| record.step() <= 2).expect("continued");
        file.append(&step(3)).expect("appended");
        assert_eq!(
            read_records(&path).expect("readable"),
            [step(1), validation(1), step(2), step(3)]
        );
    }

    #[test]
    fn read_of_something_else_names_the_line() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, "{}\n").expect("writable");
        let error = read_records(&path).expect_err("not a record").to_string();
        assert!(error.contains("metrics.jsonl:1"), "{error}");
        assert!(read_records(&folder.path().join("absent")).is_err());
        fs::write(&path, "").expect("writable");
        assert_eq!(read_records(&path).expect("empty is fine"), []);
    }
}
