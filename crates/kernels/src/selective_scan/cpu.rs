//! The recurrence for sixteen channels at a time, forward and backward.
//!
//! Letters as in Gu & Dao 2023: per channel, `h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t` and
//! `y_t = C_t h_t + D u_t`, with `N` states. States are handled in groups of sixteen; `A` is stored times
//! log2(e) for the base-2 exponential.

use std::ops::Range;

use crate::lanes::{Lanes, Simd, WIDTH, sixteen_times};

/// States handled together; `d_state` is padded to a multiple with states that stay zero.
pub(crate) const GROUP: usize = 16;

/// Positions handled together: before each run of them denormal numbers are removed from the running state, and the
/// run's step sizes are computed.
const RUN: usize = 16;

/// Where the step size of a position comes from.
pub(crate) trait StepSize {
    /// Whether `delta * A` can never be positive.
    const DECAYS: bool;
    /// Whether the step size is a mask times something, so that the mask gets a gradient too.
    const MASKED: bool = false;
    /// Step size at a row, and its derivative with respect to what it was computed from.
    fn at<S: Simd>(&self, s: S, row: usize) -> (S::Lanes, S::Lanes);
    /// Derivative of the step size with respect to the mask.
    #[inline(always)]
    fn mask_slope<S: Simd>(&self, s: S, _row: usize) -> S::Lanes {
        s.zero()
    }
}

/// `delta = softplus(rank-R projection + bias)`, computed on the way.
#[derive(Clone, Copy)]
pub(crate) struct ProjectedStep<'a> {
    /// Rows whose first columns are the rank-R inputs.
    pub(crate) rows: &'a [f32],
    pub(crate) stride: usize,
    /// `[dt_rank, 16]`
    pub(crate) weight: &'a [f32],
    /// `[16]`
    pub(crate) bias: &'a [f32],
}

impl StepSize for ProjectedStep<'_> {
    const DECAYS: bool = true;

    #[inline(always)]
    fn at<S: Simd>(&self, s: S, row: usize) -> (S::Lanes, S::Lanes) {
        let rank = self.weight.len() / WIDTH;
        let inputs = &self.rows[row * self.stride..][..rank];
        let mut raw = s.load(self.bias, 0);
        for (&input, weight) in inputs.iter().zip(self.weight.as_chunks::<WIDTH>().0) {
            raw = s.load_array(weight).mul_add(s.splat(input), raw);
        }
        s.softplus(raw)
    }
}

/// `delta = mask * softplus(rank-R projection + bias)`.
pub(crate) struct MaskedStep<'a> {
    projected: ProjectedStep<'a>,
    /// One value per row.
    mask: &'a [f32],
}

impl StepSize for MaskedStep<'_> {
    const DECAYS: bool = true;
    const MASKED: bool = true;

    #[inline(always)]
    fn at<S: Simd>(&self, s: S, row: usize) -> (S::Lanes, S::Lanes) {
        let (delta, slope) = self.projected.at(s, row);
        let mask = s.splat(self.mask[row]);
        (delta * mask, slope * mask)
    }

    #[inline(always)]
    fn mask_slope<S: Simd>(&self, s: S, row: usize) -> S::Lanes {
        self.projected.at(s, row).0
    }
}

/// Step sizes given, sixteen per row.
pub(crate) struct GivenStep<'a>(pub(crate) &'a [f32]);

impl StepSize for GivenStep<'_> {
    const DECAYS: bool = false;

    #[inline(always)]
    fn at<S: Simd>(&self, s: S, row: usize) -> (S::Lanes, S::Lanes) {
        (s.load(self.0, row * WIDTH), s.splat(1.0))
    }
}

/// Sixteen channels of one direction over a run of rows.
pub(crate) struct Channels<'a, D> {
    pub(crate) step: D,
    /// Rows holding `B` at column `b_offset` and `C` at column `c_offset`, both padded to `n_state`.
    pub(crate) bc: &'a [f32],
    pub(crate) bc_stride: usize,
    pub(crate) b_offset: usize,
    pub(crate) c_offset: usize,
    /// `A log2(e)`, `[n_state, 16]`.
    pub(crate) a: &'a [f32],
    /// `D`, `[16]`.
    pub(crate) d: &'a [f32],
    /// Whether time runs from the last row to the first.
    pub(crate) reverse: bool,
}

impl<'a> Channels<'a, ProjectedStep<'a>> {
    /// The same channels with every row's step size multiplied by its mask.
    #[inline(always)]
    pub(crate) fn masked(&self, mask: &'a [f32]) -> Channels<'a, MaskedStep<'a>> {
        let Channels {
            step: projected,
            bc,
            bc_stride,
            b_offset,
            c_offset,
            a,
            d,
            reverse,
        } = *self;
        let step = MaskedStep { projected, mask };
        Channels {
            step,
            bc,
            bc_stride,
            b_offset,
            c_offset,
            a,
            d,
            reverse,
        }
    }
}

