"""Examples of examples/k562_chr22 by pyfaidx, pyBigWig and cooler: what crates/dataset must give.

    pip install pyfaidx==0.9.2.2 pybigwig==0.3.29 cooler==0.11.0 numpy
    python oracle/dataset_expected.py

prints the rows of crates/dataset/tests/k562_chr22.rs. Windows of 20,000 bases, genes without
expression left out, split by the table's column, raw counts at 5 kb; the last rows are with the
cooler's `weight`.
"""
import csv
import math
import pathlib

import cooler
import numpy as np
import pyBigWig
import pyfaidx

HERE = pathlib.Path(__file__).resolve().parent.parent / "examples" / "k562_chr22"
LENGTH = 20_000
SYMBOLS = ["XKR3", "COMT", "PRODH", "HIC2", "FAM230B"]


def table(name):
    with open(HERE / name) as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


genes = {row["symbol"]: row for row in table("genes.tsv")}
tpm = {row["gene"]: row["tpm"] for row in table("expression.tsv")}
tpm = {gene: float(value) for gene, value in tpm.items() if value not in ("", "NA")}
mrna = {row["symbol"]: row for row in table("mrna_features.tsv")}
used = [symbol for symbol in genes if symbol in tpm]
print("used", len(used), "of", len(genes))
print("splits", {s: sum(genes[g]["split"] == s for g in used) for s in ("train", "valid", "test")})

# Features: lengths log10(x + 1), z-scored over the training genes that have a transcript.
training = [symbol for symbol in used if genes[symbol]["split"] == "train" and symbol in mrna]
LENGTHS = ["utr5_len", "cds_len", "intron_len", "utr3_len"]
RATIOS = [("utr5_gc", "utr5_len"), ("cds_gc", "cds_len"), ("utr3_gc", "utr3_len"),
          ("orf_junctions_per_kb", "cds_len")]
logs = {n: np.log10([int(mrna[g][n]) + 1 for g in training]) for n in LENGTHS}
ratio_mean = {
    n: np.mean([float(mrna[g][n]) for g in training if int(mrna[g][of]) > 0]) for n, of in RATIOS
}
print("training with mRNA", len(training))
print("means", [float(logs[n].mean()) for n in LENGTHS], [float(ratio_mean[n]) for n, _ in RATIOS])
print("sds", [float(logs[n].std()) for n in LENGTHS])


def features(symbol, activity):
    row = mrna.get(symbol)
    out = []
    for n in LENGTHS:
        z = 0.0 if row is None else (math.log10(int(row[n]) + 1) - logs[n].mean()) / logs[n].std()
        out.append(float(z))
    for n, of in RATIOS:
        known = row is not None and int(row[of]) > 0
        out.append(float(row[n]) if known else float(ratio_mean[n]))
    return out + [activity]


def p(d):
    g = 0.87
    return math.exp(-4.80 + 11.63 * g - g * math.log(max(d, 5000) + 1))


fasta = pyfaidx.Fasta(str(HERE / "genome.fa.gz"), sequence_always_upper=True)
bigwigs = {n: pyBigWig.open(str(HERE / f"{n}.bw")) for n in ("h3k27ac", "dnase")}
cool = cooler.Cooler(str(HERE / "hic.mcool") + "::/resolutions/5000")


def contact(tss, start, end, balance):
    """log10(x + 1) of each base."""
    bin_start = tss // 5000 * 5000
    first, last = start // 5000 * 5000, -(-end // 5000) * 5000
    matrix = cool.matrix(balance=balance).fetch(
        f"chr22:{bin_start}-{bin_start + 5000}", f"chr22:{first}-{last}"
    )[0]
    per_base = np.repeat(matrix.astype(float), 5000)[start - first: end - first]
    near = per_base[tss - 500 - start: tss + 500 - start]
    if np.nansum(near) < 0.01:
        return np.zeros(end - start)
    middle = np.arange(start, end) // 5000 * 5000 + 2500
    pseudo = np.array([min(p(abs(int(m) - tss)), p(1_000_000)) for m in middle])
    return np.nan_to_num(np.log10(per_base + pseudo + 1))


for symbol in SYMBOLS:
    gene = genes[symbol]
    tss = int(gene["tss"])
    start, end = tss - LENGTH // 2, tss + LENGTH // 2
    bases = str(fasta["chr22"][start:end])
    tracks = {n: np.nan_to_num(f.values("chr22", start, end, numpy=True).astype(float))
              for n, f in bigwigs.items()}
    near = [float(t[LENGTH // 2 - 500: LENGTH // 2 + 500].mean()) for t in tracks.values()]
    target = math.log10(tpm[symbol] + 1)
    print()
    print(symbol, gene["strand"], gene["split"], "line", 2 + list(genes).index(symbol))
    print("  tss", tss, "bases", [bases.count(b) for b in "ACGT"], bases[:12], bases[-8:])
    print("  h3k27ac sum", float(tracks["h3k27ac"].sum()), "at tss",
          float(tracks["h3k27ac"][LENGTH // 2]))
    print("  dnase sum", float(tracks["dnase"].sum()), "at tss",
          float(tracks["dnase"][LENGTH // 2]))
    for balance in (False, True):
        c = contact(tss, start, end, balance)
        print("  contact", "weight" if balance else "raw", "sum", float(c.sum()), "first",
              float(c[0]), "at tss", float(c[LENGTH // 2]), "last", float(c[-1]))
    print("  features", features(symbol, math.sqrt(near[0] * near[1])))
    print("  target", target)
