//! Prism: Caduceus on sequence and tracks, trained so that reweighting the tracks leaves the prediction alone.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::module::{conv1d, max_pool1d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use kernels::ShapeError;
use serde::{Deserialize, Serialize};

use crate::batch_norm::{BatchNorm, Statistics};
use crate::caduceus::Backbone;
use crate::config::{InitializationConfig, MambaConfig, OutProjLayers, positive};
use crate::error::ModelError;
use crate::head::{ExpressionHead, normed_mean};
use crate::initialization::{Initializer, kaiming_bound};
use crate::input::ModelInput;
use crate::linear::{Linear, project};
use crate::network::{Intervention, Observer, Output, Pass};

/// Settings of Prism.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrismConfig {
    /// Width of the residual stream; 128. Released name: `d_model`.
    pub d_model: usize,
    /// BiMamba blocks; 4. Released name: `n_layer`.
    pub n_layer: usize,
    /// Central bases that are pooled, in bp; 2,000, the whole window. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base; 3. Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// Context vectors per gene; 2. Released name: `n_context`.
    pub n_context: usize,
    /// Channels of the first of three convolutions over the tracks, doubled by each next; 32, ours: the published value
    /// is not known. Released name: `cnn_dim`.
    pub context_channels: usize,
    /// Weight of the intervened prediction's loss; 1. Released name: `intervention_loss_weight`.
    pub intervention_weight: f64,
    /// The Mamba block.
    pub mamba: MambaConfig,
    /// Initial weights.
    pub initialization: InitializationConfig,
}

impl PrismConfig {
    /// The published Prism, for windows of 2,000 bp.
    pub fn published() -> Self {
        Self {
            d_model: 128,
            n_layer: 4,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
            n_context: 2,
            context_channels: 32,
            intervention_weight: 1.0,
            mamba: MambaConfig::default(),
            initialization: InitializationConfig::with_layers(OutProjLayers::Own),
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (field, value) in [
            ("d_model", self.d_model),
            ("n_layer", self.n_layer),
            ("promoter", self.promoter),
            ("n_tracks", self.n_tracks),
            ("n_context", self.n_context),
            ("context_channels", self.context_channels),
        ] {
            positive(&mut problems, field, value);
        }
        if !(self.intervention_weight.is_finite() && self.intervention_weight >= 0.0) {
            problems.push(format!(
                "intervention_weight is {}; it must be finite and not negative",
                self.intervention_weight
            ));
        }
        self.mamba.add_problems(&mut problems);
        self.initialization.add_problems(&mut problems);
        problems
    }
}

/// Positions that each of the three poolings joins into one.
const POOL: usize = 4;

/// Kernel sizes of the convolutions over the tracks.
const KERNELS: [usize; 3] = [7, 5, 3];

/// Shortest window that three poolings leave something of, in bp.
pub(crate) const SHORTEST: usize = POOL * POOL * POOL;

/// Temperature of the uniformity loss.
const TEMPERATURE: f64 = 2.0;

/// A convolution with its bias and the normalisation after it.
#[derive(Module, Debug)]
pub struct NormedConvolution {
    /// `[channels_out, channels_in, kernel]`.
    pub weight: Param<Tensor<3>>,
    /// `[channels_out]`.
    pub bias: Param<Tensor<1>>,
    /// Of the output's channels.
    pub norm: BatchNorm,
}

impl NormedConvolution {
    fn init(n_in: usize, n_out: usize, kernel: usize, initializer: &Initializer<'_>) -> Self {
        let bound = kaiming_bound(n_in * kernel);
        Self {
            weight: initializer.uniform("weight", [n_out, n_in, kernel], bound),
            bias: initializer.uniform("bias", [n_out], bound),
            norm: BatchNorm::init(n_out, initializer),
        }
    }
}

/// From a gene's tracks to weights of its signal embedding's channels, one vector per context.
#[derive(Module, Debug)]
pub struct ContextGenerator {
    /// Each followed by ReLU and a maximum over four positions.
    pub convolutions: Vec<NormedConvolution>,
    /// From the mean over positions to `d_model n_context` weights, followed by the logistic function.
    pub output: Linear,
}

impl ContextGenerator {
    fn init(config: &PrismConfig, initializer: &Initializer<'_>) -> Self {
        let mut n_in = config.n_tracks;
        let convolutions = initializer.at("convolutions");
        let convolutions = KERNELS.into_iter().enumerate().map(|(index, kernel)| {
            let n_out = config.context_channels << index;
            let layer = NormedConvolution::init(n_in, n_out, kernel, &convolutions.at(index));
            n_in = n_out;
            layer
        });
        let convolutions: Vec<_> = convolutions.collect();
        let n_weights = config.d_model * config.n_context;
        Self {
            output: Linear::init(n_in, n_weights, &initializer.at("output")),
            convolutions,
        }
    }

