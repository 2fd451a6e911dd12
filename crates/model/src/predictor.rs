//! From masked embeddings to expression.

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::caduceus::Backbone;
use crate::config::Seq2ExpConfig;
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::head::{ExpressionHead, normed_mean};
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::mask::read;
use crate::network::Observer;

/// Which blocks the predictor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictorWeights {
    /// Blocks of its own.
    Own,
    /// The generator's blocks. Released name: `enc_prd_ps`.
    Shared,
}

/// How the mask reaches the predictor; `docs/mask_site.md` compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskSite {
    /// Each position's embedding is multiplied by its mask, as published for soft masks. Also called `input`.
    #[serde(alias = "input")]
    Scale,
    /// In every block the position's step size is multiplied by its mask, and other positions see as much of it: a mask
    /// of 0 removes the position, for soft masks and hard ones.
    Delta,
    /// Only positions with a mask above 0 are kept, moved together; the mask is an index and receives no gradient, as
    /// published for hard masks.
    Pack,
}

/// How examples with different numbers of selected positions share a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// Each example runs at its own length; a prediction does not depend on its batch mates.
    PerExample,
    /// Zero padding to the longest example, through which the reverse scan passes, as in the released code.
    PaddedBatch,
}

/// Blocks (of its own, or none when it runs the generator's) and the expression head.
#[derive(Module, Debug)]
pub struct Predictor {
    /// The blocks, unless they are the generator's.
    pub backbone: Option<Backbone>,
    /// Pooled promoter and features to expression.
    pub head: ExpressionHead,
    #[module(skip)]
    mask_site: MaskSite,
    #[module(skip)]
    packing: Packing,
    #[module(skip)]
    promoter: usize,
}

impl Predictor {
    /// Draws the parameters.
    pub fn init(config: &Seq2ExpConfig, initializer: &Initializer<'_>) -> Self {
        let own = config.predictor_weights == PredictorWeights::Own;
        Self {
            backbone: own.then(|| {
                Backbone::init(
                    config.d_model,
                    config.n_layer_predictor,
                    &config.mamba,
                    &config.initialization,
                    &initializer.at("backbone"),
                )
            }),
            head: ExpressionHead::init(config.d_model, config.n_features, &initializer.at("head")),
            mask_site: config.mask_site,
            packing: config.packing,
            promoter: config.promoter,
        }
    }

    /// The blocks of a predictor that was built with its own.
    pub(crate) fn own_backbone(&self) -> &Backbone {
        self.backbone
            .as_ref()
            .expect("built with `PredictorWeights::Own`")
    }

