//! From bases, tracks and position to the residual stream's width.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use crate::config::{BackboneInput, Seq2ExpConfig};
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::linear::{Linear, project};

/// The maps that generator and predictor share.
///
/// Every product runs on the narrow concatenated input, bias included as a column of ones: masking a position's
/// columns is masking its embedding, and nothing element-wise touches `[length, d_model]`.
#[derive(Module, Debug)]
pub struct Embedding {
    /// From the one-hot base.
    pub sequence: Linear,
    /// From the track values.
    pub tracks: Linear,
    /// One learned vector per position of the window, `[n_positions, d_model]`.
    pub position: Option<Param<Tensor<2>>>,
}

impl Embedding {
    /// Draws the parameters; the positional embedding starts at 0.
    pub fn init(config: &Seq2ExpConfig, initializer: &Initializer<'_>) -> Self {
        let d_model = config.d_model;
        Self {
            sequence: Linear::init(4, d_model, &initializer.at("sequence")),
            tracks: Linear::init(config.n_tracks, d_model, &initializer.at("tracks")),
            position: (config.n_positions > 0)
                .then(|| initializer.fill([config.n_positions, d_model], |_| 0.0)),
        }
    }

    /// What the generator reads.
    ///
    /// # Shapes
    /// - output: `[batch, length, d_model]`
    pub fn generator_input(&self, input: &ModelInput, sees: BackboneInput) -> Tensor<3> {
        match sees {
            BackboneInput::Sequence => {
                self.positioned(project(input.sequence_columns(), self.sequence.augmented()))
            }
            BackboneInput::SequenceAndTracks => self.all(input),
        }
    }

    /// The embedding of every position.
    ///
    /// # Shapes
    /// - output: `[batch, length, d_model]`
    pub fn all(&self, input: &ModelInput) -> Tensor<3> {
        self.positioned(project(input.all_columns(), self.combined()))
    }

    fn positioned(&self, embedded: Tensor<3>) -> Tensor<3> {
        match &self.position {
            Some(position) => embedded + position.val().unsqueeze_dim::<3>(0),
            None => embedded,
        }
    }

    /// The embedding of every position times its mask.
    ///
    /// # Shapes
    /// - `mask`: `[batch, length]`; output: `[batch, length, d_model]`
    pub fn scaled(&self, input: &ModelInput, mask: Tensor<2>) -> Tensor<3> {
        let mask = mask.unsqueeze_dim::<3>(2);
        let embedded = project(input.all_columns() * mask.clone(), self.combined());
        match &self.position {
            Some(position) => embedded + position.val().unsqueeze_dim::<3>(0) * mask,
            None => embedded,
        }
    }

    /// The embeddings of the chosen positions of one example, in order.
    ///
    /// # Shapes
    /// - `columns`: `[1, length, 4 + n_tracks + 1]`; `positions`: `[n_selected]`; output: `[1, n_selected, d_model]`
    pub fn selected(&self, columns: Tensor<3>, positions: Tensor<1, Int>) -> Tensor<3> {
        let embedded = project(columns.select(1, positions.clone()), self.combined());
        match &self.position {
            Some(position) => embedded + position.val().select(0, positions).unsqueeze_dim::<3>(0),
            None => embedded,
        }
    }

    /// Both weights and the sum of both biases: `[d_model, 4 + n_tracks + 1]`.
    fn combined(&self) -> Tensor<2> {
        let bias = self.sequence.bias.val() + self.tracks.bias.val();
        let columns = vec![
            self.sequence.weight.val(),
            self.tracks.weight.val(),
            bias.unsqueeze_dim::<2>(1),
        ];
        Tensor::cat(columns, 1)
    }
}
