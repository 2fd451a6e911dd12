//! Hyena's operator on the processor: channels in parallel, each on contiguous rows.
//!
//! Columns of sixteen channels are gathered into rows, so that every cache line is read once; each row is then
//! convolved, gated and transformed alone. Sums over the batch run in its order.

use burn::backend::TensorMetadata;
use burn_flex::{Flex, FlexTensor};
use phastft::planner::PlannerR2c32;
use phastft::{c2r_fft_f32_with_planner, r2c_fft_f32_with_planner};
use rayon::prelude::*;

use super::HyenaOperatorBackend;
use crate::flex_tensor::{contiguous, elements, from_values};

/// Channels gathered at once: a cache line of single precision.
const BLOCK: usize = 16;

/// Rows that are turned into columns, or back, at a time: what one column touches of them stays in the nearest cache.
const ROWS: usize = 64;

/// Sizes and transforms of one call.
struct Operator {
    batch: usize,
    length: usize,
    d_model: usize,
    d_short: usize,
    /// Transform length: a power of two of at least `2 length - 1`, so that nothing wraps around.
    n: usize,
    planner: PlannerR2c32,
}

/// The transform of a real row: frequencies 0 to n / 2.
struct Spectrum {
    re: Vec<f32>,
    im: Vec<f32>,
}

impl Spectrum {
    fn times(&self, other: &Self) -> Self {
        self.map(other, |a, b| (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0))
    }

    /// The conjugate of `self` times `other`.
    fn conjugate_times(&self, other: &Self) -> Self {
        self.map(other, |a, b| (a.0 * b.0 + a.1 * b.1, a.0 * b.1 - a.1 * b.0))
    }

    fn map(&self, other: &Self, f: impl Fn((f32, f32), (f32, f32)) -> (f32, f32)) -> Self {
        let pairs = self
            .re
            .iter()
            .zip(&self.im)
            .zip(other.re.iter().zip(&other.im));
        let (re, im) = pairs.map(|((&a, &b), (&c, &d))| f((a, b), (c, d))).unzip();
        Self { re, im }
    }
}

/// The arguments, row-major.
#[derive(Clone, Copy)]
struct Arguments<'a> {
    x: &'a [f32],
    short_weight: &'a [f32],
    short_bias: &'a [f32],
    filter: &'a [f32],
    skip: &'a [f32],
}

/// Gradients of one channel; rows of x for each example, each of `3 * length`.
struct ChannelGradients {
    x: Vec<[Vec<f32>; 3]>,
    short_weight: [Vec<f32>; 3],
    short_bias: [f32; 3],
    filter: Vec<f32>,
    skip: f32,
}

/// Copies columns `first..first + n` of rows of `width` into `n` rows.
fn gather(values: &[f32], width: usize, first: usize, n: usize) -> Vec<f32> {
    let length = values.len() / width;
    let mut columns = vec![0.0; n * length];
    for (chunk, rows) in values.chunks(ROWS * width).enumerate() {
        for (c, column) in columns.chunks_exact_mut(length).enumerate() {
            for (value, row) in column[chunk * ROWS..]
                .iter_mut()
                .zip(rows.chunks_exact(width))
            {
                *value = row[first + c];
            }
        }
    }
    columns
}

/// Copies one row per column into rows of all columns: the inverse of [`gather`] over all of them.
fn interleave(columns: &[&[f32]], out: &mut [f32]) {
    let width = columns.len();
    out.par_chunks_mut(ROWS * width)
        .enumerate()
        .for_each(|(chunk, rows)| {
            for (c, column) in columns.iter().enumerate() {
                for (row, value) in rows.chunks_exact_mut(width).zip(&column[chunk * ROWS..]) {
                    row[c] = *value;
                }
            }
        });
}

/// The causal convolution of a row; the last tap reads the current position.
fn short_convolution(row: &[f32], weight: &[f32], bias: f32) -> Vec<f32> {
    let mut out = vec![bias; row.len()];
    for (k, weight) in weight.iter().rev().enumerate() {
        for (out, value) in out.iter_mut().skip(k).zip(row) {
            *out += weight * value;
        }
    }
    out
}

/// Gradients of [`short_convolution`]: of its row, and added to those of its weight and bias.
fn short_backward(
    gradient: &[f32],
    row: &[f32],
    weight: &[f32],
    weight_gradient: &mut [f32],
    bias_gradient: &mut f32,
) -> Vec<f32> {
    let mut row_gradient = vec![0.0; row.len()];
    let taps = weight.iter().zip(weight_gradient).rev().enumerate();
    for (k, (weight, weight_gradient)) in taps {
        let mut sum = 0.0_f64;
        let later = gradient.iter().skip(k);
        for ((row_gradient, row), gradient) in row_gradient.iter_mut().zip(row).zip(later) {
            *row_gradient += weight * gradient;
            sum += f64::from(gradient * row);
        }
        *weight_gradient += sum as f32;
    }
    *bias_gradient += gradient.iter().map(|&g| f64::from(g)).sum::<f64>() as f32;
    row_gradient
}

fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

