//! What the module's tests share: stored results of other programs, and comparison within a tolerance.

use safetensors::SafeTensors;

/// Widens every value.
pub(super) fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

/// Fails with the worst index when a value is further than `relative * |expected| + absolute` away.
pub(super) fn assert_close(
    what: &str,
    found: &[f64],
    expected: &[f64],
    relative: f64,
    absolute: f64,
) {
    let allowed: Vec<f64> = expected
        .iter()
        .map(|expected| relative * expected.abs() + absolute)
        .collect();
    assert_within(what, found, expected, &allowed);
}

/// Fails with the worst index when a value is further away than `allowed` for it.
pub(super) fn assert_within(what: &str, found: &[f64], expected: &[f64], allowed: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let shares: Vec<f64> = found
        .iter()
        .zip(expected)
        .zip(allowed)
        .map(|((found, expected), allowed)| (found - expected).abs() / allowed)
        .collect();
    let bad = |share: &f64| share.is_nan() || *share > 1.0;
    if shares.iter().any(bad) {
        let key = |share: f64| if share.is_nan() { f64::INFINITY } else { share };
        let worst = (0..shares.len())
            .max_by(|a, b| key(shares[*a]).total_cmp(&key(shares[*b])))
            .unwrap();
        panic!(
            "{what}: [{worst}] is {:e}, expected {:e}, {:.0} % of tolerance",
            found[worst],
            expected[worst],
            100.0 * shares[worst]
        );
    }
}

/// Reads a tensor of a stored file, whichever float type it has.
pub(super) fn golden(bytes: &[u8], name: &str) -> Vec<f64> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    match tensor.dtype() {
        safetensors::Dtype::F64 => tensor
            .data()
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        safetensors::Dtype::F32 => tensor
            .data()
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        other => panic!("{name} has unexpected type {other:?}"),
    }
}

/// Rounds every value.
pub(super) fn single(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(|value| value as f32).collect()
}
