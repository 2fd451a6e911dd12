//! What a device holds in one buffer.

use burn::tensor::Device;

use crate::bimamba_block::layout::BlockSizes;

/// Bytes of the largest buffer, and so of the largest tensor, of a device; none on the processor, which has no such limit.
///
/// Kernels count in 32 bits: no more than 2^32 - 1 floats, however large the device's own limit.
#[cfg(feature = "gpu")]
pub fn largest_buffer_bytes(device: &Device) -> Option<u64> {
    const COUNTED: u64 = u32::MAX as u64 * size_of::<f32>() as u64;
    of_adapter(device, |adapter| adapter.memory.max_page_size.min(COUNTED))
}

/// Bytes of the largest buffer, and so of the largest tensor, of a device; none on the processor, which has no such limit.
#[cfg(not(feature = "gpu"))]
pub fn largest_buffer_bytes(_device: &Device) -> Option<u64> {
    None
}

/// Floats a position of the largest temporary that a device allocates for one window inside a block: it depends on how much
/// memory the device's cubes share. None on the processor, which works through a window in tiles.
#[cfg(feature = "gpu")]
pub fn widest_block_temporary(device: &Device, sizes: BlockSizes) -> Option<usize> {
    of_adapter(device, |adapter| {
        crate::bimamba_block::gpu::widest(sizes, adapter.hardware.max_shared_memory_size)
    })
}

/// Floats a position of the largest temporary that a device allocates for one window inside a block; none on the processor,
/// which works through a window in tiles.
#[cfg(not(feature = "gpu"))]
pub fn widest_block_temporary(_device: &Device, _sizes: BlockSizes) -> Option<usize> {
    None
}

/// What an adapter says of itself; nothing on the processor.
#[cfg(feature = "gpu")]
pub(crate) fn of_adapter<T>(
    device: &Device,
    read: impl FnOnce(&cubecl::ir::DeviceProperties) -> T,
) -> Option<T> {
    use burn::backend::DispatchDevice;

    let device = device.clone().without_autodiff();
    match device.as_dispatch() {
        DispatchDevice::Cube(device) => Some(read(device.client().properties())),
        _ => None,
    }
}
