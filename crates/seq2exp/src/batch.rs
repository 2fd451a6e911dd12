//! Examples become tensors: the only place where they do.

use burn::tensor::{Device, Tensor, TensorData};
use dataset::{Candidate, Example, N_FEATURES, RegionCode};
use model::{Candidates, ModelInput};

use crate::error::RunError;

/// A few examples as tensors on one device.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What a network reads.
    pub input: ModelInput,
    /// Symbols of the genes, in order.
    pub symbols: Vec<String>,
    /// Transformed expression of each gene, where it was measured.
    pub observed: Vec<Option<f32>>,
}

impl Batch {
    /// Copies `examples` to `device`, one row each, in order.
    ///
    /// # Shapes
    /// - `sequence`: `[batch, length, 4]`; `tracks`: `[batch, length, n_tracks]`; `overwrite`: `[batch, length]` with
    ///   -1 where the mask is free, 0 where it is excluded, 1 where it is included; `features`: `[batch, 9]`;
    ///   `peaks`, when all examples have them: `[batch, length]`
    ///
    /// # Errors
    /// [`RunError::UnequalExamples`] when there is no example or their lengths or numbers of tracks differ.
    pub fn new(examples: &[Example], device: &Device) -> Result<Self, RunError> {
        let (length, n_tracks) = match examples.first() {
            Some(first) => (first.length(), first.n_tracks()),
            None => return Err(RunError::UnequalExamples { symbol: None }),
        };
        let n_examples = examples.len();
        let mut sequence = Vec::with_capacity(n_examples * length * 4);
        let mut tracks = Vec::with_capacity(n_examples * length * n_tracks);
        let mut overwrite = Vec::with_capacity(n_examples * length);
        let mut features = Vec::with_capacity(n_examples * N_FEATURES);
        let mut peaks = Vec::new();
        for example in examples {
            if example.length() != length || example.n_tracks() != n_tracks {
                return Err(RunError::UnequalExamples {
                    symbol: Some(example.gene().symbol.clone()),
                });
            }
            sequence.extend(example.one_hot());
            tracks.extend_from_slice(example.tracks());
            overwrite.extend(example.regions().iter().map(|code| match code {
                RegionCode::Keep => -1.0_f32,
                RegionCode::Zero => 0.0,
                RegionCode::One => 1.0,
            }));
            features.extend_from_slice(example.features());
            peaks.extend(
                example
                    .peaks()
                    .into_iter()
                    .flatten()
                    .map(|&is_peak| f32::from(u8::from(is_peak))),
            );
        }
        let input = ModelInput {
            sequence: Tensor::from_data(TensorData::new(sequence, [n_examples, length, 4]), device),
            tracks: Tensor::from_data(
                TensorData::new(tracks, [n_examples, length, n_tracks]),
                device,
            ),
            overwrite: Tensor::from_data(TensorData::new(overwrite, [n_examples, length]), device),
            features: Tensor::from_data(
                TensorData::new(features, [n_examples, N_FEATURES]),
                device,
            ),
            // Examples of one data set have peaks, or none has.
            peaks: (peaks.len() == n_examples * length)
                .then(|| Tensor::from_data(TensorData::new(peaks, [n_examples, length]), device)),
            candidates: candidates_of(examples, device),
        };
        Ok(Self {
            input,
            symbols: examples
                .iter()
                .map(|example| example.gene().symbol.clone())
                .collect(),
            observed: examples.iter().map(Example::target).collect(),
        })
    }

    /// The observed expression of all genes: `[batch, 1]`.
    ///
    /// # Errors
    /// [`RunError::NoTarget`] naming the first gene that was not measured.
    pub fn targets(&self) -> Result<Tensor<2>, RunError> {
        let missing = self.observed.iter().position(Option::is_none);
        if let Some(index) = missing {
            return Err(RunError::NoTarget {
                symbol: self.symbols[index].clone(),
            });
        }
        let values: Vec<f32> = self.observed.iter().copied().flatten().collect();
        let shape = [values.len(), 1];
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            &self.input.device(),
        ))
    }
}

/// The candidate enhancers of examples, which all have them or none has; those of a gene with fewer than another are
/// followed by rows of zeros.
fn candidates_of(examples: &[Example], device: &Device) -> Option<Candidates> {
    let all = examples
        .iter()
        .map(Example::candidates)
        .collect::<Option<Vec<_>>>()?;
    let element_length = all.first()?.element_length as usize;
    // At least one row, so that no tensor is empty.
    let n_rows = all.iter().map(|found| found.list.len()).max()?.max(1);
    let mut sequence = vec![0.0_f32; all.len() * n_rows * element_length * 4];
    let mut features = vec![0.0_f32; all.len() * n_rows * 3];
    let genes = examples.iter().zip(all);
    for (gene, (example, candidates)) in genes.enumerate() {
        for (index, candidate) in candidates.list.iter().enumerate() {
            let row = gene * n_rows + index;
            features[3 * row..3 * (row + 1)].copy_from_slice(&[
                candidate.distance_kb,
                candidate.contact_log10p1,
                candidate.activity,
            ]);
            let width = element_length * 4;
            fill_one_hot(
                example,
                candidate,
                &mut sequence[row * width..(row + 1) * width],
            );
        }
    }
    let sequence = TensorData::new(sequence, [examples.len(), n_rows, element_length, 4]);
    let features = TensorData::new(features, [examples.len(), n_rows, 3]);
    Some(Candidates {
        sequence: Tensor::from_data(sequence, device),
        features: Tensor::from_data(features, device),
    })
}

