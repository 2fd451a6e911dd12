//! Parameters as the CPU path reads them: channels and states padded to sixteen, blocks of channels together.

use rayon::prelude::*;

use super::layout::BlockSizes;
use crate::aligned::AlignedFloats;
use crate::lanes::WIDTH;
use crate::selective_scan::cpu::GROUP;

/// Sizes after padding. Padded channels and states have zero weights, so they stay zero throughout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Padded {
    pub(super) sizes: BlockSizes,
    /// `d_inner` rounded up to whole blocks of channels.
    pub(super) d_inner: usize,
    /// Blocks of sixteen channels.
    pub(super) n_block: usize,
    /// `d_state` rounded up to whole groups.
    pub(super) d_state: usize,
    /// Columns of the projection to step size, B and C.
    pub(super) d_x_proj: usize,
}

impl Padded {
    pub(super) fn new(sizes: BlockSizes) -> Self {
        let n_block = sizes.d_inner.div_ceil(WIDTH);
        let d_state = sizes.d_state.next_multiple_of(GROUP);
        Self {
            sizes,
            d_inner: n_block * WIDTH,
            n_block,
            d_state,
            d_x_proj: sizes.dt_rank + 2 * d_state,
        }
    }

    /// Floats of one block's scan state.
    pub(super) fn state_len(&self) -> usize {
        self.d_state * WIDTH
    }

    /// Row of the padded x projection that holds row `row` of the parameter.
    fn x_proj_row(&self, row: usize) -> usize {
        let BlockSizes {
            dt_rank, d_state, ..
        } = self.sizes;
        if row < dt_rank + d_state {
            row
        } else {
            row - d_state + self.d_state
        }
    }
}

/// One direction's parameters.
pub(super) struct DirectionWeights {
    /// `[d_conv, d_inner]`
    pub(super) conv: AlignedFloats,
    /// `[d_inner]`
    pub(super) conv_bias: AlignedFloats,
    /// `[d_x_proj, d_inner]`
    pub(super) x_proj: AlignedFloats,
    /// `[d_inner, dt_rank]`
    pub(super) dt: AlignedFloats,
    /// The same by blocks of channels, `[n_block, dt_rank, 16]`.
    pub(super) dt_blocks: AlignedFloats,
    /// `[d_inner]`
    pub(super) dt_bias: AlignedFloats,
    /// `-exp(a_log) log2(e)`, `[n_block, d_state, 16]`.
    pub(super) a: AlignedFloats,
    /// `[d_inner]`
    pub(super) d: AlignedFloats,
}

/// A block's parameters.
pub(super) struct Weights {
    pub(super) padded: Padded,
    /// `[d_model]`
    pub(super) norm: AlignedFloats,
    /// Convolution half of in_proj, `[d_inner, d_model]`.
    pub(super) in_x: AlignedFloats,
    /// Gate half of in_proj, `[d_inner, d_model]`.
    pub(super) in_z: AlignedFloats,
    /// `[d_model, d_inner]`
    pub(super) out: AlignedFloats,
    pub(super) directions: [DirectionWeights; 2],
}

/// Copies values into a longer array of zeros.
fn extended(values: &[f32], len: usize) -> AlignedFloats {
    let mut out = AlignedFloats::zeroed(len);
    out[..values.len()].copy_from_slice(values);
    out
}

/// Copies rows of `width` columns into rows of `padded_width` columns.
fn widened(values: &[f32], width: usize, padded_width: usize) -> AlignedFloats {
    let mut out = AlignedFloats::zeroed(values.len() / width * padded_width);
    for (row, values) in out.chunks_mut(padded_width).zip(values.chunks(width)) {
        row[..width].copy_from_slice(values);
    }
    out
}

