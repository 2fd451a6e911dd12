//! Seq2Exp-retrain: a new predictor on the positions that a trained, frozen generator ranks highest.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::config::{
    BackboneInput, InitializationConfig, MambaConfig, MaskConfig, MaskSite, Seq2ExpConfig,
};
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::generator::Generator;
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::mask::{EvaluationMask, top_fraction};
use crate::network::{Observer, Output};
use crate::predictor::Predictor;

/// Settings of a retrained predictor; those of the generator must be those it was trained with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrainedConfig {
    /// The trained Seq2Exp whose generator is taken: a checkpoint, or the output folder of its run, of which the
    /// network of the same seed is taken; `out/seq2exp_soft` of the current folder. A written one is relative to its file. Read
    /// once, before the first step: checkpoints of this network hold the generator. Released name: `mask_model`.
    pub generator: PathBuf,
    /// Part of the window's positions that the mask selects, promoter included; 0.1. Released name: `top_mask_percent`.
    pub top_fraction: f32,
    /// Width of both residual streams; 128. Released name: `d_model`.
    pub d_model: usize,
    /// BiMamba blocks of the frozen generator; 4. Released name: `gen_n_layer`.
    pub n_layer_generator: usize,
    /// BiMamba blocks of the predictor; 4. Released name: `enc_n_layer`.
    pub n_layer_predictor: usize,
    /// Central bases that are selected first and pooled, in bp; 2,000. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base; 3 (H3K27ac, DNase, contact). Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// What the generator sees; the sequence.
    pub generator_input: BackboneInput,
    /// How the mask reaches the predictor; `scale`.
    pub mask_site: MaskSite,
    /// The generator's latent mask; only its mean is used.
    pub mask: MaskConfig,
    /// The Mamba block.
    pub mamba: MambaConfig,
    /// Initial weights of the predictor.
    pub initialization: InitializationConfig,
}

impl RetrainedConfig {
    /// The published Seq2Exp-retrain.
    pub fn published() -> Self {
        let soft = Seq2ExpConfig::soft();
        Self {
            generator: PathBuf::from("out/seq2exp_soft"),
            top_fraction: 0.1,
            d_model: soft.d_model,
            n_layer_generator: soft.n_layer_generator,
            n_layer_predictor: soft.n_layer_predictor,
            promoter: soft.promoter,
            n_tracks: soft.n_tracks,
            n_features: soft.n_features,
            generator_input: soft.generator_input,
            mask_site: soft.mask_site,
            mask: soft.mask,
            mamba: soft.mamba,
            initialization: soft.initialization,
        }
    }

    /// The Seq2Exp whose parts these are.
    fn seq2exp(&self) -> Seq2ExpConfig {
        Seq2ExpConfig {
            d_model: self.d_model,
            n_layer_generator: self.n_layer_generator,
            n_layer_predictor: self.n_layer_predictor,
            promoter: self.promoter,
            n_tracks: self.n_tracks,
            n_features: self.n_features,
            generator_input: self.generator_input,
            mask_site: self.mask_site,
            mask: self.mask.clone(),
            mamba: self.mamba.clone(),
            initialization: self.initialization.clone(),
            ..Seq2ExpConfig::soft()
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut seq2exp = self.seq2exp();
        // Of the latent mask only the mean is used, so any site takes any decoding.
        seq2exp.mask_site = MaskSite::Scale;
        let mut problems = seq2exp.problems();
        if !(self.top_fraction > 0.0 && self.top_fraction <= 1.0) {
            problems.push(format!(
                "top_fraction is {}; it must be above 0 and at most 1",
                self.top_fraction
            ));
        }
        if self.generator.as_os_str().is_empty() {
            problems.push(
                "generator is empty; name a checkpoint or the output folder of a trained seq2exp_soft"
                    .to_owned(),
            );
        }
        problems
    }
}

/// The parts of a trained network that say where the mask is; no step changes them.
#[derive(Module, Debug)]
pub struct FrozenGenerator {
    /// Bases and tracks to `d_model`.
    pub embedding: Embedding,
    /// Embeddings to the mask's logits.
    pub generator: Generator,
}

/// Predicts expression from the positions that a frozen generator ranks highest.
///
/// # Reference
/// Su et al., ICLR 2025, arXiv 2502.13991: Seq2Exp-retrain
#[derive(Module, Debug)]
pub struct Retrained {
    /// Where the mask is.
    pub frozen: FrozenGenerator,
    /// Bases and tracks to `d_model`, for the predictor.
    pub embedding: Embedding,
    /// Masked embeddings to expression.
    pub predictor: Predictor,
    #[module(skip)]
    config: RetrainedConfig,
}

/// Whether a parameter belongs to a frozen part: it is saved, and no step changes it.
pub fn is_frozen(name: &str) -> bool {
    name.starts_with("frozen.")
}

impl Retrained {
    /// Draws the parameters; the frozen ones wait for those of a trained network.
    pub fn init(config: &RetrainedConfig, initializer: &Initializer<'_>) -> Self {
        let seq2exp = config.seq2exp();
        let frozen = initializer.at("frozen");
        Self {
            frozen: FrozenGenerator {
                embedding: Embedding::init(&seq2exp, &frozen.at("embedding")),
                generator: Generator::init(&seq2exp, &frozen.at("generator")),
            }
            .no_grad(),
            embedding: Embedding::init(&seq2exp, &initializer.at("embedding")),
            predictor: Predictor::init(&seq2exp, &initializer.at("predictor")),
            config: config.clone(),
        }
    }

