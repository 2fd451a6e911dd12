"""Times the contact profiles of all genes of a chromosome, with this project and with hictkpy.

    venv/bin/pip install hictkpy==1.4.0 cooler==0.11.0 numpy pandas
    cargo build --release -p genome --example contact_profiles
    venv/bin/python oracle/bench_contacts.py [MAP RESOLUTION NORMALIZATION GENES]

Run from the root of the repository. Without arguments: the example's 75 genes from its .hic and
.mcool. A profile is the contact of the bin of the start site with the 200 kb around it. Both open
the map anew in every round and take turns; times are seconds of CPU of one round, the median of all.
"per gene" asks hictkpy for the two rectangles of each gene's row, "whole" reads each chromosome once
into a sparse matrix and cuts rows; the ratio is against the faster. Sums must agree.
"""

import os
import statistics
import subprocess
import sys
import time

import hictkpy
import numpy as np
import pandas as pd

BINARY = "target/release/examples/contact_profiles"
LENGTH = 200_000
N_ROUNDS = 5
N_INSIDE = 5  # rounds inside one process of ours, so that starting it does not count


def windows(genes, sizes):
    for row in genes.itertuples():
        if row.chrom in sizes:
            yield row.chrom, row.tss, max(0, row.tss - LENGTH // 2), min(sizes[row.chrom], row.tss + LENGTH // 2)


def per_gene(path, resolution, norm, genes):
    file = hictkpy.File(path, resolution)
    options = dict(normalization=norm, count_type="float", query_type="BED")
    total = 0.0
    for chrom, tss, start, end in windows(genes, file.chromosomes()):
        first = tss // resolution * resolution
        own = f"{chrom}\t{first}\t{first + 1}"
        if start < first:
            total += np.nansum(file.fetch(f"{chrom}\t{start}\t{first}", own, **options).to_numpy())
        total += np.nansum(file.fetch(own, f"{chrom}\t{first}\t{end}", **options).to_numpy())
    return total


def whole(path, resolution, norm, genes):
    file = hictkpy.File(path, resolution)
    total = 0.0
    matrices = {}
    for chrom, tss, start, end in windows(genes, file.chromosomes()):
        if chrom not in matrices:
            upper = file.fetch(chrom, normalization=norm, count_type="float").to_csr()
            matrices = {chrom: (upper, upper.tocsc())}
        upper, columns = matrices[chrom]
        bin, low, high = tss // resolution, start // resolution, -(-end // resolution)
        # The query is symmetric only when asked as such: the row holds bins after, the column before.
        right = upper[[bin], max(low, bin) : high]
        left = columns[low:bin, [bin]]
        total += np.nansum(right.data) + np.nansum(left.data)
    return total


def ours(path, resolution, norm, genes_path):
    command = [BINARY, path, str(resolution), norm.lower(), genes_path, str(LENGTH), str(N_INSIDE)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return float(text.split("\t")[1]), (usage.ru_utime + usage.ru_stime) / N_INSIDE


def timed(work, *arguments):
    start = time.process_time()
    total = work(*arguments)
    return total, time.process_time() - start


def compare(path, resolution, norm, genes_path):
    genes = pd.read_csv(genes_path, sep="\t")
    times = {"ours": [], "per gene": [], "whole": []}
    for _ in range(N_ROUNDS):
        total, seconds = ours(path, resolution, norm, genes_path)
        times["ours"].append(seconds)
        for name, work in (("per gene", per_gene), ("whole", whole)):
            expected, seconds = timed(work, path, resolution, norm, genes)
            assert abs(total - expected) <= 1e-5 * abs(expected), (name, total, expected)
            times[name].append(seconds)
    median = {name: statistics.median(values) for name, values in times.items()}
    best = min(median["per gene"], median["whole"])
    print(
        f"{path} {resolution} {norm}: ours {median['ours'] * 1e3:.1f} ms, hictkpy per gene "
        f"{median['per gene'] * 1e3:.1f} ms, whole {median['whole'] * 1e3:.1f} ms: {best / median['ours']:.1f} times as fast"
    )


def main():
    if len(sys.argv) == 5:
        compare(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
        return
    example = "examples/k562_chr22"
    for name, norm in (("hic.hic", "NONE"), ("hic.mcool", "NONE"), ("hic.mcool", "weight")):
        compare(f"{example}/{name}", 5_000, norm, f"{example}/genes.tsv")


if __name__ == "__main__":
    main()
