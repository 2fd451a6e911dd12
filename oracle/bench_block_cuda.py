"""Times a BiMamba block in PyTorch on a CUDA card, through mamba-ssm's own scan, beside `seq2exp bench block`.

The scan's sources are compiled from an unpacked release of mamba-ssm (real numbers, f32 and bf16); the rest of the block
is PyTorch's. Before anything is timed, output and gradient in f32 are compared with the loop over positions. Needs a
CUDA toolkit, PyTorch with CUDA and ninja.

    curl -LO https://files.pythonhosted.org/packages/source/m/mamba-ssm/mamba_ssm-2.3.2.post1.tar.gz
    tar xf mamba_ssm-2.3.2.post1.tar.gz
    python oracle/bench_block_cuda.py mamba_ssm-2.3.2.post1/csrc/selective_scan --lengths 20000,200000 --batches 1,8
"""

import argparse
import csv
import os
import statistics
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils import cpp_extension

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench_block import block as block_with_states
from bench_block import published_params, sequential

KERNELS = ["fwd_fp32", "fwd_bf16", "bwd_fp32_real", "bwd_bf16_real"]
# As in mamba-ssm's setup.py.
NVCC = ["-O3", "--use_fast_math", "--expt-relaxed-constexpr", "--expt-extended-lambda", "-U__CUDA_NO_HALF_OPERATORS__"]
NVCC += ["-U__CUDA_NO_HALF_CONVERSIONS__", "-U__CUDA_NO_BFLOAT16_OPERATORS__", "-U__CUDA_NO_BFLOAT16_CONVERSIONS__"]
NVCC += ["-U__CUDA_NO_BFLOAT162_OPERATORS__", "-U__CUDA_NO_BFLOAT162_CONVERSIONS__"]


def build(source, folder=None):
    """The extension, without complex numbers and f16, which a block does not use, and with PyTorch's present names."""
    text = (source / "selective_scan.cpp").read_text()
    text = text.replace("using weight_t = c10::complex<float>;", "using weight_t = float;")
    text = text.replace("using input_t = at::Half;", "using input_t = at::BFloat16;")
    text = text.replace("c10::optional", "std::optional")
    folder = folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "selective_scan.cpp").write_text(text)
    sources = [folder / "selective_scan.cpp", *(source / f"selective_scan_{kernel}.cu" for kernel in KERNELS)]
    return cpp_extension.load(
        name="selective_scan_cuda",
        sources=[str(path) for path in sources],
        extra_include_paths=[str(source)],
        extra_cflags=["-O3"],
        extra_cuda_cflags=NVCC,
        build_directory=str(folder),
    )


class Scan(torch.autograd.Function):
    """y = scan(u) silu(z), `[batch, d_inner, length]`, by the extension."""

    extension = None

    @staticmethod
    def forward(ctx, u, delta, a, b, c, d, z, bias):
        out, x, gated = Scan.extension.fwd(u, delta, a, b, c, d, z, bias, True)
        ctx.save_for_backward(u, delta, a, b, c, d, z, bias, x, out)
        return gated

    @staticmethod
    def backward(ctx, dout):
        u, delta, a, b, c, d, z, bias, x, out = ctx.saved_tensors
        gradients = Scan.extension.bwd(u, delta, a, b, c, d, z, bias, dout.contiguous(), x, out, None, True, False)
        du, ddelta, da, db, dc, dd, dbias, dz = gradients
        return du, ddelta, da, db, dc, dd, dz, dbias


def mixer(x, p):
    d_inner, d_state = p["A_log"].shape
    dt_rank = p["dt_proj.weight"].shape[1]
    weight = lambda name: p[name].to(x.dtype)
    u, z = (weight("in_proj.weight") @ x.mT).chunk(2, 1)
    u = F.conv1d(u, weight("conv1d.weight"), weight("conv1d.bias"), padding=3, groups=d_inner)
    u = F.silu(u[..., : x.shape[1]]).contiguous()
    dt, b, c = (weight("x_proj.weight") @ u).split([dt_rank, d_state, d_state], 1)
    delta = weight("dt_proj.weight") @ dt
    b, c = (part.unsqueeze(1).contiguous() for part in (b, c))
    y = Scan.apply(u, delta, -torch.exp(p["A_log"]), b, c, p["D"], z.contiguous(), p["dt_proj.bias"])
    return (weight("out_proj.weight") @ y).mT