/// Floats of the state of sixteen channels in one group.
const STATE: usize = GROUP * WIDTH;

impl<D> Channels<'_, D> {
    #[inline(always)]
    fn n_group(&self) -> usize {
        self.a.len() / STATE
    }

    #[inline(always)]
    fn row(&self, rows: &Range<usize>, time: usize) -> usize {
        if self.reverse {
            rows.end - 1 - time
        } else {
            rows.start + time
        }
    }

    #[inline(always)]
    fn b(&self, row: usize, group: usize) -> &[f32; GROUP] {
        sixteen(
            self.bc,
            row * self.bc_stride + self.b_offset + group * GROUP,
        )
    }

    #[inline(always)]
    fn c(&self, row: usize, group: usize) -> &[f32; GROUP] {
        sixteen(
            self.bc,
            row * self.bc_stride + self.c_offset + group * GROUP,
        )
    }
}

#[inline(always)]
fn sixteen(values: &[f32], start: usize) -> &[f32; GROUP] {
    values[start..]
        .first_chunk()
        .expect("rows hold whole groups of states")
}

/// One group's part of an array of states.
#[inline(always)]
fn group_of(states: &[f32], group: usize) -> &[[f32; WIDTH]; GROUP] {
    states.as_chunks().0[group * GROUP..]
        .first_chunk()
        .expect("states come in whole groups")
}

#[inline(always)]
fn group_of_mut(states: &mut [f32], group: usize) -> &mut [[f32; WIDTH]; GROUP] {
    states.as_chunks_mut().0[group * GROUP..]
        .first_chunk_mut()
        .expect("states come in whole groups")
}

#[inline(always)]
fn load_group<S: Simd>(s: S, states: &[f32], group: usize) -> [S::Lanes; GROUP] {
    let states = group_of(states, group);
    let mut out = [s.zero(); GROUP];
    sixteen_times!(n => { out[n] = s.load_array(&states[n]); });
    out
}

#[inline(always)]
fn store_group<L: Lanes>(lanes: &[L; GROUP], states: &mut [f32], group: usize) {
    let states = group_of_mut(states, group);
    sixteen_times!(n => { lanes[n].store_array(&mut states[n]); });
}

#[inline(always)]
fn flush_group<S: Simd>(s: S, lanes: &mut [S::Lanes; GROUP]) {
    sixteen_times!(n => { lanes[n] = s.flush_tiny(lanes[n]); });
}

#[inline(always)]
fn decay<D: StepSize, S: Simd>(s: S, delta: S::Lanes, a: S::Lanes) -> S::Lanes {
    if D::DECAYS {
        s.exp2_nonpositive(delta * a)
    } else {
        s.exp2(delta * a)
    }
}

