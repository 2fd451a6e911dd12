//! Enformer with an expression head: convolutions, then attention over 128 bp bins, on the sequence alone.

use burn::module::{Module, Param};
use burn::tensor::activation::{relu, sigmoid, softmax};
use burn::tensor::module::conv1d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};

use crate::batch_norm::{BatchNorm, Statistics};
use crate::dropout::{DropoutSite, dropout};
use crate::error::ModelError;
use crate::head::ExpressionHead;
use crate::initialization::{Initializer, kaiming_bound};
use crate::input::ModelInput;
use crate::layer_norm::LayerNorm;
use crate::linear::{Linear, project};
use crate::network::{Observer, Output, Pass};

mod config;
pub use config::EnformerConfig;

/// Kernel sizes of the first convolution and of those that halve.
const STEM_KERNEL: usize = 15;
const TOWER_KERNEL: usize = 5;

/// Half-life of the fastest of the exponential position features, in bins.
const SHORTEST_HALF_LIFE_LOG2: f64 = 3.0;

/// x σ(1.702 x), Enformer's approximation of GELU.
fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * sigmoid(x * 1.702)
}

/// Batch normalisation, GELU, convolution.
#[derive(Module, Debug)]
pub struct ConvolutionBlock {
    /// Before the convolution.
    pub norm: BatchNorm,
    /// `[channels_out, channels_in, kernel]`.
    pub weight: Param<Tensor<3>>,
    /// `[channels_out]`.
    pub bias: Param<Tensor<1>>,
}

impl ConvolutionBlock {
    fn init(n_in: usize, n_out: usize, kernel: usize, initializer: &Initializer<'_>) -> Self {
        let (weight, bias) = convolution(n_in, n_out, kernel, initializer);
        Self {
            norm: BatchNorm::init(n_in, initializer),
            weight,
            bias,
        }
    }

    /// `name` is this block's path; shapes `[batch, channels, length]`.
    fn forward(&self, x: Tensor<3>, name: &str, statistics: &mut Statistics<'_>) -> Tensor<3> {
        let x = quick_gelu(self.norm.forward(x, &format!("{name}.norm"), statistics));
        convolve(x, &self.weight, &self.bias)
    }
}

fn convolution(
    n_in: usize,
    n_out: usize,
    kernel: usize,
    initializer: &Initializer<'_>,
) -> (Param<Tensor<3>>, Param<Tensor<1>>) {
    let bound = kaiming_bound(n_in * kernel);
    (
        initializer.uniform("weight", [n_out, n_in, kernel], bound),
        initializer.uniform("bias", [n_out], bound),
    )
}

/// A convolution that keeps the length.
fn convolve(x: Tensor<3>, weight: &Param<Tensor<3>>, bias: &Param<Tensor<1>>) -> Tensor<3> {
    let [_, _, kernel] = weight.dims();
    let options = ConvOptions::new([1], [kernel / 2], [1], 1);
    conv1d(x, weight.val(), Some(bias.val()), options)
}

/// Joins pairs of positions by a softmax over the pair, of logits that are a map of the channels.
///
/// # Shapes
/// - `x`: `[batch, channels, length]`; `weight`: `[channels, channels]`; output: `[batch, channels, length / 2]`
fn attention_pool(x: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let [batch, channels, length] = x.dims();
    let logits = weight.unsqueeze::<3>().matmul(x.clone());
    let pairs = |x: Tensor<3>| x.reshape([batch, channels, length / 2, 2]);
    let (x, logits) = (pairs(x), pairs(logits));
    let half = |x: &Tensor<4>, index: usize| {
        x.clone()
            .slice([0..batch, 0..channels, 0..length / 2, index..index + 1])
            .squeeze_dim::<3>(3)
    };
    // The softmax of two is the logistic function of their difference.
    let first = sigmoid(half(&logits, 0) - half(&logits, 1));
    half(&x, 1) + (half(&x, 0) - half(&x, 1)) * first
}

/// A convolution, a residual block and a pooling.
#[derive(Module, Debug)]
pub struct TowerLayer {
    /// To the layer's width.
    pub convolution: ConvolutionBlock,
    /// Added to its input.
    pub residual: ConvolutionBlock,
    /// Logits of the pooling, `[channels, channels]`.
    pub pool: Param<Tensor<2>>,
}

