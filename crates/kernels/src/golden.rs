//! Golden vectors for tests: outputs and gradients of the released code's operations, in `tests/golden`.

use safetensors::{Dtype, SafeTensors};

/// One golden file.
pub(crate) struct Golden(SafeTensors<'static>);

impl Golden {
    pub(crate) fn parse(bytes: &'static [u8]) -> Self {
        Self(SafeTensors::deserialize(bytes).expect("golden file is safetensors"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        let tensor = self.0.tensor(name);
        tensor
            .unwrap_or_else(|_| panic!("golden has {name}"))
            .shape()
            .to_vec()
    }

    /// Values of a tensor, which was stored as `f32` or `f64`.
    pub(crate) fn f64(&self, name: &str) -> Vec<f64> {
        let tensor = self.0.tensor(name);
        let tensor = tensor.unwrap_or_else(|_| panic!("golden has {name}"));
        match tensor.dtype() {
            Dtype::F64 => tensor
                .data()
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")))
                .collect(),
            Dtype::F32 => tensor
                .data()
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes"))))
                .collect(),
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Values of `[batch, channels, length]` as one channels-last array per sequence.
    pub(crate) fn sequences(&self, name: &str) -> Vec<Vec<f64>> {
        let [_, channels, length] = self.shape(name)[..] else {
            panic!("{name} has three axes");
        };
        self.f64(name)
            .chunks(channels * length)
            .map(|values| {
                let at = |i: usize| values[i % channels * length + i / channels];
                (0..channels * length).map(at).collect()
            })
            .collect()
    }
}

/// Panics with the worst element when one differs by more than `share` of the largest expected magnitude.
pub(crate) fn assert_close<T: Copy + Into<f64>>(
    what: &str,
    found: &[T],
    expected: &[f64],
    share: f64,
) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let tolerance = share * largest.max(1e-30);
    let mut worst = (0, 0.0f64);
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        let used = (found.into() - expected).abs() / tolerance;
        if used.is_nan() || used > worst.1 {
            worst = (i, if used.is_nan() { f64::INFINITY } else { used });
        }
    }
    let (i, used) = worst;
    assert!(
        used <= 1.0,
        "{what}: element {i} is {:e}, expected {:e}: {:.0} % of the tolerance",
        found[i].into(),
        expected[i],
        100.0 * used
    );
}
