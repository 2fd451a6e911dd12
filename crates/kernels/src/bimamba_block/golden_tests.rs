//! The reference's parts against goldens of the released code.

use std::ops::Range;

use super::layout::{BlockSizes, DirectionLayout};
use super::reference;
use crate::golden::{Golden, assert_close};

/// The goldens' own `f64` run differs from ours by the order of additions only.
const F64_SHARE: f64 = 1e-10;

macro_rules! golden {
    ($name:literal) => {
        (
            $name,
            Golden::parse(include_bytes!(concat!(
                "../../tests/golden/",
                $name,
                ".safetensors"
            ))),
        )
    };
}

#[test]
fn reference_convolution_agrees_with_goldens() {
    for (name, golden) in [
        golden!("causal_conv1d_L1"),
        golden!("causal_conv1d_L2"),
        golden!("causal_conv1d_L3"),
        golden!("causal_conv1d_L4"),
        golden!("causal_conv1d_L7"),
        golden!("causal_conv1d_L100"),
    ] {
        let (weight, bias) = (golden.f64("weight"), golden.f64("bias"));
        let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
        for (row, x) in golden.sequences("x").iter().enumerate() {
            let expect = |name: &str| golden.sequences(name)[row].clone();
            let out = reference::causal_conv1d(x, &weight, &bias);
            assert_close(name, &out, &expect("f64.none.out"), F64_SHARE);
            let silu: Vec<f64> = out.iter().map(|v| v / (1.0 + (-v).exp())).collect();
            assert_close(name, &silu, &expect("f64.silu.out"), F64_SHARE);
            let dy = expect("dy");
            let (dx, dw, db) = reference::causal_conv1d_backward(x, &weight, bias.len(), &dy);
            assert_close(name, &dx, &expect("f64.none.dx"), F64_SHARE);
            dweight.iter_mut().zip(dw).for_each(|(sum, v)| *sum += v);
            dbias.iter_mut().zip(db).for_each(|(sum, v)| *sum += v);
        }
        assert_close(name, &dweight, &golden.f64("f64.none.dweight"), F64_SHARE);
        assert_close(name, &dbias, &golden.f64("f64.none.dbias"), F64_SHARE);
    }
}

#[test]
fn reference_norm_agrees_with_goldens() {
    for (name, golden) in [golden!("rmsnorm_add_d7"), golden!("rmsnorm_add_d32")] {
        assert_close(name, &golden.f64("eps"), &[reference::NORM_EPSILON], 1e-6);
        let weight = golden.f64("weight");
        let (x, dy) = (golden.f64("x"), golden.f64("dy"));
        let out = reference::rms_norm(&x, &weight);
        // The goldens hold epsilon as f32, 2.5e-8 of it away from ours.
        let share = 1e-9;
        assert_close(name, &out, &golden.f64("f64.nores.out"), share);
        // The released function also returns its input as the residual, whose gradient adds.
        let add_residual = |dnorm: Vec<f64>| -> Vec<f64> {
            let dresidual = golden.f64("dresidual");
            dnorm.iter().zip(dresidual).map(|(a, b)| a + b).collect()
        };
        let (dnorm, dweight) = reference::rms_norm_backward(&x, &weight, &dy);
        assert_close(
            name,
            &add_residual(dnorm),
            &golden.f64("f64.nores.dx"),
            share,
        );
        assert_close(name, &dweight, &golden.f64("f64.nores.dweight"), share);

        let sum: Vec<f64> = x
            .iter()
            .zip(golden.f64("residual"))
            .map(|(x, residual)| x + residual)
            .collect();
        assert_close(name, &sum, &golden.f64("f64.residual_out"), share);
        let out = reference::rms_norm(&sum, &weight);
        assert_close(name, &out, &golden.f64("f64.out"), share);
        let (dnorm, dweight) = reference::rms_norm_backward(&sum, &weight, &dy);
        assert_close(name, &add_residual(dnorm), &golden.f64("f64.dx"), share);
        assert_close(name, &dweight, &golden.f64("f64.dweight"), share);
    }
}

