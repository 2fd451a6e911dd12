//! EPInformer: convolutions over the promoter and candidate enhancers, attention between them.

use burn::module::{Module, Param};
use burn::tensor::activation::{elu, relu, softmax};
use burn::tensor::module::{conv1d, max_pool1d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};

use crate::batch_norm::{BatchNorm, Statistics};
use crate::error::ModelError;
use crate::head::ExpressionHead;
use crate::initialization::{Initializer, kaiming_bound};
use crate::input::ModelInput;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::network::{Observer, Output, Pass};

mod candidates;
mod config;

pub use candidates::{Candidates, N_CANDIDATE_FEATURES};
pub use config::EpinformerConfig;

/// Channels of the first convolution and of the four that halve. Released name: `conv_dim`.
const CHANNELS: [usize; 5] = [256, 128, 64, 64, 128];

/// Kernel size of the first convolution.
const STEM_KERNEL: usize = 8;

/// Dilations of the convolutions of three positions without padding.
const DILATIONS: [usize; 3] = [2, 4, 6];

/// Channels of these, and of the map after them.
const REDUCED: [usize; 4] = [64, 64, 64, 32];

/// Positions that they lose: 2 x (2 + 4 + 6).
const LOST: usize = 24;

/// Bases that become one position.
const POOLED: usize = 16;

/// A logit whose exponential is 0.
const MASKED: f32 = -1e30;

/// A convolution with its bias.
#[derive(Module, Debug)]
pub struct Convolution {
    /// `[channels_out, channels_in, kernel]`.
    pub weight: Param<Tensor<3>>,
    /// `[channels_out]`.
    pub bias: Param<Tensor<1>>,
}

impl Convolution {
    fn init(n_in: usize, n_out: usize, kernel: usize, initializer: &Initializer<'_>) -> Self {
        let bound = kaiming_bound(n_in * kernel);
        Self {
            weight: initializer.uniform("weight", [n_out, n_in, kernel], bound),
            bias: initializer.uniform("bias", [n_out], bound),
        }
    }

    /// # Shapes
    /// - `x`: `[rows, channels_in, length]`
    fn forward(&self, x: Tensor<3>, padding: usize, dilation: usize) -> Tensor<3> {
        let options = ConvOptions::new([1], [padding], [dilation], 1);
        conv1d(x, self.weight.val(), Some(self.bias.val()), options)
    }
}

/// A convolution, its normalisation, ELU; in the tower also a maximum over two positions and a residual map.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Of three positions, or of one.
    pub convolution: Convolution,
    /// Of its channels.
    pub norm: BatchNorm,
    /// Added to the pooled channels after ELU; only in the tower.
    pub residual: Option<Convolution>,
}

impl EncoderLayer {
    fn init(n_in: usize, n_out: usize, kernel: usize, initializer: &Initializer<'_>) -> Self {
        Self {
            convolution: Convolution::init(n_in, n_out, kernel, &initializer.at("convolution")),
            norm: BatchNorm::init(n_out, initializer),
            residual: None,
        }
    }

    fn with_residual(self, initializer: &Initializer<'_>) -> Self {
        let [channels, ..] = self.convolution.weight.dims();
        Self {
            residual: Some(Convolution::init(
                channels,
                channels,
                1,
                &initializer.at("residual"),
            )),
            ..self
        }
    }

    /// `name` is this layer's path.
    fn forward(
        &self,
        x: Tensor<3>,
        padding: usize,
        dilation: usize,
        name: &str,
        statistics: &mut Statistics<'_>,
    ) -> Tensor<3> {
        let x = self.convolution.forward(x, padding, dilation);
        let x = elu(
            self.norm.forward(x, &format!("{name}.norm"), statistics),
            1.0,
        );
        match &self.residual {
            None => x,
            Some(residual) => {
                let x = max_pool1d(x, MaxPoolOptions::new([2]));
                elu(residual.forward(x.clone(), 0, 1), 1.0) + x
            }
        }
    }
}

/// `x + Attention(LayerNorm(x))`, then `x + MLP(LayerNorm(x))`.
#[derive(Module, Debug)]
pub struct AttentionLayer {
    /// Before attention.
    pub norm1: LayerNorm,
    /// `d_model` to queries, keys and values of every head.
    pub projection: Linear,
    /// Of the heads' outputs.
    pub output: Linear,
    /// Before the feed-forward part.
    pub norm2: LayerNorm,
    /// `d_model` to `4 d_model`, followed by ReLU.
    pub hidden1: Linear,
    /// `4 d_model` to `d_model`.
    pub hidden2: Linear,
}

