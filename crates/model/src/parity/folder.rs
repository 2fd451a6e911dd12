//! One folder of vectors while it is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

use super::{FORWARD_TOLERANCE, FolderReport, Measure, TensorReport};
use crate::checkpoint::{NamedTensor, StateDict, read_state_dict};
use crate::error::ModelError;
use crate::mask::read;

/// Reads the folder's files and collects what is found.
pub(super) struct Folder {
    path: PathBuf,
    files: Vec<String>,
    used: BTreeMap<String, BTreeSet<String>>,
    pub(super) report: FolderReport,
}

impl Folder {
    pub(super) fn new(path: &Path, files: &[String], subject: &str) -> Self {
        let report = FolderReport {
            path: path.to_owned(),
            subject: subject.to_owned(),
            ..FolderReport::default()
        };
        Self {
            path: path.to_owned(),
            files: files.to_vec(),
            used: BTreeMap::new(),
            report,
        }
    }

    /// The settings in `config.json`.
    pub(super) fn settings(&mut self) -> Option<Value> {
        let path = self.path.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        match text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string())) {
            Ok(settings) => Some(settings),
            Err(error) => {
                self.report
                    .failures
                    .push(format!("{}: {error}", path.display()));
                None
            }
        }
    }

    pub(super) fn path_of(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// Names of the folder's files that `wanted` accepts.
    pub(super) fn files(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.files
            .iter()
            .filter(|file| wanted(file))
            .cloned()
            .collect()
    }

    /// The tensors of a file, or a failure in the report.
    pub(super) fn read(&mut self, file: &str) -> Option<Reference> {
        if !self.files.iter().any(|known| known == file) {
            self.report.missing.push(file.to_owned());
            return None;
        }
        match read_state_dict(&self.path.join(file)) {
            Ok(tensors) => Some(Reference {
                file: file.to_owned(),
                tensors,
            }),
            Err(error) => {
                self.report.failures.push(error.to_string());
                None
            }
        }
    }

    /// A tensor that must be in the file; noted as missing when it is not, and as used.
    pub(super) fn expect<'a>(
        &mut self,
        reference: &'a Reference,
        name: &str,
    ) -> Option<&'a NamedTensor> {
        let tensor = reference.tensors.get(name);
        if tensor.is_none() {
            self.report
                .missing
                .push(format!("{}: {name}", reference.file));
        }
        self.used
            .entry(reference.file.clone())
            .or_default()
            .insert(name.to_owned());
        tensor
    }

    /// Notes a tensor as dealt with.
    pub(super) fn mark(&mut self, reference: &Reference, name: &str) {
        self.used
            .entry(reference.file.clone())
            .or_default()
            .insert(name.to_owned());
    }

    /// Compares a forward tensor, within [`FORWARD_TOLERANCE`] of the reference's largest magnitude.
    pub(super) fn forward(&mut self, reference: &Reference, name: &str, found: &[f64]) {
        self.forward_as(reference, name, name, found);
    }

    /// As [`Folder::forward`], against the double-precision shadow `f64_<name>`, which must be there too.
    pub(super) fn forward_f64(&mut self, reference: &Reference, name: &str, found: &[f64]) {
        self.mark(reference, name);
        self.forward_as(reference, &format!("f64_{name}"), name, found);
    }

    fn forward_as(&mut self, reference: &Reference, stored: &str, name: &str, found: &[f64]) {
        let Some(expected) = self
            .expect(reference, stored)
            .map(|tensor| tensor.values.clone())
        else {
            return;
        };
        let scale = expected
            .iter()
            .fold(0.0_f64, |scale, value| scale.max(value.abs()));
        self.push(
            reference,
            name,
            Measure::Absolute,
            found,
            &expected,
            FORWARD_TOLERANCE * scale,
        );
    }

    /// Compares two tensors whose reference values are already at hand.
    pub(super) fn push(
        &mut self,
        reference: &Reference,
        name: &str,
        measure: Measure,
        found: &[f64],
        expected: &[f64],
        tolerance: f64,
    ) {
        if found.len() != expected.len() {
            let message = format!(
                "{}: {name} has {} values, ours {}",
                reference.file,
                expected.len(),
                found.len()
            );
            self.report.failures.push(message);
            return;
        }
        let mut worst = (0, 0.0_f64);
        let (mut squares, mut norm) = (0.0_f64, 0.0_f64);
        for (index, (a, b)) in found.iter().zip(expected).enumerate() {
            let difference = (a - b).abs();
            squares += difference * difference;
            norm += b * b;
            // A difference that is not a number is the worst there is.
            if difference > worst.1 || (difference.is_nan() && !worst.1.is_nan()) {
                worst = (index, difference);
            }
        }
        let error = match measure {
            Measure::Absolute => worst.1,
            Measure::RelativeNorm if norm > 0.0 => (squares / norm).sqrt(),
            Measure::RelativeNorm => squares.sqrt(),
        };
        let at = |values: &[f64]| values.get(worst.0).copied().unwrap_or(0.0);
        self.report.tensors.push(TensorReport {
            file: reference.file.clone(),
            name: name.to_owned(),
            measure,
            error,
            tolerance,
            index: worst.0,
            found: at(found),
            expected: at(expected),
        });
    }

    /// Lists the tensors of a file that nothing was compared with.
    pub(super) fn finish(&mut self, reference: &Reference, reason: &str) {
        let used = self.used.entry(reference.file.clone()).or_default();
        let rest: Vec<&str> = reference
            .tensors
            .keys()
            .map(String::as_str)
            .filter(|name| !used.contains(*name))
            .collect();
        if !rest.is_empty() {
            self.report.skipped.push(format!(
                "{}: {} ({reason})",
                reference.file,
                rest.join(", ")
            ));
        }
    }
}

/// The tensors of one file.
pub(super) struct Reference {
    pub(super) file: String,
    pub(super) tensors: StateDict,
}

impl Reference {
    /// A tensor's values, if it is there.
    pub(super) fn values(&self, name: &str) -> Option<&[f64]> {
        self.tensors
            .get(name)
            .map(|tensor| tensor.values.as_slice())
    }

    /// A scalar, if it is there.
    pub(super) fn scalar(&self, name: &str) -> Option<f64> {
        self.values(name)?.first().copied()
    }
}

/// A tensor's values in double precision.
pub(super) fn values<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<f64>, ModelError> {
    Ok(read(tensor)?.into_iter().map(f64::from).collect())
}

/// A reference tensor on the CPU.
///
/// # Errors
/// [`ModelError::Parameters`] when it has another number of axes.
pub(super) fn tensor<const D: usize>(named: &NamedTensor) -> Result<Tensor<D>, ModelError> {
    let shape: Result<[usize; D], _> = named.shape.clone().try_into();
    match shape {
        Ok(shape) if shape.iter().product::<usize>() == named.values.len() => Ok(
            Tensor::from_data(TensorData::new(named.to_f32(), shape), &Device::flex()),
        ),
        _ => Err(ModelError::Parameters {
            problems: vec![format!("a tensor of shape {:?} has {D} axes", named.shape)],
        }),
    }
}
