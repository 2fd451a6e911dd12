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
