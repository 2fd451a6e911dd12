use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use super::reference::hyena_operator_reference;
use super::{HyenaArguments, hyena_operator};
use crate::random::PositionStream;

/// Single-precision transforms of up to a few hundred values, relative to the largest value.
const RELATIVE: f64 = 3e-6;

/// Batch, length, d_model, d_short; unequal, around the block of sixteen channels.
const SHAPES: [[usize; 4]; 6] = [
    [1, 1, 1, 3],
    [2, 2, 3, 4],
    [1, 5, 17, 1],
    [2, 37, 5, 3],
    [1, 101, 16, 3],
    [3, 64, 2, 7],
];

struct Case {
    shape: [usize; 4],
    /// x, short_weight, short_bias, filter, skip.
    arguments: [Vec<f64>; 5],
    gradient: Vec<f64>,
}

impl Case {
    fn new(shape: [usize; 4], seed: u64) -> Self {
        let [batch, length, d_model, d_short] = shape;
        let mut stream = PositionStream::new(seed, 1);
        let mut normal = |count: usize| -> Vec<f64> {
            let single = |_| f64::from(stream.sample_normal() as f32);
            (0..count).map(single).collect()
        };
        Self {
            shape,
            arguments: [
                normal(batch * length * 3 * d_model),
                normal(3 * d_model * d_short),
                normal(3 * d_model),
                normal(length * d_model),
                normal(d_model),
            ],
            gradient: normal(batch * length * d_model),
        }
    }

    /// The output and the five gradients.
    fn run(&self) -> [Vec<f64>; 6] {
        let device = Device::flex().autodiff();
        let [batch, length, d_model, d_short] = self.shape;
        let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&v| v as f32).collect() };
        let [x, short_weight, short_bias, filter, skip] = self.arguments.each_ref();
        let vector =
            |values: &[f64]| Tensor::<1>::from_data(&single(values)[..], &device).require_grad();
        let matrix = |values: &[f64], shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(single(values), shape), &device).require_grad()
        };
        let shape = [batch, length, 3 * d_model];
        let x = Tensor::<3>::from_data(TensorData::new(single(x), shape), &device).require_grad();
        let short_weight = matrix(short_weight, [3 * d_model, d_short]);
        let (short_bias, skip) = (vector(short_bias), vector(skip));
        let filter = matrix(filter, [length, d_model]);
        let output = hyena_operator(HyenaArguments {
            x: x.clone(),
            short_weight: short_weight.clone(),
            short_bias: short_bias.clone(),
            filter: filter.clone(),
            skip: skip.clone(),
        })
        .unwrap();
        let gradient = TensorData::new(single(&self.gradient), output.dims());
        let gradients = (output.clone() * Tensor::from_data(gradient, &device))
            .sum()
            .backward();
        [
            values(output),
            values(x.grad(&gradients).unwrap()),
            values(short_weight.grad(&gradients).unwrap()),
            values(short_bias.grad(&gradients).unwrap()),
            values(filter.grad(&gradients).unwrap()),
            values(skip.grad(&gradients).unwrap()),
        ]
    }

    fn reference(&self, arguments: &[Vec<f64>; 5]) -> Vec<f64> {
        let [_, length, d_model, _] = self.shape;
        let [x, short_weight, short_bias, filter, skip] = arguments;
        x.chunks(length * 3 * d_model)
            .flat_map(|x| hyena_operator_reference(x, short_weight, short_bias, filter, skip))
            .collect()
    }

    /// Σ gradient * output, whose derivative by an argument is that argument's gradient.
    fn objective(&self, arguments: &[Vec<f64>; 5]) -> f64 {
        let output = self.reference(arguments);
        output.iter().zip(&self.gradient).map(|(a, b)| a * b).sum()
    }

    /// The gradients by central differences of the reference in double precision.
    fn differences(&self) -> [Vec<f64>; 5] {
        // The objective is at most quadratic in any one value, so the step only has to beat rounding.
        const STEP: f64 = 1e-3;
        let mut arguments = self.arguments.clone();
        let mut found = self.arguments.clone();
        for argument in 0..5 {
            for index in 0..arguments[argument].len() {
                let value = arguments[argument][index];
                arguments[argument][index] = value + STEP;
                let above = self.objective(&arguments);
                arguments[argument][index] = value - STEP;
                let below = self.objective(&arguments);
                arguments[argument][index] = value;
                found[argument][index] = (above - below) / (2.0 * STEP);
            }
        }
        found
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let data = tensor.into_data().try_to_vec::<f32>().unwrap();
    data.into_iter().map(f64::from).collect()
}

fn assert_close(found: &[f64], expected: &[f64], what: &str, shape: [usize; 4], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{what} {shape:?}");
    let scale = expected.iter().fold(0.0_f64, |scale, v| scale.max(v.abs()));
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= relative * scale,
            "{what} {shape:?} at {index}: {a} {b}, {:.0} % of the tolerance",
            100.0 * (a - b).abs() / (relative * scale)
        );
    }
}

#[test]
fn hyena_operator_outputs_match_the_reference() {
    for shape in SHAPES.into_iter().chain([[1, 503, 3, 3]]) {
        let case = Case::new(shape, 3);
        let [output, ..] = case.run();
        let expected = case.reference(&case.arguments);
        assert_close(&output, &expected, "output", shape, RELATIVE);
    }
}

#[test]
fn hyena_operator_gradients_match_differences_of_the_reference() {
    for shape in [[1, 1, 1, 3], [2, 2, 3, 4], [1, 5, 17, 1], [2, 37, 2, 3]] {
        let case = Case::new(shape, 5);
        let [_, gradients @ ..] = case.run();
        let names = ["x", "short_weight", "short_bias", "filter", "skip"];
        for ((found, expected), name) in gradients.iter().zip(case.differences()).zip(names) {
            assert_close(found, &expected, name, shape, 2.0 * RELATIVE);
        }
    }
}

#[test]
fn hyena_operator_disagreeing_argument_is_named() {
    let device = Device::flex();
    let arguments = |columns, rows, length, d_model| HyenaArguments {
        x: Tensor::zeros([1, 7, columns], &device),
        short_weight: Tensor::zeros([rows, 3], &device),
        short_bias: Tensor::zeros([6], &device),
        filter: Tensor::zeros([length, 2], &device),
        skip: Tensor::zeros([d_model], &device),
    };
    assert!(hyena_operator(arguments(6, 6, 7, 2)).is_ok());
    for (arguments, name) in [
        (arguments(5, 6, 7, 2), "x"),
        (arguments(6, 5, 7, 2), "short_weight"),
        (arguments(6, 6, 8, 2), "filter"),
        (arguments(6, 6, 7, 0), "skip"),
    ] {
        let error = hyena_operator(arguments).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    // What comes later never moves what came before.
    #[test]
    fn hyena_operator_is_causal(seed: u64, at in 0_usize..37) {
        let mut case = Case::new([1, 37, 3, 3], seed);
        let before = case.reference(&case.arguments);
        let [found, ..] = case.run();
        case.arguments[0][at * 9..].iter_mut().for_each(|value| *value = 0.5);
        let [changed, ..] = case.run();
        assert_close(&found[..at * 3], &changed[..at * 3], "causal", case.shape, 1e-4);
        assert_close(&found, &before, "output", case.shape, 1e-4);
    }
}
