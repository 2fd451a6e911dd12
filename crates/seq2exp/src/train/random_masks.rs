//! Training under masks that nobody chose.
//!
//! A generator and a predictor that only ever see each other may agree on a code: the mask then tells the prediction in the
//! pattern of what it selects, wherever that is. A predictor that learns under random masks cannot read such a code, but it
//! guesses what is hidden, so that hiding nothing tells as much as showing something. Hence two phases: random masks alone,
//! until the generator finds what matters, then the mask with random bins beside it, so that what is not shown is not there.

use model::{ModelError, ModelInput, Network, Pass, RandomShare};

use crate::batch::{Batch, read_values};
use crate::error::RunError;
use crate::optimizer::Gradients;

/// What random masks do in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomMasks {
    /// The predictor sees the generated mask, as published.
    Absent,
    /// The predictor learns under random masks, the generator from the masks it makes.
    Alone,
    /// The predictor sees the generated mask and a random share of what it leaves out.
    Beside,
}

/// The start of the parameters' names that learn from generated masks alone.
const GENERATOR: &str = "generator.";

impl RandomMasks {
    /// The pass whose loss the generator learns from.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn pass(
        self,
        network: &Network,
        input: &ModelInput,
        seeds: Vec<u64>,
    ) -> Result<Pass, ModelError> {
        if self == Self::Beside
            && let Some(revealed) = network.random_mask(input, &seeds, RandomShare::Little)?
        {
            let revealed = revealed.autodiff();
            return Ok(Pass::TrainRevealing { seeds, revealed });
        }
        Ok(Pass::Train { seeds })
    }

    /// Where random masks stand alone: replaces the gradients of all but the generator by those under a random mask.
    ///
    /// # Errors
    /// As [`Network::forward`], and when a gradient cannot be read.
    pub fn replace_gradients(
        self,
        network: &Network,
        batch: &Batch,
        seeds: &[u64],
        gradients: &mut Gradients,
    ) -> Result<Option<f64>, RunError> {
        if self != Self::Alone {
            return Ok(None);
        }
        let Some(mask) = network.random_mask(&batch.input, seeds, RandomShare::Any)? else {
            return Ok(None);
        };
        let prediction = network.predict_with_mask(&batch.input, mask.autodiff())?;
        let loss = model::smooth_l1(prediction, batch.targets()?);
        let value = read_values(loss.clone())?.into_iter().map(f64::from).sum();
        let found = network.read_gradients(&loss.backward())?;
        let parameters = network.named_parameters();
        for ((gradient, found), parameter) in gradients.iter_mut().zip(found).zip(parameters) {
            if !parameter.name.starts_with(GENERATOR) {
                *gradient = found;
            }
        }
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use dataset::ExampleSource;
    use model::NetworkKind;

    use super::*;
    use crate::synthetic::SyntheticSource;
    use crate::train::tests::{LENGTH, tiny};

    #[test]
    fn predictor_sees_random_bins_beside_its_mask_only_where_they_stand_beside() {
        let device = Device::flex().autodiff();
        let source = SyntheticSource::new(2, LENGTH);
        let examples = [0, 1].map(|index| source.read(index).expect("read"));
        let batch = Batch::new(&examples, &device).expect("equal examples");
        for (kind, masks, is_revealing) in [
            (NetworkKind::Seq2ExpDelta, RandomMasks::Absent, false),
            (NetworkKind::Seq2ExpDelta, RandomMasks::Alone, false),
            (NetworkKind::Seq2ExpDelta, RandomMasks::Beside, true),
            // Without a mask there is nothing to stand beside.
            (NetworkKind::Caduceus, RandomMasks::Beside, false),
        ] {
            let network = Network::init(&tiny(kind, LENGTH), 2, &device).expect("sound settings");
            let pass = masks
                .pass(&network, &batch.input, vec![3, 5])
                .expect("a pass");
            let found = match &pass {
                Pass::TrainRevealing { seeds, .. } if seeds == &[3, 5] => true,
                Pass::Train { seeds } if seeds == &[3, 5] => false,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, is_revealing, "{kind:?} {masks:?}");
        }
    }
}