impl AttentionLayer {
    fn init(d_model: usize, initializer: &Initializer<'_>) -> Self {
        let at = |name| initializer.at(name);
        // PyTorch's attention draws the stacked projection by Xavier's rule and starts its biases at 0.
        let bound = (6.0 / (4 * d_model) as f64).sqrt();
        Self {
            norm1: LayerNorm::init(d_model, initializer),
            projection: Linear {
                weight: at("projection").uniform("weight", [3 * d_model, d_model], bound),
                bias: at("projection").fill([3 * d_model], |_| 0.0),
            },
            output: Linear::init(d_model, d_model, &at("output")),
            norm2: LayerNorm::init(d_model, initializer),
            hidden1: Linear::init_biased(d_model, 4 * d_model, &at("hidden1")),
            hidden2: Linear::init_biased(4 * d_model, d_model, &at("hidden2")),
        }
    }

    /// Returns the elements and the attention between them, averaged over heads.
    ///
    /// # Shapes
    /// - `x` and first output: `[batch, n_elements, d_model]`
    /// - `logits`, added to every head's, and second output: `[batch, n_elements, n_elements]`
    fn forward(&self, x: Tensor<3>, logits: Tensor<3>, n_heads: usize) -> (Tensor<3>, Tensor<3>) {
        let [batch, n_elements, d_model] = x.dims();
        let d_head = d_model / n_heads;
        let projected = self.projection.forward_rows(self.norm1.forward(x.clone()));
        let part = |index: usize| {
            let columns = index * d_model..(index + 1) * d_model;
            let part = projected.clone().slice([0..batch, 0..n_elements, columns]);
            part.reshape([batch, n_elements, n_heads, d_head])
                .swap_dims(1, 2)
        };
        let (query, key, value) = (part(0), part(1), part(2));
        let similarity = (query * (d_head as f64).powf(-0.5)).matmul(key.swap_dims(2, 3));
        let attention = softmax(similarity + logits.unsqueeze_dim::<4>(1), 3);
        let mixed = attention
            .clone()
            .matmul(value)
            .swap_dims(1, 2)
            .reshape([batch, n_elements, d_model]);
        let x = self.output.forward_rows(mixed) + x;
        let hidden = relu(self.hidden1.forward_rows(self.norm2.forward(x.clone())));
        let x = x + self.hidden2.forward_rows(hidden);
        (x, attention.mean_dim(1).squeeze_dim::<3>(1))
    }
}

/// Predicts expression from the promoter and the candidate enhancers of a gene.
///
/// # Reference
/// Lin et al. 2024, "EPInformer"; `EPInformer_v2` of the released Seq2Exp code
#[derive(Module, Debug)]
pub struct Epinformer {
    /// First convolution over bases, of eight positions.
    pub stem: Convolution,
    /// Four layers, each of which halves the length.
    pub tower: Vec<EncoderLayer>,
    /// Three dilated convolutions and a map of the channels.
    pub reduction: Vec<EncoderLayer>,
    /// Over the positions that are left, followed by ELU.
    pub flatten: Linear,
    /// An element's vector and features to `d_model`, followed by ReLU.
    pub element1: Linear,
    /// `d_model` to `d_model`, followed by ReLU.
    pub element2: Linear,
    /// Between promoter and candidates.
    pub attention: Vec<AttentionLayer>,
    /// The promoter's vector and the messenger RNA's features to expression.
    pub head: ExpressionHead,
    #[module(skip)]
    config: EpinformerConfig,
}

impl Epinformer {
    /// Draws the parameters.
    pub fn init(config: &EpinformerConfig, initializer: &Initializer<'_>) -> Self {
        let d_model = config.d_model;
        let tower = initializer.at("tower");
        let tower = CHANNELS.windows(2).enumerate().map(|(index, pair)| {
            let layer = tower.at(index);
            EncoderLayer::init(pair[0], pair[1], 3, &layer).with_residual(&layer)
        });
        let reduction = initializer.at("reduction");
        let mut n_in = CHANNELS[4];
        let reduction = REDUCED.iter().enumerate().map(|(index, &n_out)| {
            let kernel = if index < DILATIONS.len() { 3 } else { 1 };
            let layer = EncoderLayer::init(n_in, n_out, kernel, &reduction.at(index));
            n_in = n_out;
            layer
        });
        let reduction = reduction.collect();
        let attention = initializer.at("attention");
        let element = |n_in, name| Linear::init_biased(n_in, d_model, &initializer.at(name));
        Self {
            stem: Convolution::init(4, CHANNELS[0], STEM_KERNEL, &initializer.at("stem")),
            tower: tower.collect(),
            reduction,
            flatten: Linear::init_biased(
                config.n_positions(),
                d_model / REDUCED[3],
                &initializer.at("flatten"),
            ),
            element1: element(d_model + N_CANDIDATE_FEATURES, "element1"),
            element2: element(d_model, "element2"),
            attention: (0..config.n_layer)
                .map(|index| AttentionLayer::init(d_model, &attention.at(index)))
                .collect(),
            head: ExpressionHead::init_biased(
                d_model,
                config.d_head,
                config.n_features,
                &initializer.at("head"),
            ),
            config: config.clone(),
        }
    }

