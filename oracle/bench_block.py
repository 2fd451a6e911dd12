"""Times a BiMamba block in PyTorch on the CPU beside `seq2exp bench block`, in one run on one machine.

Two implementations: `sequential`, the published form (two Mamba mixers that share in_proj and out_proj) with the
reference's loop over positions as scan, and `parallel`, the same with the parallel scan of the package mambapy.
Both are compared with the golden of the released code before anything is timed. Every repetition runs the programs
in turn, so a busy machine slows all of them.

    python -m venv VENV && VENV/bin/pip install torch mambapy numpy
    cargo build --release && VENV/bin/python oracle/bench_block.py --record benchmarks/record/MACHINE/DATE-torch.csv
"""

import argparse
import csv
import json
import os
import statistics
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "crates/kernels/tests/golden/bimamba_d16_L130.safetensors"


def read_safetensors(path):
    """The tensors of a file: a JSON header, then raw little-endian values."""
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    types = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + n]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + n + start : 8 + n + end], types[entry["dtype"]])
            tensors[name] = torch.tensor(values.reshape(entry["shape"]).copy())
    return tensors


def sequential(decay, inputs):
    """h_t = decay_t h_{t-1} + inputs_t, one position after the other; [batch, length, d_inner, d_state]."""
    h = torch.zeros_like(inputs[:, 0])
    states = []
    for t in range(inputs.shape[1]):
        h = decay[:, t] * h + inputs[:, t]
        states.append(h)
    return torch.stack(states, 1)


def parallel(decay, inputs):
    from mambapy.pscan import pscan  # absent where only the parameters are taken from here

    return pscan(decay, inputs)


def mixer(x, p, scan):
    """One Mamba mixer; `p` maps the released names to tensors."""
    d_inner, d_state = p["A_log"].shape
    dt_rank = p["dt_proj.weight"].shape[1]
    u, z = (x @ p["in_proj.weight"].T).chunk(2, -1)
    length = u.shape[1]
    u = F.conv1d(u.mT, p["conv1d.weight"], p["conv1d.bias"], padding=3, groups=d_inner)
    u = F.silu(u[..., :length]).mT
    dt, b, c = (u @ p["x_proj.weight"].T).split([dt_rank, d_state, d_state], -1)
    delta = F.softplus(F.linear(dt, p["dt_proj.weight"], p["dt_proj.bias"]))
    decay = torch.exp(delta.unsqueeze(-1) * -torch.exp(p["A_log"]))
    states = scan(decay, (delta * u).unsqueeze(-1) * b.unsqueeze(2))
    y = (states @ c.unsqueeze(-1)).squeeze(-1) + p["D"] * u
    return (y * F.silu(z)) @ p["out_proj.weight"].T


def bimamba(x, params, scan):
    forward = mixer(x, params["mamba_fwd"], scan)
    return forward + mixer(x.flip(1), params["mamba_rev"], scan).flip(1)


def block(x, norm, params, scan):
    h = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * norm
    return x + bimamba(h, params, scan)


SCANS = {"sequential": sequential, "parallel": parallel}


def check():
    golden = read_safetensors(GOLDEN)
    params = {"mamba_fwd": {}, "mamba_rev": {}}
    for name, tensor in golden.items():
        for direction in params:
            if name.startswith(f"w.{direction}."):
                params[direction][name.removeprefix(f"w.{direction}.")] = tensor
    for scan_name, scan in SCANS.items():
        out = bimamba(golden["x"], params, scan)
        error = (out - golden["f64.out"]).abs().max() / golden["f64.out"].abs().max()
        assert error < 2e-5, f"{scan_name}: error {error:.1e} against {GOLDEN.name}"


