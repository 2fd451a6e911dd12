//! What a forward pass is asked for, and what it returns.

use burn::tensor::Tensor;

use crate::batch_norm::BatchStatistic;

/// What a forward pass draws: the mask, dropout; and whether batches normalise themselves.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one value per pass, never stored in bulk"
)]
pub enum Pass {
    /// The evaluation mask of the settings, running statistics, nothing dropped.
    Evaluate,
    /// A sample, as in training; batch statistics and dropout where the network has them.
    Train {
        /// One per example; with a position it determines the draw there.
        seeds: Vec<u64>,
    },
    /// As `Train`, but the predictor sees what is revealed beside the mask; the mask that is returned is without it.
    TrainRevealing {
        /// One per example; with a position it determines the draw there.
        seeds: Vec<u64>,
        /// 1 where the predictor sees a position whatever its mask, else 0: `[batch, length]`.
        revealed: Tensor<2>,
    },
    /// The training mask with the mean in the sample's place; batch statistics, nothing dropped.
    TrainMean,
    /// The training mask with these values in the sample's place, differentiated as a sample; `[batch, length]`.
    TrainGiven(Tensor<2>),
}

/// What a forward pass returns.
#[derive(Clone, Debug)]
pub struct Output {
    /// Predicted expression, in the target's unit: `[batch, 1]`.
    pub prediction: Tensor<2>,
    /// The mask, `[batch, length]`; none for networks without one.
    pub mask: Option<Tensor<2>>,
    /// Mean over examples and positions of the divergence from the marginal, in nats: `[1]`.
    pub kl: Option<Tensor<1>>,
    /// The intervened branches of a training pass; none for networks without them.
    pub intervention: Option<Intervention>,
    /// What a training pass found for the running statistics; empty for networks without batch normalisation.
    pub statistics: Vec<BatchStatistic>,
}

/// The branches of a training pass whose tracks were reweighted.
#[derive(Clone, Debug)]
pub struct Intervention {
    /// Predicted expression from the mean of the branches: `[batch, 1]`.
    pub prediction: Tensor<2>,
    /// Weight of its loss beside that of the plain prediction.
    pub weight: f64,
    /// How close the reweightings of a gene lie to each other, to be lowered: `[1]`.
    pub uniformity: Tensor<1>,
}

impl Output {
    /// A prediction without anything beside it.
    pub fn plain(prediction: Tensor<2>) -> Self {
        Self {
            prediction,
            mask: None,
            kl: None,
            intervention: None,
            statistics: Vec::new(),
        }
    }
}
