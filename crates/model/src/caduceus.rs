//! The Caduceus backbone and the regressor on it, which may share its parameters between both strands.

use std::ops::Range;
use std::path::PathBuf;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use kernels::Numerics;
use serde::{Deserialize, Serialize};

use crate::config::{BackboneInput, InitializationConfig, MambaConfig, OutProjLayers, positive};
use crate::error::ModelError;
use crate::head::{ExpressionHead, normed_mean};
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::linear::{Linear, project};
use crate::mamba::BiMamba;
use crate::network::Observer;

/// Stacked BiMamba blocks on one residual stream, and the weight of the RMSNorm after the last.
#[derive(Module, Debug)]
pub struct Backbone {
    /// The blocks, in order.
    pub blocks: Vec<BiMamba>,
    /// `[d_model]`.
    pub norm_weight: Param<Tensor<1>>,
}

impl Backbone {
    /// Draws `n_layer` blocks.
    pub fn init(
        d_model: usize,
        n_layer: usize,
        mamba: &MambaConfig,
        init: &InitializationConfig,
        initializer: &Initializer<'_>,
    ) -> Self {
        let blocks = initializer.at("blocks");
        Self {
            blocks: (0..n_layer)
                .map(|i| BiMamba::init(d_model, n_layer, mamba, init, &blocks.at(i)))
                .collect(),
            norm_weight: initializer.fill([d_model], |_| 1.0),
        }
    }

    /// Chooses how the blocks compute and keep numbers.
    pub fn set_numerics(&mut self, numerics: Numerics) {
        for block in &mut self.blocks {
            block.set_numerics(numerics);
        }
    }

    /// Runs the blocks, under a mask if given, and returns the residual stream, before the last norm; `observe` sees it
    /// after each block as `<name>.<block>`.
    ///
    /// # Shapes
    /// - `x` and output: `[batch, length, d_model]`; `mask`: `[batch, length]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when `x` has another width.
    pub fn stream(
        &self,
        mut x: Tensor<3>,
        mask: Option<&Tensor<2>>,
        name: &str,
        observe: Observer<'_>,
    ) -> Result<Tensor<3>, ModelError> {
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, mask.cloned(), None)?;
            observe.see(&format!("{name}.{index}"), &x);
        }
        Ok(x)
    }

    /// Runs the blocks and returns the residual stream at some positions only; the last block leaves out what only
    /// other positions need, unless `observe` watches.
    ///
    /// # Shapes
    /// - `x`: `[batch, length, d_model]`; `mask`: `[batch, length]`; output: `[batch, n_positions, d_model]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when `x` has another width or `positions` end behind it.
    pub fn stream_at(
        &self,
        x: Tensor<3>,
        mask: Option<&Tensor<2>>,
        positions: Range<usize>,
        name: &str,
        observe: Observer<'_>,
    ) -> Result<Tensor<3>, ModelError> {
        let [batch, _, d_model] = x.dims();
        match self.blocks.split_last() {
            Some((last, blocks)) if !observe.watches() => {
                let mut x = x;
                for block in blocks {
                    x = block.forward(x, mask.cloned(), None)?;
                }
                Ok(last.forward(x, mask.cloned(), Some(positions))?)
            }
            _ => {
                let x = self.stream(x, mask, name, observe)?;
                Ok(x.slice([0..batch, positions, 0..d_model]))
            }
        }
    }
}

/// How a regressor treats the two strands of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReverseComplement {
    /// It reads the forward strand.
    None,
    /// It reads each strand with the same parameters and predicts the mean, so that both strands of a window have the
    /// same prediction. Released name: `rcps`.
    ParameterSharing,
}

impl ReverseComplement {
    /// The name in an experiment file.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ParameterSharing => "parameter_sharing",
        }
    }
}

/// Settings of a Caduceus regressor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaduceusConfig {
    /// Width of the residual stream; 128. Released name: `d_model`.
    pub d_model: usize,
    /// BiMamba blocks; 4. Released name: `n_layer`.
    pub n_layer: usize,
    /// Central bases that are pooled, in bp; 2,000. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base; 3. Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// What the backbone sees. Released name: `interact` (`no_signal` or `concat`).
    pub input: BackboneInput,
    /// Whether both strands are read with the same parameters; `none`. Released name: `rcps`.
    pub reverse_complement: ReverseComplement,
    /// Weights of a pretrained Caduceus (`model.safetensors` of a Hugging Face model) that the backbone starts from;
    /// none. Relative to the experiment file. Released name: `pretrained_model_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<PathBuf>,
    /// The Mamba block.
    pub mamba: MambaConfig,
    /// Initial weights.
    pub initialization: InitializationConfig,
}

