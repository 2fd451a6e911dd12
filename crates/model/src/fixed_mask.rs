//! The Seq2Exp predictor under a mask that nobody learns: peaks, or everything.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::config::{
    InitializationConfig, MambaConfig, MaskSite, OutProjLayers, Seq2ExpConfig, positive,
};
use crate::embedding::Embedding;
use crate::error::ModelError;
use crate::initialization::Initializer;
use crate::input::ModelInput;
use crate::mask::with_forced;
use crate::network::{Observer, Output};
use crate::predictor::Predictor;

/// Settings of a predictor with a fixed mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedMaskConfig {
    /// Width of the residual stream; 128. Released name: `d_model`.
    pub d_model: usize,
    /// BiMamba blocks; 4. Released name: `enc_n_layer`.
    pub n_layer: usize,
    /// Central bases that are always selected and pooled, in bp; 2,000. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base; 3 (H3K27ac, DNase, contact). Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// Positions of the learned positional embedding, the window's length in bp; 0 = none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_positions: usize,
    /// Where the mask comes from; `peaks`. Released name: `use_peak_mask`.
    pub mask_source: FixedMaskSource,
    /// How the mask reaches the predictor; `scale`.
    pub mask_site: MaskSite,
    /// The Mamba block.
    pub mamba: MambaConfig,
    /// Initial weights.
    pub initialization: InitializationConfig,
}

