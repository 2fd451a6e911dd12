//! Which vector instructions a loop may be compiled for on the machine it runs on.
//!
//! The loops that use this contain no fused multiply-add and fix their order of summation, so every width gives
//! the same bits.

/// Widest vectors of this machine that the crate has loops for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VectorWidth {
    /// What the build's target guarantees.
    Portable,
    /// 256 bits; `detect` saw AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bits; `detect` saw AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl VectorWidth {
    /// Asks the machine. Nothing else makes the wider variants, outside tests that ask it themselves.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if std::is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Returns every width this machine can run, narrowest first.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut widths = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx2") {
                widths.push(Self::Avx2);
            }
            if std::is_x86_feature_detected!("avx512f") {
                widths.push(Self::Avx512);
            }
        }
        widths
    }
}
