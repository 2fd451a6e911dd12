//! From embeddings to the logits of the mask.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::rms_norm_linear;

use crate::caduceus::Backbone;
use crate::config::Seq2ExpConfig;
use crate::error::ModelError;
use crate::initialization::Initializer;
use crate::linear::Linear;
use crate::network::Observer;

/// A backbone and a map to two logits per base: column 1 for the concentration toward 1, column 0 toward 0.
#[derive(Module, Debug)]
pub struct Generator {
    /// The blocks.
    pub backbone: Backbone,
    /// `d_model` to 2, after the backbone's last norm.
    pub output: Linear,
}

impl Generator {
    /// Draws the parameters.
    pub fn init(config: &Seq2ExpConfig, initializer: &Initializer<'_>) -> Self {
        let at_output = initializer.at("output");
        let mut output = Linear::init(config.d_model, 2, &at_output);
        output.bias = at_output.fill([2], |column| config.mask.initial_logits[column]);
        Self {
            backbone: Backbone::init(
                config.d_model,
                config.n_layer_generator,
                &config.mamba,
                &config.initialization,
                &initializer.at("backbone"),
            ),
            output,
        }
    }

    /// Runs the generator; `observe` sees the residual stream as `generator.<block>`, then `logits`.
    ///
    /// # Shapes
    /// - `x`: `[batch, length, d_model]`; output: `[batch, length, 2]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when `x` has another width.
    pub fn forward(&self, x: Tensor<3>, observe: Observer<'_>) -> Result<Tensor<3>, ModelError> {
        let stream = self.backbone.stream(x, None, "generator", &mut *observe)?;
        let (weight, bias) = (self.output.weight.val(), self.output.bias.val());
        let logits = rms_norm_linear(stream, self.backbone.norm_weight.val(), weight, bias)?;
        observe.see("logits", &logits);
        Ok(logits)
    }
}