    /// The settings this network was built from.
    pub fn config(&self) -> &EpinformerConfig {
        &self.config
    }

    /// Runs the network; `observe` sees `encoder` and `reduced` with one row per element, `elements`, and the attention
    /// of each layer, `attention.<layer>`.
    ///
    /// # Errors
    /// [`ModelError::NoCandidates`] for an input without them; [`ModelError::Shape`] when they disagree with the
    /// settings.
    pub fn forward(
        &self,
        input: &ModelInput,
        pass: &Pass,
        observe: Observer<'_>,
    ) -> Result<Output, ModelError> {
        let candidates = input.candidates.as_ref().ok_or(ModelError::NoCandidates)?;
        candidates.check(input.batch(), &self.config)?;
        let mut found = Vec::new();
        let mut statistics = match pass {
            Pass::Evaluate => Statistics::Running,
            _ => Statistics::Batch(&mut found),
        };
        let (sequence, features) = self.elements(input, candidates);
        let logits = attention_logits(&sequence);
        let mut x = self.embed(sequence, features, &mut statistics, &mut *observe);
        for (index, layer) in self.attention.iter().enumerate() {
            let (next, attention) = layer.forward(x, logits.clone(), self.config.n_heads);
            observe.see(&format!("attention.{index}"), &attention);
            x = next;
        }
        let [batch, _, d_model] = x.dims();
        let promoter = x.slice([0..batch, 0..1, 0..d_model]).squeeze_dim::<2>(1);
        let mut output = Output::plain(self.head.forward(promoter, input.features.clone()));
        output.statistics = found;
        Ok(output)
    }

    /// The promoter and, after it, the candidates, padded with zeros to their greatest number: batch normalisation counts
    /// the padding, as the released code does. The promoter's features are 0.
    ///
    /// # Shapes
    /// - outputs: `[batch, 1 + n_candidates, element_length, 4]` and `[batch, 1 + n_candidates, 3]`
    fn elements(&self, input: &ModelInput, candidates: &Candidates) -> (Tensor<4>, Tensor<3>) {
        let EpinformerConfig {
            element_length,
            n_candidates,
            ..
        } = self.config;
        let (batch, length, device) = (input.batch(), input.length(), input.device());
        // The centre of the window is the start site, as is that of the promoter's row.
        let n = length.min(element_length);
        let (first, place) = (length / 2 - n / 2, element_length / 2 - n / 2);
        let promoter = input
            .sequence
            .clone()
            .slice([0..batch, first..first + n, 0..4]);
        let promoter = Tensor::<3>::zeros([batch, element_length, 4], &device)
            .slice_assign([0..batch, place..place + n, 0..4], promoter);
        let [_, n_given, ..] = candidates.sequence.dims();
        let n_padding = n_candidates - n_given;
        let mut sequence = vec![promoter.unsqueeze_dim::<4>(1)];
        let mut features = vec![Tensor::zeros([batch, 1, N_CANDIDATE_FEATURES], &device)];
        if n_given > 0 {
            sequence.push(candidates.sequence.clone());
            features.push(candidates.features.clone());
        }
        if n_padding > 0 {
            sequence.push(Tensor::zeros(
                [batch, n_padding, element_length, 4],
                &device,
            ));
            features.push(Tensor::zeros(
                [batch, n_padding, N_CANDIDATE_FEATURES],
                &device,
            ));
        }
        (Tensor::cat(sequence, 1), Tensor::cat(features, 1))
    }