impl CaduceusConfig {
    /// The published Caduceus baseline.
    pub fn published(input: BackboneInput) -> Self {
        Self {
            d_model: 128,
            n_layer: 4,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
            input,
            reverse_complement: ReverseComplement::None,
            pretrained: None,
            mamba: MambaConfig::default(),
            initialization: InitializationConfig::with_layers(OutProjLayers::Own),
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "d_model", self.d_model);
        positive(&mut problems, "n_layer", self.n_layer);
        positive(&mut problems, "promoter", self.promoter);
        if self.input == BackboneInput::SequenceAndTracks {
            positive(&mut problems, "n_tracks", self.n_tracks);
        }
        self.mamba.add_problems(&mut problems);
        self.initialization.add_problems(&mut problems);
        problems
    }
}

/// A backbone on the sequence, or on sequence and tracks, that predicts expression without a mask.
#[derive(Module, Debug)]
pub struct Caduceus {
    /// From the input's columns to `d_model`.
    pub input: Linear,
    /// The blocks.
    pub backbone: Backbone,
    /// Pooled promoter and features to expression.
    pub head: ExpressionHead,
    #[module(skip)]
    config: CaduceusConfig,
}

impl Caduceus {
    /// Draws the parameters.
    pub fn init(config: &CaduceusConfig, initializer: &Initializer<'_>) -> Self {
        let d_model = config.d_model;
        let n_in = match config.input {
            BackboneInput::Sequence => 4,
            BackboneInput::SequenceAndTracks => 4 + config.n_tracks,
        };
        Self {
            input: Linear::init(n_in, d_model, &initializer.at("input")),
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
    pub fn config(&self) -> &CaduceusConfig {
        &self.config
    }

    /// Predicts expression, `[batch, 1]`; `observe` sees the residual stream as `backbone.<block>`.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the input disagrees with the settings.
    pub fn forward(
        &self,
        input: &ModelInput,
        observe: Observer<'_>,
    ) -> Result<Tensor<2>, ModelError> {
        let narrow = match self.config.input {
            BackboneInput::Sequence => input.sequence_columns(),
            BackboneInput::SequenceAndTracks => input.all_columns(),
        };
        let promoter = input.promoter(self.config.promoter)?;
        let (batch, length) = (input.batch(), input.length());
        let (narrow, features, promoter, both) = match self.config.reverse_complement {
            ReverseComplement::None => (narrow, input.features.clone(), promoter.clone(), promoter),
            ReverseComplement::ParameterSharing => {
                let other = length - promoter.end..length - promoter.start;
                let hull = promoter.start.min(other.start)..promoter.end.max(other.end);
                let features = Tensor::cat(vec![input.features.clone(); 2], 0);
                (with_other_strands(narrow), features, promoter, hull)
            }
        };
        let x = self.backbone.stream_at(
            project(narrow, self.input.augmented()),
            None,
            both.clone(),
            "backbone",
            observe,
        )?;
        let weight = self.backbone.norm_weight.val();
        let [n_rows, _, d_model] = x.dims();
        if n_rows == batch {
            return Ok(self.head.forward(normed_mean(x, weight), features));
        }
        // The promoter of the other strand is the mirror image, in an uneven window one base apart.
        let n = promoter.len();
        let at = |rows: Range<usize>, start: usize| {
            let first = start - both.start;
            let x = x.clone().slice([rows, first..first + n, 0..d_model]);
            normed_mean(x, weight.clone())
        };
        let pooled = Tensor::cat(
            vec![
                at(0..batch, promoter.start),
                at(batch..n_rows, length - promoter.end),
            ],
            0,
        );
        let predicted = self.head.forward(pooled, features);
        Ok(
            (predicted.clone().slice([0..batch, 0..1]) + predicted.slice([batch..n_rows, 0..1]))
                * 0.5,
        )
    }
}

/// The columns of every example, then those of its reverse complement: positions reversed, bases complemented.
///
/// # Shapes
/// - `columns`: `[batch, length, n]`, the bases A, C, G and T first; output: `[2 batch, length, n]`
fn with_other_strands(columns: Tensor<3>) -> Tensor<3> {
    let [batch, length, n] = columns.dims();
    let flipped = columns.clone().flip([1]);
    let part = |from: usize, to: usize| flipped.clone().slice([0..batch, 0..length, from..to]);
    // Reversing A, C, G, T gives T, G, C, A: each base's complement.
    let other = Tensor::cat(vec![part(0, 4).flip([2]), part(4, n)], 2);
    Tensor::cat(vec![columns, other], 0)
}
