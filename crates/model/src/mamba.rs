//! Parameters of Mamba blocks, bidirectional and causal.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use kernels::{
    BimambaParams, BlockOptions, DirectionParams, Numerics, ShapeError, bimamba_block,
    masked_bimamba_block,
};
use serde::{Deserialize, Serialize};

use crate::config::positive;
use crate::initialization::{InitializationConfig, Initializer, kaiming_bound};

/// Sizes inside a Mamba block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MambaConfig {
    /// State size per channel; 16. Released name: `ssm_cfg.d_state`.
    pub d_state: usize,
    /// Width of the causal convolution, in bases; 4. Released name: `ssm_cfg.d_conv`.
    pub d_conv: usize,
    /// `d_inner / d_model`; 2. Released name: `ssm_cfg.expand`.
    pub expand: usize,
    /// Rank of the step size's projection; 0 = `ceil(d_model / 16)`. Released name: `ssm_cfg.dt_rank`.
    pub dt_rank: usize,
}

impl Default for MambaConfig {
    fn default() -> Self {
        Self {
            d_state: 16,
            d_conv: 4,
            expand: 2,
            dt_rank: 0,
        }
    }
}

impl MambaConfig {
    /// Channels inside the block.
    pub fn d_inner(&self, d_model: usize) -> usize {
        self.expand * d_model
    }

    /// Rank of the step size's projection, resolved.
    pub fn dt_rank(&self, d_model: usize) -> usize {
        if self.dt_rank == 0 {
            d_model.div_ceil(16)
        } else {
            self.dt_rank
        }
    }

    pub(crate) fn add_problems(&self, problems: &mut Vec<String>) {
        positive(problems, "mamba.d_state", self.d_state);
        positive(problems, "mamba.d_conv", self.d_conv);
        positive(problems, "mamba.expand", self.expand);
    }
}

/// What one direction of the scan has for itself.
#[derive(Module, Debug)]
pub struct MambaDirection {
    /// Causal depthwise convolution, `[d_inner, d_conv]`; the last column weighs the current base.
    pub conv_weight: Param<Tensor<2>>,
    /// `[d_inner]`.
    pub conv_bias: Param<Tensor<1>>,
    /// Rows dt, then B, then C: `[dt_rank + 2 d_state, d_inner]`.
    pub x_proj: Param<Tensor<2>>,
    /// `[d_inner, dt_rank]`.
    pub dt_weight: Param<Tensor<2>>,
    /// `[d_inner]`, before the softplus.
    pub dt_bias: Param<Tensor<1>>,
    /// Logarithm of the negated state matrix, `[d_inner, d_state]`.
    pub a_log: Param<Tensor<2>>,
    /// Skip weight, `[d_inner]`.
    pub d: Param<Tensor<1>>,
}

/// `x + BiMamba(RMSNorm(x))`: two directions that share the projections in and out.
#[derive(Module, Debug)]
pub struct BiMamba {
    /// `[d_model]`.
    pub norm_weight: Param<Tensor<1>>,
    /// Rows of the scanned half, then of the gate: `[2 d_inner, d_model]`.
    pub in_proj: Param<Tensor<2>>,
    /// `[d_model, d_inner]`.
    pub out_proj: Param<Tensor<2>>,
    /// From the first base to the last.
    pub forward: MambaDirection,
    /// From the last base to the first.
    pub reverse: MambaDirection,
    #[module(skip)]
    numerics: Numerics,
}

impl MambaDirection {
    fn init(
        d_model: usize,
        mamba: &MambaConfig,
        init: &InitializationConfig,
        initializer: &Initializer<'_>,
    ) -> Self {
        let (d_inner, dt_rank) = (mamba.d_inner(d_model), mamba.dt_rank(d_model));
        let (d_state, d_conv) = (mamba.d_state, mamba.d_conv);
        let (log_min, log_max) = (init.dt_min.ln(), init.dt_max.ln());
        Self {
            conv_weight: initializer.uniform(
                "conv_weight",
                [d_inner, d_conv],
                kaiming_bound(d_conv),
            ),
            conv_bias: initializer.uniform("conv_bias", [d_inner], kaiming_bound(d_conv)),
            x_proj: initializer.uniform(
                "x_proj",
                [dt_rank + 2 * d_state, d_inner],
                kaiming_bound(d_inner),
            ),
            dt_weight: initializer.uniform("dt_weight", [d_inner, dt_rank], kaiming_bound(dt_rank)),
            dt_bias: initializer.draw("dt_bias", [d_inner], |unit| {
                let dt = (log_min + unit * (log_max - log_min))
                    .exp()
                    .max(init.dt_init_floor);
                // Inverse of softplus: dt + ln(1 - exp(-dt)).
                (dt + (-(-dt).exp_m1()).ln()) as f32
            }),
            a_log: initializer.fill([d_inner, d_state], |index| {
                ((index % d_state + 1) as f32).ln()
            }),
            d: initializer.fill([d_inner], |_| 1.0),
        }
    }

