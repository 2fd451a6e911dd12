//! HyenaDNA: gated long convolutions with implicit filters on the sequence.

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use kernels::{HyenaArguments, hyena_operator};
use serde::{Deserialize, Serialize};

use crate::config::positive;
use crate::dropout::{DropoutSite, dropout};
use crate::error::ModelError;
use crate::head::ExpressionHead;
use crate::initialization::{Initializer, kaiming_bound};
use crate::input::ModelInput;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::network::{Observer, Pass};
use crate::token_embedding::TokenEmbedding;

/// Settings of a HyenaDNA regressor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HyenaConfig {
    /// Width of the residual stream; 128. Released name: `d_model`.
    pub d_model: usize,
    /// Blocks; 4. Released name: `n_layer`.
    pub n_layer: usize,
    /// Width inside each block's feed-forward part; 512. Released name: `d_inner`.
    pub d_inner: usize,
    /// Central bases that are pooled, in bp; 2,000. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base, which the data must have and this network ignores; 3. Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// Width of the network that makes the filters; 64. Released name: `layer.filter_order`.
    pub filter_order: usize,
    /// Features of a position that it reads: the position, and the real and imaginary parts of (n - 1) / 2 waves; 5.
    /// Released name: `layer.emb_dim`.
    pub filter_features: usize,
    /// Initial frequency of its sines; 10. Released name: `layer.w`.
    pub filter_frequency: f32,
    /// Length over which its features run, in bp, at least that of the window; 0 = the window's length + 2, as
    /// published. Released name: `layer.l_max`.
    pub filter_length: usize,
    /// Width of the short convolution, in bases; 3. Released name: `layer.local_order`.
    pub d_short: usize,
    /// Share of the embedding that a training pass sets to 0; 0.1. Released name: `embed_dropout`.
    pub embedding_dropout: f64,
}

impl HyenaConfig {
    /// The published HyenaDNA baseline.
    pub fn published() -> Self {
        Self {
            d_model: 128,
            n_layer: 4,
            d_inner: 512,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
            filter_order: 64,
            filter_features: 5,
            filter_frequency: 10.0,
            filter_length: 0,
            d_short: 3,
            embedding_dropout: 0.1,
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (field, value) in [
            ("d_model", self.d_model),
            ("n_layer", self.n_layer),
            ("d_inner", self.d_inner),
            ("promoter", self.promoter),
            ("filter_order", self.filter_order),
            ("d_short", self.d_short),
        ] {
            positive(&mut problems, field, value);
        }
        if self.filter_features < 3 || self.filter_features.is_multiple_of(2) {
            problems.push(format!(
                "filter_features is {}; it must be odd and at least 3",
                self.filter_features
            ));
        }
        if !self.filter_frequency.is_finite() {
            problems.push(format!(
                "filter_frequency is {}; it must be finite",
                self.filter_frequency
            ));
        }
        if !(0.0..1.0).contains(&self.embedding_dropout) {
            problems.push(format!(
                "embedding_dropout is {}; it must be at least 0 and below 1",
                self.embedding_dropout
            ));
        }
        problems
    }
}

/// Standard deviation of initial weights. Released name: `initializer_range`.
const INITIAL_SD: f64 = 0.02;

/// Decay that the slowest and the fastest channel's filter reaches at this part of the filter's length.
///
/// Released names: `slow_decay_pct`, `fast_decay_pct`; both reach `target` = 0.01 there.
const DECAY_AT: [f64; 2] = [1.5, 0.3];
const DECAY_TARGET: f64 = 1e-2;

/// The filter of every channel as a small network's function of the position.
#[derive(Module, Debug)]
pub struct HyenaFilter {
    /// From the position's features.
    pub hidden1: Linear,
    /// Between sines.
    pub hidden2: Linear,
    /// Between sines.
    pub hidden3: Linear,
    /// Frequency of all three sines, `[filter_order]`.
    pub frequency: Param<Tensor<1>>,
    /// `[d_model, filter_order]`.
    pub output: Param<Tensor<2>>,
}

impl HyenaFilter {
    fn init(config: &HyenaConfig, initializer: &Initializer<'_>) -> Self {
        let order = config.filter_order;
        let hidden =
            |n_in, name| Linear::init_normal(n_in, order, INITIAL_SD, &initializer.at(name));
        Self {
            hidden1: hidden(config.filter_features, "hidden1"),
            hidden2: hidden(order, "hidden2"),
            hidden3: hidden(order, "hidden3"),
            frequency: initializer.fill([order], |_| config.filter_frequency),
            output: initializer.normal("output", [config.d_model, order], INITIAL_SD),
        }
    }

