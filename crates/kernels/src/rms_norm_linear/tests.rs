use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

use super::reference::{rms_norm_linear_backward_reference, rms_norm_linear_reference};
use super::rms_norm_linear;
use crate::random::PositionStream;
use crate::test_device::suite;

suite!(
    crate::test_device:
    output_and_gradients_agree_with_reference,
    normalisation_agrees_with_golden,
    rows_do_not_depend_on_their_batch,
    zero_rows_give_the_bias_and_finite_gradients,
);

/// Single-precision sums of 128 terms, and of up to 512 rows for the parameters.
const RELATIVE: f64 = 2e-6;

struct Case {
    shape: [usize; 3],
    n_out: usize,
    x: Vec<f32>,
    norm_weight: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    gradient: Vec<f32>,
}

impl Case {
    fn new(batch: usize, length: usize, d_model: usize, n_out: usize) -> Self {
        let mut stream = PositionStream::new(1, (length * d_model) as u64);
        let mut normal = |count: usize| -> Vec<f32> {
            (0..count).map(|_| stream.sample_normal() as f32).collect()
        };
        Self {
            shape: [batch, length, d_model],
            n_out,
            x: normal(batch * length * d_model),
            norm_weight: normal(d_model),
            weight: normal(n_out * d_model),
            bias: normal(n_out),
            gradient: normal(batch * length * n_out),
        }
    }

    /// Returns the output and the gradients of x, norm_weight, weight and bias.
    fn run(&self, device: &Device) -> [Vec<f32>; 5] {
        let device = device.clone().autodiff();
        let [batch, length, d_model] = self.shape;
        let x = Tensor::<3>::from_data(TensorData::new(self.x.clone(), self.shape), &device)
            .require_grad();
        let vector = |values: &[f32]| Tensor::<1>::from_data(values, &device).require_grad();
        let (norm_weight, bias) = (vector(&self.norm_weight), vector(&self.bias));
        let weight = TensorData::new(self.weight.clone(), [self.n_out, d_model]);
        let weight = Tensor::<2>::from_data(weight, &device).require_grad();
        let output =
            rms_norm_linear(x.clone(), norm_weight.clone(), weight.clone(), bias.clone()).unwrap();
        assert_eq!(output.dims(), [batch, length, self.n_out]);
        let gradient = TensorData::new(self.gradient.clone(), [batch, length, self.n_out]);
        let gradients = (output.clone() * Tensor::from_data(gradient, &device))
            .sum()
            .backward();
        [
            values(output),
            values(x.grad(&gradients).unwrap()),
            values(norm_weight.grad(&gradients).unwrap()),
            values(weight.grad(&gradients).unwrap()),
            values(bias.grad(&gradients).unwrap()),
        ]
    }

    fn expected(&self) -> [Vec<f64>; 5] {
        let [x, norm_weight, weight, bias, gradient] = [
            &self.x,
            &self.norm_weight,
            &self.weight,
            &self.bias,
            &self.gradient,
        ]
        .map(|v| double(v));
        let output = rms_norm_linear_reference(&x, &norm_weight, &weight, &bias);
        let gradients = rms_norm_linear_backward_reference(&gradient, &x, &norm_weight, &weight);
        [
            output,
            gradients.x,
            gradients.norm_weight,
            gradients.weight,
            gradients.bias,
        ]
    }
}

const PARTS: [&str; 5] = ["output", "x", "norm_weight", "weight", "bias"];

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// Fails when a value is further away than `relative` of the largest expected one.
fn assert_close(what: &str, found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let scale = expected
        .iter()
        .fold(1.0f64, |scale, value| scale.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let used = (found - expected).abs() / (relative * scale);
        assert!(
            used <= 1.0,
            "{what}: [{index}] is {found}, expected {expected}, {:.0} % of tolerance",
            100.0 * used
        );
    }
}

fn output_and_gradients_agree_with_reference(device: &Device) {
    // Rows around the runs that threads take (512) and widths around the partial sums (16).
    for (batch, length, d_model, n_out) in [
        (1, 1, 1, 1),
        (2, 37, 5, 2),
        (1, 511, 13, 3),
        (1, 512, 16, 1),
        (1, 513, 17, 2),
        (3, 347, 128, 2),
        (1, 7, 131, 5),
    ] {
        let case = Case::new(batch, length, d_model, n_out);
        for ((part, found), expected) in PARTS.iter().zip(case.run(device)).zip(case.expected()) {
            let what = format!("[{batch}, {length}, {d_model}] to {n_out}, {part}");
            assert_close(&what, &double(&found), &expected, RELATIVE);
        }
    }
}