/// Parameters of the released module of this name, in the order of a direction's layout.
fn released_direction(place: &DirectionLayout) -> [(&'static str, Range<usize>); 7] {
    [
        ("conv1d.weight", place.conv_weight.clone()),
        ("conv1d.bias", place.conv_bias.clone()),
        ("x_proj.weight", place.x_proj.clone()),
        ("dt_proj.weight", place.dt_weight.clone()),
        ("dt_proj.bias", place.dt_bias.clone()),
        ("A_log", place.a_log.clone()),
        ("D", place.d.clone()),
    ]
}

/// Checks the mixers named `modules` (empty for the only one) of a golden, summed, with their gradients.
fn check_mixers(name: &str, golden: &Golden, modules: &[&str]) {
    let tensor = |module: &str, parameter: &str| {
        if module.is_empty() {
            parameter.to_string()
        } else {
            format!("{module}.{parameter}")
        }
    };
    let weight = |module: &str, parameter: &str| format!("w.{}", tensor(module, parameter));
    let shape = |parameter: &str| golden.shape(&weight(modules[0], parameter));
    let [d_inner, d_state] = shape("A_log")[..] else {
        panic!("A_log has two axes");
    };
    let sizes = BlockSizes {
        d_model: shape("out_proj.weight")[0],
        d_inner,
        d_state,
        d_conv: shape("conv1d.weight")[2],
        dt_rank: shape("dt_proj.weight")[1],
    };
    let layout = sizes.layout();
    let mut params = vec![0.0; layout.len];
    for place in [&layout.in_proj, &layout.out_proj] {
        let parameter = if *place == layout.in_proj {
            "in_proj.weight"
        } else {
            "out_proj.weight"
        };
        params[place.clone()].copy_from_slice(&golden.f64(&weight(modules[0], parameter)));
    }
    for (module, place) in modules.iter().zip(&layout.directions) {
        for (parameter, place) in released_direction(place) {
            params[place].copy_from_slice(&golden.f64(&weight(module, parameter)));
        }
    }

    let n = golden.shape("x")[1] * sizes.d_model;
    let (x, dy) = (golden.f64("x"), golden.f64("dy"));
    let mut dparams = vec![0.0; layout.len];
    let (mut out, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for (row, (x, dy)) in x.chunks(n).zip(dy.chunks(n)).enumerate() {
        for direction in 0..modules.len() {
            let y = reference::mamba(x, &params, sizes, direction);
            let d = reference::mamba_backward(x, &params, sizes, direction, dy, &mut dparams);
            for i in 0..n {
                out[row * n + i] += y[i];
                dx[row * n + i] += d[i];
            }
        }
    }
    assert_close(name, &out, &golden.f64("f64.out"), F64_SHARE);
    assert_close(&format!("{name} dx"), &dx, &golden.f64("f64.dx"), F64_SHARE);
    let check = |module: &str, parameter: &str, place: Range<usize>| {
        let key = format!("f64.grad.{}", tensor(module, parameter));
        assert_close(
            &format!("{name} {key}"),
            &dparams[place],
            &golden.f64(&key),
            F64_SHARE,
        );
    };
    check(modules[0], "in_proj.weight", layout.in_proj.clone());
    check(modules[0], "out_proj.weight", layout.out_proj.clone());
    for (module, place) in modules.iter().zip(&layout.directions) {
        for (parameter, place) in released_direction(place) {
            check(module, parameter, place);
        }
    }
}

#[test]
fn reference_mixer_agrees_with_goldens() {
    for (name, golden) in [
        golden!("mamba_d16_L1"),
        golden!("mamba_d16_L5"),
        golden!("mamba_d16_L130"),
    ] {
        check_mixers(name, &golden, &[""]);
    }
    for (name, golden) in [
        golden!("bimamba_d16_L1"),
        golden!("bimamba_d16_L5"),
        golden!("bimamba_d16_L130"),
    ] {
        check_mixers(name, &golden, &["mamba_fwd", "mamba_rev"]);
    }
}
