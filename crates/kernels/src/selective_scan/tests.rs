//! The recurrence against goldens of the released code, and the fast path against the reference.

use super::reference::Scan;
use super::{Packed, ScanInputs, selective_scan, selective_scan_backward};
use crate::golden::{Golden, assert_close};
use crate::shape::ShapeError;
use crate::simd_level::SimdLevel;

/// The goldens' own `f64` run differs from ours by the order of additions only.
const F64_SHARE: f64 = 1e-11;

/// Share of a tensor's largest magnitude that single precision may lose: a state that remembers a few hundred
/// positions adds as many roundings of 6e-8.
const F32_SHARE: f64 = 1e-5;

const GOLDENS: [(&str, &[u8]); 5] = [
    (
        "L1_noz",
        include_bytes!("../../tests/golden/selective_scan_L1_noz.safetensors"),
    ),
    (
        "L1_z",
        include_bytes!("../../tests/golden/selective_scan_L1_z.safetensors"),
    ),
    (
        "L7_noz",
        include_bytes!("../../tests/golden/selective_scan_L7_noz.safetensors"),
    ),
    (
        "L7_z",
        include_bytes!("../../tests/golden/selective_scan_L7_z.safetensors"),
    ),
    (
        "L256_z",
        include_bytes!("../../tests/golden/selective_scan_L256_z.safetensors"),
    ),
];

/// One sequence of a golden, with the softplus and the gate that the released function includes.
struct Case {
    u: Vec<f64>,
    /// Step size before softplus, bias included.
    raw: Vec<f64>,
    delta: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
    d: Vec<f64>,
    z: Option<Vec<f64>>,
    dout: Vec<f64>,
    out: Vec<f64>,
    last_state: Vec<f64>,
}

fn cases(golden: &Golden) -> Vec<Case> {
    let d = golden.f64("in.D");
    let d_inner = d.len();
    let bias = golden.f64("in.delta_bias");
    // Every golden stores a gate; only those with its gradient used it.
    let gated = golden.has("f64.grad.z");
    let z = gated.then(|| golden.sequences("in.z"));
    let last_states = golden.f64("f64.last_state");
    let state_len = last_states.len() / golden.shape("in.u")[0];
    golden
        .sequences("in.u")
        .into_iter()
        .enumerate()
        .map(|(row, u)| {
            let mut raw = golden.sequences("in.delta")[row].clone();
            for (i, raw) in raw.iter_mut().enumerate() {
                *raw += bias[i % d_inner];
            }
            let delta = raw
                .iter()
                .map(|&v| if v > 20.0 { v } else { v.exp().ln_1p() })
                .collect();
            Case {
                u,
                raw,
                delta,
                a: golden.f64("in.A"),
                b: golden.sequences("in.B")[row].clone(),
                c: golden.sequences("in.C")[row].clone(),
                d: d.clone(),
                z: z.as_ref().map(|z| z[row].clone()),
                dout: golden.sequences("in.dout")[row].clone(),
                out: golden.sequences("f64.out")[row].clone(),
                last_state: last_states[row * state_len..(row + 1) * state_len].to_vec(),
            }
        })
        .collect()
}

impl Case {
    fn scan(&self) -> Scan<'_> {
        Scan {
            u: &self.u,
            delta: &self.delta,
            a: &self.a,
            b: &self.b,
            c: &self.c,
            d: &self.d,
        }
    }

    fn gate(&self, i: usize) -> f64 {
        self.z
            .as_ref()
            .map_or(1.0, |z| z[i] / (1.0 + (-z[i]).exp()))
    }

    fn dy(&self) -> Vec<f64> {
        (0..self.dout.len())
            .map(|i| self.dout[i] * self.gate(i))
            .collect()
    }
}