/// Writes a candidate's bases to the middle of its row; a base outside the window stays unknown.
fn fill_one_hot(example: &Example, candidate: &Candidate, row: &mut [f32]) {
    let n_bases = (candidate.end - candidate.start) as usize;
    let first = row.len() / 8 - n_bases / 2;
    for (place, position) in (first..).zip(candidate.start..candidate.end) {
        let code = example
            .window()
            .offset_of(position)
            .map(|offset| example.base_codes()[offset]);
        if let Some(code @ 0..4) = code {
            row[4 * place + usize::from(code)] = 1.0;
        }
    }
}

/// The values of a tensor, row-major.
///
/// # Errors
/// [`RunError::Tensor`] when the device cannot hand them back.
pub fn read_values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, RunError> {
    let data = tensor.try_into_data().map_err(|error| RunError::Tensor {
        message: format!("{error:?}"),
    })?;
    data.convert::<f32>()
        .try_into_vec::<f32>()
        .map_err(|error| RunError::Tensor {
            message: format!("{error:?}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{SyntheticSource, example};
    use dataset::ExampleSource;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().expect("f32 values")
    }

    #[test]
    fn examples_become_rows_in_order() {
        let examples = [example("a", "ACGTNA", 0.5), example("b", "TTTTTT", 1.5)];
        let batch = Batch::new(&examples, &Device::flex()).expect("equal examples");
        assert_eq!(batch.input.sequence.dims(), [2, 6, 4]);
        assert_eq!(batch.symbols, ["a", "b"]);
        let sequence = values(batch.input.sequence.clone());
        // A = 1000, C = 0100, G = 0010, T = 0001, N = 0000
        assert_eq!(sequence[..8], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(sequence[16..20], [0.0; 4]);
        assert_eq!(sequence[24..28], [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(
            values(batch.input.tracks.clone())[18..],
            *examples[1].tracks()
        );
        // The synthetic promoter is the central two bases.
        assert_eq!(
            values(batch.input.overwrite.clone())[..6],
            [-1.0, -1.0, 1.0, 1.0, -1.0, -1.0]
        );
        assert_eq!(values(batch.input.features.clone()).len(), 18);
        let targets = batch.targets().expect("both measured");
        assert_eq!(targets.dims(), [2, 1]);
        assert_eq!(values(targets), [0.5, 1.5]);
    }

    #[test]
    fn candidates_are_rows_of_the_window_padded_to_the_most() {
        // SyntheticSource: example 2 has two candidates of five bases, the others fewer.
        let source = SyntheticSource::new(3, 37);
        let examples: Vec<Example> = (0..3)
            .map(|index| source.read(index).expect("read"))
            .collect();
        let batch = Batch::new(&examples, &Device::flex()).expect("equal examples");
        let candidates = batch.input.candidates.expect("all have them");
        assert_eq!(candidates.sequence.dims(), [3, 2, 400, 4]);
        let features = values(candidates.features);
        // None; one at 0 kb; one at 0 and one at 1 kb.
        let expected = [0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 0.5, 2.0];
        assert_eq!(features[6..], expected);
        let sequence = values(candidates.sequence);
        let row = |gene: usize, index: usize| &sequence[(2 * gene + index) * 1600..][..1600];
        assert!(row(0, 0).iter().chain(row(1, 1)).all(|value| *value == 0.0));
        // The first candidate lies 15 to 10 bases before the start site, the middle of the window of 37 bases: offsets
        // 3 to 8. Five bases in the middle of 400 begin at 200 - 2.
        for (place, offset) in (198..203).zip(3..8) {
            let code = usize::from(examples[2].base_codes()[offset]);
            let base = &row(2, 0)[4 * place..4 * place + 4];
            assert!(
                (0..4).all(|b| base[b] == f32::from(u8::from(b == code))),
                "{place}"
            );
        }
        assert_eq!(row(2, 0).iter().sum::<f32>(), 5.0);
    }

    #[test]
    fn examples_of_unequal_length_are_refused() {
        let examples = [example("a", "ACGT", 0.5), example("b", "ACGTAC", 1.5)];
        let error = Batch::new(&examples, &Device::flex())
            .expect_err("unequal")
            .to_string();
        assert!(error.contains('b'), "{error}");
        assert!(Batch::new(&[], &Device::flex()).is_err());
    }
}
