//! Seq2Exp: embeddings → generator → mask → predictor.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::config::{
    BackboneInput, InitializationConfig, MambaConfig, MaskConfig, MaskDecoding, MaskSite,
    OutProjLayers, Packing, PredictorWeights, TrainDecoding, positive,
};
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::generator::Generator;
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::mask::EvaluationMask;
use crate::network::{Nobody, Observer, Output, Pass};
use crate::predictor::Predictor;
use crate::window_mean::window_mean;

/// Settings of Seq2Exp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seq2ExpConfig {
    /// Width of the residual stream; 128. Released name: `d_model`.
    pub d_model: usize,
    /// BiMamba blocks of the mask generator; 4. Released name: `gen_n_layer`.
    pub n_layer_generator: usize,
    /// BiMamba blocks of the predictor, equal to the generator's when shared; 4. Released name: `enc_n_layer`.
    pub n_layer_predictor: usize,
    /// Central bases that are always selected and pooled, in bp; 2,000. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base; 3 (H3K27ac, DNase, contact). Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// What the generator sees: the sequence (soft) or sequence and tracks (hard).
    pub generator_input: BackboneInput,
    /// Whether the predictor has blocks of its own (soft) or uses the generator's (hard).
    pub predictor_weights: PredictorWeights,
    /// Positions of the learned positional embedding, the window's length in bp; 0 = none (soft). Released name: `pos_enc`.
    pub n_positions: usize,
    /// How the mask reaches the predictor: `scale` (soft), `pack` (hard), or `delta`.
    pub mask_site: MaskSite,
    /// How hard masks are batched; without effect unless `mask_site = "pack"`.
    pub packing: Packing,
    /// The latent mask.
    pub mask: MaskConfig,
    /// The Mamba block.
    pub mamba: MambaConfig,
    /// Initial weights.
    pub initialization: InitializationConfig,
}

impl Seq2ExpConfig {
    /// The published Seq2Exp-soft.
    pub fn soft() -> Self {
        Self {
            d_model: 128,
            n_layer_generator: 4,
            n_layer_predictor: 4,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
            generator_input: BackboneInput::Sequence,
            predictor_weights: PredictorWeights::Own,
            n_positions: 0,
            mask_site: MaskSite::Scale,
            packing: Packing::PerExample,
            mask: MaskConfig {
                track_beta: vec![1.5, 0.2, 1.0],
                track_weight: vec![0.4, 0.4, 0.2],
                prior_scale_factor: 10.0,
                beta_min: 1.0,
                z_scale: 1.0,
                marginal_mean: 0.1,
                marginal_scale: 10.0,
                minus_one: false,
                initial_logits: [0.0; 2],
                resolution: 1,
                train: TrainDecoding::Sample,
                evaluate: MaskDecoding::Mean,
            },
            mamba: MambaConfig::default(),
            initialization: InitializationConfig::with_layers(OutProjLayers::Fixed(64)),
        }
    }

    /// The published Seq2Exp-hard, for windows of 200,000 bp.
    pub fn hard() -> Self {
        let soft = Self::soft();
        Self {
            generator_input: BackboneInput::SequenceAndTracks,
            predictor_weights: PredictorWeights::Shared,
            n_positions: 200_000,
            mask_site: MaskSite::Pack,
            mask: MaskConfig {
                prior_scale_factor: 1.0,
                beta_min: 0.0,
                marginal_mean: 0.45,
                marginal_scale: 0.1,
                train: TrainDecoding::Threshold(0.5),
                evaluate: MaskDecoding::Threshold(0.5),
                ..soft.mask
            },
            ..soft
        }
    }

