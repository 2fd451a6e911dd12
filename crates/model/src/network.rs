//! One type over every network, with its parameters by name.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use kernels::Numerics;

use crate::batch_norm::is_statistic;
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
use crate::mask::{EvaluationMask, RandomShare, read};
use crate::prism::Prism;
use crate::retrained::{Retrained, is_frozen};
use crate::seq2exp::Seq2Exp;

mod pass;

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

/// A parameter's name, shape and key in Burn's gradients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedParameter {
    /// Dotted path, such as `generator.backbone.blocks.0.in_proj`.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Burn's identifier.
    pub id: ParamId,
}

impl NamedParameter {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a parameter without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether weight decay leaves a parameter alone: biases, `a_log`, `d`, `skip`, layer and batch norms, token embeddings
/// and Hyena's filters.
///
/// RMSNorm and convolution weights and the positional embedding are decayed, as in the released code.
pub fn no_decay(name: &str) -> bool {
    const FIELDS: [&str; 7] = [
        "bias",
        "conv_bias",
        "dt_bias",
        "short_bias",
        "a_log",
        "d",
        "skip",
    ];
    let mut parts = name.rsplit('.');
    let field = parts.next().unwrap_or(name);
    FIELDS.contains(&field)
        || name == "embedding.weight"
        || parts.any(|module| module.starts_with("norm") || module == "filter")
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

    /// Every parameter, in a fixed order; running statistics are among them ([`is_statistic`]).
    pub fn named_parameters(&self) -> Vec<NamedParameter> {
        let mut names = Names::default();
        self.visit(&mut names);
        names.found
    }

    /// Number of trained values: running statistics and frozen parts are left out.
    pub fn n_parameters(&self) -> usize {
        let named = self.named_parameters();
        let is_trained = |name: &str| !is_statistic(name) && !is_frozen(name);
        let trained = named.iter().filter(|p| is_trained(&p.name));
        trained.map(NamedParameter::len).sum()
    }

    /// The values of every parameter, row-major, in the order of [`Network::named_parameters`].
    ///
    /// # Errors
    /// [`ModelError::Device`] when a device cannot hand them back.
    pub fn read_parameters(&self) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut reader = Reader {
            gradients: None,
            found: Vec::new(),
            error: None,
        };
        self.visit(&mut reader);
        match reader.error {
            Some(error) => Err(error),
            None => Ok(reader.found.into_iter().flatten().collect()),
        }
    }

    /// The gradient of every parameter, row-major, in the order of [`Network::named_parameters`]; none where the
    /// loss does not depend on it.
    ///
    /// # Errors
    /// [`ModelError::Device`] when a device cannot hand them back.
    pub fn read_gradients(
        &self,
        gradients: &Gradients,
    ) -> Result<Vec<Option<Vec<f32>>>, ModelError> {
        let mut reader = Reader {
            gradients: Some(gradients),
            found: Vec::new(),
            error: None,
        };
        self.visit(&mut reader);
        match reader.error {
            Some(error) => Err(error),
            None => Ok(reader.found),
        }
    }

    /// The same network with the generator of a trained Seq2Exp in its frozen part; a network without one stays as it
    /// is.
    ///
    /// # Errors
    /// [`ModelError::OtherGenerator`] with every setting of the generator that differs; [`ModelError::Device`].
    pub fn with_generator(self, trained: &Self) -> Result<Self, ModelError> {
        let Self::Retrained(network) = &self else {
            return Ok(self);
        };
        let differences = match trained {
            Self::Seq2Exp(trained) => network.generator_differences(trained.config()),
            other => vec![format!(
                "kind is seq2exp_soft here and {} there",
                other.config().kind().name()
            )],
        };
        if !differences.is_empty() {
            return Err(ModelError::OtherGenerator { differences });
        }
        let theirs: BTreeMap<String, Vec<f32>> = trained
            .named_parameters()
            .into_iter()
            .map(|parameter| format!("frozen.{}", parameter.name))
            .zip(trained.read_parameters()?)
            .collect();
        let values = self
            .named_parameters()
            .iter()
            .zip(self.read_parameters()?)
            .map(|(parameter, own)| theirs.get(&parameter.name).cloned().unwrap_or(own))
            .collect();
        self.with_parameters(values)
    }

    /// The same network with other values, given as [`Network::read_parameters`] returns them; names, identifiers
    /// and device stay.
    ///
    /// # Errors
    /// [`ModelError::Parameters`] naming every parameter whose number of values differs.
    pub fn with_parameters(self, values: Vec<Vec<f32>>) -> Result<Self, ModelError> {
        let named = self.named_parameters();
        let mut problems = Vec::new();
        if named.len() != values.len() {
            problems.push(format!(
                "{} parameters given, {} needed",
                values.len(),
                named.len()
            ));
        }
        for (parameter, values) in named.iter().zip(&values) {
            if parameter.len() != values.len() {
                problems.push(format!(
                    "{}: {} values given, {} needed",
                    parameter.name,
                    values.len(),
                    parameter.len()
                ));
            }
        }
        if !problems.is_empty() {
            return Err(ModelError::Parameters { problems });
        }
        Ok(self.map(&mut Writer {
            values: values.into_iter(),
        }))
    }
}

/// Collects names; the enum's own level is left out of the path.
#[derive(Default)]
struct Names {
    path: Vec<String>,
    found: Vec<NamedParameter>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(if container_type.starts_with("Enum:") {
            String::new()
        } else {
            name.to_owned()
        });
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parts: Vec<&str> = self
            .path
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        let shape = param.lazy_shape().to_vec();
        self.found.push(NamedParameter {
            name: parts.join("."),
            shape,
            id: param.id,
        });
    }
}

struct Reader<'a> {
    gradients: Option<&'a Gradients>,
    found: Vec<Option<Vec<f32>>>,
    error: Option<ModelError>,
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let values = match self.gradients {
            None => read(&value).map(Some),
            Some(gradients) => value
                .grad(gradients)
                .map(|gradient| read(&gradient))
                .transpose(),
        };
        match values {
            Ok(values) => self.found.push(values),
            Err(error) => self.error = Some(error),
        }
    }
}

struct Writer {
    values: std::vec::IntoIter<Vec<f32>>,
}

impl ModuleMapper for Writer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.values.next() else {
            return param;
        };
        let (shape, device) = (param.dims(), param.device());
        let requires_gradient = param.is_require_grad();
        param.map(|_| {
            let value = Tensor::from_data(TensorData::new(values, shape), &device);
            if requires_gradient {
                value.require_grad()
            } else {
                value
            }
        })
    }
}

#[cfg(test)]
mod tests;
