//! How a training run computes and keeps numbers, as settings name it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use model::NetworkConfig;

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

impl Precision {
    /// Bytes of one activation.
    pub fn n_bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// The numerics of a run, as far as a device has them for a network.
///
/// # Errors
/// [`RunError::Numerics`] when the device lacks one, or the network nothing that would follow it; nothing is replaced
/// or ignored silently.
pub fn numerics(
    storage: Storage,
    precision: Precision,
    network: &NetworkConfig,
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
    let refuse = |of: &str, setting: &str, remedy: &str| RunError::Numerics {
        of: of.to_string(),
        setting: setting.to_string(),
        remedy: remedy.to_string(),
    };
    let named = |precision: Precision| match precision {
        Precision::Bf16 => "train.precision = \"bf16\"",
        Precision::F16 | Precision::F32 => "train.precision = \"f16\"",
    };
    if !network.has_blocks() {
        let name = network.kind().name();
        let remedy = "it keeps and computes everything in f32";
        if precision != Precision::F32 {
            return Err(refuse(name, named(precision), remedy));
        }
        if storage != Storage::F32 {
            return Err(refuse(name, "train.storage = \"bf16\"", remedy));
        }
    }
    if !numerics.precision.is_supported_by(&open.device) {
        let others = match precision {
            Precision::Bf16 => "f16 or f32",
            Precision::F16 | Precision::F32 => "f32",
        };
        let remedy = if open.is_cpu() {
            "the processor computes in f32; train.storage = \"bf16\" saves memory there".to_string()
        } else {
            format!("use {others}")
        };
        return Err(refuse(&open.name, named(precision), &remedy));
    }
    if !numerics.storage.is_supported_by(&open.device) {
        return Err(refuse(&open.name, "train.storage = \"bf16\"", "use f32"));
    }
    Ok(numerics)
}

#[cfg(test)]
mod tests {
    use model::NetworkKind;

    use super::*;

    #[test]
    fn activations_have_the_bytes_of_their_precision() {
        let bytes = [Precision::F32, Precision::F16, Precision::Bf16].map(Precision::n_bytes);
        assert_eq!(bytes, [4, 2, 2]);
    }

    #[test]
    fn processor_stores_bf16_and_computes_in_single_precision() {
        let cpu = OpenDevice::cpu();
        let network = NetworkKind::Seq2ExpSoft.preset();
        let found = numerics(Storage::Bf16, Precision::F32, &network, &cpu);
        let found = found.expect("the processor has both");
        assert_eq!(found.storage, kernels::Storage::Bf16);
        for (precision, name) in [(Precision::F16, "f16"), (Precision::Bf16, "bf16")] {
            let error = numerics(Storage::F32, precision, &network, &cpu)
                .expect_err("not on the processor");
            let message = error.to_string();
            assert!(
                message.contains(&format!("train.precision = \"{name}\"")),
                "{message}"
            );
            assert!(message.contains("train.storage"), "{message}");
        }
    }

    #[test]
    fn network_without_blocks_refuses_what_it_would_ignore() {
        let cpu = OpenDevice::cpu();
        for kind in [
            NetworkKind::Hyena,
            NetworkKind::Enformer,
            NetworkKind::Epinformer,
        ] {
            let network = kind.preset();
            assert!(numerics(Storage::F32, Precision::F32, &network, &cpu).is_ok());
            for (storage, precision, setting) in [
                (Storage::Bf16, Precision::F32, "train.storage = \"bf16\""),
                (Storage::F32, Precision::F16, "train.precision = \"f16\""),
            ] {
                let error = numerics(storage, precision, &network, &cpu).expect_err("ignored");
                let expected = format!("{} has no {setting}", kind.name());
                assert!(error.to_string().starts_with(&expected), "{error}");
            }
        }
    }
}
