//! The candidate enhancers that EPInformer reads.

use burn::tensor::Tensor;
use kernels::ShapeError;
use kernels::shape::check_axes;

use super::EpinformerConfig;
use crate::error::ModelError;

/// Features of a candidate: distance, contact, activity. Released name: `n_extraFeat`.
pub const N_CANDIDATE_FEATURES: usize = 3;

/// The candidate enhancers of a batch of genes.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// One-hot bases, each element in the middle of a row of zeros; `[batch, n, element_length, 4]`.
    pub sequence: Tensor<4>,
    /// Distance from the start site in kb, `log10(contact + 1)` and activity; `[batch, n, 3]`.
    pub features: Tensor<3>,
}

impl Candidates {
    /// Checks that both tensors agree with each other, a batch and a network's settings.
    ///
    /// # Errors
    /// [`ModelError::Shape`] naming the tensor and axis.
    pub(super) fn check(&self, batch: usize, config: &EpinformerConfig) -> Result<(), ModelError> {
        let [_, n, ..] = self.sequence.dims();
        if n > config.n_candidates {
            return Err(ModelError::Shape(ShapeError::Size {
                op: "epinformer",
                argument: "candidates",
                axis: "n",
                found: n,
                requirement: "it must be at most model.n_candidates",
            }));
        }
        check_axes(
            "epinformer",
            "candidates.sequence",
            [
                ("batch", batch),
                ("n", n),
                ("element_length", config.element_length),
                ("base", 4),
            ],
            self.sequence.dims(),
        )?;
        check_axes(
            "epinformer",
            "candidates.features",
            [
                ("batch", batch),
                ("n", n),
                ("feature", N_CANDIDATE_FEATURES),
            ],
            self.features.dims(),
        )?;
        Ok(())
    }
}
