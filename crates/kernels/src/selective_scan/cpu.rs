//! The recurrence for sixteen channels at a time, forward and backward.
//!
//! Letters as in Gu & Dao 2023: per channel, `h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t` and
//! `y_t = C_t h_t + D u_t`, with `N` states. States are handled in groups of sixteen; `A` is stored times
//! log2(e) for the base-2 exponential.

use crate::lanes::{Lanes, WIDTH};

/// States handled together; `d_state` is padded to a multiple with states that stay zero.
pub(crate) const GROUP: usize = 16;

/// Positions between two removals of denormal numbers from the running state.
const FLUSH_EVERY: usize = 16;

/// Where the step size of a position comes from.
pub(crate) trait StepSize {
    /// Whether `delta * A` can never be positive.
    const DECAYS: bool;
    /// Step size at a row, and its derivative with respect to what it was computed from.
    fn at<const FMA: bool>(&self, row: usize) -> (Lanes, Lanes);
}

/// `delta = softplus(rank-R projection + bias)`, computed on the way.
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
    fn at<const FMA: bool>(&self, row: usize) -> (Lanes, Lanes) {
        let rank = self.weight.len() / WIDTH;
        let inputs = &self.rows[row * self.stride..][..rank];
        let mut raw = Lanes::load(self.bias, 0);
        for (r, &input) in inputs.iter().enumerate() {
            raw = Lanes::load(self.weight, r * WIDTH).mul_add::<FMA>(Lanes::splat(input), raw);
        }
        raw.softplus::<FMA>()
    }
}

/// Step sizes given as rows.
pub(crate) struct GivenStep<'a> {
    pub(crate) rows: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) offset: usize,
}

impl StepSize for GivenStep<'_> {
    const DECAYS: bool = false;

    #[inline(always)]
    fn at<const FMA: bool>(&self, row: usize) -> (Lanes, Lanes) {
        (
            Lanes::load(self.rows, row * self.stride + self.offset),
            Lanes::splat(1.0),
        )
    }
}

/// Sixteen channels of one direction over a run of rows.
pub(crate) struct Channels<'a, S> {
    pub(crate) step: S,
    /// Rows of inputs `u`; this block's channels start at column `u_offset`.
    pub(crate) u: &'a [f32],
    pub(crate) u_stride: usize,
    pub(crate) u_offset: usize,
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

impl<S> Channels<'_, S> {
    #[inline(always)]
    fn n_group(&self) -> usize {
        self.a.len() / (GROUP * WIDTH)
    }

    #[inline(always)]
    fn row(&self, rows: &std::ops::Range<usize>, time: usize) -> usize {
        if self.reverse {
            rows.end - 1 - time
        } else {
            rows.start + time
        }
    }

    #[inline(always)]
    fn u(&self, row: usize) -> Lanes {
        Lanes::load(self.u, row * self.u_stride + self.u_offset)
    }

    #[inline(always)]
    fn b(&self, row: usize, group: usize) -> [f32; GROUP] {
        Lanes::load(
            self.bc,
            row * self.bc_stride + self.b_offset + group * GROUP,
        )
        .0
    }

    #[inline(always)]
    fn c(&self, row: usize, group: usize) -> [f32; GROUP] {
        Lanes::load(
            self.bc,
            row * self.bc_stride + self.c_offset + group * GROUP,
        )
        .0
    }
}

#[inline(always)]
fn load_group(values: &[f32], group: usize) -> [Lanes; GROUP] {
    let mut out = [Lanes::ZERO; GROUP];
    for (n, lanes) in out.iter_mut().enumerate() {
        *lanes = Lanes::load(values, (group * GROUP + n) * WIDTH);
    }
    out
}

#[inline(always)]
fn store_group(values: &mut [f32], group: usize, lanes: &[Lanes; GROUP]) {
    for (n, lanes) in lanes.iter().enumerate() {
        lanes.store(values, (group * GROUP + n) * WIDTH);
    }
}

#[inline(always)]
fn decay<S: StepSize, const FMA: bool>(delta: Lanes, a: Lanes) -> Lanes {
    if S::DECAYS {
        (delta * a).exp2_nonpositive::<FMA>()
    } else {
        (delta * a).exp2::<FMA>()
    }
}