/// Where the outputs of a scan go: sixteen floats per row, indexed from row 0.
pub(crate) enum ScanSink<'a> {
    /// Nobody reads them; only the state advances.
    Nowhere,
    Write(&'a mut [f32]),
    Add(&'a mut [f32]),
}

/// Advances `state`, `[n_state, 16]`, over `rows`, whose inputs are `u`, sixteen per row.
#[inline(always)]
pub(crate) fn scan<D: StepSize, S: Simd>(
    s: S,
    channels: &Channels<'_, D>,
    rows: Range<usize>,
    u: &[f32],
    state: &mut [f32],
    sink: ScanSink<'_>,
) {
    match sink {
        ScanSink::Nowhere => scan_into::<D, S, false>(s, channels, rows, u, state, &mut [], false),
        ScanSink::Write(y) => scan_into::<D, S, true>(s, channels, rows, u, state, y, false),
        ScanSink::Add(y) => scan_into::<D, S, true>(s, channels, rows, u, state, y, true),
    }
}

#[inline(always)]
fn scan_into<D: StepSize, S: Simd, const READ: bool>(
    s: S,
    channels: &Channels<'_, D>,
    rows: Range<usize>,
    u: &[f32],
    state: &mut [f32],
    y: &mut [f32],
    add: bool,
) {
    let d = s.load(channels.d, 0);
    let n_row = rows.len();
    let mut deltas = [[0.0; WIDTH]; RUN];
    for group in 0..channels.n_group() {
        let a = group_of(channels.a, group);
        let mut h = load_group(s, state, group);
        for time in 0..n_row {
            if time % RUN == 0 {
                flush_group(s, &mut h);
                // A step size is a long chain of instructions: a loop that does nothing else waits for many at once.
                for (ahead, delta) in (time..n_row).zip(&mut deltas) {
                    let row = channels.row(&rows, ahead);
                    channels.step.at(s, row).0.store_array(delta);
                }
            }
            let row = channels.row(&rows, time);
            let delta = s.load_array(&deltas[time % RUN]);
            let u = s.load(u, (row - rows.start) * WIDTH);
            let (b, c) = (channels.b(row, group), channels.c(row, group));
            let input = delta * u;
            // Two sums, so that no chain of sixteen dependent additions forms.
            let mut sums = [if group == 0 { d * u } else { s.zero() }, s.zero()];
            sixteen_times!(n => {
                let e = decay::<D, S>(s, delta, s.load_array(&a[n]));
                h[n] = h[n].mul_add(e, input * s.splat(b[n]));
                if READ {
                    sums[n % 2] = h[n].mul_add(s.splat(c[n]), sums[n % 2]);
                }
            });
            if READ {
                let mut out = sums[0] + sums[1];
                if add || group > 0 {
                    out = out + s.load(y, row * WIDTH);
                }
                out.store(y, row * WIDTH);
            }
        }
        store_group(&h, state, group);
    }
}

/// Floats of thread scratch that [`scan_backward`] needs for a run of `n_row` rows.
pub(crate) fn backward_scratch_len(n_row: usize) -> usize {
    (2 * n_row + 1) * STATE + 2 * n_row * WIDTH
}

/// Where [`scan_backward`] puts its results; arrays per row are indexed from row 0.
pub(crate) struct ChannelGradients<'a> {
    /// Adjoint of the state, `[n_state, 16]`: on entry after the last row in time, on return before the first.
    pub(crate) state: &'a mut [f32],
    /// Recomputed outputs, 16 per row; added to when `add_y`, left alone when their gradient is zero.
    pub(crate) y: &'a mut [f32],
    pub(crate) add_y: bool,
    /// Gradient of `u` through the recurrence and through `D`, 16 per row.
    pub(crate) u: &'a mut [f32],
    /// Gradient of what the step size was computed from, 16 per row.
    pub(crate) step: &'a mut [f32],
    /// Gradients of `B` then `C` summed over the sixteen channels, `2 n_state` per row.
    pub(crate) bc: &'a mut [f32],
    /// Gradient of `A` itself, `[n_state, 16]`, added to.
    pub(crate) a: &'a mut [f32],
    /// Gradient of `D`, `[16]`, added to.
    pub(crate) d: &'a mut [f32],
    /// Gradient of the bias under the step size, `[16]`, added to.
    pub(crate) step_bias: &'a mut [f32],
    /// Gradient of the mask through each of the sixteen step sizes, 16 per row; empty without a mask.
    pub(crate) mask: &'a mut [f32],
}

/// What [`scan_backward`] reads of a run of rows, the first row first.
#[derive(Clone, Copy)]
pub(crate) struct BackwardRows<'a> {
    /// Inputs, sixteen per row.
    pub(crate) u: &'a [f32],
    /// Gradient of the outputs, sixteen per row; none where nobody read them.
    pub(crate) dy: Option<&'a [f32]>,
    /// State before the run, `[n_state, 16]`.
    pub(crate) start: &'a [f32],
}

/// Recomputes the states of `rows` and walks them backwards.
#[inline(always)]
pub(crate) fn scan_backward<D: StepSize, S: Simd>(
    s: S,
    channels: &Channels<'_, D>,
    rows: Range<usize>,
    run: &BackwardRows<'_>,
    out: &mut ChannelGradients<'_>,
    scratch: &mut [f32],
) {
    match run.dy {
        Some(dy) => scan_backward_of::<D, S, true>(s, channels, rows, run, dy, out, scratch),
        None => scan_backward_of::<D, S, false>(s, channels, rows, run, &[], out, scratch),
    }
}