    /// One vector per element: `[batch, 1 + n_candidates, d_model]`.
    fn embed(
        &self,
        sequence: Tensor<4>,
        features: Tensor<3>,
        statistics: &mut Statistics<'_>,
        observe: Observer<'_>,
    ) -> Tensor<3> {
        let [batch, n_elements, length, _] = sequence.dims();
        let n_rows = batch * n_elements;
        let x = sequence.reshape([n_rows, length, 4]).swap_dims(1, 2);
        // An even kernel that keeps the length pads one position more on the right: one less of what both sides add.
        let x = self.stem.forward(x, STEM_KERNEL / 2, 1);
        let x = x.slice([0..n_rows, 0..CHANNELS[0], 1..length + 1]);
        let mut x = elu(x, 1.0);
        for (index, layer) in self.tower.iter().enumerate() {
            x = layer.forward(x, 1, 1, &format!("tower.{index}"), statistics);
        }
        observe.see("encoder", &x);
        for (index, layer) in self.reduction.iter().enumerate() {
            let dilation = DILATIONS.get(index).copied().unwrap_or(1);
            x = layer.forward(x, 0, dilation, &format!("reduction.{index}"), statistics);
        }
        let x = elu(self.flatten.forward_rows(x), 1.0);
        observe.see("reduced", &x);
        let x = x.reshape([batch, n_elements, self.config.d_model]);
        let x = relu(
            self.element1
                .forward_rows(Tensor::cat(vec![x, features], 2)),
        );
        let x = relu(self.element2.forward_rows(x));
        observe.see("elements", &x);
        x
    }
}

/// What is added to the logits of attention: 0 between an element and itself or the promoter, no attention elsewhere and
/// to an element without a base. The promoter always has attention, so that no row is without.
///
/// # Shapes
/// - `sequence`: `[batch, n_elements, element_length, 4]`; output: `[batch, n_elements, n_elements]`
fn attention_logits(sequence: &Tensor<4>) -> Tensor<3> {
    let [batch, n, ..] = sequence.dims();
    let device = sequence.device();
    let allowed = |row: usize, column: usize| row == 0 || column == 0 || row == column;
    let pattern: Vec<f32> = (0..n * n)
        .map(|index| {
            if allowed(index / n, index % n) {
                0.0
            } else {
                MASKED
            }
        })
        .collect();
    let pattern = Tensor::<2>::from_data(TensorData::new(pattern, [n, n]), &device);
    let not_first = not_first(n, &device).unsqueeze_dim::<2>(0);
    let n_bases = sequence.clone().sum_dim(3).sum_dim(2).reshape([batch, n]);
    let is_empty = n_bases.equal_elem(0.0).float();
    let columns = is_empty * not_first * MASKED;
    pattern.unsqueeze_dim::<3>(0) + columns.unsqueeze_dim::<3>(1)
}

/// 0, then ones: `[n]`.
fn not_first(n: usize, device: &Device) -> Tensor<1> {
    let values: Vec<f32> = (0..n).map(|index| f32::from(u8::from(index > 0))).collect();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::read;

    #[test]
    fn attention_logits_let_see_the_promoter_and_oneself() {
        let device = Device::flex();
        // Element 2 has no base, and neither has the promoter of the second gene.
        let sequence = Tensor::<4>::from_data(
            TensorData::from([
                [[[0.0_f32, 1.0]], [[1.0, 0.0]], [[0.0, 0.0]]],
                [[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]],
            ]),
            &device,
        );
        let found = read(&attention_logits(&sequence)).unwrap();
        let is_seen: Vec<bool> = found.iter().map(|logit| *logit == 0.0).collect();
        let expected = [
            [true, true, false, true, true, false, true, false, false],
            [true, true, true, true, true, false, true, false, true],
        ];
        assert_eq!(is_seen, expected.concat());
        assert!(found.iter().all(|logit| *logit == 0.0 || *logit <= MASKED));
    }

    #[test]
    fn attention_starts_as_pytorch_draws_it() {
        let device = Device::flex();
        let layer = AttentionLayer::init(32, &Initializer::new(2, &device));
        let of = |values: Tensor<2>| values.into_data().try_to_vec::<f32>().unwrap();
        // Xavier's bound for 32 inputs and 96 outputs, sqrt(6 / 128) = 0.21651: the largest of 3,072 draws is near it.
        let largest = of(layer.projection.weight.val())
            .into_iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!((0.2143..=0.21651).contains(&largest), "{largest}");
        let bias = of(layer.projection.bias.val().unsqueeze_dim::<2>(0));
        assert_eq!(bias, [0.0; 96]);
    }

    #[test]
    fn problems_name_each_field() {
        let mut config = EpinformerConfig::published();
        assert_eq!(config.problems(), [""; 0]);
        (config.d_model, config.element_length) = (48, 392);
        let problems = config.problems().join("; ");
        for part in ["d_model is 48", "element_length is 392", "at least 400"] {
            assert!(problems.contains(part), "{problems}");
        }
        config.d_model = 64;
        config.n_heads = 5;
        assert!(config.problems()[0].contains("n_heads is 5"));
    }
}
