//! The block of tensors on a device: computed on the CPU, arguments and results copied over.

use burn::backend::Flex;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::autodiff::{BimambaBackend, BimambaKernel};
use super::plan::BlockPlan;
use crate::device_transfer::{to_device, to_host};

impl BimambaBackend for CubeBackend {
    fn bimamba_block(x: CubeTensor, params: CubeTensor, plan: BlockPlan) -> CubeTensor {
        let device = x.device.clone();
        to_device(
            Flex::bimamba_block(to_host(x), to_host(params), plan),
            &device,
        )
    }
}

impl BimambaKernel for CubeBackend {
    fn bimamba_block_saving(
        x: CubeTensor,
        params: CubeTensor,
        plan: BlockPlan,
    ) -> (CubeTensor, CubeTensor) {
        let device = x.device.clone();
        let (out, states) = Flex::bimamba_block_saving(to_host(x), to_host(params), plan);
        (to_device(out, &device), to_device(states, &device))
    }

    fn bimamba_block_backward(
        x: CubeTensor,
        params: CubeTensor,
        saved: CubeTensor,
        dout: CubeTensor,
        plan: BlockPlan,
    ) -> (CubeTensor, CubeTensor) {
        let device = x.device.clone();
        let [x, params, saved, dout] = [x, params, saved, dout].map(to_host);
        let (dx, dparams) = Flex::bimamba_block_backward(x, params, saved, dout, plan);
        (to_device(dx, &device), to_device(dparams, &device))
    }
}