/// Where a mask that is not learned comes from; excluded regions and the promoter are put on it in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FixedMaskSource {
    /// 1 inside the peaks of the data (`data.peaks`), else 0.
    Peaks,
    /// 1 everywhere: the predictor without a mask.
    All,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl FixedMaskConfig {
    /// Seq2Exp's predictor alone, as it is inside that network, under a mask that is given.
    pub fn of_predictor(config: &Seq2ExpConfig, mask_source: FixedMaskSource) -> Self {
        Self {
            d_model: config.d_model,
            n_layer: config.n_layer_predictor,
            promoter: config.promoter,
            n_tracks: config.n_tracks,
            n_features: config.n_features,
            n_positions: config.n_positions,
            mask_source,
            mask_site: config.mask_site,
            mamba: config.mamba.clone(),
            initialization: config.initialization.clone(),
        }
    }

    /// The published MACS3 baseline.
    pub fn published() -> Self {
        Self {
            d_model: 128,
            n_layer: 4,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
            n_positions: 0,
            mask_source: FixedMaskSource::Peaks,
            mask_site: MaskSite::Scale,
            mamba: MambaConfig::default(),
            initialization: InitializationConfig::with_layers(OutProjLayers::Fixed(64)),
        }
    }

    /// Seq2Exp with this predictor, for the parts that both have.
    fn seq2exp(&self) -> Seq2ExpConfig {
        Seq2ExpConfig {
            d_model: self.d_model,
            n_layer_predictor: self.n_layer,
            promoter: self.promoter,
            n_tracks: self.n_tracks,
            n_features: self.n_features,
            n_positions: self.n_positions,
            mask_site: self.mask_site,
            mamba: self.mamba.clone(),
            initialization: self.initialization.clone(),
            ..Seq2ExpConfig::soft()
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (field, value) in [
            ("d_model", self.d_model),
            ("n_layer", self.n_layer),
            ("promoter", self.promoter),
            ("n_tracks", self.n_tracks),
        ] {
            positive(&mut problems, field, value);
        }
        if self.n_positions != 0 && self.n_positions < self.promoter {
            problems.push(format!(
                "n_positions ({}) is smaller than promoter ({})",
                self.n_positions, self.promoter
            ));
        }
        self.mamba.add_problems(&mut problems);
        self.initialization.add_problems(&mut problems);
        problems
    }
}

/// Predicts expression from the bases that a given mask lets through.
///
/// # Reference
/// Su et al., ICLR 2025, arXiv 2502.13991: the baseline MACS3
#[derive(Module, Debug)]
pub struct FixedMask {
    /// Bases and tracks to `d_model`.
    pub embedding: Embedding,
    /// Masked embeddings to expression.
    pub predictor: Predictor,
    #[module(skip)]
    config: FixedMaskConfig,
}

impl FixedMask {
    /// Draws the parameters.
    pub fn init(config: &FixedMaskConfig, initializer: &Initializer<'_>) -> Self {
        let seq2exp = config.seq2exp();
        Self {
            embedding: Embedding::init(&seq2exp, &initializer.at("embedding")),
            predictor: Predictor::init(&seq2exp, &initializer.at("predictor")),
            config: config.clone(),
        }
    }

    /// The settings this network was built from.
    pub fn config(&self) -> &FixedMaskConfig {
        &self.config
    }

    /// Runs the network; `observe` sees the residual stream as `predictor.<block>`.
    ///
    /// # Errors
    /// [`ModelError::NoPeaks`] when the mask is the data's peaks and there are none; [`ModelError`] when the input
    /// disagrees with the settings.
    pub fn forward(&self, input: &ModelInput, observe: Observer<'_>) -> Result<Output, ModelError> {
        let mask = self.mask(input)?;
        let prediction = self.predict(input, mask.clone(), observe)?;
        Ok(Output {
            mask: Some(mask),
            ..Output::plain(prediction)
        })
    }

    /// The mask of every example: its source, then excluded and included regions, then the promoter.
    ///
    /// # Errors
    /// [`ModelError::NoPeaks`] when it is the data's peaks and there are none.
    pub(crate) fn mask(&self, input: &ModelInput) -> Result<Tensor<2>, ModelError> {
        let forced = input.forced(self.config.promoter)?;
        let chosen = match self.config.mask_source {
            FixedMaskSource::Peaks => input.peaks.clone().ok_or(ModelError::NoPeaks)?,
            FixedMaskSource::All => Tensor::ones(forced.dims(), &input.device()),
        };
        Ok(with_forced(chosen, forced))
    }

    /// Predicts expression, `[batch, 1]`, with another mask in its place.
    ///
    /// # Shapes
    /// - `mask`: `[batch, length]`, used as it is
    ///
    /// # Errors
    /// [`ModelError`] when the input disagrees with the settings.
    pub fn predict(
        &self,
        input: &ModelInput,
        mask: Tensor<2>,
        observe: Observer<'_>,
    ) -> Result<Tensor<2>, ModelError> {
        let own = self.predictor.own_backbone();
        self.predictor
            .forward(&self.embedding, own, input, mask, observe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::read;
    use crate::network::{Network, Pass};
    use crate::{NetworkKind, NetworkSize};
    use burn::tensor::{Device, TensorData};

    fn input(peaks: Option<[[f32; 8]; 1]>) -> ModelInput {
        let device = Device::flex();
        ModelInput {
            sequence: Tensor::ones([1, 8, 4], &device),
            tracks: Tensor::ones([1, 8, 3], &device),
            overwrite: Tensor::from_data(
                TensorData::from([[0.0_f32, -1.0, -1.0, 0.0, -1.0, -1.0, 1.0, 0.0]]),
                &device,
            ),
            features: Tensor::zeros([1, 9], &device),
            peaks: peaks.map(|peaks| Tensor::from_data(TensorData::from(peaks), &device)),
            candidates: None,
        }
    }

    fn network(source: FixedMaskSource) -> Network {
        let size = NetworkSize {
            d_model: 8,
            n_layer: 1,
            promoter: 2,
            length: 8,
        };
        let mut config = NetworkKind::Macs3.preset().with_size(size);
        if let crate::NetworkConfig::FixedMask(config) = &mut config {
            config.mask_source = source;
        }
        Network::init(&config, 2, &Device::flex()).unwrap()
    }

    #[test]
    fn mask_is_the_peaks_then_the_regions_then_the_promoter() {
        let peaks = [[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]];
        for (source, expected) in [
            // 0 and 7 are excluded peaks, 6 is included, 3 an excluded base of the promoter (3, 4).
            (
                FixedMaskSource::Peaks,
                [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0],
            ),
            (
                FixedMaskSource::All,
                [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
            ),
        ] {
            let output = network(source)
                .forward(input(Some(peaks)), &Pass::Evaluate)
                .unwrap();
            assert_eq!(read(&output.mask.unwrap()).unwrap(), expected);
            assert!(output.kl.is_none());
        }
    }

    #[test]
    fn predictor_of_seq2exp_is_all_of_it_but_the_generator() {
        let size = NetworkSize {
            d_model: 8,
            n_layer: 2,
            promoter: 2,
            length: 8,
        };
        for kind in [NetworkKind::Seq2ExpSoft, NetworkKind::Seq2ExpHard] {
            let whole = kind.preset().with_size(size);
            let crate::NetworkConfig::Seq2Exp(fields) = &whole else {
                panic!("{kind:?}");
            };
            let own = FixedMaskConfig::of_predictor(fields, FixedMaskSource::All);
            let own = crate::NetworkConfig::FixedMask(own);
            let device = Device::flex();
            let [whole, own] = [&whole, &own].map(|config| {
                let network = Network::init(config, 2, &device).unwrap();
                network.named_parameters()
            });
            // Hard: the predictor's blocks are the generator's.
            let theirs: Vec<_> = whole
                .iter()
                .filter(|p| !p.name.starts_with("generator.") || kind == NetworkKind::Seq2ExpHard)
                .filter(|p| !p.name.starts_with("generator.output"))
                .map(|p| (p.name.replace("generator.", "predictor."), &p.shape))
                .collect();
            let mut found: Vec<_> = own.iter().map(|p| (p.name.clone(), &p.shape)).collect();
            let mut expected = theirs;
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{kind:?}");
        }
    }

    #[test]
    fn peaks_that_are_not_there_are_an_error_with_a_remedy() {
        let error = network(FixedMaskSource::Peaks)
            .forward(input(None), &Pass::Evaluate)
            .unwrap_err()
            .to_string();
        assert!(error.contains("data.peaks"), "{error}");
        assert!(
            network(FixedMaskSource::All)
                .forward(input(None), &Pass::Evaluate)
                .is_ok()
        );
    }
}