    /// Predicts expression, `[batch, 1]`, from what the mask lets through; `observe` sees the residual stream as
    /// `predictor.<block>`.
    ///
    /// # Shapes
    /// - `mask`: `[batch, length]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the tensors disagree; [`ModelError::PromoterMasked`] when a mask that packs leaves
    /// out a promoter base.
    pub fn forward(
        &self,
        embedding: &Embedding,
        generator: &Backbone,
        input: &ModelInput,
        mask: Tensor<2>,
        observe: Observer<'_>,
    ) -> Result<Tensor<2>, ModelError> {
        let backbone = self.backbone.as_ref().unwrap_or(generator);
        let pooled = match (self.mask_site, self.packing) {
            (MaskSite::Scale, _) => {
                let embedded = embedding.scaled(input, mask);
                let promoter = input.promoter(self.promoter)?;
                let x = backbone.stream_at(embedded, None, promoter, "predictor", observe)?;
                normed_mean(x, backbone.norm_weight.val())
            }
            (MaskSite::Delta, _) => {
                let embedded = embedding.all(input);
                let promoter = input.promoter(self.promoter)?;
                let mask = Some(&mask);
                let x = backbone.stream_at(embedded, mask, promoter, "predictor", observe)?;
                normed_mean(x, backbone.norm_weight.val())
            }
            (MaskSite::Pack, Packing::PerExample) => {
                let mut pooled = Vec::with_capacity(input.batch());
                for packed in self.pack(embedding, input, &mask)? {
                    let promoter = packed.promoter_start..packed.promoter_start + self.promoter;
                    let x = backbone.stream_at(
                        packed.embedded,
                        None,
                        promoter,
                        "predictor",
                        &mut *observe,
                    )?;
                    pooled.push(normed_mean(x, backbone.norm_weight.val()));
                }
                Tensor::cat(pooled, 0)
            }
            (MaskSite::Pack, Packing::PaddedBatch) => {
                let packed = self.pack(embedding, input, &mask)?;
                let longest = packed
                    .iter()
                    .map(|example| example.embedded.dims()[1])
                    .max()
                    .unwrap_or(0);
                let starts: Vec<usize> = packed
                    .iter()
                    .map(|example| example.promoter_start)
                    .collect();
                let padded = packed
                    .into_iter()
                    .map(|example| pad(example.embedded, longest))
                    .collect();
                // Examples with fewer positions selected before it have their promoter earlier.
                let first = starts.iter().copied().min().unwrap_or(0);
                let last = starts.iter().copied().max().unwrap_or(0);
                let x = backbone.stream_at(
                    Tensor::cat(padded, 0),
                    None,
                    first..last + self.promoter,
                    "predictor",
                    observe,
                )?;
                let [_, _, d_model] = x.dims();
                let pooled = starts.into_iter().enumerate().map(|(example, start)| {
                    let promoter = start - first..start - first + self.promoter;
                    let row = [example..example + 1, promoter, 0..d_model];
                    normed_mean(x.clone().slice(row), backbone.norm_weight.val())
                });
                Tensor::cat(pooled.collect(), 0)
            }
        };
        Ok(self.head.forward(pooled, input.features.clone()))
    }

    /// Gathers the positions of each example whose mask is above 0; the mask is read as an index.
    fn pack(
        &self,
        embedding: &Embedding,
        input: &ModelInput,
        mask: &Tensor<2>,
    ) -> Result<Vec<Packed>, ModelError> {
        let [batch, length] = mask.dims();
        let device = input.device().without_autodiff();
        let promoter = input.promoter(self.promoter)?;
        let columns = input.all_columns();
        let n_columns = columns.dims()[2];
        let mut packed = Vec::with_capacity(batch);
        for (example, mask) in read(mask)?.chunks(length).enumerate() {
            if let Some(offset) = mask[promoter.clone()]
                .iter()
                .position(|&value| value <= 0.0)
            {
                return Err(ModelError::PromoterMasked {
                    example,
                    position: promoter.start + offset,
                });
            }
            let selected: Vec<i32> = (0_i32..)
                .zip(mask)
                .filter(|(_, value)| **value > 0.0)
                .map(|(i, _)| i)
                .collect();
            let promoter_start = mask[..promoter.start]
                .iter()
                .filter(|value| **value > 0.0)
                .count();
            let n_selected = selected.len();
            let positions =
                Tensor::<1, Int>::from_data(TensorData::new(selected, [n_selected]), &device);
            let row = columns
                .clone()
                .slice([example..example + 1, 0..length, 0..n_columns]);
            packed.push(Packed {
                embedded: embedding.selected(row, positions),
                promoter_start,
            });
        }
        Ok(packed)
    }
}

/// The selected positions of one example.
struct Packed {
    /// `[1, n_selected, d_model]`.
    embedded: Tensor<3>,
    /// Index among them of the promoter's first base.
    promoter_start: usize,
}

fn pad(embedded: Tensor<3>, length: usize) -> Tensor<3> {
    let [_, n_selected, d_model] = embedded.dims();
    if n_selected == length {
        return embedded;
    }
    let zeros = Tensor::zeros([1, length - n_selected, d_model], &embedded.device());
    Tensor::cat(vec![embedded, zeros], 1)
}
