//! The end of a step under a mask.

use rayon::prelude::*;

use super::buffers::{ChainBuffers, Exchange};
use super::{ADJOINT_DIRECTIONS, Backward};
use crate::bimamba_block::convolution::{MaskedAdjoint, convolve_transposed_masked};
use crate::bimamba_block::mask_taps::MaskTaps;
use crate::bimamba_block::sweep::{Step, Visit, panel_parts};

impl Backward<'_> {
    /// As [`finish_convolutions`](Self::finish_convolutions) for masked taps, which reach as far as the mask has gaps:
    /// each chain walks its panel alone, row by row, and finishes the mask's gradient on the way.
    pub(super) fn finish_masked(
        &self,
        taps: &MaskTaps<'_>,
        step: &Step,
        exchange: &mut Exchange,
        chains: &mut [ChainBuffers; 2],
        dmask: &mut [f32],
    ) {
        let d_inner = self.padded.d_inner;
        let halo = (self.padded.sizes.d_conv - 1) * d_inner;
        let dinputs = panel_parts(&mut exchange.dinputs, &step.panels, 0, d_inner);
        let dmasks = panel_parts(dmask, &step.panels, 0, 1);
        let inputs: &[f32] = &exchange.inputs;
        let mut tasks = Vec::new();
        for (chain, ((buffers, dinputs), dmask)) in
            chains.iter_mut().zip(dinputs).zip(dmasks).enumerate()
        {
            if !dmask.is_empty() {
                tasks.push((chain, buffers, dinputs, dmask));
            }
        }
        tasks
            .into_par_iter()
            .for_each(|(chain, buffers, dinputs, dmask)| {
                let (panel, direction) = (&step.panels[chain], ADJOINT_DIRECTIONS[chain]);
                let n_row = panel.positions.len();
                // Behind the rows that only the unmasked convolution carries, as `finish_scans` placed them.
                let first = if direction == 0 { 0 } else { halo };
                let adjoint = MaskedAdjoint {
                    dv: &buffers.dconv[first..first + n_row * d_inner],
                    x: &inputs[panel.positions.start * d_inner..panel.positions.end * d_inner],
                    mask: panel.mask(taps),
                    dmask_step: &buffers.dmask,
                    weight: &self.weights.directions[direction].conv,
                    d_inner,
                    reverse: direction == 1,
                    add: step.visit == Visit::Second,
                };
                let pending = &mut buffers.carried;
                convolve_transposed_masked(self.level, &adjoint, pending, dinputs, dmask);
            });
    }
}