    /// A direction of the same sizes whose output is exactly 0: its scan reads nothing (B = 0) and skips nothing (D = 0).
    fn silent(&self, device: &Device) -> DirectionParams {
        DirectionParams {
            conv_weight: Tensor::zeros(self.conv_weight.dims(), device),
            conv_bias: Tensor::zeros(self.conv_bias.dims(), device),
            x_proj: Tensor::zeros(self.x_proj.dims(), device),
            dt_weight: Tensor::zeros(self.dt_weight.dims(), device),
            dt_bias: Tensor::zeros(self.dt_bias.dims(), device),
            a_log: Tensor::zeros(self.a_log.dims(), device),
            d: Tensor::zeros(self.d.dims(), device),
        }
    }

    fn params(&self) -> DirectionParams {
        DirectionParams {
            conv_weight: self.conv_weight.val(),
            conv_bias: self.conv_bias.val(),
            x_proj: self.x_proj.val(),
            dt_weight: self.dt_weight.val(),
            dt_bias: self.dt_bias.val(),
            a_log: self.a_log.val(),
            d: self.d.val(),
        }
    }
}

impl BiMamba {
    /// Draws the parameters as the published code does; `out_proj` of a backbone with `n_layer` blocks is scaled by
    /// [`InitializationConfig::out_proj_scale`].
    pub fn init(
        d_model: usize,
        n_layer: usize,
        mamba: &MambaConfig,
        init: &InitializationConfig,
        initializer: &Initializer<'_>,
    ) -> Self {
        let d_inner = mamba.d_inner(d_model);
        let out_bound = kaiming_bound(d_inner) * init.out_proj_scale(n_layer);
        Self {
            norm_weight: initializer.fill([d_model], |_| 1.0),
            in_proj: initializer.uniform("in_proj", [2 * d_inner, d_model], kaiming_bound(d_model)),
            out_proj: initializer.uniform("out_proj", [d_model, d_inner], out_bound),
            forward: MambaDirection::init(d_model, mamba, init, &initializer.at("forward")),
            reverse: MambaDirection::init(d_model, mamba, init, &initializer.at("reverse")),
            numerics: Numerics::default(),
        }
    }

    /// Chooses how the block computes and keeps numbers.
    pub fn set_numerics(&mut self, numerics: Numerics) {
        self.numerics = numerics;
    }

    /// Runs the block, at the positions `outputs` only if given; under a `mask` if given, see
    /// [`masked_bimamba_block`].
    ///
    /// # Shapes
    /// - `x`: `[batch, length, d_model]`; `mask`: `[batch, length]`; output: `[batch, n_outputs, d_model]`
    ///
    /// # Errors
    /// [`ShapeError`] when `x`, `mask`, `outputs` and the parameters disagree.
    pub fn forward(
        &self,
        x: Tensor<3>,
        mask: Option<Tensor<2>>,
        outputs: Option<Range<usize>>,
    ) -> Result<Tensor<3>, ShapeError> {
        let params = BimambaParams {
            norm_weight: self.norm_weight.val(),
            in_proj: self.in_proj.val(),
            out_proj: self.out_proj.val(),
            forward: self.forward.params(),
            reverse: self.reverse.params(),
        };
        let options = BlockOptions {
            outputs,
            numerics: self.numerics,
        };
        match mask {
            Some(mask) => masked_bimamba_block(x, mask, params, options),
            None => bimamba_block(x, params, options),
        }
    }
}

/// `x + Mamba(RMSNorm(x))`: the scan from the first base to the last alone.
#[derive(Module, Debug)]
pub struct CausalMamba {
    /// `[d_model]`.
    pub norm_weight: Param<Tensor<1>>,
    /// Rows of the scanned half, then of the gate: `[2 d_inner, d_model]`.
    pub in_proj: Param<Tensor<2>>,
    /// `[d_model, d_inner]`.
    pub out_proj: Param<Tensor<2>>,
    /// From the first base to the last.
    pub forward: MambaDirection,
    #[module(skip)]
    numerics: Numerics,
}

impl CausalMamba {
    /// Chooses how the block computes and keeps numbers.
    pub fn set_numerics(&mut self, numerics: Numerics) {
        self.numerics = numerics;
    }

