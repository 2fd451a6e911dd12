//! Which vector instructions the running processor offers, found once.

use std::sync::OnceLock;

/// A set of vector instructions that the running processor has.
///
/// A value above the portable one can only come from [`SimdLevel::detect`] or [`SimdLevel::available`],
/// so holding it proves that its instructions may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimdLevel(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl SimdLevel {
    /// The instructions every processor of the target architecture has.
    pub const PORTABLE: Self = Self(Instructions::Portable);

    /// The instructions that this value proves to be there.
    pub(crate) fn instructions(self) -> Instructions {
        self.0
    }

    /// Finds the widest instructions of the running processor; the search happens once per process.
    pub fn detect() -> Self {
        static LEVEL: OnceLock<SimdLevel> = OnceLock::new();
        *LEVEL.get_or_init(|| {
            Self::available()
                .last()
                .copied()
                .unwrap_or(SimdLevel::PORTABLE)
        })
    }

    /// Lists every level the running processor can execute, narrowest first.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 {
                levels.push(Self(Instructions::Avx2));
            }
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
            {
                levels.push(Self(Instructions::Avx512));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            levels.push(Self(Instructions::Neon));
        }
        levels
    }

    /// Name for reports: `portable`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Instructions::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => "neon",
        }
    }
}

/// Defines a function that runs one generic body compiled for each [`SimdLevel`].
///
/// The body is an `#[inline(always)]` function generic over [`Simd`](crate::lanes::Simd) that takes the token
/// first; it is instantiated inside functions that enable the instructions of each level.
macro_rules! for_each_simd_level {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(level: $crate::simd_level::SimdLevel, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $ty),*) {
                // SAFETY: the match below calls this function only for the level whose instructions
                // `SimdLevel::available` detected.
                $body(unsafe { $crate::lanes::x86::Avx512::new() }, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $ty),*) {
                // SAFETY: the match below calls this function only for the level whose instructions
                // `SimdLevel::available` detected.
                $body(unsafe { $crate::lanes::x86::Avx2::new() }, $($arg),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            #[allow(clippy::too_many_arguments)]
            fn neon($($arg: $ty),*) {
                // SAFETY: the match below calls this function only for the level whose instructions
                // `SimdLevel::available` detected.
                $body(unsafe { $crate::lanes::neon::Neon::new() }, $($arg),*)
            }
            match level.instructions() {
                $crate::simd_level::Instructions::Portable => {
                    $body($crate::lanes::Portable, $($arg),*)
                }
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a `SimdLevel` of this kind exists only after `SimdLevel::available` detected
                // avx2 and fma.
                $crate::simd_level::Instructions::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a `SimdLevel` of this kind exists only after `SimdLevel::available` detected
                // avx512f, avx512vl, avx512bw, avx512dq, avx2 and fma.
                $crate::simd_level::Instructions::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                // SAFETY: a `SimdLevel` of this kind exists only after `SimdLevel::available` detected neon.
                $crate::simd_level::Instructions::Neon => unsafe { neon($($arg),*) },
            }
        }
    };
}
pub(crate) use for_each_simd_level;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detect_returns_the_widest_available_level() {
        assert_eq!(SimdLevel::available().last(), Some(&SimdLevel::detect()));
        assert_eq!(SimdLevel::available()[0].name(), "portable");
    }
}
