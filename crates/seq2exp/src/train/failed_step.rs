//! What a step that gave NaN or infinity was computed from, kept for whoever looks for the reason.

use std::path::Path;

use model::{Candidates, ModelInput};
use serde_json::json;

use super::tensor_file::{StoredTensor, write_tensors};
use super::{SavedParameter, TrainRun};
use crate::batch::{Batch, read_values};
use crate::error::RunError;

const HEADER_KEY: &str = "seq2exp.failed_step";

/// A forward and backward pass whose loss or gradient is not finite.
pub(super) struct FailedStep<'a> {
    /// The update it belongs to, from 1.
    pub(super) step: u64,
    /// Which number is not finite.
    pub(super) what: &'static str,
    /// The genes.
    pub(super) batch: &'a Batch,
    /// The seed of each gene's mask.
    pub(super) sample_seeds: &'a [u64],
    /// The network at that moment.
    pub(super) parameters: Vec<SavedParameter>,
}

impl FailedStep<'_> {
    /// Name of the file, which differs from step to step.
    pub(super) fn file_name(&self) -> String {
        format!("not_finite_step_{}.safetensors", self.step)
    }

    /// Writes everything needed to repeat the pass: `sequence`, `tracks`, `overwrite`, `features`, `targets`,
    /// `sample_seeds`, `peaks` and `candidates.*` when there are any, and every parameter as `parameter.NAME`; genes, settings and device in the metadata.
    ///
    /// # Errors
    /// As [`write_tensors`]; [`RunError::Tensor`] when the device cannot hand the input back.
    pub(super) fn write(&self, path: &Path, run: &TrainRun<'_>) -> Result<(), RunError> {
        let ModelInput {
            sequence,
            tracks,
            overwrite,
            features,
            peaks,
            candidates,
        } = self.batch.input.clone();
        let targets = self.batch.targets()?;
        let mut tensors = vec![
            StoredTensor::f32(
                "sequence",
                &sequence.dims(),
                &read_values(sequence.clone())?,
            ),
            StoredTensor::f32("tracks", &tracks.dims(), &read_values(tracks.clone())?),
            StoredTensor::f32(
                "overwrite",
                &overwrite.dims(),
                &read_values(overwrite.clone())?,
            ),
            StoredTensor::f32(
                "features",
                &features.dims(),
                &read_values(features.clone())?,
            ),
            StoredTensor::f32("targets", &targets.dims(), &read_values(targets.clone())?),
            StoredTensor::u64("sample_seeds", self.sample_seeds),
        ];
        if let Some(peaks) = peaks {
            tensors.push(StoredTensor::f32(
                "peaks",
                &peaks.dims(),
                &read_values(peaks.clone())?,
            ));
        }
        if let Some(Candidates { sequence, features }) = candidates {
            tensors.extend([
                StoredTensor::f32(
                    "candidates.sequence",
                    &sequence.dims(),
                    &read_values(sequence.clone())?,
                ),
                StoredTensor::f32(
                    "candidates.features",
                    &features.dims(),
                    &read_values(features.clone())?,
                ),
            ]);
        }
        tensors.extend(self.parameters.iter().map(|parameter| {
            let name = format!("parameter.{}", parameter.name);
            StoredTensor::f32(name, &parameter.shape, &parameter.values)
        }));
        let header = json!({
            "step": self.step,
            "what": self.what,
            "genes": self.batch.symbols,
            "device": run.meta.device,
            "seed": run.meta.seed,
            "model": run.meta.config,
            "train": run.config,
        });
        write_tensors(path, &tensors, HEADER_KEY, &header.to_string())
    }
}
