//! Tensors between a device and the host, for operations that have no kernel of their own on devices.

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::read_sync;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use burn_flex::FlexTensor;

/// Waits for a tensor's values and copies them to the host.
///
/// # Panics
/// When the device failed to compute them; burn's own reads of a value panic likewise.
pub(crate) fn to_host(tensor: CubeTensor) -> FlexTensor {
    let data = read_sync(CubeBackend::float_into_data(tensor))
        .unwrap_or_else(|error| panic!("the device did not deliver a tensor's values: {error}"));
    Flex::float_from_data(data, &Default::default())
}

/// Copies a tensor of the host to a device.
pub(crate) fn to_device(tensor: FlexTensor, device: &CubeDevice) -> CubeTensor {
    let data =
        read_sync(Flex::float_into_data(tensor)).expect("a tensor of the host is always readable");
    CubeBackend::float_from_data(data, device)
}
