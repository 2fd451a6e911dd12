//! The device a command runs on: asked for by name, then found or refused, never replaced by another.

use std::fmt;
use std::str::FromStr;

use burn::backend::DispatchDevice;
use burn::tensor::Device;
use model::NetworkConfig;
use serde::Serialize;

use crate::cost::Cost;
use crate::error::RunError;

#[cfg(feature = "gpu")]
mod graphics;

/// What a build without GPU support says to do.
pub const GPU_BUILD_REMEDY: &str =
    "build one with `cargo build --release --features gpu`, or use --device cpu";

/// What may be missing where no adapter is found.
const NO_ADAPTER_REMEDY: &str = if cfg!(target_os = "macos") {
    "a Mac needs Metal"
} else {
    "install the graphics card's driver and the Vulkan loader (Debian: libvulkan1); in a container pass the card with \
     NVIDIA_DRIVER_CAPABILITIES=all; for a data-centre card take a build with `--features cuda`"
};

/// A device as `--device` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first graphics processor; an adapter that only imitates one in software does not count.
    Gpu,
    /// The adapter with this number in the list of `seq2exp info --devices`, also one in software.
    Adapter(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not `cpu`, `gpu` or `gpu:N`");
        match text {
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => {
                let number = text.strip_prefix("gpu:").ok_or_else(unknown)?;
                number.parse().map(Self::Adapter).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Gpu => write!(f, "gpu"),
            Self::Adapter(number) => write!(f, "gpu:{number}"),
        }
    }
}

/// What kind of thing an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// A graphics card of its own.
    Discrete,
    /// A graphics processor that shares the processor's memory.
    Integrated,
    /// A graphics processor of a virtual machine.
    Virtual,
    /// A program that imitates a graphics processor; slow, for tests.
    Software,
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            match self {
                Self::Discrete => "discrete",
                Self::Integrated => "integrated",
                Self::Virtual => "virtual",
                Self::Software => "software",
            }
        )
    }
}

/// A graphics adapter that this build can reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// N of `--device gpu:N`.
    pub number: usize,
    /// As the driver names it.
    pub name: String,
    /// What it is.
    pub kind: AdapterKind,
    /// The interface it is reached through, for example `Vulkan`.
    pub api: String,
    /// Place among the adapters of its kind and interface.
    #[serde(skip)]
    pub place: usize,
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "gpu:{} {} ({}, {})",
            self.number, self.name, self.api, self.kind
        )
    }
}

/// A device that is ready, and what it is called.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// Where tensors live, without autodiff.
    pub device: Device,
    /// `cpu`, or the adapter's number, name, interface and kind.
    pub name: String,
}

impl OpenDevice {
    /// The processor.
    pub fn cpu() -> Self {
        Self {
            device: Device::flex(),
            name: "cpu".to_string(),
        }
    }

    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        matches!(self.device.as_dispatch(), DispatchDevice::Flex(_))
    }

    /// Says on standard error which part of a network another device leaves to the processor.
    pub fn note_parts_without_kernel(&self, network: &NetworkConfig) {
        if let (false, Some(part)) = (self.is_cpu(), network.left_to_processor()) {
            let device = &self.name;
            eprintln!(
                "note     {part} has no kernel for {device} and runs on the processor, slowly"
            );
        }
    }

    /// Checks that the device has what kernels need for `batch` windows of `length` bases, and that their largest tensor fits
    /// in one of its buffers.
    ///
    /// # Errors
    /// [`RunError::Limit`] with the limit that is too low, [`RunError::Buffer`] with the largest batch or window that fits.
    pub fn check_buffers(
        &self,
        network: &NetworkConfig,
        length: usize,
        batch: usize,
    ) -> Result<(), RunError> {
        let cost = Cost::of(network);
        let low = cost
            .block()
            .and_then(|sizes| kernels::low_limit(&self.device, sizes, length));
        if let Some(low) = low {
            return Err(RunError::Limit {
                device: self.name.clone(),
                what: low.what,
                needed: low.needed,
                limit: low.limit,
                remedy: low.remedy.unwrap_or("use another device".to_string()),
            });
        }
        let widest = |sizes| kernels::widest_block_temporary(&self.device, sizes);
        let limit = kernels::largest_buffer_bytes(&self.device);
        match limit.zip(cost.block().and_then(widest)) {
            Some((limit, of_window)) => {
                let needed = |length, batch| cost.largest_tensor_bytes(length, batch, of_window);
                check_buffers(&self.name, limit, needed, length, batch)
            }
            None => Ok(()),
        }
    }

    /// Makes the chosen device ready.
    ///
    /// # Errors
    /// [`RunError::Device`] when this build has no GPU support, no adapter fits, or its driver refuses.
    pub fn open(choice: DeviceChoice) -> Result<Self, RunError> {
        if choice == DeviceChoice::Cpu {
            return Ok(Self::cpu());
        }
        let adapters = adapters().ok_or_else(|| RunError::Device {
            choice,
            message: format!("this build has no GPU support; {GPU_BUILD_REMEDY}"),
        })?;
        let adapter =
            select(choice, &adapters).map_err(|message| RunError::Device { choice, message })?;
        open_adapter(choice, adapter)
    }
}