    /// Seq2Exp-delta: a hard mask from sequence and tracks together, without the tracks' own prior, that starts near 1
    /// and closes positions inside the predictor's blocks. It is made for `train.mask_weight`, without a divergence.
    ///
    /// Not published; `docs/mask_site.md` says why each setting is what it is.
    pub fn delta() -> Self {
        let soft = Self::soft();
        Self {
            generator_input: BackboneInput::SequenceAndTracks,
            mask_site: MaskSite::Delta,
            mask: MaskConfig {
                prior_scale_factor: 0.0,
                initial_logits: [-3.0, 3.0],
                resolution: 8,
                train: TrainDecoding::Threshold(0.5),
                evaluate: MaskDecoding::Threshold(0.5),
                ..soft.mask
            },
            initialization: InitializationConfig::with_layers(OutProjLayers::Own),
            ..soft
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "d_model", self.d_model);
        positive(&mut problems, "n_layer_generator", self.n_layer_generator);
        positive(&mut problems, "n_layer_predictor", self.n_layer_predictor);
        positive(&mut problems, "promoter", self.promoter);
        positive(&mut problems, "n_tracks", self.n_tracks);
        self.mamba.add_problems(&mut problems);
        self.initialization.add_problems(&mut problems);
        self.mask.add_problems(&mut problems, self.n_tracks);
        if self.predictor_weights == PredictorWeights::Shared
            && self.n_layer_predictor != self.n_layer_generator
        {
            problems.push(format!(
                "n_layer_predictor is {} but the predictor shares the generator's {} layers; make them equal",
                self.n_layer_predictor, self.n_layer_generator
            ));
        }
        if self.mask_site == MaskSite::Pack {
            if self.mask.train == TrainDecoding::Sample {
                problems.push(
                    "mask_site = \"pack\" needs a hard mask: set mask.train = { threshold = 0.5 }"
                        .into(),
                );
            }
            if self.mask.evaluate == MaskDecoding::Mean {
                problems.push("mask_site = \"pack\" needs a hard mask: set mask.evaluate = { threshold = 0.5 }".into());
            }
        }
        if self.n_positions != 0 && self.n_positions < self.promoter {
            problems.push(format!(
                "n_positions ({}) is smaller than promoter ({})",
                self.n_positions, self.promoter
            ));
        }
        problems
    }
}

/// Predicts expression from the bases that a learned mask selects.
///
/// # Reference
/// Su et al., ICLR 2025, arXiv 2502.13991
#[derive(Module, Debug)]
pub struct Seq2Exp {
    /// Bases, tracks and positions to `d_model`.
    pub embedding: Embedding,
    /// Embeddings to the mask's logits.
    pub generator: Generator,
    /// Masked embeddings to expression.
    pub predictor: Predictor,
    #[module(skip)]
    config: Seq2ExpConfig,
}

impl Seq2Exp {
    /// Draws the parameters.
    pub fn init(config: &Seq2ExpConfig, initializer: &Initializer<'_>) -> Self {
        Self {
            embedding: Embedding::init(config, &initializer.at("embedding")),
            generator: Generator::init(config, &initializer.at("generator")),
            predictor: Predictor::init(config, &initializer.at("predictor")),
            config: config.clone(),
        }
    }

    /// The settings this network was built from.
    pub fn config(&self) -> &Seq2ExpConfig {
        &self.config
    }

    /// Runs the network; `observe` sees the residual streams and the logits.
    ///
    /// # Errors
    /// [`ModelError`] when the input disagrees with the settings.
    pub fn forward(
        &self,
        input: &ModelInput,
        pass: &Pass,
        observe: Observer<'_>,
    ) -> Result<Output, ModelError> {
        let logits = self.logits(input, &mut *observe)?;
        let drawn = self
            .config
            .mask
            .draw(logits, input, self.config.promoter, pass)?;
        let shown = match pass {
            // No gradient reaches the mask where it hides nothing.
            Pass::TrainRevealing { revealed, .. } => {
                let hidden = revealed.ones_like() - revealed.clone();
                drawn.mask.clone() * hidden + revealed.clone()
            }
            _ => drawn.mask.clone(),
        };
        let prediction = self.predict(input, shown, observe)?;
        Ok(Output {
            mask: Some(drawn.mask),
            kl: Some(window_mean(drawn.kl)),
            ..Output::plain(prediction)
        })
    }

    /// Runs the generator alone.
    ///
    /// # Errors
    /// [`ModelError`] when the input disagrees with the settings.
    pub fn evaluation_mask(&self, input: &ModelInput) -> Result<EvaluationMask, ModelError> {
        let logits = self.logits(input, &mut Nobody)?;
        self.config
            .mask
            .evaluation(logits, input, self.config.promoter)
    }

    /// Two logits per position, `[batch, length, 2]`.
    fn logits(&self, input: &ModelInput, observe: Observer<'_>) -> Result<Tensor<3>, ModelError> {
        let sees = self.config.generator_input;
        let embedded = self.embedding.generator_input(input, sees);
        self.generator.forward(embedded, observe)
    }

    /// Predicts expression, `[batch, 1]`, with a mask that is given instead of generated.
    ///
    /// # Shapes
    /// - `mask`: `[batch, length]`, used as it is
    ///
    /// # Errors
    /// [`ModelError`] when the input disagrees with the settings.
    pub fn predict(
        &self,
        input: &ModelInput,
        mask: Tensor<2>,
        observe: Observer<'_>,
    ) -> Result<Tensor<2>, ModelError> {
        self.predictor.forward(
            &self.embedding,
            &self.generator.backbone,
            input,
            mask,
            observe,
        )
    }
}
