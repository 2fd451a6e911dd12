//! Differentiable operations a tensor framework lacks: the BiMamba block, the Beta mask, Hyena's operator and a linear layer
//! behind a norm; and the selective scan alone.
//!
//! Each operation lives in one file that states its contract, checks shapes and picks an implementation,
//! beside a folder with the definition in plain `f64` loops (`reference`), the fused CPU path (`cpu`), with the feature `gpu` the
//! kernels of a device (`gpu`; Hyena's operator and the lone scan have none), and the registration of its backward (`autodiff`;
//! the lone scan has its gradients as a function). Activations are channels-last, `[batch, length, d_model]`.
//! Results never depend on the number of threads: work is divided by shape and reduced in a fixed order.

mod aligned;
pub mod beta_mask;
pub mod bimamba_block;
mod device_buffer;
mod device_limit;
#[cfg(feature = "gpu")]
mod device_math;
#[cfg(feature = "gpu")]
mod device_transfer;
mod flex_tensor;
#[cfg(test)]
mod golden;
pub mod hyena_operator;
mod lanes;
mod matmul;
#[cfg(feature = "gpu")]
mod native_math;
pub mod random;
pub mod rms_norm_linear;
mod scratch;
pub mod selective_scan;
pub mod shape;
pub mod simd_level;
#[cfg(test)]
mod test_device;

pub use beta_mask::{
    BetaMaskConfig, Concentrations, MaskDecoding, MaskDraw, beta_mask, concentrations,
};
pub use bimamba_block::masked::masked_bimamba_block;
pub use bimamba_block::plan::{BlockOptions, Numerics, Precision, Storage};
pub use bimamba_block::{BimambaParams, DirectionParams, bimamba_block};
pub use device_buffer::{largest_buffer_bytes, widest_block_temporary};
pub use device_limit::{LowLimit, low_limit};
pub use hyena_operator::{HyenaArguments, hyena_operator};
pub use rms_norm_linear::rms_norm_linear;
pub use scratch::release_scratch;
pub use selective_scan::{
    ScanGradients, ScanInputs, ScanOutput, selective_scan, selective_scan_backward,
};
pub use shape::ShapeError;
pub use simd_level::SimdLevel;
