//! The devices that suites run on.

#[cfg(feature = "gpu")]
use std::sync::OnceLock;

use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::wgpu::{WgpuBackend, WgpuInitError};

/// Makes a test on every implementation of each function that takes what the functions `cpu` and `gpu` of a module
/// return: another implementation is another line.
macro_rules! suite {
    ($($targets:ident)::+: $($test:ident),* $(,)?) => {
        $crate::test_device::suite_on!(cpu, $($targets)::+::cpu(); $($test),*);
        #[cfg(feature = "gpu")]
        $crate::test_device::suite_on!(gpu, $($targets)::+::gpu(); $($test),*);
    };
}

macro_rules! suite_on {
    ($implementation:ident, $target:expr; $($test:ident),*) => {
        mod $implementation {
            $(
                #[test]
                fn $test() {
                    if let Some(target) = $target {
                        super::$test(&target);
                    }
                }
            )*
        }
    };
}

pub(crate) use {suite, suite_on};

/// The CPU's kernels.
pub(crate) fn cpu() -> Option<Device> {
    Some(Device::flex())
}

/// The first adapter of the platform's own graphics interface, Mesa's software Vulkan if there is nothing else.
///
/// Prints why and returns nothing where there is no adapter at all, unless `SEQ2EXP_NEEDS_GPU` is set; every other
/// failure fails the test. A build with CUDA takes the first card of CUDA, unless `SEQ2EXP_TEST_GRAPHICS` is set.
#[cfg(feature = "gpu")]
pub(crate) fn gpu() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    #[cfg(feature = "cuda")]
    if std::env::var_os("SEQ2EXP_TEST_GRAPHICS").is_none() {
        return DEVICE.get_or_init(|| Some(Device::cuda(0))).clone();
    }
    DEVICE.get_or_init(graphics).clone()
}

#[cfg(feature = "gpu")]
fn graphics() -> Option<Device> {
    let api = if cfg!(target_vendor = "apple") {
        WgpuBackend::Metal
    } else {
        WgpuBackend::Vulkan
    };
    match Device::wgpu_options().graphics_api(api).init() {
        Ok(device) => Some(device),
        Err(error @ WgpuInitError::AdapterUnavailable { .. })
            if std::env::var_os("SEQ2EXP_NEEDS_GPU").is_none() =>
        {
            println!("skipped: {error}; on Debian, mesa-vulkan-drivers has a software adapter");
            None
        }
        Err(error) => panic!("an adapter that cannot be used: {error}"),
    }
}
