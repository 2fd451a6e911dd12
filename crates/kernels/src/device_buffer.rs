//! What a device holds in one buffer.

use burn::tensor::Device;

/// Bytes of the largest buffer, and so of the largest tensor, of a device; none on the processor, which has no such limit.
#[cfg(feature = "gpu")]
pub fn largest_buffer_bytes(device: &Device) -> Option<u64> {
    use burn::backend::DispatchDevice;

    let device = device.clone().without_autodiff();
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => Some(device.client().properties().memory.max_page_size),
        _ => None,
    }
}

/// Bytes of the largest buffer, and so of the largest tensor, of a device; none on the processor, which has no such limit.
#[cfg(not(feature = "gpu"))]
pub fn largest_buffer_bytes(_device: &Device) -> Option<u64> {
    None
}
