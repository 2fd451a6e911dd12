//! Exponential and reciprocal in one instruction each where the hardware has one and the compiler lets us name it.
//!
//! Scans evaluate an exponential for every channel, state and step, so its cost is theirs. CUDA's `exp` takes eight
//! instructions and its division ten with a branch, because both round correctly where the processor's own
//! `ex2.approx` and `rcp.approx` (relative error 2^-22.5 and 2^-23, PTX ISA, "Floating Point Instructions") do not. CubeCL has no
//! name for these; in a build that hands C++ to CUDA (feature `cuda-cpp`) [`instructions`] adds them. Everywhere else the
//! same functions are CubeCL's `exp` and division, which drivers translate to such instructions by themselves.
//!
//! To have no multiplication beside the instruction, exponentials are taken to a base: `power(x * per_ln_base())` is e^x.

use cubecl::prelude::*;

#[cfg(feature = "cuda-cpp")]
mod instructions;

/// base^`x`; underflows to 0.
#[allow(unused_variables, reason = "the body is what `expand` below emits")]
pub(crate) fn power(x: f32) -> f32 {
    cubecl::unexpanded!()
}

/// The counterpart of [`power`] that a kernel calls.
pub(crate) mod power {
    use cubecl::ir::Scope;
    use cubecl::prelude::*;

    pub(crate) fn expand(scope: &Scope, x: NativeExpand<f32>) -> NativeExpand<f32> {
        #[cfg(feature = "cuda-cpp")]
        if super::instructions::are_named(scope) {
            return super::instructions::exp2(scope, x);
        }
        f32::__expand_exp(scope, x)
    }
}

/// 1 / `x`
#[allow(unused_variables, reason = "the body is what `expand` below emits")]
pub(crate) fn reciprocal(x: f32) -> f32 {
    cubecl::unexpanded!()
}

/// The counterpart of [`reciprocal`] that a kernel calls.
pub(crate) mod reciprocal {
    use cubecl::ir::Scope;
    use cubecl::prelude::*;

    pub(crate) fn expand(scope: &Scope, x: NativeExpand<f32>) -> NativeExpand<f32> {
        #[cfg(feature = "cuda-cpp")]
        if super::instructions::are_named(scope) {
            return super::instructions::reciprocal(scope, x);
        }
        super::quotient_of_one::expand(scope, x)
    }
}

#[cube]
fn quotient_of_one(x: f32) -> f32 {
    1.0f32 / x
}

/// 1 / ln(base) of [`power`].
pub(crate) fn per_ln_base() -> f32 {
    cubecl::unexpanded!()
}

/// The counterpart of [`per_ln_base`] that a kernel calls.
pub(crate) mod per_ln_base {
    use cubecl::ir::Scope;
    use cubecl::prelude::*;

    pub(crate) fn expand(scope: &Scope) -> NativeExpand<f32> {
        super::constant(scope, std::f32::consts::LOG2_E)
    }
}

/// ln(base) of [`power`].
pub(crate) fn ln_base() -> f32 {
    cubecl::unexpanded!()
}

/// The counterpart of [`ln_base`] that a kernel calls.
pub(crate) mod ln_base {
    use cubecl::ir::Scope;
    use cubecl::prelude::*;

    pub(crate) fn expand(scope: &Scope) -> NativeExpand<f32> {
        super::constant(scope, std::f32::consts::LN_2)
    }
}

/// `binary` where the base is 2, and 1 where it is e.
fn constant(scope: &cubecl::ir::Scope, binary: f32) -> NativeExpand<f32> {
    #[cfg(feature = "cuda-cpp")]
    let value = match instructions::are_named(scope) {
        true => binary,
        false => 1.0,
    };
    #[cfg(not(feature = "cuda-cpp"))]
    let value = {
        let _ = binary;
        1.0f32
    };
    value.into_expand(scope)
}
