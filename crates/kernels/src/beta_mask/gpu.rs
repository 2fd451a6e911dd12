//! The Beta mask of tensors on a device: computed on the CPU, arguments and results copied over.

use std::sync::Arc;

use burn::backend::Flex;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::{BetaMaskBackend, MaskPlan};
use crate::device_transfer::{to_device, to_host};

impl BetaMaskBackend for CubeBackend {
    fn beta_mask(
        logits: CubeTensor,
        tracks: CubeTensor,
        overwrite: CubeTensor,
        given: CubeTensor,
        plan: Arc<MaskPlan>,
    ) -> CubeTensor {
        let device = logits.device.clone();
        let [logits, tracks, overwrite, given] = [logits, tracks, overwrite, given].map(to_host);
        to_device(
            Flex::beta_mask(logits, tracks, overwrite, given, plan),
            &device,
        )
    }

    fn beta_mask_backward(
        gradient: CubeTensor,
        logits: CubeTensor,
        tracks: CubeTensor,
        overwrite: CubeTensor,
        given: CubeTensor,
        plan: Arc<MaskPlan>,
    ) -> (CubeTensor, CubeTensor) {
        let device = logits.device.clone();
        let [gradient, logits, tracks, overwrite, given] =
            [gradient, logits, tracks, overwrite, given].map(to_host);
        let (logits, tracks) =
            Flex::beta_mask_backward(gradient, logits, tracks, overwrite, given, plan);
        (to_device(logits, &device), to_device(tracks, &device))
    }
}
