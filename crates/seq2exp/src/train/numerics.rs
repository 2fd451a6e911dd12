//! How a training run computes and keeps numbers, as settings name it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::device::OpenDevice;
use crate::error::RunError;

/// How activations are kept for the backward pass; see `docs/kernels/bimamba_block.md` for what it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Single precision.
    #[default]
    F32,
    /// Rounded to bfloat16.
    Bf16,
}

/// What the blocks compute in on a graphics processor; states, sums and parameters stay single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision for activations and the factors of products (Vulkan, Metal, CUDA).
    F16,
    /// bfloat16 for the same (CUDA).
    Bf16,
}

/// The numerics of a run, as far as a device has them.
///
/// # Errors
/// [`RunError::Numerics`] when the device lacks one; nothing is replaced silently.
pub fn numerics(
    storage: Storage,
    precision: Precision,
    open: &OpenDevice,
) -> Result<kernels::Numerics, RunError> {
    let numerics = kernels::Numerics {
        storage: match storage {
            Storage::F32 => kernels::Storage::F32,
            Storage::Bf16 => kernels::Storage::Bf16,
        },
        precision: match precision {
            Precision::F32 => kernels::Precision::F32,
            Precision::F16 => kernels::Precision::F16,
            Precision::Bf16 => kernels::Precision::Bf16,
        },
    };
    let refuse = |setting: &str, remedy: &str| RunError::Numerics {
        device: open.name.clone(),
        setting: setting.to_string(),
        remedy: remedy.to_string(),
    };
    if !numerics.precision.is_supported_by(&open.device) {
        let (setting, others) = match precision {
            Precision::Bf16 => ("train.precision = \"bf16\"", "f16 or f32"),
            Precision::F16 | Precision::F32 => ("train.precision = \"f16\"", "f32"),
        };
        let remedy = if open.is_cpu() {
            "the processor computes in f32; train.storage = \"bf16\" saves memory there".to_string()
        } else {
            format!("use {others}")
        };
        return Err(refuse(setting, &remedy));
    }
    if !numerics.storage.is_supported_by(&open.device) {
        return Err(refuse("train.storage = \"bf16\"", "use f32"));
    }
    Ok(numerics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_stores_bf16_and_computes_in_single_precision() {
        let cpu = OpenDevice::cpu();
        let found = numerics(Storage::Bf16, Precision::F32, &cpu).expect("the processor has both");
        assert_eq!(found.storage, kernels::Storage::Bf16);
        for (precision, name) in [(Precision::F16, "f16"), (Precision::Bf16, "bf16")] {
            let error = numerics(Storage::F32, precision, &cpu).expect_err("not on the processor");
            let message = error.to_string();
            assert!(
                message.contains(&format!("train.precision = \"{name}\"")),
                "{message}"
            );
            assert!(message.contains("train.storage"), "{message}");
        }
    }
}
