"""Times what `cargo run --release -p genome --example window_rate` times, with pyfaidx and pyBigWig.

    venv/bin/pip install pyfaidx==0.9.2.2 pyBigWig==0.3.29 numpy
    venv/bin/python oracle/bench_windows.py

Run from the root of the repository. Reads the bases and two tracks of the 200 kb around each of
the example's 75 TSSs, in the order of the table, and prints windows per second of the median of
a few rounds, in seconds of CPU time, so that other work on the machine counts less. "numpy" asks
both libraries for their fastest form, "default" calls them without options as their
documentation does (a list of Python floats).
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
    tracks = [pyBigWig.open(str(EXAMPLE / name)) for name in ("h3k27ac.bw", "dnase.bw")]

    def sequence(fasta, text):
        for chrom, start, end in windows:
            assert len(text(fasta[chrom][start:end])) == end - start

    def values(**options):
        for chrom, start, end in windows:
            for track in tracks:
                assert len(track.values(chrom, start, end, **options)) == end - start

    path = str(EXAMPLE / "genome.fa.gz")
    raw = pyfaidx.Fasta(path, as_raw=True)
    objects = pyfaidx.Fasta(path)
    cases = [
        ("numpy", lambda: sequence(raw, str), lambda: values(numpy=True)),
        ("default", lambda: sequence(objects, lambda part: part.seq), values),
    ]
    for form, read_sequence, read_tracks in cases:
        parts = [
            ("sequence", [read_sequence]),
            ("tracks", [read_tracks]),
            ("sequence_and_tracks", [read_sequence, read_tracks]),
        ]
        for name, steps in parts:
            seconds = []
            for _ in range(N_ROUNDS):
                start = time.process_time()
                for step in steps:
                    step()
                seconds.append(time.process_time() - start)
            median = statistics.median(seconds)
            rate, cost = len(windows) / median, 1000 * median / len(windows)
            print(f"{form}\t{name}\t{rate:.0f} windows/s\t{cost:.3f} ms/window")


if __name__ == "__main__":
    main()