#[inline(always)]
fn scan_backward_of<D: StepSize, S: Simd, const READ: bool>(
    s: S,
    channels: &Channels<'_, D>,
    rows: Range<usize>,
    run: &BackwardRows<'_>,
    dy: &[f32],
    out: &mut ChannelGradients<'_>,
    scratch: &mut [f32],
) {
    let n_row = rows.len();
    let n_group = channels.n_group();
    let (decays, rest) = scratch.split_at_mut(n_row * STATE);
    let (states, rest) = rest.split_at_mut((n_row + 1) * STATE);
    let (deltas, rest) = rest.split_at_mut(n_row * WIDTH);
    let slopes = &mut rest[..n_row * WIDTH];
    let d = s.load(channels.d, 0);

    // As in `scan_into`, a loop that does nothing else.
    for time in 0..n_row {
        let (delta, slope) = channels.step.at(s, channels.row(&rows, time));
        delta.store(deltas, time * WIDTH);
        slope.store(slopes, time * WIDTH);
    }

    for group in 0..n_group {
        let a = group_of(channels.a, group);
        let mut h = load_group(s, run.start, group);
        store_group(&h, states, 0);
        for time in 0..n_row {
            let row = channels.row(&rows, time);
            if time % RUN == 0 {
                flush_group(s, &mut h);
            }
            let delta = s.load(deltas, time * WIDTH);
            let u = s.load(run.u, (row - rows.start) * WIDTH);
            let (b, c) = (channels.b(row, group), channels.c(row, group));
            let input = delta * u;
            let mut sums = [if group == 0 { d * u } else { s.zero() }, s.zero()];
            let decays = group_of_mut(decays, time);
            let states = group_of_mut(states, time + 1);
            sixteen_times!(n => {
                let e = decay::<D, S>(s, delta, s.load_array(&a[n]));
                e.store_array(&mut decays[n]);
                h[n] = h[n].mul_add(e, input * s.splat(b[n]));
                h[n].store_array(&mut states[n]);
                if READ {
                    sums[n % 2] = h[n].mul_add(s.splat(c[n]), sums[n % 2]);
                }
            });
            if READ {
                let mut y = sums[0] + sums[1];
                if out.add_y || group > 0 {
                    y = y + s.load(out.y, row * WIDTH);
                }
                y.store(out.y, row * WIDTH);
            }
        }

        let mut gh = load_group(s, out.state, group);
        // Summed over the chunk first: one running sum over the whole length would round a hundred times more.
        let mut ga = [s.zero(); GROUP];
        let (mut gd, mut gbias) = (s.zero(), s.zero());
        for time in (0..n_row).rev() {
            let row = channels.row(&rows, time);
            if time % RUN == 0 {
                flush_group(s, &mut gh);
            }
            let delta = s.load(deltas, time * WIDTH);
            let u = s.load(run.u, (row - rows.start) * WIDTH);
            let dy = if READ {
                s.flush_tiny(s.load(dy, (row - rows.start) * WIDTH))
            } else {
                s.zero()
            };
            let (b, c) = (channels.b(row, group), channels.c(row, group));
            let input = delta * u;
            let decays = group_of(decays, time);
            let before = group_of(states, time);
            let after = group_of(states, time + 1);
            let (mut ginput, mut gdelta) = ([s.zero(); 2], [s.zero(); 2]);
            let (mut gb, mut gc) = ([s.zero(); GROUP], [s.zero(); GROUP]);
            sixteen_times!(n => {
                let q = if READ {
                    gc[n] = dy * s.load_array(&after[n]);
                    dy.mul_add(s.splat(c[n]), gh[n])
                } else {
                    gh[n]
                };
                gb[n] = q * input;
                ginput[n % 2] = q.mul_add(s.splat(b[n]), ginput[n % 2]);
                gh[n] = q * s.load_array(&decays[n]);
                let gexponent = gh[n] * s.load_array(&before[n]);
                gdelta[n % 2] = gexponent.mul_add(s.load_array(&a[n]), gdelta[n % 2]);
                ga[n] = gexponent.mul_add(delta, ga[n]);
            });
            let row_bc = &mut out.bc[row * 2 * n_group * GROUP..][..2 * n_group * GROUP];
            s.sum_each(&gb).store(row_bc, group * GROUP);
            let gc = if READ { s.sum_each(&gc) } else { s.zero() };
            gc.store(row_bc, (n_group + group) * GROUP);

            let ginput = ginput[0] + ginput[1];
            // `a` carries a factor log2(e) that the derivative with respect to delta must not have.
            let gdelta = (gdelta[0] + gdelta[1]) * s.splat(std::f32::consts::LN_2);
            let gdelta = ginput.mul_add(u, gdelta);
            let mut gu = ginput * delta;
            if group > 0 {
                gu = gu + s.load(out.u, row * WIDTH);
            } else if READ {
                gu = dy.mul_add(d, gu);
                gd = dy.mul_add(u, gd);
            }
            gu.store(out.u, row * WIDTH);
            let mut gstep = gdelta * s.load(slopes, time * WIDTH);
            gbias = gbias + gstep;
            if group > 0 {
                gstep = gstep + s.load(out.step, row * WIDTH);
            }
            gstep.store(out.step, row * WIDTH);
            if D::MASKED {
                let mut gmask = gdelta * channels.step.mask_slope(s, row);
                if group > 0 {
                    gmask = gmask + s.load(out.mask, row * WIDTH);
                }
                gmask.store(out.mask, row * WIDTH);
            }
        }
        for (sum, ga) in group_of_mut(out.a, group).iter_mut().zip(ga) {
            (s.load_array(sum) + ga).store_array(sum);
        }
        (s.load(out.d, 0) + gd).store(out.d, 0);
        (s.load(out.step_bias, 0) + gbias).store(out.step_bias, 0);
        store_group(&gh, out.state, group);
    }
}
