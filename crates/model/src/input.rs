//! The tensors of one batch of genes.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use kernels::ShapeError;
use kernels::shape::check_axes;

use crate::config::NetworkConfig;
use crate::epinformer::Candidates;
use crate::error::ModelError;

/// What a network reads for a batch of genes, each in a window centred on its TSS.
#[derive(Clone, Debug)]
pub struct ModelInput {
    /// One-hot bases A, C, G, T; N is a row of zeros. `[batch, length, 4]`.
    pub sequence: Tensor<3>,
    /// Track values in the order of the mask's settings. `[batch, length, n_tracks]`.
    pub tracks: Tensor<3>,
    /// Forced mask values: -1 = free, 0 = excluded, 1 = included. `[batch, length]`.
    pub overwrite: Tensor<2>,
    /// Features of the messenger RNA. `[batch, n_features]`.
    pub features: Tensor<2>,
    /// 1 inside a peak, else 0, `[batch, length]`; none for data without peaks.
    pub peaks: Option<Tensor<2>>,
    /// Candidate enhancers; none for data without them.
    pub candidates: Option<Candidates>,
}

impl ModelInput {
    /// Number of examples.
    pub fn batch(&self) -> usize {
        self.sequence.dims()[0]
    }

    /// Bases per window.
    pub fn length(&self) -> usize {
        self.sequence.dims()[1]
    }

    /// The device that holds the input.
    pub fn device(&self) -> Device {
        self.sequence.device()
    }

    /// Checks that the tensors agree with each other and with a network's settings.
    ///
    /// # Errors
    /// [`ModelError::Shape`] naming the tensor and axis.
    pub fn check(&self, config: &NetworkConfig) -> Result<(), ModelError> {
        let [batch, length, n_bases] = self.sequence.dims();
        let op = "network";
        check_axes(op, "sequence", [("base", 4)], [n_bases])?;
        check_axes(
            op,
            "tracks",
            [
                ("batch", batch),
                ("length", length),
                ("n_tracks", config.n_tracks()),
            ],
            self.tracks.dims(),
        )?;
        check_axes(
            op,
            "overwrite",
            [("batch", batch), ("length", length)],
            self.overwrite.dims(),
        )?;
        check_axes(
            op,
            "features",
            [("batch", batch), ("n_features", config.n_features())],
            self.features.dims(),
        )?;
        if let Some(peaks) = &self.peaks {
            check_axes(
                op,
                "peaks",
                [("batch", batch), ("length", length)],
                peaks.dims(),
            )?;
        }
        self.promoter(config.promoter()).map(|_| ())
    }

    /// The central `promoter` bases, as 0-based half-open positions in the window.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the window is shorter.
    pub fn promoter(&self, promoter: usize) -> Result<Range<usize>, ModelError> {
        let length = self.length();
        if length < promoter || promoter == 0 {
            return Err(ModelError::Shape(ShapeError::Size {
                op: "network",
                argument: "sequence",
                axis: "length",
                found: length,
                requirement: "it must be at least the promoter, which must not be empty",
            }));
        }
        let start = length / 2 - promoter / 2;
        Ok(start..start + promoter)
    }

    /// The forced mask values with the promoter among them: `[batch, length]`.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the window is shorter than the promoter.
    pub(crate) fn forced(&self, promoter: usize) -> Result<Tensor<2>, ModelError> {
        let [batch, _] = self.overwrite.dims();
        let promoter = self.promoter(promoter)?;
        let ones = Tensor::ones([batch, promoter.len()], &self.device());
        let forced = self.overwrite.clone();
        Ok(forced.slice_assign([0..batch, promoter], ones))
    }

    /// The same tensors, of which no operation is recorded.
    pub(crate) fn without_autodiff(&self) -> Self {
        Self {
            sequence: self.sequence.clone().without_autodiff(),
            tracks: self.tracks.clone().without_autodiff(),
            overwrite: self.overwrite.clone().without_autodiff(),
            features: self.features.clone().without_autodiff(),
            peaks: self.peaks.clone().map(Tensor::without_autodiff),
            candidates: self.candidates.clone(),
        }
    }

    /// Base columns and a column of ones for the bias: `[batch, length, 5]`.
    pub(crate) fn sequence_columns(&self) -> Tensor<3> {
        Tensor::cat(vec![self.sequence.clone(), self.ones()], 2)
    }

    /// Base columns, track columns and a column of ones: `[batch, length, 4 + n_tracks + 1]`.
    pub(crate) fn all_columns(&self) -> Tensor<3> {
        Tensor::cat(
            vec![self.sequence.clone(), self.tracks.clone(), self.ones()],
            2,
        )
    }

    fn ones(&self) -> Tensor<3> {
        Tensor::ones([self.batch(), self.length(), 1], &self.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NetworkKind;

    fn input(batch: usize, length: usize) -> ModelInput {
        let device = Device::flex();
        ModelInput {
            sequence: Tensor::zeros([batch, length, 4], &device),
            tracks: Tensor::zeros([batch, length, 3], &device),
            overwrite: Tensor::zeros([batch, length], &device) - 1.0,
            features: Tensor::zeros([batch, 9], &device),
            peaks: None,
            candidates: None,
        }
    }

    #[test]
    fn promoter_is_the_centre_of_the_window() {
        // start = floor(length / 2) - floor(promoter / 2), as the released code slices it
        for (length, promoter, expected) in [
            (1000, 200, 400..600),
            (7, 3, 2..5),
            (8, 3, 3..6),
            (5, 5, 0..5),
            (1, 1, 0..1),
        ] {
            assert_eq!(input(1, length).promoter(promoter).unwrap(), expected);
        }
        assert!(input(1, 5).promoter(6).is_err());
    }

    #[test]
    fn check_disagreeing_tensor_is_named() {
        let config = NetworkKind::Seq2ExpSoft.preset();
        let device = Device::flex();
        assert!(input(2, 2001).check(&config).is_ok());
        let mut bad = input(2, 2001);
        bad.tracks = Tensor::zeros([2, 2000, 3], &device);
        assert!(
            bad.check(&config)
                .unwrap_err()
                .to_string()
                .contains("tracks")
        );
        let mut bad = input(2, 2001);
        bad.features = Tensor::zeros([2, 8], &device);
        assert!(
            bad.check(&config)
                .unwrap_err()
                .to_string()
                .contains("n_features")
        );
        let mut bad = input(2, 2001);
        bad.peaks = Some(Tensor::zeros([1, 2001], &device));
        assert!(
            bad.check(&config)
                .unwrap_err()
                .to_string()
                .contains("peaks")
        );
        assert!(
            input(2, 1999)
                .check(&config)
                .unwrap_err()
                .to_string()
                .contains("promoter")
        );
    }
}