impl Weights {
    /// Arranges the flat array that [`BlockSizes::layout`] describes.
    pub(super) fn new(params: &[f32], sizes: BlockSizes) -> Self {
        let padded = Padded::new(sizes);
        let layout = sizes.layout();
        let BlockSizes {
            d_model,
            d_inner,
            d_state,
            d_conv,
            dt_rank,
        } = sizes;
        let in_proj = &params[layout.in_proj];
        let (in_x, in_z) = in_proj.split_at(d_inner * d_model);
        let directions = layout.directions.map(|place| {
            let conv_weight = &params[place.conv_weight];
            let x_proj_rows = &params[place.x_proj];
            let dt_weight = &params[place.dt_weight];
            let a_log = &params[place.a_log];
            let mut conv = AlignedFloats::zeroed(d_conv * padded.d_inner);
            let mut x_proj = AlignedFloats::zeroed(padded.d_x_proj * padded.d_inner);
            let mut dt_blocks = AlignedFloats::zeroed(dt_rank * padded.d_inner);
            let mut a = AlignedFloats::zeroed(padded.d_state * padded.d_inner);
            for i in 0..d_inner {
                let (block, lane) = (i / WIDTH, i % WIDTH);
                for k in 0..d_conv {
                    conv[k * padded.d_inner + i] = conv_weight[i * d_conv + k];
                }
                for r in 0..dt_rank {
                    dt_blocks[(block * dt_rank + r) * WIDTH + lane] = dt_weight[i * dt_rank + r];
                }
                for n in 0..d_state {
                    let value = -f64::from(a_log[i * d_state + n]).exp() * std::f64::consts::LOG2_E;
                    a[(block * padded.d_state + n) * WIDTH + lane] = value as f32;
                }
            }
            for (row, values) in x_proj_rows.chunks(d_inner).enumerate() {
                let start = padded.x_proj_row(row) * padded.d_inner;
                x_proj[start..start + d_inner].copy_from_slice(values);
            }
            DirectionWeights {
                conv,
                conv_bias: extended(&params[place.conv_bias], padded.d_inner),
                x_proj,
                dt: extended(dt_weight, padded.d_inner * dt_rank),
                dt_blocks,
                dt_bias: extended(&params[place.dt_bias], padded.d_inner),
                a,
                d: extended(&params[place.d], padded.d_inner),
            }
        });
        Self {
            padded,
            norm: AlignedFloats::from(&params[layout.norm_weight]),
            in_x: extended(in_x, padded.d_inner * d_model),
            in_z: extended(in_z, padded.d_inner * d_model),
            out: widened(&params[layout.out_proj], d_inner, padded.d_inner),
            directions,
        }
    }
}

/// Sums over tiles that one worker keeps for the shared parameters.
pub(super) struct SharedGradients<'a> {
    pub(super) norm: &'a mut [f32],
    pub(super) in_x: &'a mut [f32],
    pub(super) in_z: &'a mut [f32],
    pub(super) out: &'a mut [f32],
}

/// Sums over tiles that one worker keeps for one direction's parameters.
pub(super) struct DirectionGradients<'a> {
    /// `[d_conv, d_inner]`
    pub(super) conv: &'a mut [f32],
    pub(super) conv_bias: &'a mut [f32],
    pub(super) x_proj: &'a mut [f32],
    /// `[d_inner, dt_rank]`
    pub(super) dt: &'a mut [f32],
}

/// Sums over positions that one block of channels keeps.
pub(super) struct ChannelSums<'a> {
    /// `[d_state, 16]`
    pub(super) a: &'a mut [f32],
    pub(super) d: &'a mut [f32],
    pub(super) dt_bias: &'a mut [f32],
}

/// Takes the first `len` floats off a slice.
fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    head
}

impl Padded {
    /// Floats of a [`SharedGradients`].
    pub(super) fn shared_len(&self) -> usize {
        self.sizes.d_model * (1 + 3 * self.d_inner)
    }

    pub(super) fn shared<'a>(&self, mut sums: &'a mut [f32]) -> SharedGradients<'a> {
        let product = self.sizes.d_model * self.d_inner;
        SharedGradients {
            norm: take(&mut sums, self.sizes.d_model),
            in_x: take(&mut sums, product),
            in_z: take(&mut sums, product),
            out: take(&mut sums, product),
        }
    }

    /// Floats of a [`DirectionGradients`].
    pub(super) fn direction_len(&self) -> usize {
        self.d_inner * (self.sizes.d_conv + 1 + self.d_x_proj + self.sizes.dt_rank)
    }

    pub(super) fn direction<'a>(&self, mut sums: &'a mut [f32]) -> DirectionGradients<'a> {
        DirectionGradients {
            conv: take(&mut sums, self.sizes.d_conv * self.d_inner),
            conv_bias: take(&mut sums, self.d_inner),
            x_proj: take(&mut sums, self.d_x_proj * self.d_inner),
            dt: take(&mut sums, self.d_inner * self.sizes.dt_rank),
        }
    }

    /// Floats of a [`ChannelSums`].
    pub(super) fn channel_len(&self) -> usize {
        self.state_len() + 2 * WIDTH
    }

    pub(super) fn channel<'a>(&self, mut sums: &'a mut [f32]) -> ChannelSums<'a> {
        ChannelSums {
            a: take(&mut sums, self.state_len()),
            d: take(&mut sums, WIDTH),
            dt_bias: take(&mut sums, WIDTH),
        }
    }
}

