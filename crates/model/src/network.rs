//! One type over every network.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use kernels::Numerics;

use crate::caduceus::Caduceus;
use crate::config::NetworkConfig;
use crate::enformer::Enformer;
use crate::epinformer::Epinformer;
use crate::error::ModelError;
use crate::fixed_mask::FixedMask;
use crate::hyena::Hyena;
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::mamba_regressor::MambaRegressor;
use crate::mask::{EvaluationMask, RandomShare};
use crate::prism::Prism;
use crate::retrained::Retrained;
use crate::seq2exp::Seq2Exp;

mod parameters;
mod pass;

pub use parameters::{NamedParameter, no_decay};
pub use pass::{Intervention, Output, Pass};

/// Sees intermediate tensors of a forward pass, by name; every closure with these arguments does.
pub trait Observe {
    /// Takes a look at a tensor.
    fn see(&mut self, name: &str, tensor: &Tensor<3>);

    /// Whether anything is done with what is seen; if not, tensors may be left out or cover fewer positions.
    fn watches(&self) -> bool {
        true
    }
}

impl<F: FnMut(&str, &Tensor<3>)> Observe for F {
    fn see(&mut self, name: &str, tensor: &Tensor<3>) {
        self(name, tensor);
    }
}

/// Sees nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Observe for Nobody {
    fn see(&mut self, _name: &str, _tensor: &Tensor<3>) {}

    fn watches(&self) -> bool {
        false
    }
}

/// Who sees the intermediate tensors of a forward pass.
pub type Observer<'a> = &'a mut dyn Observe;

/// A network of any kind.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one value per run, never stored in bulk"
)]
pub enum Network {
    /// Mask generator and predictor.
    Seq2Exp(Seq2Exp),
    /// A predictor under a mask that is given.
    FixedMask(FixedMask),
    /// A predictor on the positions that a frozen generator ranks highest.
    Retrained(Retrained),
    /// One backbone and an expression head.
    Caduceus(Caduceus),
    /// Causal blocks and an expression head.
    Mamba(MambaRegressor),
    /// Long convolutions and an expression head.
    Hyena(Hyena),
    /// Caduceus with intervened branches.
    Prism(Prism),
    /// Convolutions, attention over bins and an expression head.
    Enformer(Enformer),
    /// Convolutions over promoter and candidate enhancers, attention between them.
    Epinformer(Epinformer),
}

