//! Masks that nobody chose.

use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bins::Bins;
use super::{MaskConfig, with_forced};
use crate::error::ModelError;
use crate::input::ModelInput;

/// The stream of an example's seed that random masks are drawn from.
const STREAM: u64 = 1;

/// How much of an example a random mask selects, from a number u uniform in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomShare {
    /// Everything from nothing to all, which a fifth of the examples have: min(1, 5 u / 4).
    Any,
    /// Mostly little: u squared.
    Little,
}

impl RandomShare {
    fn of(self, u: f64) -> f64 {
        match self {
            Self::Any => 1.25 * u,
            Self::Little => u * u,
        }
    }
}

impl MaskConfig {
    /// A random mask of each example, `[batch, length]`, without a graph: each of its bins is selected with the example's own
    /// share; forced values and the promoter are put on it.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the window is shorter than the promoter.
    pub fn random(
        &self,
        input: &ModelInput,
        promoter: usize,
        seeds: &[u64],
        share: RandomShare,
    ) -> Result<Tensor<2>, ModelError> {
        let forced = input.forced(promoter)?.without_autodiff();
        let [batch, length] = forced.dims();
        let bins = Bins {
            length,
            size: self.resolution,
        };
        let mut selected = Vec::with_capacity(batch * bins.len());
        for seed in seeds {
            let mut rng = ChaCha8Rng::seed_from_u64(*seed);
            rng.set_stream(STREAM);
            let share = share.of(rng.random());
            selected.extend((0..bins.len()).map(|_| f32::from(rng.random::<f64>() < share)));
        }
        let selected = TensorData::new(selected, [batch, bins.len()]);
        let selected = bins.expand(Tensor::from_data(selected, &forced.device()));
        Ok(with_forced(selected, forced))
    }
}
