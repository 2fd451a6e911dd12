//! The scans' kernels as CubeCL hands them to CUDA, written to files, so that their machine code can be read without a card
//! (`scripts/kernel-code`).

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use burn::backend::DType;
use cubecl::ir::features::Features;
use cubecl::ir::{
    AddressType, DeviceIdentity, DeviceProperties, ElemType, HardwareProperties,
    MemoryDeviceProperties, TargetProperties, VectorSize,
};
use cubecl::prelude::*;
use cubecl::profile::TimingMethod;
use cubecl::{Compiler, CubeKernel};
use cubecl_cpp::shared::{CompilationOptions, CppCompiler};
use cubecl_cpp::target::Cuda;

use super::channel::{CHANNELS, STAGE, element};
use super::scan::{CHUNK, chunk_ends, outputs};
use super::scan_backward::chunk_adjoints;
use super::scan_gradients::{Places, chunk_gradients};
use crate::bimamba_block::layout::BlockSizes;

/// The folder that files are written to.
const FOLDER: &str = "SEQ2EXP_KERNEL_SOURCES";

/// The published sizes.
const SIZES: BlockSizes = BlockSizes::PUBLISHED;

/// Shared memory of a cube at most on such a card.
const SHARED_BYTES: usize = 227 * 1024;

/// A card of compute capability 9.0; kernels ask for nothing but its fingerprint.
fn card() -> Arc<DeviceProperties> {
    Arc::new(DeviceProperties::new(
        Features::default(),
        MemoryDeviceProperties::new(u64::MAX, 256),
        HardwareProperties {
            load_width: 128,
            vector_register_count: None,
            plane_size_min: 32,
            plane_size_max: 32,
            max_bindings: 32,
            max_shared_memory_size: SHARED_BYTES,
            max_cube_count: (u32::MAX, 65_535, 65_535),
            max_units_per_cube: 1024,
            max_cube_dim: (1024, 1024, 1024),
            num_streaming_multiprocessors: None,
            num_tensor_cores: None,
            min_tensor_cores_dim: None,
            num_cpu_cores: None,
            last_level_cache_size: None,
            max_vector_size: VectorSize::MAX,
            cube_mma_reserved_shared_memory: 0,
        },
        TimingMethod::Device,
        DeviceIdentity {
            name: "none".into(),
            fingerprint: "ptx_sm90".into(),
            physical: None,
        },
    ))
}

fn source(kernel: impl CubeKernel) -> String {
    let mut options = CompilationOptions::default();
    options.supports_features.grid_constants = true;
    options.supports_features.fast_math = true;
    let compiled = CppCompiler::<Cuda>::default().compile(kernel.define(), &options);
    compiled.expect("the kernel is C++").source
}

fn tensor() -> TensorCompilationArg {
    TensorCompilationArg {
        meta: TensorMetaCompilationArg {
            len: Default::default(),
            rank: Default::default(),
        },
        buffer: BufferCompilationArg { inplace: None },
    }
}

fn settings(units: usize) -> KernelSettings {
    KernelSettings::new(
        *CubeDim::new_1d(units as u32),
        ExecutionMode::Checked,
        AddressType::U32,
    )
}

/// The C++ of each kernel of the scans for activations of a type.
fn sources(of: ElemType, masked: bool) -> [(&'static str, String); 4] {
    let target = || Arc::new(TargetProperties::default());
    let t = tensor;
    let of_a_channel = || settings(CHANNELS);
    let places = Places::that_fit(SIZES, masked, SHARED_BYTES);
    let [n, s] = [places.per_column, places.per_group];
    #[rustfmt::skip]
    let ends = chunk_ends::ChunkEnds::new(
        of_a_channel(), card(), target(), t(), t(), t(), t(), t(), t(), (), (), (),
        SIZES, CHUNK, STAGE, CHANNELS, masked, of,
    );
    #[rustfmt::skip]
    let outputs = outputs::Outputs::new(
        of_a_channel(), card(), target(), t(), t(), t(), t(), t(), t(), (), (), (), (), (),
        SIZES, CHUNK, STAGE, CHANNELS, masked, of,
    );
    #[rustfmt::skip]
    let adjoints = chunk_adjoints::ChunkAdjoints::new(
        of_a_channel(), card(), target(), t(), t(), t(), t(), t(), t(), (), (), (), (), (),
        SIZES, CHUNK, STAGE, CHANNELS, masked, of,
    );
    #[rustfmt::skip]
    let gradients = chunk_gradients::ChunkGradients::new(
        settings(places.units()), card(), target(),
        t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), t(), (), (), (), (), (), (), (),
        n, s, CHUNK, places, of,
    );
    [
        ("chunk_ends", source(ends)),
        ("outputs", source(outputs)),
        ("chunk_adjoints", source(adjoints)),
        ("chunk_gradients", source(gradients)),
    ]
}

#[test]
#[ignore = "writes files for scripts/kernel-code"]
fn sources_of_kernels_are_written() {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    let folder = folder.expect("SEQ2EXP_KERNEL_SOURCES names a folder");
    let types = [("bf16", element(DType::BF16)), ("f32", element(DType::F32))];
    for (name, element) in types {
        for (mask, masked) in [("", false), ("_masked", true)] {
            for (kernel, source) in sources(element, masked) {
                let file = folder.join(format!("{kernel}_{name}{mask}.cu"));
                fs::write(&file, source).expect("the folder takes files");
            }
        }
    }
}
