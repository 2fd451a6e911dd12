//! The device that tests of device kernels run on.

use std::sync::OnceLock;

use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuBackend, WgpuInitError};

/// The first adapter of the platform's own graphics interface, Mesa's software Vulkan if there is nothing else.
///
/// Prints why and returns nothing where there is no adapter at all; every other failure fails the test.
pub(crate) fn test_device() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    let api = if cfg!(target_vendor = "apple") {
        WgpuBackend::Metal
    } else {
        WgpuBackend::Vulkan
    };
    let device = DEVICE.get_or_init(|| match Device::wgpu_options().graphics_api(api).init() {
        Ok(device) => Some(device),
        Err(error @ WgpuInitError::AdapterUnavailable { .. }) => {
            println!("skipped: {error}; on Debian, mesa-vulkan-drivers has a software adapter");
            None
        }
        Err(error) => panic!("an adapter that cannot be used: {error}"),
    });
    device.clone()
}