#[test]
fn reference_agrees_with_goldens() {
    for (name, bytes) in GOLDENS {
        let golden = Golden::parse(bytes);
        let mut sums = vec![Vec::new(); 3];
        for (row, case) in cases(&golden).iter().enumerate() {
            let (y, last_state) = case.scan().forward();
            let out: Vec<f64> = (0..y.len()).map(|i| y[i] * case.gate(i)).collect();
            assert_close(&format!("{name} out"), &out, &case.out, F64_SHARE);
            assert_close(
                &format!("{name} state"),
                &last_state,
                &case.last_state,
                F64_SHARE,
            );

            let gradients = case.scan().backward(&case.dy());
            let slope = |raw: f64| {
                if raw > 20.0 {
                    1.0
                } else {
                    1.0 / (1.0 + (-raw).exp())
                }
            };
            let draw: Vec<f64> = gradients
                .delta
                .iter()
                .zip(&case.raw)
                .map(|(g, &raw)| g * slope(raw))
                .collect();
            for (what, found) in [
                ("u", &gradients.u),
                ("delta", &draw),
                ("B", &gradients.b),
                ("C", &gradients.c),
            ] {
                let expected = &golden.sequences(&format!("f64.grad.{what}"))[row];
                assert_close(&format!("{name} grad {what}"), found, expected, F64_SHARE);
            }
            let mut dbias = vec![0.0; case.d.len()];
            for (i, draw) in draw.iter().enumerate() {
                dbias[i % case.d.len()] += draw;
            }
            for (sum, part) in sums.iter_mut().zip([gradients.a, gradients.d, dbias]) {
                sum.resize(part.len(), 0.0);
                for (sum, part) in sum.iter_mut().zip(part) {
                    *sum += part;
                }
            }
        }
        for (what, found) in ["A", "D", "delta_bias"].into_iter().zip(&sums) {
            let expected = golden.f64(&format!("f64.grad.{what}"));
            assert_close(&format!("{name} grad {what}"), found, &expected, F64_SHARE);
        }
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn check_against_reference(what: &str, scan: &Scan<'_>, dy: &[f64]) {
    let [u, delta, a, b, c, d] = [scan.u, scan.delta, scan.a, scan.b, scan.c, scan.d].map(narrow);
    let inputs = ScanInputs {
        u: &u,
        delta: &delta,
        a: &a,
        b: &b,
        c: &c,
        d: &d,
    };
    let (expected_y, expected_state) = scan.forward();
    let expected = scan.backward(dy);
    for level in SimdLevel::available() {
        let what = format!("{what} {}", level.name());
        let packed = Packed::new(&inputs).expect("shapes agree");
        let (y, state, _) = packed.run(level);
        assert_close(&what, &packed.rows(&y), &expected_y, F32_SHARE);
        assert_close(&what, &packed.per_state(&state), &expected_state, F32_SHARE);
        let found = packed.run_backward(level, &narrow(dy));
        for (name, found, expected) in [
            ("u", &found.u, &expected.u),
            ("delta", &found.delta, &expected.delta),
            ("a", &found.a, &expected.a),
            ("b", &found.b, &expected.b),
            ("c", &found.c, &expected.c),
            ("d", &found.d, &expected.d),
        ] {
            assert_close(&format!("{what} grad {name}"), found, expected, F32_SHARE);
        }
    }
}

#[test]
fn fast_path_agrees_with_reference_on_goldens() {
    for (name, bytes) in GOLDENS {
        for case in cases(&Golden::parse(bytes)) {
            check_against_reference(name, &case.scan(), &case.dy());
        }
    }
}

#[test]
fn fast_path_agrees_with_reference_across_tiles_and_vector_widths() {
    for (length, d_inner, d_state) in [(1, 1, 1), (37, 5, 3), (257, 17, 16), (600, 16, 19)] {
        let wave = |seed: f64, n: usize| -> Vec<f64> {
            (0..n)
                .map(|i| f64::from((seed * (i + 1) as f64).sin() as f32))
                .collect()
        };
        let u = wave(1.7, length * d_inner);
        let delta: Vec<f64> = wave(2.3, length * d_inner)
            .iter()
            .map(|v| f64::from((0.05 * (v + 1.0)) as f32))
            .collect();
        let a: Vec<f64> = wave(0.9, d_inner * d_state)
            .iter()
            .map(|v| f64::from((-3.0 - 2.9 * v) as f32))
            .collect();
        let (b, c) = (wave(3.1, length * d_state), wave(1.3, length * d_state));
        let (d, dy) = (wave(0.7, d_inner), wave(2.9, length * d_inner));
        let scan = Scan {
            u: &u,
            delta: &delta,
            a: &a,
            b: &b,
            c: &c,
            d: &d,
        };
        check_against_reference(&format!("{length} x {d_inner} x {d_state}"), &scan, &dy);
    }
}

#[test]
fn reference_backward_agrees_with_finite_differences() {
    let wave = |seed: f64, n: usize| -> Vec<f64> {
        (0..n).map(|i| (seed * (i + 1) as f64).sin()).collect()
    };
    let (length, d_inner, d_state) = (7, 3, 2);
    let mut inputs = [
        wave(1.7, length * d_inner),
        wave(2.3, length * d_inner)
            .iter()
            .map(|v| 0.3 * (v + 1.1))
            .collect(),
        wave(0.9, d_inner * d_state)
            .iter()
            .map(|v| v - 1.2)
            .collect(),
        wave(3.1, length * d_state),
        wave(1.3, length * d_state),
        wave(0.7, d_inner),
    ];
    let dy = wave(2.9, length * d_inner);
    let as_scan = |inputs: &[Vec<f64>; 6]| {
        let [u, delta, a, b, c, d] = inputs;
        let scan = Scan {
            u,
            delta,
            a,
            b,
            c,
            d,
        };
        let loss: f64 = scan.forward().0.iter().zip(&dy).map(|(y, dy)| y * dy).sum();
        (loss, scan.backward(&dy))
    };
    let gradients = as_scan(&inputs).1;
    let gradients = [
        gradients.u,
        gradients.delta,
        gradients.a,
        gradients.b,
        gradients.c,
        gradients.d,
    ];
    // Central differences with step 1e-5 leave 1e-10 of the third derivative and 1e-11 of rounding.
    let step = 1e-5;
    for (which, gradient) in gradients.iter().enumerate() {
        let mut expected = Vec::new();
        for i in 0..inputs[which].len() {
            let kept = inputs[which][i];
            inputs[which][i] = kept + step;
            let up = as_scan(&inputs).0;
            inputs[which][i] = kept - step;
            let down = as_scan(&inputs).0;
            inputs[which][i] = kept;
            expected.push((up - down) / (2.0 * step));
        }
        assert_close(&format!("input {which}"), gradient, &expected, 1e-8);
    }
}

#[test]
fn selective_scan_by_hand() {
    // A = 0 keeps the state: h = 0.5 * 2 * 3 = 3, then 3 + 1 * 1 * 1 = 4; y = c h + d u.
    let inputs = ScanInputs {
        u: &[3.0, 1.0],
        delta: &[0.5, 1.0],
        a: &[0.0],
        b: &[2.0, 1.0],
        c: &[1.0, 10.0],
        d: &[0.25],
    };
    let found = selective_scan(&inputs).expect("shapes agree");
    assert_eq!(found.y, [3.75, 40.25]);
    assert_eq!(found.last_state, [4.0]);
    // dy = (1, 1): dh_2 = 10, dh_1 = 1 + 10 = 11; du = dh delta b + d, dc = h, dd = sum of u.
    let gradients = selective_scan_backward(&inputs, &[1.0, 1.0]).expect("shapes agree");
    assert_eq!(gradients.u, [11.25, 10.25]);
    assert_eq!(gradients.c, [3.0, 4.0]);
    assert_eq!(gradients.d, [4.0]);
}

#[test]
fn selective_scan_with_a_wrong_length_names_the_argument() {
    let good = ScanInputs {
        u: &[3.0, 1.0],
        delta: &[0.5, 1.0],
        a: &[0.0],
        b: &[2.0, 1.0],
        c: &[1.0, 10.0],
        d: &[0.25],
    };
    let cases: [(ScanInputs<'_>, &str); 6] = [
        (ScanInputs { u: &[], ..good }, "u"),
        (ScanInputs { d: &[], ..good }, "d"),
        (ScanInputs { a: &[], ..good }, "a"),
        (
            ScanInputs {
                delta: &[1.0],
                ..good
            },
            "delta",
        ),
        (
            ScanInputs {
                b: &[1.0; 3],
                ..good
            },
            "b",
        ),
        (
            ScanInputs {
                c: &[1.0; 3],
                ..good
            },
            "c",
        ),
    ];
    for (inputs, expected) in cases {
        match selective_scan(&inputs) {
            Err(ShapeError::Axis { argument, .. } | ShapeError::Size { argument, .. }) => {
                assert_eq!(argument, expected);
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert!(selective_scan_backward(&good, &[1.0]).is_err());
}
