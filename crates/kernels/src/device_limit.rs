//! What the block's kernels need of a device besides room for their tensors.

use burn::tensor::Device;

use crate::bimamba_block::layout::BlockSizes;

/// A limit of a device that is lower than what a kernel needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowLimit {
    /// What is limited, in the plural.
    pub what: &'static str,
    /// How many a kernel needs.
    pub needed: u64,
    /// How many the device has.
    pub limit: u64,
    /// What else than another device would do.
    pub remedy: Option<String>,
}

/// The first limit of a device that is too low for a block of these sizes and windows of `length` bases; none on the processor,
/// which has no such limits.
#[cfg(feature = "gpu")]
pub fn low_limit(device: &Device, sizes: BlockSizes, length: usize) -> Option<LowLimit> {
    crate::device_buffer::of_adapter(device, |adapter| {
        of_hardware(&adapter.hardware, sizes, length)
    })?
}

/// The first limit of a device that is too low for a block of these sizes and windows of `length` bases; none on the processor,
/// which has no such limits.
#[cfg(not(feature = "gpu"))]
pub fn low_limit(_device: &Device, _sizes: BlockSizes, _length: usize) -> Option<LowLimit> {
    None
}

#[cfg(feature = "gpu")]
fn of_hardware(
    hardware: &cubecl::ir::HardwareProperties,
    sizes: BlockSizes,
    length: usize,
) -> Option<LowLimit> {
    use crate::bimamba_block::gpu;

    let need = |what, needed: usize, limit: usize| {
        (limit < needed).then_some(LowLimit {
            what,
            needed: needed as u64,
            limit: limit as u64,
            remedy: None,
        })
    };
    let units = gpu::most_units(sizes).max(crate::rms_norm_linear::gpu::UNITS);
    let per_cube = hardware.max_units_per_cube.min(hardware.max_cube_dim.0);
    let shared = gpu::least_shared_bytes(sizes).max(crate::rms_norm_linear::gpu::SHARED_BYTES);
    let longest = (hardware.max_cube_count.1 as usize).saturating_mul(gpu::BASES_OF_A_CUBE);
    // Tensors, without the buffer that holds sizes and numbers.
    let tensors = gpu::MOST_TENSORS as usize;
    need(
        "storage buffers a shader",
        tensors,
        hardware.max_bindings as usize,
    )
    .or_else(|| need("units a workgroup", units, per_cube as usize))
    .or_else(|| {
        let limit = hardware.max_shared_memory_size;
        need("bytes that a workgroup shares", shared, limit)
    })
    .or_else(|| {
        let low = need("bases a window", length, longest)?;
        let remedy = Some(format!("take windows of at most {longest} bases"));
        Some(LowLimit { remedy, ..low })
    })
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use burn::backend::DispatchDevice;
    use cubecl::ir::HardwareProperties;

    use super::*;
    use crate::test_device::{cpu, gpu};

    /// The published sizes.
    const SIZES: BlockSizes = BlockSizes::PUBLISHED;

    #[test]
    fn processor_and_gpu_have_what_kernels_need() {
        for device in [cpu(), gpu()].into_iter().flatten() {
            assert_eq!(low_limit(&device, SIZES, 200_000), None);
        }
    }

    #[test]
    fn each_limit_of_a_gpu_that_is_too_low_is_named() {
        let Some(device) = gpu() else { return };
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            panic!("the test device runs CubeCL kernels");
        };
        // What WebGPU promises, but for tensors, of which it promises eight.
        let promised = HardwareProperties {
            max_bindings: 12,
            max_units_per_cube: 256,
            max_cube_dim: (256, 256, 64),
            max_shared_memory_size: 16 * 1024,
            max_cube_count: (65_535, 65_535, 65_535),
            ..device.client().properties().hardware.clone()
        };
        assert_eq!(of_hardware(&promised, SIZES, 2_097_120), None);
        let [mut tensors, mut units, mut row, mut shared] = [(); 4].map(|()| promised.clone());
        tensors.max_bindings = 7;
        units.max_units_per_cube = 128;
        row.max_cube_dim.0 = 128;
        shared.max_shared_memory_size = 4096;
        for (hardware, length, what, needed, limit) in [
            (&tensors, 37, "storage buffers a shader", 12, 7),
            (&units, 37, "units a workgroup", 256, 128),
            (&row, 37, "units a workgroup", 256, 128),
            (&shared, 37, "bytes that a workgroup shares", 5120, 4096),
            (&promised, 2_097_121, "bases a window", 2_097_121, 2_097_120),
        ] {
            let low = of_hardware(hardware, SIZES, length).expect(what);
            assert_eq!((low.what, low.needed, low.limit), (what, needed, limit));
            assert_eq!(low.remedy.is_some(), what == "bases a window");
        }
    }
}
