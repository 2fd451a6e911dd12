"""Copies the golden vectors that the tests of crates/model need from a folder of all of them.

    python oracle/model_goldens.py GOLDENS crates/model/tests/golden

What is left out to keep the repository small: residual streams of Prism's blocks, which are those of Caduceus and are
compared there; the second names of Enformer's weights and its heads for other data. Needs numpy and safetensors.
"""

import pathlib
import shutil
import sys

from safetensors import numpy as safetensors

WHOLE = ["mamba/L1000_pert", "hyena/L1000_pert"]
LEFT_OUT = {
    "prism/L1000_pert": ("layer.",),
    "enformer_tiny/pert": ("enformer._trunk.", "enformer._heads."),
}


def copy(source: pathlib.Path, target: pathlib.Path, left_out: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.suffix != ".safetensors" or not left_out:
            shutil.copyfile(path, target / path.name)
            continue
        tensors = safetensors.load_file(path)
        kept = {name: value for name, value in tensors.items() if not name.startswith(left_out)}
        safetensors.save_file(kept, target / path.name)


def main() -> None:
    source, target = map(pathlib.Path, sys.argv[1:])
    for case in WHOLE:
        copy(source / case, target / case, ())
    for case, left_out in LEFT_OUT.items():
        copy(source / case, target / case, left_out)


if __name__ == "__main__":
    main()