/// Attention with relative positions.
#[derive(Module, Debug)]
pub struct RelativeAttention {
    /// `[n_heads d_key, d_model]`.
    pub query: Param<Tensor<2>>,
    /// `[n_heads d_key, d_model]`.
    pub key: Param<Tensor<2>>,
    /// `[d_model, d_model]`.
    pub value: Param<Tensor<2>>,
    /// From position features to keys, `[n_heads d_key, d_model / n_heads]`.
    pub position_key: Param<Tensor<2>>,
    /// Added to queries of content, `[n_heads, d_key]`.
    pub content_bias: Param<Tensor<2>>,
    /// Added to queries of position, `[n_heads, d_key]`.
    pub position_bias: Param<Tensor<2>>,
    /// `d_model` to `d_model`; starts at 0.
    pub output: Linear,
}

/// `x + Attention(LayerNorm(x))`, then `x + MLP(LayerNorm(x))`.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Between bins.
    pub attention: RelativeAttention,
    /// Before the feed-forward part.
    pub norm2: LayerNorm,
    /// `d_model` to `2 d_model`, followed by ReLU.
    pub hidden: Linear,
    /// `2 d_model` to `d_model`.
    pub output: Linear,
}

impl RelativeAttention {
    fn init(config: &EnformerConfig, initializer: &Initializer<'_>) -> Self {
        let (d_model, n_features) = (config.d_model, config.n_position_features());
        let d_keys = config.n_heads * config.d_key;
        let map = |name, n_out, n_in| initializer.uniform(name, [n_out, n_in], kaiming_bound(n_in));
        Self {
            query: map("query", d_keys, d_model),
            key: map("key", d_keys, d_model),
            value: map("value", d_model, d_model),
            position_key: map("position_key", d_keys, n_features),
            content_bias: initializer.normal("content_bias", [config.n_heads, config.d_key], 1.0),
            position_bias: initializer.normal("position_bias", [config.n_heads, config.d_key], 1.0),
            output: Linear {
                weight: initializer.fill([d_model, d_model], |_| 0.0),
                bias: initializer.fill([d_model], |_| 0.0),
            },
        }
    }

    /// # Shapes
    /// - `x` and output: `[batch, n_bins, d_model]`; `positions`: `[2 n_bins - 1, d_model / n_heads]`
    fn forward(&self, x: Tensor<3>, positions: Tensor<2>) -> Tensor<3> {
        let [batch, n_bins, d_model] = x.dims();
        let [n_heads, d_key] = self.content_bias.dims();
        let heads = |x: Tensor<3>| {
            let [_, n_row, width] = x.dims();
            let x = x.reshape([batch, n_row, n_heads, width / n_heads]);
            x.swap_dims(1, 2)
        };
        let query = heads(project(x.clone(), self.query.val())) * (d_key as f64).powf(-0.5);
        let key = heads(project(x.clone(), self.key.val()));
        let value = heads(project(x, self.value.val()));
        let biased =
            |bias: &Param<Tensor<2>>| query.clone() + bias.val().reshape([1, n_heads, 1, d_key]);
        let content = biased(&self.content_bias).matmul(key.swap_dims(2, 3));
        let position_key = positions
            .matmul(self.position_key.val().transpose())
            .reshape([1, 2 * n_bins - 1, n_heads, d_key])
            .swap_dims(1, 2);
        let relative = biased(&self.position_bias).matmul(position_key.swap_dims(2, 3));
        let attention = softmax(content + by_offset(relative), 3);
        let mixed = attention.matmul(value).swap_dims(1, 2);
        self.output
            .forward_rows(mixed.reshape([batch, n_bins, d_model]))
    }
}

/// Turns logits by distance `-(n - 1) ..= n - 1` of every row into logits by column: column j of row i is distance
/// j - i.
///
/// # Shapes
/// - `x`: `[batch, n_heads, n, 2 n - 1]`; output: `[batch, n_heads, n, n]`
fn by_offset(x: Tensor<4>) -> Tensor<4> {
    let [batch, n_heads, n, width] = x.dims();
    // One column of zeros shifts each row by one more than the row above it when the rows are cut anew.
    let zeros = Tensor::zeros([batch, n_heads, n, 1], &x.device());
    let x = Tensor::cat(vec![zeros, x], 3).reshape([batch, n_heads, width + 1, n]);
    let x = x.slice([0..batch, 0..n_heads, 1..width + 1, 0..n]);
    x.reshape([batch, n_heads, n, width])
        .slice([0..batch, 0..n_heads, 0..n, 0..n])
}

