"""Writes the PyTorch checkpoints of Prism and EPInformer that the import is tested on.

    python oracle/torch_files.py GOLDENS crates/model/tests/golden/torch_files

`prism.ckpt` is the golden case's weights in half precision inside a Lightning checkpoint; `epinformer.pt`
has the names and shapes of EPInformer's training script (`model_state_dict`), every tensor of one value: its number among
the names in order; `nested.pt` and `two_networks.pt` hold weights inside other dictionaries. Needs torch, safetensors.
"""

import pathlib
import sys

import torch
from safetensors.torch import load_file

source, target = map(pathlib.Path, sys.argv[1:])

weights = load_file(source / "prism/L1000_pert/weights.safetensors")
state = {f"model.{name}": value.half() if value.is_floating_point() else value for name, value in weights.items()}
rest = {"epoch": 3, "global_step": 17, "pytorch-lightning_version": "1.8.6", "optimizer_states": [{"state": {}}]}
torch.save({**rest, "state_dict": state, "hyper_parameters": {"d_model": 32}}, target / "prism.ckpt")

weights = load_file(source / "epinformer/n8_pert/weights.safetensors")
state = {}
for index, (name, value) in enumerate(sorted(weights.items())):
    if value.ndim:
        # One stored value, repeated by strides of 0.
        state[name] = torch.full((1,) * value.ndim, float(index)).expand(value.shape)
    else:
        state[name] = torch.tensor(index)
torch.save({"epoch": 5, "model_state_dict": state, "loss": 0.25}, target / "epinformer.pt")

# Weights inside another dictionary, beside an optimiser's; and those of two networks.
weights = {"a.weight": torch.tensor([1.0, 2.0]), "a.bias": torch.tensor([3.0])}
moments = {"state": {0: {"exp_avg": torch.zeros(2)}}}
torch.save({"model": {"state_dict": weights}, "optimizer": {"state_dict": moments}, "epoch": 5}, target / "nested.pt")
two = {name: {"state_dict": {key: value.clone() for key, value in weights.items()}} for name in ["one", "two"]}
torch.save(two, target / "two_networks.pt")