fn normalisation_agrees_with_golden(device: &Device) {
    // An identity weight and no bias leave the normalisation: mamba_ssm's RMSNorm in PyTorch.
    for (bytes, d_model) in [
        (
            include_bytes!("../../tests/golden/rmsnorm_add_d7.safetensors").as_slice(),
            7,
        ),
        (
            include_bytes!("../../tests/golden/rmsnorm_add_d32.safetensors").as_slice(),
            32,
        ),
    ] {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let read = |name: &str| -> Vec<f32> {
            let data = file.tensor(name).unwrap().data().chunks_exact(4);
            data.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect()
        };
        let identity = |row: usize| (0..d_model).map(move |column| f32::from(row == column));
        let case = Case {
            shape: [3, 6, d_model],
            n_out: d_model,
            x: read("x"),
            norm_weight: read("weight"),
            weight: (0..d_model).flat_map(identity).collect(),
            bias: vec![0.0; d_model],
            gradient: read("dy"),
        };
        let [output, mut x, norm_weight, ..] = case.run(device);
        // The golden's input also reaches its loss directly, as the residual output.
        for (gradient, residual) in x.iter_mut().zip(read("dresidual")) {
            *gradient += residual;
        }
        for (name, found) in [
            ("nores.out", output),
            ("nores.dx", x),
            ("nores.dweight", norm_weight),
        ] {
            assert_close(name, &double(&found), &double(&read(name)), RELATIVE);
        }
    }
}

#[test]
fn reference_gradient_agrees_with_finite_differences() {
    const STEP: f64 = 1e-5;
    let case = Case::new(1, 3, 5, 2);
    let [_, expected @ ..] = case.expected();
    let arguments = [&case.x, &case.norm_weight, &case.weight, &case.bias].map(|v| double(v));
    let gradient = double(&case.gradient);
    for (which, expected) in expected.iter().enumerate() {
        let numeric: Vec<f64> = (0..arguments[which].len())
            .map(|index| {
                let at = |step: f64| {
                    let mut moved = arguments.clone();
                    moved[which][index] += step;
                    let [x, norm_weight, weight, bias] = &moved;
                    let output = rms_norm_linear_reference(x, norm_weight, weight, bias);
                    output
                        .iter()
                        .zip(&gradient)
                        .map(|(o, g)| o * g)
                        .sum::<f64>()
                };
                (at(STEP) - at(-STEP)) / (2.0 * STEP)
            })
            .collect();
        assert_close(PARTS[which + 1], expected, &numeric, 1e-8);
    }
}

fn rows_do_not_depend_on_their_batch(device: &Device) {
    let case = Case::new(2, 600, 19, 2);
    let [output, x, ..] = case.run(device);
    let second = Case {
        shape: [1, 600, 19],
        x: case.x[600 * 19..].to_vec(),
        gradient: case.gradient[1200..].to_vec(),
        ..Case::new(2, 600, 19, 2)
    };
    let [second_output, second_x, ..] = second.run(device);
    assert_eq!(
        (&output[1200..], &x[600 * 19..]),
        (&second_output[..], &second_x[..])
    );
}

#[test]
fn results_do_not_depend_on_threads() {
    let case = Case::new(1, 2311, 23, 2);
    let on_threads = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| case.run(&Device::flex()))
    };
    let one = on_threads(1);
    assert_eq!(one, on_threads(2));
    assert_eq!(one, on_threads(3));
}

fn zero_rows_give_the_bias_and_finite_gradients(device: &Device) {
    let mut case = Case::new(1, 3, 5, 2);
    case.x.fill(0.0);
    let [output, x, ..] = case.run(device);
    assert_eq!(output, case.bias.repeat(3));
    assert!(x.iter().all(|gradient| gradient.is_finite()));
}

#[test]
fn disagreeing_shapes_name_argument_and_axis() {
    let call = |x: [usize; 3], norm_weight: usize, weight: [usize; 2], bias: usize| {
        let device = Device::flex();
        rms_norm_linear(
            Tensor::zeros(x, &device),
            Tensor::zeros([norm_weight], &device),
            Tensor::zeros(weight, &device),
            Tensor::zeros([bias], &device),
        )
        .unwrap_err()
        .to_string()
    };
    let cases = [
        (
            call([2, 0, 5], 5, [2, 5], 2),
            "axis length of `x` is 0, but it must be at least 1",
        ),
        (
            call([2, 7, 5], 5, [0, 5], 0),
            "axis n_out of `weight` is 0, but it must be at least 1",
        ),
        (
            call([2, 7, 5], 5, [2, 4], 2),
            "axis d_model of `weight` is 4, expected 5",
        ),
        (
            call([2, 7, 5], 6, [2, 5], 2),
            "axis d_model of `norm_weight` is 6, expected 5",
        ),
        (
            call([2, 7, 5], 5, [2, 5], 3),
            "axis n_out of `bias` is 3, expected 2",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, format!("rms_norm_linear: {expected}"));
    }
}
