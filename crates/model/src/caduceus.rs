//! The Caduceus backbone (without reverse-complement parameter sharing) and the regressor on it.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use kernels::Numerics;

use crate::config::{BackboneInput, CaduceusConfig, InitializationConfig, MambaConfig};
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

    /// Runs the blocks and returns the residual stream, before the last norm; `observe` sees it after each block as
    /// `<name>.<block>`.
    ///
    /// # Shapes
    /// - `x` and output: `[batch, length, d_model]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when `x` has another width.
    pub fn stream(
        &self,
        mut x: Tensor<3>,
        name: &str,
        observe: Observer<'_>,
    ) -> Result<Tensor<3>, ModelError> {
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, None)?;
            observe.see(&format!("{name}.{index}"), &x);
        }
        Ok(x)
    }

    /// Runs the blocks and returns the residual stream at some positions only; the last block leaves out what only
    /// other positions need, unless `observe` watches.
    ///
    /// # Shapes
    /// - `x`: `[batch, length, d_model]`; output: `[batch, n_positions, d_model]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when `x` has another width or `positions` end behind it.
    pub fn stream_at(
        &self,
        x: Tensor<3>,
        positions: Range<usize>,
        name: &str,
        observe: Observer<'_>,
    ) -> Result<Tensor<3>, ModelError> {
        let [batch, _, d_model] = x.dims();
        match self.blocks.split_last() {
            Some((last, blocks)) if !observe.watches() => {
                let mut x = x;
                for block in blocks {
                    x = block.forward(x, None)?;
                }
                Ok(last.forward(x, Some(positions))?)
            }
            _ => {
                let x = self.stream(x, name, observe)?;
                Ok(x.slice([0..batch, positions, 0..d_model]))
            }
        }
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
        let x = self.backbone.stream_at(
            project(narrow, self.input.augmented()),
            input.promoter(self.config.promoter)?,
            "backbone",
            observe,
        )?;
        let pooled = normed_mean(x, self.backbone.norm_weight.val());
        Ok(self.head.forward(pooled, input.features.clone()))
    }
}
