//! Seq2Exp: embeddings → generator → mask → predictor.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::config::Seq2ExpConfig;
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::generator::Generator;
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::mask::EvaluationMask;
use crate::network::{Nobody, Observer, Output, Pass};
use crate::predictor::Predictor;
use crate::window_mean::window_mean;

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
