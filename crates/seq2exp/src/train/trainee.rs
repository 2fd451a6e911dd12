//! A network in training, with its optimiser.

use model::{BATCH_MOMENTUM, Network};

use super::{RunProgress, SavedParameter};
use crate::optimizer::AdamW;

/// What changes from step to step.
pub(super) struct Trainee {
    /// The network.
    pub(super) network: Network,
    /// The values of every parameter, as the optimiser updates them.
    pub(super) values: Vec<Vec<f32>>,
    /// Their optimiser.
    pub(super) optimizer: AdamW,
    /// How far the run has come.
    pub(super) progress: RunProgress,
}

impl Trainee {
    /// Every parameter with its name, shape and values.
    pub(super) fn parameters(&self) -> Vec<SavedParameter> {
        let named = self.network.named_parameters().into_iter();
        named
            .zip(&self.values)
            .map(|(p, values)| SavedParameter {
                name: p.name,
                shape: p.shape,
                values: values.clone(),
            })
            .collect()
    }

    /// Blends a batch's statistic into the running one of the same name.
    pub(super) fn blend(&mut self, name: &str, batch: &[f32]) {
        let moments = self.optimizer.moments();
        let Some(place) = moments.iter().position(|moments| moments.name == name) else {
            return;
        };
        for (running, batch) in self.values[place].iter_mut().zip(batch) {
            *running += BATCH_MOMENTUM as f32 * (batch - *running);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use model::NetworkKind;

    use super::*;
    use crate::optimizer::AdamWConfig;
    use crate::train::tests::{LENGTH, tiny};

    #[test]
    fn blend_moves_the_named_statistic_by_a_tenth_of_the_way() {
        let config = AdamWConfig {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.0,
        };
        let network = Network::init(&tiny(NetworkKind::Caduceus, LENGTH), 2, &Device::flex());
        let parameters = ["weight", "running_mean"].map(|name| (name.to_string(), 2, false));
        let mut trainee = Trainee {
            network: network.expect("sound settings"),
            values: vec![vec![7.0, 7.0], vec![1.0, 2.0]],
            optimizer: AdamW::new(config, parameters),
            progress: RunProgress::default(),
        };
        // PyTorch's BatchNorm, momentum 0.1: 0.9 * 1 + 0.1 * 3 = 1.2 and 0.9 * 2 + 0.1 * -8 = 1.
        trainee.blend("running_mean", &[3.0, -8.0]);
        // A statistic that no parameter keeps changes nothing.
        trainee.blend("running_var", &[100.0, 100.0]);
        assert_eq!(trainee.values[0], [7.0, 7.0]);
        for (found, expected) in trainee.values[1].iter().zip([1.2, 1.0]) {
            // Three roundings of f32.
            assert!((found - expected).abs() < 1e-6, "{found}");
        }
    }
}