    /// The weights, each in (0, 1): `[batch, d_model, n_context]`.
    fn forward(
        &self,
        tracks: Tensor<3>,
        n_context: usize,
        statistics: &mut Statistics<'_>,
    ) -> Tensor<3> {
        let mut x = tracks.swap_dims(1, 2);
        for (index, layer) in self.convolutions.iter().enumerate() {
            let [_, _, kernel] = layer.weight.dims();
            let options = ConvOptions::new([1], [kernel / 2], [1], 1);
            x = conv1d(x, layer.weight.val(), Some(layer.bias.val()), options);
            let name = format!("context.convolutions.{index}.norm");
            x = relu(layer.norm.forward(x, &name, statistics));
            x = max_pool1d(x, MaxPoolOptions::new([POOL]));
        }
        let weights = self.output.forward(x.mean_dim(2).squeeze_dim::<2>(2));
        let [batch, n_weights] = weights.dims();
        sigmoid(weights).reshape([batch, n_weights / n_context, n_context])
    }
}

/// Predicts expression from sequence and tracks.
///
/// # Reference
/// Prism, ICLR 2026, arXiv 2602.21550
#[derive(Module, Debug)]
pub struct Prism {
    /// From the one-hot base.
    pub sequence: Linear,
    /// From the track values.
    pub tracks: Linear,
    /// Weights of the interventions; only training uses them.
    pub context: ContextGenerator,
    /// The blocks.
    pub backbone: Backbone,
    /// Pooled promoter and features to expression.
    pub head: ExpressionHead,
    #[module(skip)]
    config: PrismConfig,
}

impl Prism {
    /// Draws the parameters.
    pub fn init(config: &PrismConfig, initializer: &Initializer<'_>) -> Self {
        let d_model = config.d_model;
        Self {
            sequence: Linear::init(4, d_model, &initializer.at("sequence")),
            tracks: Linear::init(config.n_tracks, d_model, &initializer.at("tracks")),
            context: ContextGenerator::init(config, &initializer.at("context")),
            backbone: Backbone::init(
                d_model,
                config.n_layer,
                &config.mamba,
                &config.initialization,
                &initializer.at("backbone"),
            ),
            head: ExpressionHead::init(d_model, config.n_features, &initializer.at("head")),
            config: config.clone(),
        }
    }

    /// The settings this network was built from.
    pub fn config(&self) -> &PrismConfig {
        &self.config
    }

    /// Runs the network: the plain branch alone in an evaluation pass, else the intervened ones beside it.
    ///
    /// `observe` sees the residual stream as `backbone.<block>`.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the input disagrees with the settings.
    pub fn forward(
        &self,
        input: &ModelInput,
        pass: &Pass,
        observe: Observer<'_>,
    ) -> Result<Output, ModelError> {
        if matches!(pass, Pass::Evaluate) {
            let (sequence, tracks) = self.embed(input);
            let pooled = self.pool(sequence + tracks, input, observe)?;
            return Ok(Output::plain(
                self.head.forward(pooled, input.features.clone()),
            ));
        }
        let mut found = Vec::new();
        let mut output = self.intervene(input, Statistics::Batch(&mut found), observe)?;
        output.statistics = found;
        Ok(output)
    }

    /// Runs the plain branch and the intervened ones with the running statistics.
    ///
    /// # Errors
    /// As [`Prism::forward`].
    pub fn evaluate_intervened(
        &self,
        input: &ModelInput,
        observe: Observer<'_>,
    ) -> Result<Output, ModelError> {
        self.intervene(input, Statistics::Running, observe)
    }