def block(x, norm, params, dtype):
    h = (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * norm).to(dtype)
    mixed = mixer(h, params["mamba_fwd"]) + mixer(h.flip(1), params["mamba_rev"]).flip(1)
    return x + mixed


def check(norm, params):
    x = torch.randn(2, 300, norm.shape[0], device="cuda", requires_grad=True)
    dout = torch.randn_like(x)
    results = []
    for body in (lambda: block(x, norm, params, torch.float32), lambda: block_with_states(x, norm, params, sequential)):
        out = body()
        results.append((out.detach(), torch.autograd.grad(out, x, dout)[0]))
    for what, found, expected in zip(("output", "gradient"), *results):
        error = ((found - expected).norm() / expected.norm()).item()
        print(f"{what} off by {error:.1e} from the loop over positions", flush=True)
        assert error < 1e-3, what


def milliseconds(body, runs):
    body()
    times = []
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        body()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="csrc/selective_scan of mamba-ssm")
    parser.add_argument("--lengths", default="20000,200000")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--build", type=Path, help="folder to compile in, and to find what is compiled [default: a new one]")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--record", type=Path, help="CSV file to write")
    args = parser.parse_args()
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "{}.{}".format(*torch.cuda.get_device_capability()))
    Scan.extension = build(args.source.resolve(), args.build)
    if args.build_only:
        return
    norm, params = published_params()
    norm = norm.cuda()
    params = {side: {name: value.cuda() for name, value in of.items()} for side, of in params.items()}
    torch.backends.cuda.matmul.allow_tf32 = False
    check(norm, params)
    torch.backends.cuda.matmul.allow_tf32 = True
    leaves = list({id(t): t.requires_grad_(True) for of in params.values() for t in of.values()}.values())
    rows = []
    for length in map(int, args.lengths.split(",")):
        for batch in map(int, args.batches.split(",")):
            for dtype in (torch.float32, torch.bfloat16):
                x = torch.randn(batch, length, norm.shape[0], device="cuda", requires_grad=True)
                row = {"precision": str(dtype).removeprefix("torch."), "length": length, "batch": batch}
                try:
                    with torch.no_grad():
                        row["forward_ms"] = milliseconds(lambda: block(x, norm, params, dtype), args.runs)
                    both = lambda: torch.autograd.grad(block(x, norm, params, dtype).sum(), [x, *leaves])
                    row["both_ms"] = milliseconds(both, args.runs)
                    channels = x.new_empty(batch, 256, length).normal_().to(dtype)
                    narrow = x.new_empty(batch, 1, 16, length).normal_().to(dtype)
                    p = params["mamba_fwd"]
                    of_scan = [channels, channels, -torch.exp(p["A_log"].detach()), narrow, narrow, p["D"].detach(), channels]
                    of_scan += [p["dt_proj.bias"].detach()]
                    with torch.no_grad():
                        row["scan_forward_ms"] = milliseconds(lambda: Scan.apply(*of_scan), args.runs)
                    tracked = [value.clone().requires_grad_(True) for value in of_scan]
                    scan_both = lambda: torch.autograd.grad(Scan.apply(*tracked).sum(), tracked)
                    row["scan_both_ms"] = milliseconds(scan_both, args.runs)
                except torch.cuda.OutOfMemoryError:
                    torch.cuda.empty_cache()
                rows.append(row)
                print(row, flush=True)
    if args.record:
        args.record.parent.mkdir(parents=True, exist_ok=True)
        with args.record.open("w", newline="") as file:
            writer = csv.DictWriter(file, max(rows, key=len).keys())
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
