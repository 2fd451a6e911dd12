//! Compares networks and operations with recorded vectors of the released code.

mod enformer;
mod epinformer;
mod folder;
mod gradient;
mod network;
mod operations;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::ModelError;

/// Forward tensors: worst absolute error, relative to the largest magnitude of the reference.
///
/// Single precision resolves 6e-8; sums over a thousand positions and channels in another order lose a few bits of it.
pub const FORWARD_TOLERANCE: f64 = 2e-5;

/// Gradients: this many times the error of the reference's own single-precision gradient, as recorded …
pub const GRADIENT_FACTOR: f64 = 3.0;

/// … plus this, both relative to the Euclidean norm of the gradient in double precision.
pub const GRADIENT_FLOOR: f64 = 1e-6;

/// How the distance of two tensors is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Largest absolute difference.
    Absolute,
    /// Euclidean norm of the difference over that of the reference.
    RelativeNorm,
}

/// One compared tensor.
#[derive(Clone, Debug, Serialize)]
pub struct TensorReport {
    /// File in the folder that holds the reference.
    pub file: String,
    /// The reference's name in it.
    pub name: String,
    /// How the error is measured.
    pub measure: Measure,
    /// The error.
    pub error: f64,
    /// The error that is allowed, in the same measure.
    pub tolerance: f64,
    /// Row-major index of the largest absolute difference.
    pub index: usize,
    /// Our value there.
    pub found: f64,
    /// The reference's value there.
    pub expected: f64,
}

impl TensorReport {
    /// The part of the tolerance that the error uses; above 1 it fails. Infinite for an error that is not a number.
    pub fn share(&self) -> f64 {
        match self.error {
            error if error.is_nan() => f64::INFINITY,
            0.0 => 0.0,
            error => error / self.tolerance,
        }
    }

    /// Whether the error is within the tolerance.
    pub fn passed(&self) -> bool {
        self.share() <= 1.0
    }
}

/// The outcome of one folder.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FolderReport {
    /// The folder.
    pub path: PathBuf,
    /// What the vectors belong to.
    pub subject: String,
    /// Tensors that were compared.
    pub tensors: Vec<TensorReport>,
    /// Tensors or files that should be there and are not.
    pub missing: Vec<String>,
    /// What could not be run at all.
    pub failures: Vec<String>,
    /// What the folder holds that is not compared here, with the reason.
    pub skipped: Vec<String>,
}

impl FolderReport {
    /// Whether everything expected was there and within its tolerance.
    pub fn passed(&self) -> bool {
        self.missing.is_empty()
            && self.failures.is_empty()
            && self.tensors.iter().all(TensorReport::passed)
    }
}

/// The outcome of all folders.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ParityReport {
    /// One entry per folder with vectors, sorted by path.
    pub folders: Vec<FolderReport>,
}

impl ParityReport {
    /// Whether something was compared and every folder passed.
    pub fn passed(&self) -> bool {
        self.n_compared() > 0 && self.folders.iter().all(FolderReport::passed)
    }

    /// Number of tensors compared.
    pub fn n_compared(&self) -> usize {
        self.folders.iter().map(|folder| folder.tensors.len()).sum()
    }

    /// The compared tensor that uses most of its tolerance, with its folder.
    pub fn worst(&self) -> Option<(&FolderReport, &TensorReport)> {
        let all = self
            .folders
            .iter()
            .flat_map(|folder| folder.tensors.iter().map(move |tensor| (folder, tensor)));
        all.max_by(|(_, a), (_, b)| a.share().total_cmp(&b.share()))
    }
}

/// Compares everything in a folder of recorded vectors, or in all folders below it.
///
/// A folder of one network holds `config.json`, `weights.safetensors`, `inputs.safetensors`, `eval.safetensors` and
/// `train_*.safetensors`; a folder of checkpoints holds `*.ckpt` beside `config.json`; a folder of operations holds
/// one file per case. What this crate does not compute is listed as skipped.
///
/// # Errors
/// [`ModelError::Io`] when the folder cannot be listed; anything inside it that fails is in the report.
pub fn run_parity(folder: &Path) -> Result<ParityReport, ModelError> {
    let mut report = ParityReport::default();
    walk(folder, &mut report)?;
    report.folders.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(report)
}

fn walk(folder: &Path, report: &mut ParityReport) -> Result<(), ModelError> {
    let failed = |source| ModelError::Io {
        path: folder.to_owned(),
        action: "listing",
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            walk(&path, report)?;
        } else {
            files.extend(
                path.file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    files.sort();
    let has = |name: &str| files.iter().any(|file| file == name);
    let of = |extension: &str| files.iter().any(|file| file.ends_with(extension));
    if has("config.json") && has("weights.safetensors") {
        report.folders.push(network::compare(folder, &files));
    } else if has("config.json") && of(".ckpt") {
        report
            .folders
            .push(network::compare_checkpoints(folder, &files));
    } else if of(".safetensors") {
        report.folders.push(operations::compare(folder, &files));
    } else if has("config.json") {
        let mut incomplete = FolderReport {
            path: folder.to_owned(),
            ..FolderReport::default()
        };
        incomplete.missing.push("weights.safetensors".to_owned());
        report.folders.push(incomplete);
    }
    Ok(())
}

impl fmt::Display for ParityReport {
    /// One line per tensor, worst first within its folder, and a summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for folder in &self.folders {
            writeln!(f, "{} ({})", folder.path.display(), folder.subject)?;
            if !folder.tensors.is_empty() {
                writeln!(
                    f,
                    "  {:<76} {:>10} {:>10} {:>7}  worst at",
                    "tensor", "error", "tolerance", "used"
                )?;
            }
            let mut tensors: Vec<_> = folder.tensors.iter().collect();
            tensors.sort_by(|a, b| b.share().total_cmp(&a.share()));
            for tensor in tensors {
                let name = format!(
                    "{}: {}",
                    tensor.file.trim_end_matches(".safetensors"),
                    tensor.name
                );
                writeln!(
                    f,
                    "{} {name:<76} {:>10.2e} {:>10.2e} {:>6.1}%  [{}] {} instead of {}",
                    if tensor.passed() { ' ' } else { '✗' },
                    tensor.error,
                    tensor.tolerance,
                    100.0 * tensor.share(),
                    tensor.index,
                    tensor.found,
                    tensor.expected,
                )?;
            }
            for missing in &folder.missing {
                writeln!(f, "✗ missing: {missing}")?;
            }
            for failure in &folder.failures {
                writeln!(f, "✗ {failure}")?;
            }
            for skipped in &folder.skipped {
                writeln!(f, "  not compared: {skipped}")?;
            }
        }
        let n_failed: usize = self
            .folders
            .iter()
            .map(|folder| {
                folder
                    .tensors
                    .iter()
                    .filter(|tensor| !tensor.passed())
                    .count()
            })
            .sum();
        let n_missing: usize = self
            .folders
            .iter()
            .map(|folder| folder.missing.len() + folder.failures.len())
            .sum();
        write!(
            f,
            "{}: {} tensors compared, {n_failed} beyond tolerance, {n_missing} missing or not run",
            if self.passed() { "passed" } else { "failed" },
            self.n_compared(),
        )?;
        if let Some((folder, tensor)) = self.worst() {
            let share = 100.0 * tensor.share();
            write!(
                f,
                "; most of its tolerance ({share:.1}%) is used by {} in {}",
                tensor.name,
                folder.path.display()
            )?;
        }
        writeln!(f)
    }
}
