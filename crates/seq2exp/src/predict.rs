//! Predictions of a trained network, gene by gene.

use std::sync::Arc;

use burn::tensor::Device;
use dataset::{ExampleSource, Loader, N_FEATURES};
use model::{Network, Pass};

use crate::batch::{Batch, read_values};
use crate::error::RunError;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// What a network says about one gene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Index of the gene in its source.
    pub gene_index: usize,
    /// Predicted expression, in the target's unit.
    pub predicted: f32,
    /// Observed expression, where it was measured.
    pub observed: Option<f32>,
    /// Mean of the evaluation mask over the window, promoter included; none for a network without a mask.
    pub mask_ratio: Option<f32>,
    /// The gene's features, for baselines.
    pub features: [f32; N_FEATURES],
}

/// How examples are read and grouped for prediction; results do not depend on `loader_threads`.
#[derive(Debug, Clone, Copy)]
pub struct PredictConfig {
    /// Genes per forward pass.
    pub batch: usize,
    /// Threads that read examples ahead.
    pub loader_threads: usize,
}

/// Predicts the genes of `gene_indices`, in that order, with the evaluation mask.
///
/// `network` must hold plain tensors on `device`: a network in training is given as `network.valid()`.
///
/// # Errors
/// What reading an example or running the network causes; [`RunError::NotFinite`] naming the genes of a batch whose
/// prediction is NaN or infinite; [`RunError::Interrupted`] when `interrupt` is raised.
pub fn predict(
    network: &Network,
    source: &Arc<dyn ExampleSource>,
    gene_indices: &[usize],
    config: PredictConfig,
    device: &Device,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<Vec<Prediction>, RunError> {
    let batch_size = config.batch.max(1);
    let mut loader = Loader::start(
        Arc::clone(source),
        gene_indices.to_vec(),
        config.loader_threads,
        2 * batch_size,
    )?;
    let mut predictions = Vec::with_capacity(gene_indices.len());
    for indices in gene_indices.chunks(batch_size) {
        if let Some(signal) = interrupt.requested() {
            return Err(RunError::Interrupted {
                signal,
                remedy: "run the same command again".to_string(),
            });
        }
        let examples = loader
            .by_ref()
            .take(indices.len())
            .collect::<Result<Vec<_>, _>>()?;
        let batch = Batch::new(&examples, device)?;
        let output = network.forward(batch.input, &Pass::Evaluate)?;
        let predicted = read_values(output.prediction)?;
        let mask_ratios = output
            .mask
            .map(|mask| read_values(mask.mean_dim(1)))
            .transpose()?;
        if !predicted.iter().all(|value| value.is_finite()) {
            return Err(RunError::NotFinite {
                what: "a prediction",
                step: None,
                genes: batch.symbols,
                inputs: None,
            });
        }
        for (row, (&gene_index, example)) in indices.iter().zip(&examples).enumerate() {
            predictions.push(Prediction {
                gene_index,
                predicted: predicted[row],
                observed: example.target(),
                mask_ratio: mask_ratios.as_ref().map(|ratios| ratios[row]),
                features: *example.features(),
            });
        }
        progress.advance(indices.len() as u64, "");
    }
    Ok(predictions)
}

/// The mean of the predictions' mask ratios; none when a network has no mask or there is no prediction.
pub fn mean_mask_ratio(predictions: &[Prediction]) -> Option<f64> {
    let ratios = predictions
        .iter()
        .map(|p| p.mask_ratio.map(f64::from))
        .collect::<Option<Vec<f64>>>()?;
    (!ratios.is_empty()).then(|| ratios.iter().sum::<f64>() / ratios.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Signal;
    use crate::progress::ProgressMode;
    use crate::synthetic::{PROMOTER, SyntheticSource};
    use model::{NetworkKind, NetworkSize};

    const LENGTH: usize = 37;

    fn network(kind: NetworkKind) -> Network {
        let config = kind.preset().with_size(NetworkSize {
            d_model: 8,
            n_layer: 1,
            promoter: PROMOTER,
            length: LENGTH,
        });
        Network::init(&config, 2, &Device::flex()).expect("sound settings")
    }

    fn predict_all(
        network: &Network,
        batch: usize,
        interrupt: &Interrupt,
    ) -> Result<Vec<Prediction>, RunError> {
        let source: Arc<dyn ExampleSource> = Arc::new(SyntheticSource::new(7, LENGTH));
        let config = PredictConfig {
            batch,
            loader_threads: 2,
        };
        let mut progress = Progress::new(ProgressMode::Silent, "", 7, 0);
        let genes = [6, 0, 3, 1, 2, 5, 4];
        predict(
            network,
            &source,
            &genes,
            config,
            &Device::flex(),
            interrupt,
            &mut progress,
        )
    }

    #[test]
    fn predictions_keep_their_order_and_do_not_depend_on_the_batch() {
        // Matrix products of other shapes add in another order: f32 rounding of values near 1.
        const ATOL: f32 = 1e-5;
        for kind in NetworkKind::ALL {
            let network = network(kind);
            let one = predict_all(&network, 1, &Interrupt::new()).expect("predicted");
            let order: Vec<usize> = one.iter().map(|p| p.gene_index).collect();
            assert_eq!(order, [6, 0, 3, 1, 2, 5, 4]);
            for batch in [3, 7, 100] {
                let more = predict_all(&network, batch, &Interrupt::new()).expect("predicted");
                for (a, b) in one.iter().zip(&more) {
                    assert!(
                        (a.predicted - b.predicted).abs() < ATOL,
                        "{kind:?}, batch {batch}: {a:?} {b:?}"
                    );
                    assert_eq!((a.gene_index, a.observed), (b.gene_index, b.observed));
                }
            }
        }
    }

    #[test]
    fn mask_ratio_counts_the_promoter() {
        let soft = predict_all(&network(NetworkKind::Seq2ExpSoft), 3, &Interrupt::new())
            .expect("predicted");
        let least = PROMOTER as f64 / LENGTH as f64;
        let ratio = mean_mask_ratio(&soft).expect("a mask");
        assert!((least..1.0).contains(&ratio), "{ratio}");
        let plain =
            predict_all(&network(NetworkKind::Caduceus), 3, &Interrupt::new()).expect("predicted");
        assert_eq!(mean_mask_ratio(&plain), None);
        assert_eq!(mean_mask_ratio(&[]), None);
    }

    #[test]
    fn raised_interrupt_stops_prediction() {
        let interrupt = Interrupt::new();
        interrupt.request(Signal::Interrupt);
        let error =
            predict_all(&network(NetworkKind::Caduceus), 3, &interrupt).expect_err("stopped");
        assert!(
            matches!(
                error,
                RunError::Interrupted {
                    signal: Signal::Interrupt,
                    ..
                }
            ),
            "{error}"
        );
    }
}