    /// The filters, `[length, d_model]`.
    fn forward(&self, positions: &Positions) -> Tensor<2> {
        let frequency = self.frequency.val().unsqueeze_dim::<2>(0);
        let sine = |x: Tensor<2>| (x * frequency.clone()).sin();
        let apply = |linear: &Linear, x: Tensor<2>| {
            x.matmul(linear.weight.val().transpose()) + linear.bias.val().unsqueeze_dim::<2>(0)
        };
        let x = sine(apply(&self.hidden1, positions.features.clone()));
        let x = sine(apply(&self.hidden2, x));
        let x = sine(apply(&self.hidden3, x));
        x.matmul(self.output.val().transpose()) * positions.decay.clone()
    }
}

/// What the filters know of a position before any parameter.
struct Positions {
    /// `[length, filter_features]`.
    features: Tensor<2>,
    /// `[length, d_model]`.
    decay: Tensor<2>,
}

impl Positions {
    fn new(config: &HyenaConfig, length: usize, device: &Device) -> Self {
        let period = match config.filter_length {
            0 => length + 2,
            period => period,
        };
        let (n_features, d_model) = (config.filter_features, config.d_model);
        let features = position_features(period, n_features, length);
        let rates = decay_rates(d_model);
        let decay = (0..length).flat_map(|t| {
            let t = relative_position(t, period);
            rates.iter().map(move |rate| (-t * rate.abs()).exp())
        });
        let tensor = |values: Vec<f32>, width| {
            Tensor::<2>::from_data(TensorData::new(values, [length, width]), device)
        };
        Self {
            decay: tensor(decay.collect(), d_model),
            features: tensor(features, n_features),
        }
    }
}

/// Part of the filter's length before position `t`.
pub(crate) fn relative_position(t: usize, period: usize) -> f32 {
    (t as f64 / (period - 1) as f64) as f32
}

/// Features of the first `length` positions, row-major: the relative position, then cosines, then negated sines.
///
/// In the released code's single-precision steps: a wave of 200,000 positions differs in the seventh digit.
pub(crate) fn position_features(period: usize, n_features: usize, length: usize) -> Vec<f32> {
    let n_waves = (n_features - 1) / 2;
    let frequency = |wave: usize| -> f32 {
        let (first, last) = (1e-4, (n_waves - 1) as f64);
        match n_waves {
            1 => first as f32,
            n => (first + (last - first) * wave as f64 / (n - 1) as f64) as f32,
        }
    };
    let mut features = Vec::with_capacity(length * n_features);
    for t in 0..length {
        let phase = std::f32::consts::TAU * t as f32 / period as f32;
        let angles = (0..n_waves).map(|wave| f64::from(frequency(wave) * phase));
        features.push(relative_position(t, period));
        features.extend(angles.clone().map(|angle| angle.cos() as f32));
        features.extend(angles.map(|angle| -angle.sin() as f32));
    }
    features
}

/// Exponential decay of each channel's filter over its whole length, slowest first; negative.
pub(crate) fn decay_rates(d_model: usize) -> Vec<f32> {
    let [slowest, fastest] = DECAY_AT.map(|part| DECAY_TARGET.ln() / part);
    let step = (fastest - slowest) / (d_model.max(2) - 1) as f64;
    (0..d_model)
        .map(|channel| (slowest + step * channel as f64) as f32)
        .collect()
}

/// Projection, short convolution, gates and long convolution.
#[derive(Module, Debug)]
pub struct HyenaMixer {
    /// `d_model` to output gate, input gate and value.
    pub in_proj: Linear,
    /// Causal depthwise convolution, `[3 d_model, d_short]`; the last column weighs the current base.
    pub short_weight: Param<Tensor<2>>,
    /// `[3 d_model]`.
    pub short_bias: Param<Tensor<1>>,
    /// The long filters.
    pub filter: HyenaFilter,
    /// Weight of the gated value itself, `[d_model]`.
    pub skip: Param<Tensor<1>>,
    /// `d_model` to `d_model`.
    pub out_proj: Linear,
}

/// `x + Mixer(LayerNorm(x))`, then `x + MLP(LayerNorm(x))`.
#[derive(Module, Debug)]
pub struct HyenaBlock {
    /// Before the mixer.
    pub norm1: LayerNorm,
    /// Between positions.
    pub mixer: HyenaMixer,
    /// Before the feed-forward part.
    pub norm2: LayerNorm,
    /// `d_model` to `d_inner`, followed by GELU.
    pub hidden: Linear,
    /// `d_inner` to `d_model`.
    pub output: Linear,
}

impl HyenaBlock {
    fn init(config: &HyenaConfig, initializer: &Initializer<'_>) -> Self {
        let d_model = config.d_model;
        // Two residual additions per block: GPT-2's scaling of what is added to the stream.
        let residual_sd = INITIAL_SD / (2.0 * config.n_layer as f64).sqrt();
        let mixer = initializer.at("mixer");
        let short = kaiming_bound(config.d_short);
        Self {
            norm1: LayerNorm::init(d_model, initializer),
            mixer: HyenaMixer {
                in_proj: Linear::init_normal(
                    d_model,
                    3 * d_model,
                    INITIAL_SD,
                    &mixer.at("in_proj"),
                ),
                short_weight: mixer.uniform("short_weight", [3 * d_model, config.d_short], short),
                short_bias: mixer.uniform("short_bias", [3 * d_model], short),
                filter: HyenaFilter::init(config, &mixer.at("filter")),
                skip: mixer.normal("skip", [d_model], 1.0),
                out_proj: Linear::init_normal(d_model, d_model, residual_sd, &mixer.at("out_proj")),
            },
            norm2: LayerNorm::init(d_model, initializer),
            hidden: Linear::init_normal(
                d_model,
                config.d_inner,
                INITIAL_SD,
                &initializer.at("hidden"),
            ),
            output: Linear::init_normal(
                config.d_inner,
                d_model,
                residual_sd,
                &initializer.at("output"),
            ),
        }
    }

