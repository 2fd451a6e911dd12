//! Mamba as a regressor: causal blocks on the sequence.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::config::{InitializationConfig, MambaConfig, OutProjLayers, positive};
use crate::error::ModelError;
use crate::head::{ExpressionHead, normed_mean};
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::mamba::CausalMamba;
use crate::network::Observer;
use crate::token_embedding::TokenEmbedding;

/// Settings of a Mamba regressor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MambaRegressorConfig {
    /// Width of the residual stream; 128. Released name: `d_model`.
    pub d_model: usize,
    /// Blocks; 4. Released name: `n_layer`.
    pub n_layer: usize,
    /// Central bases that are pooled, in bp; 2,000. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base, which the data must have and this network ignores; 3. Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// The Mamba block.
    pub mamba: MambaConfig,
    /// Initial weights.
    pub initialization: InitializationConfig,
}

impl MambaRegressorConfig {
    /// The published Mamba baseline.
    pub fn published() -> Self {
        Self {
            d_model: 128,
            n_layer: 4,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
            mamba: MambaConfig::default(),
            initialization: InitializationConfig::with_layers(OutProjLayers::Own),
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "d_model", self.d_model);
        positive(&mut problems, "n_layer", self.n_layer);
        positive(&mut problems, "promoter", self.promoter);
        self.mamba.add_problems(&mut problems);
        self.initialization.add_problems(&mut problems);
        problems
    }
}

/// Predicts expression from the sequence alone, each base seeing those before it.
///
/// # Reference
/// Gu & Dao 2023, arXiv 2312.00752; `MixerModel` of state-spaces/mamba
#[derive(Module, Debug)]
pub struct MambaRegressor {
    /// Vectors of the bases.
    pub embedding: TokenEmbedding,
    /// The blocks, in order.
    pub blocks: Vec<CausalMamba>,
    /// Of the RMSNorm after the last block, `[d_model]`.
    pub norm_weight: Param<Tensor<1>>,
    /// Pooled promoter and features to expression.
    pub head: ExpressionHead,
    #[module(skip)]
    config: MambaRegressorConfig,
}

impl MambaRegressor {
    /// Draws the parameters.
    pub fn init(config: &MambaRegressorConfig, initializer: &Initializer<'_>) -> Self {
        let (d_model, n_layer) = (config.d_model, config.n_layer);
        let blocks = initializer.at("blocks");
        let block = |index| {
            let (mamba, init) = (&config.mamba, &config.initialization);
            CausalMamba::init(d_model, n_layer, mamba, init, &blocks.at(index))
        };
        Self {
            embedding: TokenEmbedding::init(d_model, &initializer.at("embedding")),
            blocks: (0..n_layer).map(block).collect(),
            norm_weight: initializer.fill([d_model], |_| 1.0),
            head: ExpressionHead::init_biased(
                d_model,
                d_model,
                config.n_features,
                &initializer.at("head"),
            ),
            config: config.clone(),
        }
    }

    /// The settings this network was built from.
    pub fn config(&self) -> &MambaRegressorConfig {
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
        let mut x = self.embedding.forward(input);
        let promoter = input.promoter(self.config.promoter)?;
        let last = self.blocks.len().saturating_sub(1);
        for (index, block) in self.blocks.iter().enumerate() {
            // Only the promoter is pooled, so the last block computes it alone, unless somebody watches.
            let outputs = (index == last && !observe.watches()).then(|| promoter.clone());
            x = block.forward(x, outputs)?;
            observe.see(&format!("backbone.{index}"), &x);
        }
        if x.dims()[1] != promoter.len() {
            let [batch, _, d_model] = x.dims();
            x = x.slice([0..batch, promoter, 0..d_model]);
        }
        let pooled = normed_mean(x, self.norm_weight.val());
        Ok(self.head.forward(pooled, input.features.clone()))
    }
}
