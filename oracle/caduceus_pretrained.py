"""Writes small pretrained-Caduceus weights in both published layouts, with what the published code computes from them.

    python oracle/caduceus_pretrained.py crates/model/tests/golden/caduceus_pretrained

`ps.safetensors` has the names of the Hugging Face models `caduceus-ps_*` (reverse-complement parameter sharing, fused
add and norm), `ph.safetensors` those of `caduceus-ph_*`; weights are random. `expected.safetensors` holds tokens and the
last hidden states. The blocks follow mamba_ssm's plain selective scan; what shares parameters follows
`RCPSMambaBlock` of kuleshov-group/caduceus with `fused_add_norm`: every block reads the other half of the channels,
flipped. Needs torch and safetensors.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

D_MODEL, N_LAYER, LENGTH, VOCABULARY = 8, 3, 13, 16
D_INNER, D_STATE, D_CONV, DT_RANK = 16, 4, 4, 1
# Tokens of A, C, G, T and N, and the complement of each of the 16.
BASES = [7, 8, 9, 10, 11]
COMPLEMENT = [0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11, 12, 13, 14, 15]


def mamba(x, w, name):
    """One direction, `[batch, length, d_model]`."""
    xz = x @ w[name + ".in_proj.weight"].T
    u, z = xz.transpose(1, 2).split(D_INNER, 1)
    u = F.conv1d(u, w[name + ".conv1d.weight"], w[name + ".conv1d.bias"], padding=D_CONV - 1, groups=D_INNER)
    u = F.silu(u[..., : x.shape[1]])
    dt, b, c = (u.transpose(1, 2) @ w[name + ".x_proj.weight"].T).split([DT_RANK, D_STATE, D_STATE], -1)
    dt = F.softplus(dt @ w[name + ".dt_proj.weight"].T + w[name + ".dt_proj.bias"])
    a = -w[name + ".A_log"].exp()
    h = torch.zeros(x.shape[0], D_INNER, D_STATE, dtype=x.dtype)
    ys = []
    for t in range(x.shape[1]):
        step = dt[:, t, :, None]
        h = (step * a).exp() * h + step * b[:, t, None] * u[:, :, t, None]
        ys.append((h * c[:, t, None]).sum(-1) + w[name + ".D"] * u[:, :, t])
    y = torch.stack(ys, 1) * F.silu(z.transpose(1, 2))
    return y @ w[name + ".out_proj.weight"].T


def mixer(x, w, name):
    return mamba(x, w, name + ".mamba_fwd") + mamba(x.flip(1), w, name + ".mamba_rev").flip(1)


def rms_norm(x, weight):
    return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight


def flip(x):
    return x.flip(-2, -1)


def last_hidden_ph(tokens, w):
    hidden, residual = w["caduceus.backbone.embeddings.word_embeddings.weight"][tokens], 0
    for i in range(N_LAYER):
        layer = f"caduceus.backbone.layers.{i}"
        residual = hidden + residual
        hidden = mixer(rms_norm(residual, w[layer + ".norm.weight"]), w, layer + ".mixer")
    return rms_norm(hidden + residual, w["caduceus.backbone.norm_f.weight"])


def last_hidden_ps(tokens, w):
    table = w["caduceus.backbone.embeddings.word_embeddings.embedding.weight"]
    reverse = torch.tensor(COMPLEMENT)[tokens.flip(-1)]
    hidden = torch.cat([table[tokens], flip(table[reverse])], -1)
    residual = torch.zeros_like(hidden)
    d = D_MODEL
    for i in range(N_LAYER):
        layer = f"caduceus.backbone.layers.{i}"
        weight = w[layer + ".norm.weight"]
        # The fused path: the first half of the next channels is made from the second half of these.
        residual_fwd = hidden[..., d:] + residual[..., d:]
        residual_rc = flip(hidden[..., :d]) + flip(residual[..., :d])
        hidden = torch.cat([rms_norm(residual_fwd, weight), flip(rms_norm(residual_rc, weight))], -1)
        residual = torch.cat([residual_fwd, flip(residual_rc)], -1)
        forward = mixer(hidden[..., :d], w, layer + ".mixer.submodule")
        backward = mixer(flip(hidden[..., d:]), w, layer + ".mixer.submodule")
        hidden = torch.cat([forward, flip(backward)], -1)
    weight = w["caduceus.backbone.norm_f.weight"]
    total = hidden + residual
    return torch.cat([rms_norm(total[..., :d], weight), flip(rms_norm(flip(total[..., d:]), weight))], -1)


def weights(parameter_sharing, generator):
    draw = lambda *shape, sd=0.3: sd * torch.randn(*shape, generator=generator, dtype=torch.float64)
    inner = ".mixer.submodule" if parameter_sharing else ".mixer"
    table = "word_embeddings.embedding.weight" if parameter_sharing else "word_embeddings.weight"
    w = {"caduceus.backbone.embeddings." + table: draw(VOCABULARY, D_MODEL, sd=1.0)}
    for i in range(N_LAYER):
        layer = f"caduceus.backbone.layers.{i}"
        w[layer + ".norm.weight"] = 1 + draw(D_MODEL)
        projections = {"in_proj": draw(2 * D_INNER, D_MODEL), "out_proj": draw(D_MODEL, D_INNER)}
        for direction in ("fwd", "rev"):
            name = f"{layer}{inner}.mamba_{direction}"
            for key, value in projections.items():
                w[f"{name}.{key}.weight"] = value
            w[name + ".conv1d.weight"] = draw(D_INNER, 1, D_CONV)
            w[name + ".conv1d.bias"] = draw(D_INNER)
            w[name + ".x_proj.weight"] = draw(DT_RANK + 2 * D_STATE, D_INNER)
            w[name + ".dt_proj.weight"] = draw(D_INNER, DT_RANK)
            w[name + ".dt_proj.bias"] = draw(D_INNER)
            w[name + ".A_log"] = draw(D_INNER, D_STATE)
            w[name + ".D"] = 1 + draw(D_INNER)
    w["caduceus.backbone.norm_f.weight"] = 1 + draw(D_MODEL)
    return {name: value.float().double() for name, value in w.items()}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(2)
    # Two sequences with an N, the second the reverse complement of the first.
    tokens = torch.tensor([BASES[i] for i in (0, 1, 1, 2, 3, 3, 4, 0, 2, 2, 1, 3, 0)])
    tokens = torch.stack([tokens, torch.tensor(COMPLEMENT)[tokens.flip(0)]])
    expected = {"tokens": tokens}
    for layout, last_hidden in (("ps", last_hidden_ps), ("ph", last_hidden_ph)):
        w = weights(layout == "ps", generator)
        expected[layout] = last_hidden(tokens, w)
        if layout == "ps":
            # Hugging Face saves the constant maps and the language model's head too.
            w["caduceus.backbone.embeddings.word_embeddings.complement_map"] = torch.tensor(COMPLEMENT)
            w["lm_head.complement_map"] = torch.tensor(COMPLEMENT)
            w["lm_head.lm_head.weight"] = w["caduceus.backbone.embeddings.word_embeddings.embedding.weight"].clone()
        else:
            w["lm_head.weight"] = w["caduceus.backbone.embeddings.word_embeddings.weight"].clone()
        # The second names of tied tensors are not saved.
        kept = {k: v for k, v in w.items() if not ("mamba_rev" in k and ("in_proj" in k or "out_proj" in k))}
        kept = {k: v.float().contiguous() if v.is_floating_point() else v for k, v in kept.items()}
        save_file(kept, folder / f"{layout}.safetensors")
    # Equivariance of the published layout: the other strand's states are these, both axes flipped.
    difference = (flip(expected["ps"][0]) - expected["ps"][1]).abs().max()
    print("equivariance", difference.item(), "plain", (flip(expected["ph"][0]) - expected["ph"][1]).abs().max().item())
    assert difference < 1e-12
    save_file({k: v.contiguous() for k, v in expected.items()}, folder / "expected.safetensors")


if __name__ == "__main__":
    main()
