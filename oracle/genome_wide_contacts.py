"""Makes genome-wide .mcool files of several sizes and shows that reading them takes the same memory.

    venv/bin/pip install cooler==0.11.0 numpy pandas
    cargo build --release -p genome --example contact_profiles
    venv/bin/python oracle/genome_wide_contacts.py FOLDER [N_GENES]

Run from the root of the repository. Writes maps_<n>.mcool with n contacts a bin of 5 kb on the 23
chromosomes of hg38, and genes.tsv, into FOLDER (about 1.2 GB), then reads the profile of every gene
and prints size, peak memory (resident set, as the system counts it) and seconds of CPU. The contacts
are random. The files serve `oracle/bench_contacts.py` as well.
"""

import os
import subprocess
import sys
from pathlib import Path

import cooler
import numpy as np
import pandas as pd

BINARY = "target/release/examples/contact_profiles"
RESOLUTION = 5_000
PER_BIN = [4, 16, 64]
# UCSC, hg38.chrom.sizes
SIZES = dict(
    zip(
        [f"chr{n}" for n in [*range(1, 23), "X"]],
        [
            248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717,
            133797422, 135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616,
            64444167, 46709983, 50818468, 156040895,
        ],
    )
)  # fmt: skip


def bins(rng):
    frames = []
    for chrom, length in SIZES.items():
        starts = np.arange(0, length, RESOLUTION)
        frames.append(pd.DataFrame({"chrom": chrom, "start": starts, "end": np.minimum(starts + RESOLUTION, length)}))
    table = pd.concat(frames, ignore_index=True)
    table["weight"] = rng.uniform(0.2, 3.0, len(table))
    return table


def pixels(rng, n_per_bin):
    """One chromosome after the other: every bin with the n bins from it on."""
    first = 0
    for length in SIZES.values():
        n_bins = -(-length // RESOLUTION)
        rows = np.repeat(np.arange(n_bins), n_per_bin)
        columns = rows + np.tile(np.arange(n_per_bin), n_bins)
        keep = columns < n_bins
        counts = rng.integers(1, 50, keep.sum())
        yield pd.DataFrame({"bin1_id": rows[keep] + first, "bin2_id": columns[keep] + first, "count": counts})
        first += n_bins


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    n_genes = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    rng = np.random.default_rng(5)
    chroms = rng.choice(list(SIZES), n_genes, p=np.array(list(SIZES.values())) / sum(SIZES.values()))
    genes = pd.DataFrame({"symbol": [f"G{n}" for n in range(n_genes)], "chrom": chroms})
    genes["tss"] = [int(rng.integers(200_000, SIZES[chrom] - 200_000)) for chrom in chroms]
    genes["strand"] = "+"
    genes.to_csv(folder / "genes.tsv", sep="\t", index=False)
    table = bins(rng)
    for n_per_bin in PER_BIN:
        path = folder / f"map_{n_per_bin}.mcool"
        if not path.exists():
            cooler.create_cooler(
                f"{path}::resolutions/{RESOLUTION}", table, pixels(rng, n_per_bin), ordered=True, dtypes={"count": "int32"}
            )
        command = [BINARY, str(path), str(RESOLUTION), "weight", str(folder / "genes.tsv"), "200000", "1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        print(
            f"{path.name}: {path.stat().st_size / 1e6:.0f} MB, {n_genes} profiles, peak {usage.ru_maxrss / 1024:.0f} MiB, "
            f"{usage.ru_utime + usage.ru_stime:.1f} s of CPU"
        )


if __name__ == "__main__":
    main()