/// Adds arrays of `len` floats stored one after the other, in their order, into the first.
pub(super) fn fold_into_first(sums: &mut [f32], len: usize) {
    /// Floats of the first array that one task sums.
    const RUN: usize = 4096;
    let (first, rest) = sums.split_at_mut(len);
    first
        .par_chunks_mut(RUN)
        .enumerate()
        .for_each(|(run, first)| {
            for other in rest.chunks(len) {
                for (sum, other) in first.iter_mut().zip(&other[run * RUN..]) {
                    *sum += other;
                }
            }
        });
}

/// Arranges finished sums as the flat array that [`BlockSizes::layout`] describes.
///
/// `shared` is one [`SharedGradients`], `directions` two [`DirectionGradients`] one after the other,
/// `channels` `[2, n_block]` [`ChannelSums`].
pub(super) fn flatten_gradients(
    weights: &Weights,
    shared: &mut [f32],
    directions: &mut [f32],
    channels: &mut [f32],
) -> Vec<f32> {
    let padded = &weights.padded;
    let BlockSizes {
        d_model,
        d_inner,
        d_state,
        d_conv,
        dt_rank,
    } = padded.sizes;
    let layout = padded.sizes.layout();
    let mut out = vec![0.0; layout.len];
    let shared = padded.shared(shared);
    out[layout.norm_weight].copy_from_slice(shared.norm);
    let (in_x, in_z) = out[layout.in_proj].split_at_mut(d_inner * d_model);
    in_x.copy_from_slice(&shared.in_x[..d_inner * d_model]);
    in_z.copy_from_slice(&shared.in_z[..d_inner * d_model]);
    for (row, sums) in out[layout.out_proj]
        .chunks_mut(d_inner)
        .zip(shared.out.chunks(padded.d_inner))
    {
        row.copy_from_slice(&sums[..d_inner]);
    }
    for (((place, weights), sums), channels) in layout
        .directions
        .into_iter()
        .zip(&weights.directions)
        .zip(directions.chunks_mut(padded.direction_len()))
        .zip(channels.chunks_mut(padded.n_block * padded.channel_len()))
    {
        let sums = padded.direction(sums);
        for i in 0..d_inner {
            for k in 0..d_conv {
                out[place.conv_weight.start + i * d_conv + k] = sums.conv[k * padded.d_inner + i];
            }
        }
        out[place.conv_bias].copy_from_slice(&sums.conv_bias[..d_inner]);
        for (row, values) in out[place.x_proj].chunks_mut(d_inner).enumerate() {
            let start = padded.x_proj_row(row) * padded.d_inner;
            values.copy_from_slice(&sums.x_proj[start..start + d_inner]);
        }
        out[place.dt_weight].copy_from_slice(&sums.dt[..d_inner * dt_rank]);
        for (block, sums) in channels.chunks_mut(padded.channel_len()).enumerate() {
            let sums = padded.channel(sums);
            for lane in 0..WIDTH.min(d_inner - block * WIDTH) {
                let i = block * WIDTH + lane;
                out[place.d.start + i] = sums.d[lane];
                out[place.dt_bias.start + i] = sums.dt_bias[lane];
                for n in 0..d_state {
                    // d(-exp(a_log)) / d(a_log) is A itself.
                    let a = weights.a[(block * padded.d_state + n) * WIDTH + lane]
                        * std::f32::consts::LN_2;
                    out[place.a_log.start + i * d_state + n] = sums.a[n * WIDTH + lane] * a;
                }
            }
        }
    }
    out
}