    fn embed(&self, input: &ModelInput) -> (Tensor<3>, Tensor<3>) {
        (
            project(input.sequence_columns(), self.sequence.augmented()),
            self.tracks.forward_rows(input.tracks.clone()),
        )
    }

    fn pool(
        &self,
        x: Tensor<3>,
        input: &ModelInput,
        observe: Observer<'_>,
    ) -> Result<Tensor<2>, ModelError> {
        let promoter = input.promoter(self.config.promoter)?;
        let x = self
            .backbone
            .stream_at(x, None, promoter, "backbone", observe)?;
        Ok(normed_mean(x, self.backbone.norm_weight.val()))
    }

    fn intervene(
        &self,
        input: &ModelInput,
        mut statistics: Statistics<'_>,
        observe: Observer<'_>,
    ) -> Result<Output, ModelError> {
        let (batch, length) = (input.batch(), input.length());
        if length < SHORTEST {
            return Err(ModelError::Shape(ShapeError::Size {
                op: "prism",
                argument: "tracks",
                axis: "length",
                found: length,
                requirement: "it must be at least 64, which three poolings of 4 join into one",
            }));
        }
        let (n_context, d_model) = (self.config.n_context, self.config.d_model);
        let tracks = input.tracks.clone();
        let contexts = self.context.forward(tracks, n_context, &mut statistics);
        observe.see("contexts", &contexts);
        let (sequence, tracks) = self.embed(input);
        // Rows of one gene: the plain branch, then one per context.
        let mut branches = vec![sequence.clone() + tracks.clone()];
        for context in 0..n_context {
            let weight = contexts
                .clone()
                .slice([0..batch, 0..d_model, context..context + 1]);
            branches.push(sequence.clone() + tracks.clone() * weight.swap_dims(1, 2));
        }
        let n_branches = branches.len();
        let x = Tensor::stack::<4>(branches, 1).reshape([batch * n_branches, length, d_model]);
        let pooled = self
            .pool(x, input, observe)?
            .reshape([batch, n_branches, d_model]);
        let plain = pooled.clone().slice([0..batch, 0..1, 0..d_model]);
        let intervened = pooled.slice([0..batch, 1..n_branches, 0..d_model]);
        let predict = |pooled: Tensor<3>| {
            let pooled = pooled.mean_dim(1).squeeze_dim::<2>(1);
            self.head.forward(pooled, input.features.clone())
        };
        let mut output = Output::plain(predict(plain));
        output.intervention = Some(Intervention {
            prediction: predict(intervened),
            weight: self.config.intervention_weight,
            uniformity: uniformity(contexts),
        });
        Ok(output)
    }
}

/// How close a gene's contexts lie to each other: the mean over genes of log Σ_ij exp(-t |u_i - u_j|²), with u the
/// contexts scaled to length 1 and t = 2; lower is farther apart.
///
/// # Shapes
/// - `contexts`: `[batch, d_model, n_context]`; output: `[1]`
fn uniformity(contexts: Tensor<3>) -> Tensor<1> {
    let norm = contexts.clone().square().sum_dim(1).sqrt();
    let unit: Tensor<3> = contexts / norm.clamp_min(1e-12);
    // |u_i - u_j|² = 2 - 2 u_i u_j.
    let cosine = unit.clone().swap_dims(1, 2).matmul(unit);
    let [batch, n_context, _] = cosine.dims();
    let closeness = ((cosine - 1.0) * (2.0 * TEMPERATURE)).exp();
    closeness
        .reshape([batch, n_context * n_context])
        .sum_dim(1)
        .log()
        .mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn uniformity_of_two_genes_matches_hand_computation() {
        // Gene 0: (3, 0) and (0, 2), at a right angle, squared distance 2. Gene 1: (1, 1) twice, distance 0.
        let contexts = TensorData::from([[[3.0_f32, 0.0], [0.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]]);
        let found = uniformity(Tensor::from_data(contexts, &Device::flex())).into_scalar::<f32>();
        let expected = ((2.0 + 2.0 * (-4.0_f32).exp()).ln() + 4.0_f32.ln()) / 2.0;
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}