/// Advances `state` over `rows` and writes (or, if `add`, adds) the outputs.
///
/// `state` is `[n_state, 16]`; `y` holds sixteen floats per row and is indexed from row 0.
#[inline(always)]
pub(crate) fn scan<S: StepSize, const FMA: bool>(
    channels: &Channels<'_, S>,
    rows: std::ops::Range<usize>,
    state: &mut [f32],
    y: &mut [f32],
    add: bool,
) {
    let d = Lanes::load(channels.d, 0);
    for group in 0..channels.n_group() {
        let a = load_group(channels.a, group);
        let mut h = load_group(state, group);
        for time in 0..rows.len() {
            let row = channels.row(&rows, time);
            if time % FLUSH_EVERY == 0 {
                for h in &mut h {
                    *h = h.flush_tiny();
                }
            }
            let (delta, _) = channels.step.at::<FMA>(row);
            let u = channels.u(row);
            let (b, c) = (channels.b(row, group), channels.c(row, group));
            let input = delta * u;
            // Two sums, so that no chain of sixteen dependent additions forms.
            let mut even = if group == 0 { d * u } else { Lanes::ZERO };
            let mut odd = Lanes::ZERO;
            for n in 0..GROUP {
                let e = decay::<S, FMA>(delta, a[n]);
                h[n] = h[n].mul_add::<FMA>(e, input * Lanes::splat(b[n]));
                if n % 2 == 0 {
                    even = h[n].mul_add::<FMA>(Lanes::splat(c[n]), even);
                } else {
                    odd = h[n].mul_add::<FMA>(Lanes::splat(c[n]), odd);
                }
            }
            let mut out = even + odd;
            if add || group > 0 {
                out = out + Lanes::load(y, row * WIDTH);
            }
            out.store(y, row * WIDTH);
        }
        store_group(state, group, &h);
    }
}

/// Floats of thread scratch that [`scan_backward`] needs for a run of `n_row` rows.
pub(crate) fn backward_scratch_len(n_row: usize) -> usize {
    (2 * n_row + 1) * GROUP * WIDTH + 3 * n_row * WIDTH
}

/// Where [`scan_backward`] puts its results; arrays per row are indexed from row 0.
pub(crate) struct ChannelGradients<'a> {
    /// Adjoint of the state, `[n_state, 16]`: on entry after the last row in time, on return before the first.
    pub(crate) state: &'a mut [f32],
    /// Recomputed outputs, 16 per row; added to when `add_y`.
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
}

