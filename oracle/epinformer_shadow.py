"""Copies the EPInformer golden vectors and adds how far their gradients are from those in double precision.

    python oracle/epinformer_shadow.py GOLDENS/epinformer/n8_pert crates/model/tests/golden/epinformer/n8_pert

An independent EPInformer in PyTorch on the recorded weights and inputs, differentiated in float64. `f32_relerr.NAME` is
the norm of the difference of `grad.NAME` over the norm of the exact gradient; gradients that are exactly 0 (biases before
a batch normalisation by the batch's own statistics) have none. Needs torch, numpy, safetensors.
"""

import pathlib
import shutil
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
inputs = load_file(source / "inputs.safetensors")
stored = load_file(source / "weights.safetensors")


def norm(x, w, name, train):
    if train:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    else:
        mean, var = w[name + ".running_mean"], w[name + ".running_var"]
    shape = (1, -1, 1, 1)
    x = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
    return x * w[name + ".weight"].view(shape) + w[name + ".bias"].view(shape)


def predict(w, train):
    bases = inputs["pe_code"].double()
    x = F.pad(bases.permute(0, 3, 1, 2), (3, 4))
    x = F.elu(F.conv2d(x, w["seq_encoder.stem_conv.0.weight"], w["seq_encoder.stem_conv.0.bias"]))
    for i in range(0, 8, 2):
        name = f"seq_encoder.conv_tower.{i}"
        x = F.conv2d(x, w[name + ".0.weight"], w[name + ".0.bias"], padding=(0, 1))
        x = F.max_pool2d(F.elu(norm(x, w, name + ".1", train)), (1, 2))
        name = f"seq_encoder.conv_tower.{i + 1}"
        x = F.elu(F.conv2d(x, w[name + ".0.weight"], w[name + ".0.bias"])) + x
    for i, dilation in enumerate((2, 4, 6, 1)):
        x = F.conv2d(x, w[f"conv_out.{3 * i}.weight"], w[f"conv_out.{3 * i}.bias"], dilation=(1, dilation))
        x = F.elu(norm(x, w, f"conv_out.{3 * i + 1}", train))
    x = F.elu(x @ w["conv_out.12.weight"].T + w["conv_out.12.bias"])
    x = x.permute(0, 2, 1, 3).flatten(2)
    x = torch.cat([x, inputs["pe_feat"].double()], -1)
    for i in (0, 2):
        x = F.relu(x @ w[f"add_pos_conv.{i}.weight"][:, :, 0].T + w[f"add_pos_conv.{i}.bias"])
    batch, n, width = x.shape
    is_padding = bases.sum((2, 3)) == 0
    hidden = ~torch.eye(n, dtype=torch.bool)
    hidden[0, :] = hidden[:, 0] = False
    hidden = hidden[None, None] | is_padding[:, None, None, :]
    for i in range(3):
        name = f"attn_encoder.{i}"
        layer = lambda x, k: F.layer_norm(x, (width,), w[f"{name}.{k}.weight"], w[f"{name}.{k}.bias"])
        qkv = layer(x, "norm1") @ w[name + ".self_attn.in_proj_weight"].T + w[name + ".self_attn.in_proj_bias"]
        q, k, v = (part.view(batch, n, 4, -1).transpose(1, 2) for part in qkv.split(width, -1))
        logits = (q @ k.transpose(2, 3) / (width // 4) ** 0.5).masked_fill(hidden, float("-inf"))
        mixed = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = mixed @ w[name + ".self_attn.out_proj.weight"].T + w[name + ".self_attn.out_proj.bias"] + x
        y = F.relu(layer(x, "norm2") @ w[name + ".ff.0.weight"].T + w[name + ".ff.0.bias"])
        x = x + y @ w[name + ".ff.2.weight"].T + w[name + ".ff.2.bias"]
    y = torch.cat([x[:, 0], inputs["rna_feat"].double()], -1)
    for i in (0, 2):
        y = F.relu(y @ w[f"pToExpr.{i}.weight"].T + w[f"pToExpr.{i}.bias"])
    return y @ w["pToExpr.4.weight"].T + w["pToExpr.4.bias"]


for file, train in (("evalgrad.safetensors", False), ("train.safetensors", True)):
    recorded = load_file(source / file)
    w = {name: value.double().requires_grad_("running" not in name) for name, value in stored.items() if value.ndim}
    prediction = predict(w, train)
    loss = F.smooth_l1_loss(prediction, inputs["target"].double())
    loss.backward()
    print(file, "prediction off by", (prediction - recorded["pred"]).abs().max().item())
    for name in [name for name in recorded if name.startswith("grad.")]:
        exact = w[name.removeprefix("grad.")].grad
        largest = max(value.norm() for key, value in recorded.items() if key.startswith("grad."))
        if exact.norm() > 1e-9 * largest:
            error = (recorded[name] - exact).norm() / exact.norm()
            recorded["f32_relerr." + name.removeprefix("grad.")] = error.float()
            print(f"  {name} {error:.2e}")
        else:
            print(f"  {name} is 0, recorded {recorded[name].norm() / largest:.2e} of the largest")
    save_file(recorded, target / file)
for file in ("config.json", "inputs.safetensors", "weights.safetensors", "eval.safetensors"):
    shutil.copyfile(source / file, target / file)