    /// Draws the parameters as [`BiMamba::init`] does.
    pub fn init(
        d_model: usize,
        n_layer: usize,
        mamba: &MambaConfig,
        init: &InitializationConfig,
        initializer: &Initializer<'_>,
    ) -> Self {
        let BiMamba {
            norm_weight,
            in_proj,
            out_proj,
            forward,
            numerics,
            ..
        } = BiMamba::init(d_model, n_layer, mamba, init, initializer);
        Self {
            norm_weight,
            in_proj,
            out_proj,
            forward,
            numerics,
        }
    }

    /// Runs the block, as a bidirectional one whose reverse direction is silent.
    ///
    /// # Shapes
    /// - `x` and output: `[batch, length, d_model]`
    ///
    /// # Errors
    /// [`ShapeError`] when `x`, `outputs` and the parameters disagree.
    pub fn forward(
        &self,
        x: Tensor<3>,
        outputs: Option<Range<usize>>,
    ) -> Result<Tensor<3>, ShapeError> {
        let reverse = self.forward.silent(&x.device());
        bimamba_block(
            x,
            BimambaParams {
                norm_weight: self.norm_weight.val(),
                in_proj: self.in_proj.val(),
                out_proj: self.out_proj.val(),
                forward: self.forward.params(),
                reverse,
            },
            BlockOptions {
                outputs,
                numerics: self.numerics,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Seq2ExpConfig;
    use burn::tensor::Device;

    fn values<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
        param.val().into_data().try_to_vec::<f32>().unwrap()
    }

    #[test]
    fn init_block_has_the_published_shapes_and_ranges() {
        let config = Seq2ExpConfig::soft();
        let device = Device::flex();
        let block = BiMamba::init(
            32,
            2,
            &config.mamba,
            &config.initialization,
            &Initializer::new(2, &device),
        );
        assert_eq!(block.in_proj.dims(), [128, 32]);
        assert_eq!(block.out_proj.dims(), [32, 64]);
        assert_eq!(block.reverse.x_proj.dims(), [34, 64]);
        assert_eq!(block.reverse.dt_weight.dims(), [64, 2]);
        // 1 / sqrt(64) / sqrt(64)
        let largest = values(&block.out_proj)
            .into_iter()
            .fold(0.0_f32, |a, b| a.max(b.abs()));
        assert!(largest <= 0.015_625 && largest > 0.015, "{largest}");
        assert_eq!(
            &values(&block.forward.a_log)[..3],
            [0.0, 2.0_f32.ln(), 3.0_f32.ln()]
        );
        // softplus(dt_bias) lies in [1e-3, 1e-1]
        for bias in values(&block.forward.dt_bias) {
            let dt = f64::from(bias).exp().ln_1p();
            assert!((0.999e-3..=0.1001).contains(&dt), "{bias}: {dt}");
        }
        assert_ne!(
            values(&block.forward.conv_weight),
            values(&block.reverse.conv_weight)
        );
        assert_eq!(values(&block.norm_weight), [1.0; 32]);
        assert_eq!(values(&block.forward.d), [1.0; 64]);
    }

    #[test]
    fn init_step_sizes_are_uniform_in_their_logarithm() {
        let device = Device::flex();
        let mut init = Seq2ExpConfig::soft().initialization;
        let mamba = MambaConfig {
            d_state: 1,
            ..MambaConfig::default()
        };
        let steps = |init: &InitializationConfig| -> Vec<f64> {
            let direction = MambaDirection::init(1000, &mamba, init, &Initializer::new(2, &device));
            let biases = values(&direction.dt_bias).into_iter();
            biases.map(|bias| f64::from(bias).exp().ln_1p()).collect()
        };
        // 2,000 logarithms uniform in [ln 0.001, ln 0.1]: mean ln 0.01 = -4.605, variance (ln 100)^2 / 12 = 1.767; the
        // mean's standard error is sqrt(1.767 / 2000) = 0.030, the variance's sqrt(0.8 / 2000) * 1.767 = 0.035.
        let logs: Vec<f64> = steps(&init).iter().map(|step| step.ln()).collect();
        let mean = logs.iter().sum::<f64>() / 2000.0;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 2000.0;
        assert!((mean + 4.605).abs() < 0.12, "{mean}");
        assert!((variance - 1.767).abs() < 0.14, "{variance}");
        // Half of the logarithms lie below ln 0.01, which then are that.
        init.dt_init_floor = 0.01;
        let raised = steps(&init);
        let n_raised = raised.iter().filter(|&&step| step < 0.010_001).count();
        assert!((900..1100).contains(&n_raised), "{n_raised}");
        assert!(raised.iter().all(|&step| step > 0.009_999));
    }
}
