"""Compares our readers with pyBigWig, deepTools and plain Python on files too large to commit.

    python -m venv venv
    venv/bin/pip install pysam==0.24.1 pyBigWig==0.3.29 deeptools==3.5.6 numpy
    cargo build --release -p genome --example track_memory
    venv/bin/python oracle/source_differential.py FOLDER [BIGWIG]

Run from the root of the repository. FOLDER takes the files. Without BIGWIG: a bedGraph, plain and
gzip, whose values Python keeps in an array; a BAM and a CRAM of a million reads against
bamCoverage; the bigWigs that we wrote from them against pyBigWig. With BIGWIG, a file that
`track_memory write` wrote: the same windows by pyBigWig. Prints one line a comparison and ends
with status 1 when one fails.
"""

import gzip
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyBigWig
import pysam

OURS = Path("target/release/examples/track_memory")
SIZES = {"chr1": 4_000_000, "chr2": 1_500_000, "HLA-A*01:01": 1}


def ours(track, genome, regions):
    command = [OURS, "read", track, genome, *regions]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    return [(int(row[1]), float(row[2]), float(row[3])) for row in rows[:-1]], rows[-1][1]


def digest(values):
    values = np.asarray(values, dtype=np.float32).astype(np.float64)
    there = ~np.isnan(values)
    offsets = np.arange(1, len(values) + 1)
    return (
        int(there.sum()),
        float(values[there].sum()),
        float((values[there] * offsets[there]).sum()),
    )


def windows(rng, sizes, n_windows):
    for _ in range(n_windows):
        chrom = rng.choice([name for name, length in sizes.items() if length > 1])
        length = min(sizes[chrom], 200_000)
        start = rng.choice([0, sizes[chrom] - length, rng.randrange(sizes[chrom] - length + 1)])
        yield chrom, start, start + length


def compare(name, found, expected, rtol):
    worst = 0.0
    for ours_row, expected_row in zip(found, expected, strict=True):
        if ours_row[0] != expected_row[0]:
            worst = float("inf")
        for a, b in zip(ours_row[1:], expected_row[1:]):
            worst = max(worst, abs(a - b) / max(abs(b), 1e-300) if a != b else 0.0)
    verdict = "same" if worst <= rtol else "DIFFERENT"
    print(f"{name}: {len(found)} windows, worst relative difference {worst:.2g}: {verdict}")
    return worst <= rtol


def bed_graph(rng, folder):
    values = {name: np.full(length, np.nan, np.float32) for name, length in SIZES.items()}
    lines = ["track type=bedGraph\n"]
    for name, length in SIZES.items():
        start = 0
        while start < length:
            start += rng.choice([0, 0, 3, 50])
            end = start + rng.choice([1, 1, 5, 200])
            if end > length:
                break
            value = np.float32(rng.choice([0.0, 1.0, rng.gauss(0, 9), 1e-30, 3e30]))
            values[name][start:end] = value
            lines.append(f"{name}\t{start}\t{end}\t{value!s}\n")
            start = end
    text = "".join(lines)
    (folder / "a.bedGraph").write_text(text)
    with gzip.open(folder / "b.bedGraph.gz", "wt") as out:
        out.write(text)
    return values


def reads(rng, folder):
    genome = folder / "genome.fa"
    bases = {name: "".join(rng.choices("ACGT", k=length)) for name, length in SIZES.items()}
    with open(genome, "w") as out:
        for name, letters in bases.items():
            out.write(f">{name}\n{letters}\n")
    pysam.faidx(str(genome))
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": name, "LN": length} for name, length in SIZES.items()],
    }
    header = pysam.AlignmentHeader.from_dict(header)
    places = sorted((rng.choice([0, 0, 1]), rng.random()) for _ in range(1_000_000))
    names = list(SIZES)
    with (
        pysam.AlignmentFile(folder / "r.bam", "wb", header=header) as bam,
        pysam.AlignmentFile(
            folder / "r.cram", "wc", header=header, reference_filename=str(genome)
        ) as cram,
    ):
        for number, (tid, where) in enumerate(places):
            name = names[tid]
            read = pysam.AlignedSegment(header)
            start = int(where * (SIZES[name] - 60))
            read.query_name, read.reference_id, read.reference_start = f"r{number}", tid, start
            read.cigartuples = [(0, 36)]
            read.query_sequence = bases[name][start : start + 36]
            read.mapping_quality = rng.choice([0, 20, 60])
            read.flag = rng.choice([0, 16, 0, 16, 1024, 256, 2048, 512])
            bam.write(read)
            cram.write(read)
    pysam.index(str(folder / "r.bam"))
    return genome


def main():
    folder = Path(sys.argv[1])
    rng = random.Random(5)
    sizes_file = folder / "chrom.sizes"
    is_same = []
    if len(sys.argv) > 2:
        track = pyBigWig.open(sys.argv[2])
        chosen = list(windows(rng, track.chroms(), 40))
        regions = [f"{chrom}:{start + 1}-{end}" for chrom, start, end in chosen]
        found, peak = ours(sys.argv[2], sizes_file, regions)
        expected = [digest(track.values(*window, numpy=True)) for window in chosen]
        # The sums are added in another order: 200,000 roundings of double precision.
        is_same.append(compare(f"{sys.argv[2]} (peak memory {peak} MiB)", found, expected, 1e-12))
        sys.exit(0 if all(is_same) else 1)

    sizes_file.write_text("".join(f"{name}\t{length}\n" for name, length in SIZES.items()))
    chosen = list(windows(rng, SIZES, 40)) + [("HLA-A*01:01", 0, 1)]
    regions = [f"{chrom}:{start + 1}-{end}" for chrom, start, end in chosen]
    values = bed_graph(rng, folder)
    expected = [digest(values[chrom][start:end]) for chrom, start, end in chosen]
    for name in ("a.bedGraph", "b.bedGraph.gz"):
        found, peak = ours(folder / name, sizes_file, regions)
        is_same.append(compare(f"{name} (peak memory {peak} MiB)", found, expected, 1e-12))
    [written] = folder.glob("a.bedGraph.*.bw")
    track = pyBigWig.open(str(written))
    through = [digest(track.values(*window, numpy=True)) for window in chosen]
    is_same.append(compare("our bigWig of a.bedGraph, read by pyBigWig", through, expected, 1e-12))
    print(f"  {track.header()['nLevels']} zoom levels, {len(track.chroms())} chromosomes")

    genome = reads(rng, folder)
    by_deeptools = folder / "deeptools.bw"
    command = [
        Path(sys.executable).with_name("bamCoverage"),
        *("-b", folder / "r.bam", "-o", by_deeptools, "--binSize", "1"),
        *("--normalizeUsing", "CPM", "--exactScaling", "--samFlagExclude", "3844"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    track = pyBigWig.open(str(by_deeptools))
    expected = [digest(track.values(*window, numpy=True)) for window in chosen]
    for name in ("r.bam", "r.cram"):
        found, peak = ours(folder / name, genome, regions)
        # bamCoverage writes six significant digits.
        is_same.append(compare(f"{name} (peak memory {peak} MiB)", found, expected, 5.1e-6))
    sys.exit(0 if all(is_same) else 1)


if __name__ == "__main__":
    main()