/// Recomputes the states of `rows` from `start` (`[n_state, 16]`) and walks them backwards.
///
/// `gradient(row)` is the gradient of the output at a row.
#[inline(always)]
pub(crate) fn scan_backward<S: StepSize, const FMA: bool>(
    channels: &Channels<'_, S>,
    rows: std::ops::Range<usize>,
    start: &[f32],
    gradient: impl Fn(usize) -> Lanes,
    out: &mut ChannelGradients<'_>,
    scratch: &mut [f32],
) {
    const STATE: usize = GROUP * WIDTH;
    let n_row = rows.len();
    let n_group = channels.n_group();
    let (decays, rest) = scratch.split_at_mut(n_row * STATE);
    let (states, rest) = rest.split_at_mut((n_row + 1) * STATE);
    let (deltas, rest) = rest.split_at_mut(n_row * WIDTH);
    let (slopes, rest) = rest.split_at_mut(n_row * WIDTH);
    let dys = &mut rest[..n_row * WIDTH];
    let d = Lanes::load(channels.d, 0);

    for time in 0..n_row {
        let row = channels.row(&rows, time);
        let (delta, slope) = channels.step.at::<FMA>(row);
        delta.store(deltas, time * WIDTH);
        slope.store(slopes, time * WIDTH);
        gradient(row).flush_tiny().store(dys, time * WIDTH);
    }

    for group in 0..n_group {
        let a = load_group(channels.a, group);
        let mut h = load_group(start, group);
        store_group(states, 0, &h);
        for time in 0..n_row {
            let row = channels.row(&rows, time);
            if time % FLUSH_EVERY == 0 {
                for h in &mut h {
                    *h = h.flush_tiny();
                }
            }
            let delta = Lanes::load(deltas, time * WIDTH);
            let u = channels.u(row);
            let (b, c) = (channels.b(row, group), channels.c(row, group));
            let input = delta * u;
            let mut even = if group == 0 { d * u } else { Lanes::ZERO };
            let mut odd = Lanes::ZERO;
            let decays = &mut decays[time * STATE..][..STATE];
            let states = &mut states[(time + 1) * STATE..][..STATE];
            for n in 0..GROUP {
                let e = decay::<S, FMA>(delta, a[n]);
                e.store(decays, n * WIDTH);
                h[n] = h[n].mul_add::<FMA>(e, input * Lanes::splat(b[n]));
                h[n].store(states, n * WIDTH);
                if n % 2 == 0 {
                    even = h[n].mul_add::<FMA>(Lanes::splat(c[n]), even);
                } else {
                    odd = h[n].mul_add::<FMA>(Lanes::splat(c[n]), odd);
                }
            }
            let mut y = even + odd;
            if out.add_y || group > 0 {
                y = y + Lanes::load(out.y, row * WIDTH);
            }
            y.store(out.y, row * WIDTH);
        }

        let mut gh = load_group(out.state, group);
        // Summed over the chunk first: one running sum over the whole length would round a hundred times more.
        let mut gd = Lanes::ZERO;
        let mut gbias = Lanes::ZERO;
        let mut ga = [Lanes::ZERO; GROUP];
        for time in (0..n_row).rev() {
            let row = channels.row(&rows, time);
            if time % FLUSH_EVERY == 0 {
                for gh in &mut gh {
                    *gh = gh.flush_tiny();
                }
            }
            let delta = Lanes::load(deltas, time * WIDTH);
            let u = channels.u(row);
            let dy = Lanes::load(dys, time * WIDTH);
            let (b, c) = (channels.b(row, group), channels.c(row, group));
            let input = delta * u;
            let decays = &decays[time * STATE..][..STATE];
            let before = &states[time * STATE..][..STATE];
            let after = &states[(time + 1) * STATE..][..STATE];
            let mut ginput = Lanes::ZERO;
            let mut gdelta = Lanes::ZERO;
            let mut gb = [Lanes::ZERO; GROUP];
            let mut gc = [Lanes::ZERO; GROUP];
            for n in 0..GROUP {
                let q = dy.mul_add::<FMA>(Lanes::splat(c[n]), gh[n]);
                gc[n] = dy * Lanes::load(after, n * WIDTH);
                gb[n] = q * input;
                ginput = q.mul_add::<FMA>(Lanes::splat(b[n]), ginput);
                gh[n] = q * Lanes::load(decays, n * WIDTH);
                let gexponent = gh[n] * Lanes::load(before, n * WIDTH);
                gdelta = gexponent.mul_add::<FMA>(a[n], gdelta);
                ga[n] = gexponent.mul_add::<FMA>(delta, ga[n]);
            }
            let row_bc = &mut out.bc[row * 2 * n_group * GROUP..][..2 * n_group * GROUP];
            Lanes::sum_each(&gb).store(row_bc, group * GROUP);
            Lanes::sum_each(&gc).store(row_bc, (n_group + group) * GROUP);

            // `a` carries a factor log2(e) that the derivative with respect to delta must not have.
            gdelta = gdelta * Lanes::splat(std::f32::consts::LN_2);
            gdelta = ginput.mul_add::<FMA>(u, gdelta);
            let mut gu = ginput * delta;
            if group == 0 {
                gu = dy.mul_add::<FMA>(d, gu);
                gd = dy.mul_add::<FMA>(u, gd);
            } else {
                gu = gu + Lanes::load(out.u, row * WIDTH);
            }
            gu.store(out.u, row * WIDTH);
            let mut gstep = gdelta * Lanes::load(slopes, time * WIDTH);
            gbias = gbias + gstep;
            if group > 0 {
                gstep = gstep + Lanes::load(out.step, row * WIDTH);
            }
            gstep.store(out.step, row * WIDTH);
        }
        let sums = &mut out.a[group * STATE..][..STATE];
        for (n, ga) in ga.into_iter().enumerate() {
            (Lanes::load(sums, n * WIDTH) + ga).store(sums, n * WIDTH);
        }
        (Lanes::load(out.d, 0) + gd).store(out.d, 0);
        (Lanes::load(out.step_bias, 0) + gbias).store(out.step_bias, 0);
        store_group(out.state, group, &gh);
    }
}
