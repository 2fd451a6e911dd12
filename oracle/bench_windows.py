"""Times what `cargo bench -p genome --bench windows` times, with pyfaidx and pyBigWig.

    venv/bin/pip install pyfaidx==0.9.2.2 pyBigWig==0.3.29 numpy
    venv/bin/python oracle/bench_windows.py

Run from the root of the repository. Reads the bases and two tracks of the 200 kb around each of
the example's 75 TSSs, in the order of the table, and prints windows per second of the median of
a few rounds. The values are taken as NumPy arrays, the fastest form that pyBigWig offers.
"""

import csv
import statistics
import time
from pathlib import Path

import pyBigWig
import pyfaidx

EXAMPLE = Path("examples/k562_chr22")
HALF_LENGTH = 100_000
N_ROUNDS = 5


def main():
    with open(EXAMPLE / "genes.tsv") as table:
        rows = csv.DictReader(table, delimiter="\t")
        windows = [(row["chrom"], int(row["tss"]) - HALF_LENGTH, int(row["tss"]) + HALF_LENGTH) for row in rows]
    fasta = pyfaidx.Fasta(str(EXAMPLE / "genome.fa.gz"), as_raw=True, sequence_always_upper=False)
    tracks = [pyBigWig.open(str(EXAMPLE / name)) for name in ("h3k27ac.bw", "dnase.bw")]

    def sequence():
        for chrom, start, end in windows:
            assert len(fasta[chrom][start:end]) == end - start

    def values():
        for chrom, start, end in windows:
            for track in tracks:
                assert len(track.values(chrom, start, end, numpy=True)) == end - start

    def both():
        sequence()
        values()

    for name, work in [("sequence_and_tracks", both), ("sequence", sequence), ("tracks", values)]:
        seconds = []
        for _ in range(N_ROUNDS):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds)
        print(f"{name}\t{len(windows) / median:.1f} windows/s\t{1000 * median / len(windows):.3f} ms/window")


if __name__ == "__main__":
    main()
