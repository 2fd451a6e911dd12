//! The Beta mask against stored results of other programs.

use burn::tensor::{Tensor, TensorData};

use super::golden::{assert_close, double, golden, single};
use super::targets::{Target, tensor_on, values};
use super::{BetaMaskConfig, MaskDecoding, MaskDraw, beta_mask};

const SOFT: &[u8] = include_bytes!("../../tests/golden/beta_mask_soft.safetensors");
const HARD: &[u8] = include_bytes!("../../tests/golden/beta_mask_hard.safetensors");
const IMPLICIT: &[u8] = include_bytes!("../../tests/golden/beta_implicit_grad.safetensors");

use crate::test_device::suite;

suite!(
    crate::beta_mask::targets:
    mask_and_divergence_agree_with_released_code,
    sample_gradient_agrees_with_golden,
);

fn mask_and_divergence_agree_with_released_code(target: &Target) {
    // Single-precision PyTorch: a few roundings, and more in the divergence (method: up to 1.3e-3 at extremes).
    for (name, file, config) in [
        ("soft", SOFT, BetaMaskConfig::seq2exp_soft()),
        ("hard", HARD, BetaMaskConfig::seq2exp_hard()),
    ] {
        let mean_config = BetaMaskConfig {
            decoding: MaskDecoding::Soft,
            ..config
        };
        let stored = |tensor: &str, width: usize| {
            tensor_on(
                &single(golden(file, tensor)),
                [2, 237, width],
                &target.device,
            )
        };
        let output = beta_mask(
            stored("logits", 2),
            stored("tracks", 3),
            Tensor::full([2, 237], -1.0, &target.device),
            &mean_config,
            MaskDraw::Mean,
        );
        let output = double(&values(output.unwrap()));
        let (mask, divergence) = output.split_at(474);
        let what = format!("{name} mask");
        assert_close(&what, mask, &golden(file, "mean"), 1e-6, 0.0);
        let what = format!("{name} divergence");
        assert_close(&what, divergence, &golden(file, "divergence"), 2e-5, 0.0);
    }
}

fn sample_gradient_agrees_with_golden(target: &Target) {
    // Without tracks and floors alpha = softplus(logit) + 1e-8; its logit is ln(e^(alpha - 1e-8) - 1).
    let config = BetaMaskConfig {
        track_beta: vec![],
        track_weight: vec![],
        ..BetaMaskConfig::seq2exp_hard()
    };
    let device = target.device.clone().autodiff();
    let [alpha, beta, z] = ["alpha", "beta", "z"].map(|name| golden(IMPLICIT, name));
    let n = z.len();
    let logit = |x: f64| {
        if x > 20.0 {
            x - 1e-8
        } else {
            (x - 1e-8).exp_m1().ln()
        }
    };
    let logits: Vec<f32> = beta
        .iter()
        .zip(&alpha)
        .flat_map(|(beta, alpha)| [logit(*beta) as f32, logit(*alpha) as f32])
        .collect();
    let leaf = Tensor::<3>::from_data(TensorData::new(logits.clone(), [1, n, 2]), &device);
    let leaf = leaf.require_grad();
    let output = beta_mask(
        leaf.clone(),
        Tensor::zeros([1, n, 0], &device),
        Tensor::full([1, n], -1.0, &target.device),
        &config,
        MaskDraw::Given(tensor_on(&single(z.clone()), [1, n], &target.device)),
    );
    let gradients = output.unwrap().narrow(0, 0, 1).sum().backward();
    let found = double(&values(leaf.grad(&gradients).unwrap()));
    let exact = ["exact.dz_dbeta", "exact.dz_dalpha"].map(|name| golden(IMPLICIT, name));
    let slope = |logit: f32| 1.0 / (1.0 + (-f64::from(logit)).exp());
    let mut n_possible = 0;
    for index in 0..n {
        // Single precision has no such numbers near 1; near 0 it has, and the golden is symmetric.
        if exact[0][index].is_nan() || z[index] > 0.9 {
            continue;
        }
        n_possible += 1;
        // Logits and z are rounded to single precision before anything is computed from them; the density's exponents,
        // of the size of the concentrations, multiply z's relative error of 6e-8.
        let relative = 2e-5 + 1.2e-7 * (alpha[index] + beta[index]);
        for (column, exact) in exact.iter().enumerate() {
            let expected = exact[index] * slope(logits[2 * index + column]);
            assert_close(
                &format!("Beta({}, {}) at {}", alpha[index], beta[index], z[index]),
                &[found[2 * index + column]],
                &[expected],
                relative,
                1e-30,
            );
        }
    }
    assert!(n_possible > 700, "{n_possible} points");
}
