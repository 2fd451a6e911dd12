//! The parameters of a network by name: read, written and told apart.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor, TensorData};

use super::Network;
use crate::batch_norm::is_statistic;
use crate::error::ModelError;
use crate::mask::read;
use crate::retrained::is_frozen;

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
