//! Learned vectors of the four bases and of N, in the vocabulary of the released sequence models.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::linear::project;

/// Tokens of the released vocabulary: seven special ones, then A, C, G, T and N.
const N_TOKENS: usize = 12;

/// The token of A; C, G, T and N follow.
const FIRST_BASE: usize = 7;

/// Standard deviation of the initial values. Released name: `initializer_range`.
const INITIAL_SD: f64 = 0.02;

/// One vector per token; those of the special tokens are kept so that released weights fit, and never read.
#[derive(Module, Debug)]
pub struct TokenEmbedding {
    /// `[12, d_model]`.
    pub weight: Param<Tensor<2>>,
}

impl TokenEmbedding {
    /// Draws the vectors.
    pub fn init(d_model: usize, initializer: &Initializer<'_>) -> Self {
        Self {
            weight: initializer.normal("weight", [N_TOKENS, d_model], INITIAL_SD),
        }
    }

    /// The vector of every base; a row without a base is N.
    ///
    /// # Shapes
    /// - output: `[batch, length, d_model]`
    pub fn forward(&self, input: &ModelInput) -> Tensor<3> {
        let sequence = input.sequence.clone();
        let is_unknown = sequence.clone().sum_dim(2) * -1.0 + 1.0;
        let [_, d_model] = self.weight.dims();
        let weight = self.weight.val().slice([FIRST_BASE..N_TOKENS, 0..d_model]);
        project(
            Tensor::cat(vec![sequence, is_unknown], 2),
            weight.transpose(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn forward_looks_up_the_bases_and_n() {
        let device = Device::flex();
        // The row of token t holds 10 t and 10 t + 1.
        let values: Vec<f32> = (0..12)
            .flat_map(|t| [10.0 * t as f32, 10.0 * t as f32 + 1.0])
            .collect();
        let embedding = TokenEmbedding {
            weight: Param::from_data(TensorData::new(values, [12, 2]), &device),
        };
        let sequence =
            TensorData::from([[[1.0_f32, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0; 4]]]);
        let input = ModelInput {
            sequence: Tensor::from_data(sequence, &device),
            tracks: Tensor::zeros([1, 3, 3], &device),
            overwrite: Tensor::zeros([1, 3], &device),
            features: Tensor::zeros([1, 9], &device),
            peaks: None,
            candidates: None,
        };
        let found = embedding
            .forward(&input)
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(found, [70.0, 71.0, 100.0, 101.0, 110.0, 111.0]);
    }
}