    /// The settings this network was built from.
    pub fn config(&self) -> &RetrainedConfig {
        &self.config
    }

    /// Every setting in which a trained network's generator differs from this one's, with both values.
    pub(crate) fn generator_differences(&self, trained: &Seq2ExpConfig) -> Vec<String> {
        let ours = self.config.seq2exp();
        let mut differences = Vec::new();
        macro_rules! compare {
            ($($name:literal: $($field:ident).+;)*) => {$(
                if ours.$($field).+ != trained.$($field).+ {
                    differences.push(format!(
                        "{} is {:?} here and {:?} there",
                        $name, ours.$($field).+, trained.$($field).+
                    ));
                }
            )*};
        }
        compare! {
            "d_model": d_model;
            "n_layer_generator": n_layer_generator;
            "n_tracks": n_tracks;
            "n_positions": n_positions;
            "generator_input": generator_input;
            "mamba": mamba;
            "mask.track_beta": mask.track_beta;
            "mask.track_weight": mask.track_weight;
            "mask.prior_scale_factor": mask.prior_scale_factor;
            "mask.beta_min": mask.beta_min;
            "mask.z_scale": mask.z_scale;
            "mask.minus_one": mask.minus_one;
            "mask.resolution": mask.resolution;
        }
        differences
    }

    /// Runs the network; `observe` sees the residual streams and the logits.
    ///
    /// # Errors
    /// [`ModelError`] when the input disagrees with the settings.
    pub fn forward(&self, input: &ModelInput, observe: Observer<'_>) -> Result<Output, ModelError> {
        let mask = self.evaluation_mask(input, &mut *observe)?.mask;
        let prediction = self.predict(input, mask.clone(), observe)?;
        Ok(Output {
            mask: Some(mask),
            ..Output::plain(prediction)
        })
    }

    /// Runs the frozen generator alone: 1 at the `top_fraction` of positions with the highest mean mask, where the promoter
    /// is 1 and an excluded base 0; the promoter is 1 even where it is more than that.
    ///
    /// # Errors
    /// [`ModelError`] when the input disagrees with the settings.
    pub fn evaluation_mask(
        &self,
        input: &ModelInput,
        observe: Observer<'_>,
    ) -> Result<EvaluationMask, ModelError> {
        let config = &self.config;
        // Plain tensors, so that nothing is kept for a backward pass that never comes.
        let FrozenGenerator {
            embedding,
            generator,
        } = self.frozen.valid();
        let input = input.without_autodiff();
        let embedded = embedding.generator_input(&input, config.generator_input);
        let logits = generator.forward(embedded, observe)?;
        let mean = config.mask.mean(logits, &input, config.promoter)?;
        let forced = input.forced(config.promoter)?;
        let mask = top_fraction(&mean, &forced, config.top_fraction)?;
        Ok(EvaluationMask { mask, mean })
    }

    /// Predicts expression, `[batch, 1]`, with a mask that is given.
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
        let own = self.predictor.own_backbone();
        self.predictor
            .forward(&self.embedding, own, input, mask, observe)
    }
}
