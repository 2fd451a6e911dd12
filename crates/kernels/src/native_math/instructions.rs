//! CUDA's approximate exponential and reciprocal as operations of the kernels' intermediate language.

use cubecl::ir::interfaces::TriviallyUnrollable;
use cubecl::ir::pliron::value::Value;
use cubecl::ir::prelude::*;
use cubecl::ir::{CanMaterialize, ExpandValue, PropagatesUniformity, Pure, Scope};
use cubecl::prelude::NativeExpand;
use cubecl_cpp::shared::{CppValue, OpToCPP};
use cubecl_cpp::target::Cuda;

use super::is_cuda;

/// Whether the kernel is for a device whose C++ has these instructions.
pub(super) fn are_named(scope: &Scope) -> bool {
    let properties = scope.state().device_properties.as_ref();
    properties.is_some_and(|device| is_cuda(device))
}

pub(super) fn exp2(scope: &Scope, x: NativeExpand<f32>) -> NativeExpand<f32> {
    let x: ExpandValue = x.into();
    let op = Exp2Op::new(scope.ctx_mut(), x.read_value(scope));
    ExpandValue::from(scope.register_with_result(&op)).into()
}

pub(super) fn reciprocal(scope: &Scope, x: NativeExpand<f32>) -> NativeExpand<f32> {
    let x: ExpandValue = x.into();
    let op = ReciprocalOp::new(scope.ctx_mut(), x.read_value(scope));
    ExpandValue::from(scope.register_with_result(&op)).into()
}

/// 2^x; subnormal results are 0.
#[cube_op(name = "seq2exp.exp2")]
#[result_ty(same_as = input)]
#[op_interfaces(SameOperandsType, SameOperandsAndResultType, TriviallyUnrollable)]
#[op_traits(CanMaterialize, Pure, PropagatesUniformity)]
pub struct Exp2Op {
    pub input: Value,
}

#[op_interface_impl]
impl OpToCPP<Cuda> for Exp2Op {
    fn to_cpp(&self, ctx: &Context) -> String {
        let out = self.get_result(ctx).fmt_left(ctx);
        instruction(
            "ex2.approx.ftz.f32",
            &out,
            self.input(ctx).name(ctx).as_ref(),
        )
    }
}

/// 1 / x
#[cube_op(name = "seq2exp.reciprocal")]
#[result_ty(same_as = input)]
#[op_interfaces(SameOperandsType, SameOperandsAndResultType, TriviallyUnrollable)]
#[op_traits(CanMaterialize, Pure, PropagatesUniformity)]
pub struct ReciprocalOp {
    pub input: Value,
}

#[op_interface_impl]
impl OpToCPP<Cuda> for ReciprocalOp {
    fn to_cpp(&self, ctx: &Context) -> String {
        let out = self.get_result(ctx).fmt_left(ctx);
        instruction(
            "rcp.approx.ftz.f32",
            &out,
            self.input(ctx).name(ctx).as_ref(),
        )
    }
}

/// The C++ that declares `out` as `name` of `x`.
fn instruction(name: &str, out: &str, x: &str) -> String {
    format!(
        "{out} = [](float x) {{ float y; asm(\"{name} %0, %1;\" : \"=f\"(y) : \"f\"(x)); return y; }}({x});\n"
    )
}