    fn forward(&self, x: Tensor<3>, positions: &Positions) -> Result<Tensor<3>, ModelError> {
        let mixer = &self.mixer;
        let mixed = hyena_operator(HyenaArguments {
            x: mixer.in_proj.forward_rows(self.norm1.forward(x.clone())),
            short_weight: mixer.short_weight.val(),
            short_bias: mixer.short_bias.val(),
            filter: mixer.filter.forward(positions),
            skip: mixer.skip.val(),
        })?;
        let x = x + mixer.out_proj.forward_rows(mixed);
        let hidden = self.hidden.forward_rows(self.norm2.forward(x.clone()));
        Ok(x + self.output.forward_rows(gelu(hidden)))
    }
}

/// GELU in the form with tanh, (x / 2) (1 + tanh z) = x σ(2 z) where z = √(2 / π) (x + 0.044715 x³): one exponential a
/// value in the place of a power and a tanh.
fn gelu(x: Tensor<3>) -> Tensor<3> {
    let cube = x.clone() * x.clone() * x.clone();
    let z = x.clone() + cube * 0.044715;
    x * sigmoid(z * (2.0 * (2.0 / std::f64::consts::PI).sqrt()))
}

/// Predicts expression from the sequence alone.
///
/// # Reference
/// Nguyen et al. 2023, arXiv 2306.15794; HazyResearch/hyena-dna
#[derive(Module, Debug)]
pub struct Hyena {
    /// Vectors of the bases.
    pub embedding: TokenEmbedding,
    /// The blocks, in order.
    pub blocks: Vec<HyenaBlock>,
    /// After the last block.
    pub norm: LayerNorm,
    /// Pooled promoter and features to expression.
    pub head: ExpressionHead,
    #[module(skip)]
    config: HyenaConfig,
}

impl Hyena {
    /// Draws the parameters.
    pub fn init(config: &HyenaConfig, initializer: &Initializer<'_>) -> Self {
        let blocks = initializer.at("blocks");
        Self {
            embedding: TokenEmbedding::init(config.d_model, &initializer.at("embedding")),
            blocks: (0..config.n_layer)
                .map(|index| HyenaBlock::init(config, &blocks.at(index)))
                .collect(),
            norm: LayerNorm::init(config.d_model, initializer),
            head: ExpressionHead::init_biased(
                config.d_model,
                config.d_model,
                config.n_features,
                &initializer.at("head"),
            ),
            config: config.clone(),
        }
    }