def published_params(d_model=128):
    d_inner, d_state, d_conv, dt_rank = 2 * d_model, 16, 4, d_model // 16
    generator = torch.Generator().manual_seed(2)

    def uniform(*shape, bound):
        return (2 * torch.rand(shape, generator=generator) - 1) * bound

    shared = {
        "in_proj.weight": uniform(2 * d_inner, d_model, bound=d_model**-0.5),
        "out_proj.weight": uniform(d_model, d_inner, bound=d_inner**-0.5 / 8),
    }
    params = {}
    for direction in ("mamba_fwd", "mamba_rev"):
        params[direction] = shared | {
            "conv1d.weight": uniform(d_inner, 1, d_conv, bound=0.5),
            "conv1d.bias": uniform(d_inner, bound=0.5),
            "x_proj.weight": uniform(dt_rank + 2 * d_state, d_inner, bound=d_inner**-0.5),
            "dt_proj.weight": uniform(d_inner, dt_rank, bound=dt_rank**-0.5),
            "dt_proj.bias": uniform(d_inner, bound=1.0) - 4.5,
            "A_log": torch.arange(1, d_state + 1).float().log().repeat(d_inner, 1),
            "D": torch.ones(d_inner),
        }
    return torch.ones(d_model), params


def seconds(body):
    start = time.perf_counter()
    body()
    return time.perf_counter() - start


def time_torch(scan, length, norm, params, training=True):
    x = torch.randn(1, length, norm.shape[0], generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        forward = seconds(lambda: block(x, norm, params, scan))
    if not training:
        return forward, None
    leaves = {id(t): t for direction in params.values() for t in direction.values()}
    for leaf in leaves.values():
        leaf.requires_grad_(True)
    tracked = x.clone().requires_grad_(True)
    both = seconds(lambda: block(tracked, norm, params, scan).sum().backward())
    for leaf in leaves.values():
        leaf.requires_grad_(False)
        leaf.grad = None
    return forward, both


def time_ours(program, length, threads):
    command = [program, "--threads", str(threads), "bench", "block", "--json", "--runs", "1"]
    output = subprocess.run([*command, "--length", str(length)], check=True, capture_output=True)
    row = json.loads(output.stdout)["lengths"][0]
    return row["forward"]["block"]["seconds"], row["both"]["block"]["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(ROOT / "target/release/seq2exp"))
    parser.add_argument("--lengths", default="2000,20000")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--sequential-training",
        type=int,
        default=2000,
        metavar="LENGTH",
        help="longest window whose training pass runs through the loop over positions: its time is quadratic in length",
    )
    parser.add_argument("--record", type=Path, help="CSV file to write")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    check()
    norm, params = published_params()
    rows = []
    for length in map(int, args.lengths.split(",")):
        runs = {name: [] for name in ["seq2exp", *SCANS]}
        # The first repetition of each is not timed: it fills caches and buffers. Ours does the same inside.
        for repetition in range(1 + args.runs):
            for name, scan in SCANS.items():
                training = name != "sequential" or length <= args.sequential_training
                times = time_torch(scan, length, norm, params, training)
                if repetition > 0:
                    runs[name].append(times)
            if repetition > 0:
                runs["seq2exp"].append(time_ours(args.program, length, args.threads))
        for name, of_name in runs.items():
            row = {"implementation": name, "length": length}
            for i, part in enumerate(("forward", "training")):
                if of_name[0][i] is None:
                    row |= {f"{part}_seconds": None, f"{part}_times_ours": None}
                    continue
                # Quotients within a repetition, then their median.
                quotients = [theirs[i] / ours[i] for theirs, ours in zip(of_name, runs["seq2exp"])]
                row[f"{part}_seconds"] = round(statistics.median(run[i] for run in of_name), 4)
                row[f"{part}_times_ours"] = round(statistics.median(quotients), 1)
            rows.append(row | {"runs": args.runs, "threads": args.threads, "torch": torch.__version__})
            print(rows[-1], flush=True)
    if args.record:
        args.record.parent.mkdir(parents=True, exist_ok=True)
        with args.record.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