impl Operator {
    fn new(x: [usize; 3], d_short: usize) -> Self {
        let [batch, length, columns] = x;
        // The library's shortest transform has four values.
        let n = (2 * length - 1).next_power_of_two().max(4);
        Self {
            batch,
            length,
            d_model: columns / 3,
            d_short,
            n,
            planner: PlannerR2c32::new(n),
        }
    }

    fn spectrum(&self, row: &[f32]) -> Spectrum {
        let mut padded = row.to_vec();
        padded.resize(self.n, 0.0);
        let n_frequency = self.n / 2 + 1;
        let (mut re, mut im) = (vec![0.0; n_frequency], vec![0.0; n_frequency]);
        r2c_fft_f32_with_planner(&padded, &mut re, &mut im, &self.planner);
        Spectrum { re, im }
    }

    /// The first `length` values of the inverse transform.
    fn row(&self, spectrum: &Spectrum) -> Vec<f32> {
        let mut row = vec![0.0; self.n];
        c2r_fft_f32_with_planner(&spectrum.re, &spectrum.im, &mut row, &self.planner);
        row.truncate(self.length);
        row
    }

    /// Runs `channel(c, filter, rows)` for every channel in parallel, `rows` being three per example.
    fn for_each_channel<T: Send>(
        &self,
        arguments: Arguments<'_>,
        gradient: Option<&[f32]>,
        channel: impl Fn(usize, &[f32], &[[&[f32]; 3]], &[&[f32]]) -> T + Sync,
    ) -> Vec<T> {
        let (length, d_model) = (self.length, self.d_model);
        let blocks: Vec<Vec<T>> = (0..d_model.div_ceil(BLOCK))
            .map(|block| {
                let first = block * BLOCK;
                let n = BLOCK.min(d_model - first);
                let examples: Vec<&[f32]> =
                    arguments.x.chunks_exact(length * 3 * d_model).collect();
                let gathered: Vec<[Vec<f32>; 3]> = examples
                    .par_iter()
                    .map(|x| [0, 1, 2].map(|g| gather(x, 3 * d_model, g * d_model + first, n)))
                    .collect();
                let gradients: Vec<Vec<f32>> = gradient
                    .map(|gradient| {
                        let examples: Vec<&[f32]> =
                            gradient.chunks_exact(length * d_model).collect();
                        examples
                            .par_iter()
                            .map(|rows| gather(rows, d_model, first, n))
                            .collect()
                    })
                    .unwrap_or_default();
                let filters = gather(arguments.filter, d_model, first, n);
                (0..n)
                    .into_par_iter()
                    .map(|c| {
                        let place = c * length..(c + 1) * length;
                        let rows: Vec<[&[f32]; 3]> = gathered
                            .iter()
                            .map(|groups| groups.each_ref().map(|rows| &rows[place.clone()]))
                            .collect();
                        let gradients: Vec<&[f32]> =
                            gradients.iter().map(|rows| &rows[place.clone()]).collect();
                        channel(first + c, &filters[place.clone()], &rows, &gradients)
                    })
                    .collect()
            })
            .collect();
        blocks.into_iter().flatten().collect()
    }

    /// The three rows after the short convolution: output gate, input gate, value.
    fn convolved(&self, c: usize, arguments: Arguments<'_>, rows: &[&[f32]; 3]) -> [Vec<f32>; 3] {
        [0, 1, 2].map(|group| {
            let (weight, bias) = self.short(c, group, arguments);
            short_convolution(rows[group], weight, bias)
        })
    }

