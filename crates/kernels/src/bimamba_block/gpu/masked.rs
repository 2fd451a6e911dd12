//! The masked block of tensors on a device: computed on the CPU, arguments and results copied over.

use burn::backend::Flex;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::super::masked::{MaskedBimambaBackend, MaskedBimambaKernel};
use super::super::plan::BlockPlan;
use crate::device_transfer::{to_device, to_host};

impl MaskedBimambaBackend for CubeBackend {
    fn masked_bimamba_block(
        x: CubeTensor,
        mask: CubeTensor,
        params: CubeTensor,
        plan: BlockPlan,
    ) -> CubeTensor {
        let device = x.device.clone();
        let [x, mask, params] = [x, mask, params].map(to_host);
        to_device(Flex::masked_bimamba_block(x, mask, params, plan), &device)
    }
}

impl MaskedBimambaKernel for CubeBackend {
    fn masked_bimamba_block_saving(
        x: CubeTensor,
        mask: CubeTensor,
        params: CubeTensor,
        plan: BlockPlan,
    ) -> (CubeTensor, CubeTensor) {
        let device = x.device.clone();
        let [x, mask, params] = [x, mask, params].map(to_host);
        let (out, states) = Flex::masked_bimamba_block_saving(x, mask, params, plan);
        (to_device(out, &device), to_device(states, &device))
    }

    fn masked_bimamba_block_backward(
        x: CubeTensor,
        mask: CubeTensor,
        params: CubeTensor,
        saved: CubeTensor,
        dout: CubeTensor,
        plan: BlockPlan,
    ) -> [CubeTensor; 3] {
        let device = x.device.clone();
        let [x, mask, params, saved, dout] = [x, mask, params, saved, dout].map(to_host);
        Flex::masked_bimamba_block_backward(x, mask, params, saved, dout, plan)
            .map(|tensor| to_device(tensor, &device))
    }
}