    /// The settings this network was built from.
    pub fn config(&self) -> &HyenaConfig {
        &self.config
    }

    /// Predicts expression, `[batch, 1]`; `observe` sees the residual stream as `backbone.<block>`.
    ///
    /// # Errors
    /// [`ModelError::FilterLength`] for a window longer than the filters; [`ModelError::Shape`] when the input disagrees
    /// with the settings.
    pub fn forward(
        &self,
        input: &ModelInput,
        pass: &Pass,
        observe: Observer<'_>,
    ) -> Result<Tensor<2>, ModelError> {
        let length = input.length();
        if self.config.filter_length != 0 && self.config.filter_length < length {
            return Err(ModelError::FilterLength {
                length,
                filter_length: self.config.filter_length,
            });
        }
        let positions = Positions::new(&self.config, length, &input.device());
        let embedded = self.embedding.forward(input);
        let mut x = dropout(
            embedded,
            self.config.embedding_dropout,
            DropoutSite(0),
            pass,
        );
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, &positions)?;
            observe.see(&format!("backbone.{index}"), &x);
        }
        let [batch, _, d_model] = x.dims();
        let x = x.slice([0..batch, input.promoter(self.config.promoter)?, 0..d_model]);
        let pooled = self.norm.forward(x).mean_dim(1).squeeze_dim::<2>(1);
        Ok(self.head.forward(pooled, input.features.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_is_burns_form_with_tanh_and_its_slope() {
        let device = Device::flex().autodiff();
        let values = [-30.0_f32, -3.0, -0.7, -1e-3, 0.0, 1e-3, 0.4, 2.5, 30.0];
        let of = |form: fn(Tensor<3>) -> Tensor<3>| {
            let x = Tensor::<3>::from_data([[values]], &device).require_grad();
            let y = form(x.clone());
            let slope = x.grad(&y.clone().sum().backward()).expect("x is tracked");
            [y, slope].map(|t| t.into_data().try_to_vec::<f32>().expect("floats"))
        };
        let (found, expected) = (of(gelu), of(burn::tensor::activation::gelu_approximate));
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6 * expected.abs().max(1.0));
        }
    }

    #[test]
    fn init_scales_what_is_added_to_the_stream_by_depth() {
        let device = Device::flex();
        let config = HyenaConfig {
            d_model: 64,
            d_inner: 96,
            n_layer: 8,
            ..HyenaConfig::published()
        };
        let block = HyenaBlock::init(&config, &Initializer::new(2, &device));
        // 0.02, and 0.02 / sqrt(2 * 8) = 0.005; of 4,096 draws and more, whose standard deviation has a relative error
        // of 1 / sqrt(2 * 4096) = 1.1 %.
        for (linear, expected) in [
            (&block.mixer.in_proj, 0.02),
            (&block.mixer.out_proj, 0.005),
            (&block.hidden, 0.02),
            (&block.output, 0.005),
        ] {
            let values = linear.weight.val().into_data().try_to_vec::<f32>().unwrap();
            let square: f32 = values.iter().map(|value| value * value).sum();
            let sd = (square / values.len() as f32).sqrt();
            assert!((sd / expected - 1.0).abs() < 0.06, "{sd}, not {expected}");
        }
    }

    #[test]
    fn decay_rates_reach_one_hundredth_where_published() {
        // exp(rate * 1.5) = 0.01 for the slowest, exp(rate * 0.3) = 0.01 for the fastest channel.
        let rates = decay_rates(32);
        assert!(((f64::from(rates[0]) * 1.5).exp() - 0.01).abs() < 1e-6);
        assert!(((f64::from(rates[31]) * 0.3).exp() - 0.01).abs() < 1e-6);
        assert_eq!(decay_rates(1).len(), 1);
    }

    #[test]
    fn position_features_of_a_short_period_match_hand_computation() {
        // Period 4, waves 1e-4 and 1: at t = 1 the phase is a quarter turn.
        let features = position_features(4, 5, 3);
        let expected = [1.0 / 3.0, 1.0, 0.0, -1.570_796e-4, -1.0];
        for (found, expected) in features[5..10].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(features[..5], [0.0, 1.0, 1.0, -0.0, -0.0]);
    }
}