/// Features of the distances `-(n - 1) ..= n - 1`, row-major: exponential decays, nested central windows and gamma
/// densities, then the same with the distance's sign.
///
/// # Reference
/// Avsec et al. 2021, supplementary methods; `get_positional_embed` of lucidrains/enformer-pytorch, whose gamma
/// densities are divided by the largest of their row
fn position_features(n: usize, n_features: usize) -> Vec<f32> {
    let n_each = n_features / 6;
    let linspace = |first: f64, last: f64, index: usize| match n_each {
        1 => first,
        count => first + (last - first) * index as f64 / (count - 1) as f64,
    };
    let length = n as f64;
    let deviation = length / (2 * n_each) as f64;
    let mut features = Vec::with_capacity((2 * n - 1) * n_features);
    for row in 0..2 * n - 1 {
        let signed = row as f64 - (length - 1.0);
        let distance = signed.abs();
        let exponential = (0..n_each).map(|index| {
            let half_life = linspace(SHORTEST_HALF_LIFE_LOG2, length.log2(), index).exp2();
            (-std::f64::consts::LN_2 / half_life * distance).exp()
        });
        let central = (0..n_each).map(|index| {
            let width = ((index + 1) as f64).exp2() - 1.0;
            f64::from(u8::from(width > distance))
        });
        let gamma: Vec<f64> = (0..n_each)
            .map(|index| {
                let mean = linspace(length / n_each as f64, length, index);
                let (shape, rate) = ((mean / deviation).powi(2), mean / deviation.powi(2));
                gamma_density(distance, shape, rate) + 1e-8
            })
            .collect();
        let largest = gamma
            .iter()
            .fold(0.0_f64, |largest, &value| largest.max(value));
        let gamma = gamma.into_iter().map(|value| value / largest);
        let unsigned: Vec<f64> = exponential.chain(central).chain(gamma).collect();
        let sign = if signed == 0.0 { 0.0 } else { signed.signum() };
        features.extend(unsigned.iter().map(|&value| value as f32));
        features.extend(unsigned.iter().map(|&value| (sign * value) as f32));
    }
    features
}

/// The gamma distribution's density; at 0 that of a shape above 1, which is 0.
fn gamma_density(x: f64, shape: f64, rate: f64) -> f64 {
    if x == 0.0 {
        return if shape == 1.0 { rate } else { 0.0 };
    }
    let log = (shape - 1.0) * x.ln() - rate * x - (log_gamma(shape) - shape * rate.ln());
    log.exp()
}

/// Logarithm of the gamma function above 0: Stirling's series, shifted to where it is exact to rounding.
fn log_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 16.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    // Bernoulli numbers B_2k / (2k (2k - 1)): 1/12, -1/360, 1/1260, -1/1680.
    let series =
        (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * (1.0 / 1260.0 - inverse / 1680.0))) / x;
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

/// Predicts expression from the central bases of the window.
///
/// # Reference
/// Avsec et al. 2021, "Effective gene expression prediction from sequence by integrating long-range interactions"
#[derive(Module, Debug)]
pub struct Enformer {
    /// First convolution, `[d_model / 2, 4, 15]`.
    pub stem_weight: Param<Tensor<3>>,
    /// `[d_model / 2]`.
    pub stem_bias: Param<Tensor<1>>,
    /// Added to the first convolution.
    pub stem_residual: ConvolutionBlock,
    /// Logits of the first pooling, `[d_model / 2, d_model / 2]`.
    pub stem_pool: Param<Tensor<2>>,
    /// The other convolutions.
    pub tower: Vec<TowerLayer>,
    /// Attention over bins.
    pub transformer: Vec<TransformerBlock>,
    /// To `2 d_model` channels, followed by GELU.
    pub last: ConvolutionBlock,
    /// Mean over bins and features to expression.
    pub head: ExpressionHead,
    #[module(skip)]
    config: EnformerConfig,
}

