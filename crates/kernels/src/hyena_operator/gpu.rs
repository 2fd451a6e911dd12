//! Hyena's operator of tensors on a device: computed on the CPU, arguments and results copied over.

use burn::backend::Flex;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::HyenaOperatorBackend;
use crate::device_transfer::{to_device, to_host};

impl HyenaOperatorBackend for CubeBackend {
    fn hyena_operator(
        x: CubeTensor,
        short_weight: CubeTensor,
        short_bias: CubeTensor,
        filter: CubeTensor,
        skip: CubeTensor,
    ) -> CubeTensor {
        let device = x.device.clone();
        let [x, short_weight, short_bias, filter, skip] =
            [x, short_weight, short_bias, filter, skip].map(to_host);
        to_device(
            Flex::hyena_operator(x, short_weight, short_bias, filter, skip),
            &device,
        )
    }

    fn hyena_operator_backward(
        gradient: CubeTensor,
        x: CubeTensor,
        short_weight: CubeTensor,
        short_bias: CubeTensor,
        filter: CubeTensor,
        skip: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
        let device = x.device.clone();
        let [gradient, x, short_weight, short_bias, filter, skip] =
            [gradient, x, short_weight, short_bias, filter, skip].map(to_host);
        let (x, short_weight, short_bias, filter, skip) =
            Flex::hyena_operator_backward(gradient, x, short_weight, short_bias, filter, skip);
        let back = |tensor| to_device(tensor, &device);
        (
            back(x),
            back(short_weight),
            back(short_bias),
            back(filter),
            back(skip),
        )
    }
}