impl Network {
    /// Builds a network with seeded initial weights on a device; on an autodiff device its parameters require
    /// gradients.
    ///
    /// # Errors
    /// [`ModelError::Config`] with every problem of the settings.
    pub fn init(config: &NetworkConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(ModelError::Config { problems });
        }
        let initializer = Initializer::new(seed, device);
        Ok(match config {
            NetworkConfig::Seq2Exp(config) => Self::Seq2Exp(Seq2Exp::init(config, &initializer)),
            NetworkConfig::FixedMask(config) => {
                Self::FixedMask(FixedMask::init(config, &initializer))
            }
            NetworkConfig::Retrained(config) => {
                Self::Retrained(Retrained::init(config, &initializer))
            }
            NetworkConfig::Caduceus(config) => Self::Caduceus(Caduceus::init(config, &initializer)),
            NetworkConfig::Mamba(config) => Self::Mamba(MambaRegressor::init(config, &initializer)),
            NetworkConfig::Hyena(config) => Self::Hyena(Hyena::init(config, &initializer)),
            NetworkConfig::Prism(config) => Self::Prism(Prism::init(config, &initializer)),
            NetworkConfig::Enformer(config) => Self::Enformer(Enformer::init(config, &initializer)),
            NetworkConfig::Epinformer(config) => {
                Self::Epinformer(Epinformer::init(config, &initializer))
            }
        })
    }

    /// The same network whose blocks compute and keep numbers in another way.
    pub fn with_numerics(mut self, numerics: Numerics) -> Self {
        match &mut self {
            Self::Seq2Exp(network) => {
                network.generator.backbone.set_numerics(numerics);
                if let Some(backbone) = &mut network.predictor.backbone {
                    backbone.set_numerics(numerics);
                }
            }
            Self::FixedMask(FixedMask { predictor, .. })
            | Self::Retrained(Retrained { predictor, .. }) => {
                if let Some(backbone) = &mut predictor.backbone {
                    backbone.set_numerics(numerics);
                }
            }
            Self::Caduceus(network) => network.backbone.set_numerics(numerics),
            Self::Mamba(network) => {
                for block in &mut network.blocks {
                    block.set_numerics(numerics);
                }
            }
            Self::Prism(network) => network.backbone.set_numerics(numerics),
            // Nothing of theirs has a choice.
            Self::Hyena(_) | Self::Enformer(_) | Self::Epinformer(_) => {}
        }
        self
    }

    /// The settings this network was built from.
    pub fn config(&self) -> NetworkConfig {
        match self {
            Self::Seq2Exp(network) => NetworkConfig::Seq2Exp(network.config().clone()),
            Self::FixedMask(network) => NetworkConfig::FixedMask(network.config().clone()),
            Self::Retrained(network) => NetworkConfig::Retrained(network.config().clone()),
            Self::Caduceus(network) => NetworkConfig::Caduceus(network.config().clone()),
            Self::Mamba(network) => NetworkConfig::Mamba(network.config().clone()),
            Self::Hyena(network) => NetworkConfig::Hyena(network.config().clone()),
            Self::Prism(network) => NetworkConfig::Prism(network.config().clone()),
            Self::Enformer(network) => NetworkConfig::Enformer(network.config().clone()),
            Self::Epinformer(network) => NetworkConfig::Epinformer(network.config().clone()),
        }
    }

    /// Runs the network.
    ///
    /// # Errors
    /// [`ModelError`] when input, pass and settings disagree.
    pub fn forward(&self, input: ModelInput, pass: &Pass) -> Result<Output, ModelError> {
        self.forward_observed(&input, pass, &mut Nobody)
    }

    /// Runs the network; `observe` sees the residual stream after each block (`generator.0`, `predictor.0`,
    /// `backbone.0`, …) and the mask's `logits`.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn forward_observed(
        &self,
        input: &ModelInput,
        pass: &Pass,
        observe: Observer<'_>,
    ) -> Result<Output, ModelError> {
        self.check(input, Some(pass))?;
        match self {
            Self::Seq2Exp(network) => network.forward(input, pass, observe),
            Self::FixedMask(network) => network.forward(input, observe),
            Self::Retrained(network) => network.forward(input, observe),
            Self::Caduceus(network) => network.forward(input, observe).map(Output::plain),
            Self::Mamba(network) => network.forward(input, observe).map(Output::plain),
            Self::Hyena(network) => network.forward(input, pass, observe).map(Output::plain),
            Self::Prism(network) => network.forward(input, pass, observe),
            Self::Enformer(network) => network.forward(input, pass, observe),
            Self::Epinformer(network) => network.forward(input, pass, observe),
        }
    }

    /// Predicts expression, `[batch, 1]`, with a given mask in the generated one's place; a network without a mask
    /// ignores it.
    ///
    /// # Shapes
    /// - `mask`: `[batch, length]`
    ///
    /// # Errors
    /// As [`Network::forward`], and [`ModelError::PromoterMasked`].
    pub fn predict_with_mask(
        &self,
        input: &ModelInput,
        mask: Tensor<2>,
    ) -> Result<Tensor<2>, ModelError> {
        self.check(input, None)?;
        kernels::shape::check_axes(
            "network",
            "mask",
            [("batch", input.batch()), ("length", input.length())],
            mask.dims(),
        )?;
        match self {
            Self::Seq2Exp(network) => network.predict(input, mask, &mut Nobody),
            Self::FixedMask(network) => network.predict(input, mask, &mut Nobody),
            Self::Retrained(network) => network.predict(input, mask, &mut Nobody),
            _ => Ok(self.forward(input.clone(), &Pass::Evaluate)?.prediction),
        }
    }

    /// The mask of an evaluation pass, without the prediction under it; none for a network without a mask.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn evaluation_mask(
        &self,
        input: &ModelInput,
    ) -> Result<Option<EvaluationMask>, ModelError> {
        self.check(input, None)?;
        match self {
            Self::Seq2Exp(network) => network.evaluation_mask(input).map(Some),
            Self::Retrained(network) => network.evaluation_mask(input, &mut Nobody).map(Some),
            Self::FixedMask(network) => {
                let mask = network.mask(input)?;
                let mean = mask.clone();
                Ok(Some(EvaluationMask { mask, mean }))
            }
            _ => Ok(None),
        }
    }

    /// A mask that does not depend on the network, `[batch, length]`, without a graph; none where no mask is learned.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn random_mask(
        &self,
        input: &ModelInput,
        seeds: &[u64],
        share: RandomShare,
    ) -> Result<Option<Tensor<2>>, ModelError> {
        self.check(input, None)?;
        match self {
            Self::Seq2Exp(network) => {
                let config = network.config();
                let mask = config.mask.random(input, config.promoter, seeds, share)?;
                Ok(Some(mask))
            }
            _ => Ok(None),
        }
    }

    fn check(&self, input: &ModelInput, pass: Option<&Pass>) -> Result<(), ModelError> {
        input.check(&self.config())?;
        let (batch, length) = (input.batch(), input.length());
        match pass {
            Some(Pass::Train { seeds } | Pass::TrainRevealing { seeds, .. })
                if seeds.len() != batch =>
            {
                return Err(ModelError::Seeds {
                    n_seeds: seeds.len(),
                    batch,
                });
            }
            Some(Pass::TrainGiven(sample)) => {
                kernels::shape::check_axes(
                    "network",
                    "sample",
                    [("batch", batch), ("length", length)],
                    sample.dims(),
                )?;
            }
            _ => {}
        }
        let n_positions = match self {
            Self::Seq2Exp(network) => network.config().n_positions,
            Self::FixedMask(network) => network.config().n_positions,
            _ => 0,
        };
        match [0, length].contains(&n_positions) {
            true => Ok(()),
            false => Err(ModelError::Positions {
                length,
                n_positions,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
