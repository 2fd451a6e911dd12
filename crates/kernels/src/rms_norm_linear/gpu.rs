//! The normalised linear layer of tensors on a device: computed on the CPU, arguments and results copied over.

use burn::backend::Flex;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::RmsNormLinearBackend;
use crate::device_transfer::{to_device, to_host};

impl RmsNormLinearBackend for CubeBackend {
    fn rms_norm_linear(
        x: CubeTensor,
        norm_weight: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
    ) -> CubeTensor {
        let device = x.device.clone();
        let [x, norm_weight, weight, bias] = [x, norm_weight, weight, bias].map(to_host);
        to_device(Flex::rms_norm_linear(x, norm_weight, weight, bias), &device)
    }

    fn rms_norm_linear_backward(
        gradient: CubeTensor,
        x: CubeTensor,
        norm_weight: CubeTensor,
        weight: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
        let device = x.device.clone();
        let [gradient, x, norm_weight, weight] = [gradient, x, norm_weight, weight].map(to_host);
        let (x, norm_weight, weight, bias) =
            Flex::rms_norm_linear_backward(gradient, x, norm_weight, weight);
        let back = |tensor| to_device(tensor, &device);
        (back(x), back(norm_weight), back(weight), back(bias))
    }
}