impl Enformer {
    /// Draws the parameters.
    pub fn init(config: &EnformerConfig, initializer: &Initializer<'_>) -> Self {
        let d_model = config.d_model;
        let widths = config.widths();
        // Twice the identity: the pooling starts near the larger of a pair.
        let pool = |channels: usize| {
            initializer.fill([channels, channels], |index| {
                if index / channels == index % channels {
                    2.0
                } else {
                    0.0
                }
            })
        };
        let (stem_weight, stem_bias) =
            convolution(4, widths[0], STEM_KERNEL, &initializer.at("stem"));
        let tower = initializer.at("tower");
        let tower = widths.windows(2).enumerate().map(|(index, pair)| {
            let tower = tower.at(index);
            TowerLayer {
                convolution: ConvolutionBlock::init(
                    pair[0],
                    pair[1],
                    TOWER_KERNEL,
                    &tower.at("convolution"),
                ),
                residual: ConvolutionBlock::init(pair[1], pair[1], 1, &tower.at("residual")),
                pool: pool(pair[1]),
            }
        });
        let blocks = initializer.at("transformer");
        let transformer = (0..config.n_layer).map(|index| {
            let block = blocks.at(index);
            TransformerBlock {
                norm1: LayerNorm::init(d_model, &block),
                attention: RelativeAttention::init(config, &block.at("attention")),
                norm2: LayerNorm::init(d_model, &block),
                hidden: Linear::init_biased(d_model, 2 * d_model, &block.at("hidden")),
                output: Linear::init_biased(2 * d_model, d_model, &block.at("output")),
            }
        });
        Self {
            stem_weight,
            stem_bias,
            stem_residual: ConvolutionBlock::init(
                widths[0],
                widths[0],
                1,
                &initializer.at("stem_residual"),
            ),
            stem_pool: pool(widths[0]),
            tower: tower.collect(),
            transformer: transformer.collect(),
            last: ConvolutionBlock::init(d_model, 2 * d_model, 1, &initializer.at("last")),
            head: ExpressionHead::init_biased(
                2 * d_model,
                config.d_head,
                config.n_features,
                &initializer.at("head"),
            ),
            config: config.clone(),
        }
    }

    /// The settings this network was built from.
    pub fn config(&self) -> &EnformerConfig {
        &self.config
    }

    /// Runs the network; `observe` sees the bins that are pooled as `embeddings`.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the window is shorter than the crop.
    pub fn forward(
        &self,
        input: &ModelInput,
        pass: &Pass,
        observe: Observer<'_>,
    ) -> Result<Output, ModelError> {
        let mut found = Vec::new();
        let mut statistics = match pass {
            Pass::Evaluate => Statistics::Running,
            _ => Statistics::Batch(&mut found),
        };
        let x = self.embed(input, pass, &mut statistics)?;
        observe.see("embeddings", &x);
        let pooled = x.mean_dim(1).squeeze_dim::<2>(1);
        let mut output = Output::plain(self.head.forward(pooled, input.features.clone()));
        output.statistics = found;
        Ok(output)
    }

    /// The bins that are pooled: `[batch, n_bins, 2 d_model]`.
    fn embed(
        &self,
        input: &ModelInput,
        pass: &Pass,
        statistics: &mut Statistics<'_>,
    ) -> Result<Tensor<3>, ModelError> {
        let crop = input.promoter(self.config.crop)?;
        let x = input.sequence.clone().slice([0..input.batch(), crop, 0..4]);
        let x = convolve(x.swap_dims(1, 2), &self.stem_weight, &self.stem_bias);
        let x = self
            .stem_residual
            .forward(x.clone(), "stem_residual", statistics)
            + x;
        let mut x = attention_pool(x, self.stem_pool.val());
        for (index, layer) in self.tower.iter().enumerate() {
            let name = |part: &str| format!("tower.{index}.{part}");
            x = layer
                .convolution
                .forward(x, &name("convolution"), statistics);
            x = layer
                .residual
                .forward(x.clone(), &name("residual"), statistics)
                + x;
            x = attention_pool(x, layer.pool.val());
        }
        let mut x = x.swap_dims(1, 2);
        let [batch, n_bins, d_model] = x.dims();
        let positions = self.positions(n_bins, &x.device());
        let rate = self.config.dropout;
        for (index, block) in self.transformer.iter().enumerate() {
            let site = |part: usize| DropoutSite(1 + 3 * index as u64 + part as u64);
            let mixed = block
                .attention
                .forward(block.norm1.forward(x.clone()), positions.clone());
            x = x + dropout(mixed, rate, site(0), pass);
            let hidden = block.hidden.forward_rows(block.norm2.forward(x.clone()));
            let hidden = relu(dropout(hidden, rate, site(1), pass));
            x = x + dropout(block.output.forward_rows(hidden), rate, site(2), pass);
        }
        let first = (n_bins - self.config.n_bins) / 2;
        let x = x.slice([0..batch, first..first + self.config.n_bins, 0..d_model]);
        let x = self.last.forward(x.swap_dims(1, 2), "last", statistics);
        let x = x.swap_dims(1, 2);
        Ok(quick_gelu(dropout(x, rate / 8.0, DropoutSite(0), pass)))
    }

    fn positions(&self, n_bins: usize, device: &Device) -> Tensor<2> {
        let n_features = self.config.n_position_features();
        let features = position_features(n_bins, n_features);
        Tensor::from_data(
            TensorData::new(features, [2 * n_bins - 1, n_features]),
            device,
        )
    }
}

#[cfg(test)]
mod tests;