    fn short<'a>(&self, c: usize, group: usize, arguments: Arguments<'a>) -> (&'a [f32], f32) {
        let column = group * self.d_model + c;
        let weight = &arguments.short_weight[column * self.d_short..(column + 1) * self.d_short];
        (weight, arguments.short_bias[column])
    }

    fn run(&self, arguments: Arguments<'_>) -> Vec<f32> {
        let channels = self.for_each_channel(arguments, None, |c, filter, examples, _| {
            let filter = self.spectrum(filter);
            let one = |rows: &[&[f32]; 3]| {
                let [gate, input, value] = self.convolved(c, arguments, rows);
                let p = product(&input, &value);
                let mut y = self.row(&self.spectrum(&p).times(&filter));
                for ((y, p), gate) in y.iter_mut().zip(&p).zip(&gate) {
                    *y = gate * (*y + arguments.skip[c] * p);
                }
                y
            };
            examples.iter().map(one).collect::<Vec<_>>()
        });
        let mut out = vec![0.0; self.batch * self.length * self.d_model];
        for (example, out) in out.chunks_exact_mut(self.length * self.d_model).enumerate() {
            let columns: Vec<&[f32]> = channels.iter().map(|rows| &rows[example][..]).collect();
            interleave(&columns, out);
        }
        out
    }

    fn channel_backward(
        &self,
        c: usize,
        arguments: Arguments<'_>,
        filter: &[f32],
        examples: &[[&[f32]; 3]],
        gradients: &[&[f32]],
    ) -> ChannelGradients {
        let skip = arguments.skip[c];
        let spectrum_h = self.spectrum(filter);
        let mut sums = ChannelGradients {
            x: Vec::with_capacity(examples.len()),
            short_weight: [(); 3].map(|()| vec![0.0; self.d_short]),
            short_bias: [0.0; 3],
            filter: vec![0.0; self.length],
            skip: 0.0,
        };
        for (rows, dy) in examples.iter().zip(gradients) {
            let [gate, input, value] = self.convolved(c, arguments, rows);
            let p = product(&input, &value);
            let spectrum_p = self.spectrum(&p);
            let mut q = self.row(&spectrum_p.times(&spectrum_h));
            q.iter_mut().zip(&p).for_each(|(q, p)| *q += skip * p);
            let dgate = product(dy, &q);
            let dq = product(dy, &gate);
            let spectrum_dq = self.spectrum(&dq);
            // Correlations: p_t enters q_{t+s} with h_s.
            let mut dp = self.row(&spectrum_h.conjugate_times(&spectrum_dq));
            dp.iter_mut().zip(&dq).for_each(|(dp, dq)| *dp += skip * dq);
            let dfilter = self.row(&spectrum_p.conjugate_times(&spectrum_dq));
            sums.filter
                .iter_mut()
                .zip(dfilter)
                .for_each(|(sum, value)| *sum += value);
            let dskip: f64 = dq.iter().zip(&p).map(|(dq, p)| f64::from(dq * p)).sum();
            sums.skip += dskip as f32;
            let inner = [dgate, product(&dp, &value), product(&dp, &input)];
            let mut group = 0;
            sums.x.push(inner.map(|gradient| {
                let (weight, _) = self.short(c, group, arguments);
                let row = short_backward(
                    &gradient,
                    rows[group],
                    weight,
                    &mut sums.short_weight[group],
                    &mut sums.short_bias[group],
                );
                group += 1;
                row
            }));
        }
        sums
    }

    /// Gradients of the five arguments.
    fn run_backward(&self, arguments: Arguments<'_>, gradient: &[f32]) -> [Vec<f32>; 5] {
        let channels = self.for_each_channel(
            arguments,
            Some(gradient),
            |c, filter, examples, gradients| {
                self.channel_backward(c, arguments, filter, examples, gradients)
            },
        );
        let (length, d_model) = (self.length, self.d_model);
        let mut x = vec![0.0; self.batch * length * 3 * d_model];
        for (example, out) in x.chunks_exact_mut(length * 3 * d_model).enumerate() {
            let columns: Vec<&[f32]> = (0..3)
                .flat_map(|group| channels.iter().map(move |sums| &sums.x[example][group][..]))
                .collect();
            interleave(&columns, out);
        }
        let mut filter = vec![0.0; length * d_model];
        let columns: Vec<&[f32]> = channels.iter().map(|sums| &sums.filter[..]).collect();
        interleave(&columns, &mut filter);
        let groups = || (0..3).flat_map(|group| channels.iter().map(move |sums| (group, sums)));
        [
            x,
            groups()
                .flat_map(|(group, sums)| sums.short_weight[group].iter().copied())
                .collect(),
            groups()
                .map(|(group, sums)| sums.short_bias[group])
                .collect(),
            filter,
            channels.iter().map(|sums| sums.skip).collect(),
        ]
    }
}

impl HyenaOperatorBackend for Flex {
    fn hyena_operator(
        x: FlexTensor,
        short_weight: FlexTensor,
        short_bias: FlexTensor,
        filter: FlexTensor,
        skip: FlexTensor,
    ) -> FlexTensor {
        let sizes @ [batch, length, columns] = x.shape().dims();
        let [_, d_short] = short_weight.shape().dims();
        let tensors = [x, short_weight, short_bias, filter, skip].map(contiguous);
        let [x, short_weight, short_bias, filter, skip] = tensors.each_ref().map(elements);
        let output = Operator::new(sizes, d_short).run(Arguments {
            x,
            short_weight,
            short_bias,
            filter,
            skip,
        });
        from_values(output, [batch, length, columns / 3])
    }

    fn hyena_operator_backward(
        gradient: FlexTensor,
        x: FlexTensor,
        short_weight: FlexTensor,
        short_bias: FlexTensor,
        filter: FlexTensor,
        skip: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let sizes @ [_, length, columns] = x.shape().dims();
        let [_, d_short] = short_weight.shape().dims();
        let tensors = [gradient, x, short_weight, short_bias, filter, skip].map(contiguous);
        let [gradient, x, short_weight, short_bias, filter, skip] =
            tensors.each_ref().map(elements);
        let arguments = Arguments {
            x,
            short_weight,
            short_bias,
            filter,
            skip,
        };
        let [dx, dshort_weight, dshort_bias, dfilter, dskip] =
            Operator::new(sizes, d_short).run_backward(arguments, gradient);
        let d_model = columns / 3;
        (
            from_values(dx, sizes),
            from_values(dshort_weight, [columns, d_short]),
            from_values(dshort_bias, [columns]),
            from_values(dfilter, [length, d_model]),
            from_values(dskip, [d_model]),
        )
    }
}