/// Refuses what needs a tensor of more than `limit` bytes; `needed` has the bytes of a length and a batch.
fn check_buffers(
    device: &str,
    limit: u64,
    needed: impl Fn(usize, usize) -> Option<u64>,
    length: usize,
    batch: usize,
) -> Result<(), RunError> {
    let needed = |length, batch| needed(length, batch).unwrap_or(0);
    if needed(length, batch) <= limit {
        return Ok(());
    }
    let fitting = (1..batch)
        .rev()
        .find(|&fewer| needed(length, fewer) <= limit);
    let remedy = match fitting {
        Some(fewer) => format!("take at most {fewer} at once"),
        None => format!(
            "take windows of at most {} bases",
            limit / needed(1, 1).max(1)
        ),
    };
    Err(RunError::Buffer {
        device: device.to_string(),
        length,
        batch,
        needed: needed(length, batch),
        limit,
        remedy,
    })
}

/// Returns the adapter that is meant, or why there is none.
fn select(choice: DeviceChoice, adapters: &[Adapter]) -> Result<&Adapter, String> {
    let found = match choice {
        DeviceChoice::Cpu => None,
        DeviceChoice::Gpu => adapters
            .iter()
            .find(|adapter| adapter.kind != AdapterKind::Software),
        DeviceChoice::Adapter(number) => adapters.iter().find(|adapter| adapter.number == number),
    };
    found.ok_or_else(|| {
        if adapters.is_empty() {
            return format!("no adapter found; {NO_ADAPTER_REMEDY}, or use --device cpu");
        }
        let list: Vec<String> = adapters.iter().map(Adapter::to_string).collect();
        let list = list.join(", ");
        match choice {
            DeviceChoice::Adapter(_) => format!("no adapter of that number; there are {list}"),
            _ => format!(
                "no graphics processor found, only {list}; name that one, slow as it is, or use --device cpu"
            ),
        }
    })
}

/// Every adapter this build can reach, graphics processors first; none at all without GPU support.
#[cfg(not(feature = "gpu"))]
pub fn adapters() -> Option<Vec<Adapter>> {
    None
}

#[cfg(feature = "gpu")]
pub use graphics::adapters;

#[cfg(not(feature = "gpu"))]
fn open_adapter(choice: DeviceChoice, _adapter: &Adapter) -> Result<OpenDevice, RunError> {
    let message = format!("this build has no GPU support; {GPU_BUILD_REMEDY}");
    Err(RunError::Device { choice, message })
}

#[cfg(feature = "gpu")]
fn open_adapter(choice: DeviceChoice, adapter: &Adapter) -> Result<OpenDevice, RunError> {
    let device = graphics::open(adapter).map_err(|message| {
        let message = format!("{adapter} does not start: {message}");
        RunError::Device { choice, message }
    })?;
    let name = adapter.to_string();
    Ok(OpenDevice { device, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(number: usize, kind: AdapterKind) -> Adapter {
        Adapter {
            number,
            name: format!("name {number}"),
            kind,
            api: "Vulkan".to_string(),
            place: 0,
        }
    }

    #[test]
    fn choice_is_read_and_shown_alike() {
        for (text, choice) in [
            ("cpu", DeviceChoice::Cpu),
            ("gpu", DeviceChoice::Gpu),
            ("gpu:0", DeviceChoice::Adapter(0)),
            ("gpu:12", DeviceChoice::Adapter(12)),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        for text in ["", "GPU", "gpu:", "gpu:-1", "gpu:x", "cuda", "cpu:0"] {
            let error = text.parse::<DeviceChoice>().expect_err(text);
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn software_adapter_serves_only_who_names_it() {
        let software = [adapter(0, AdapterKind::Software)];
        let error = select(DeviceChoice::Gpu, &software).expect_err("only software");
        assert!(error.contains("gpu:0 name 0 (Vulkan, software)"), "{error}");
        assert_eq!(
            select(DeviceChoice::Adapter(0), &software),
            Ok(&software[0])
        );
        let both = [
            adapter(0, AdapterKind::Software),
            adapter(1, AdapterKind::Integrated),
        ];
        assert_eq!(select(DeviceChoice::Gpu, &both), Ok(&both[1]));
    }

    #[test]
    fn what_no_buffer_holds_is_refused_with_what_fits() {
        let network = model::NetworkKind::Seq2ExpSoft.preset();
        let cost = Cost::of(&network);
        let needed = |length, batch| cost.largest_tensor_bytes(length, batch, 512);
        let check = |length, batch| check_buffers("gpu:0", 2 << 30, needed, length, batch);
        // A block's own tensor has 2,048 bytes a base, d_model of a batch 512 bytes a base and window.
        assert!(check(200_000, 8).is_ok());
        assert!(check(1 << 20, 4).is_ok());
        for (length, batch, remedy) in [
            (200_000, 32, "take at most 20 at once"),
            (1 << 20, 5, "take at most 4 at once"),
            ((1 << 20) + 1, 2, "take windows of at most 1048576 bases"),
        ] {
            let error = check(length, batch).expect_err("too large").to_string();
            assert!(error.contains(remedy), "{error}");
            assert!(error.contains("2147483648"), "{error}");
        }
    }

    #[test]
    fn missing_adapter_is_an_error_with_what_there_is() {
        let one = [adapter(0, AdapterKind::Discrete)];
        let error = select(DeviceChoice::Adapter(3), &one).expect_err("only one");
        assert!(error.contains("gpu:0 name 0 (Vulkan, discrete)"), "{error}");
        let error = select(DeviceChoice::Gpu, &[]).expect_err("none");
        assert!(error.contains("--device cpu"), "{error}");
    }
}
