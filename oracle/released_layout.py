"""Writes a miniature of the released GeneExp data set, and what its loader makes of it.

    python -m venv venv
    venv/bin/pip install h5py==3.16.0 pandas==3.1.1 pyBigWig==0.3.29 pyfaidx==0.9.2.2
    venv/bin/python oracle/released_layout.py

Run from the root of the repository. Folders, file names, columns, keys and types are those that the
released code reads (divelab/AIRS, OpenBio/Seq2Exp, `promo_enhan_inter.py` and `hic.py`); the content
is random. `expected.tsv` is computed here with pyfaidx, pyBigWig, h5py, pickle and pandas, never
with this project. The released code pads a Hi-C profile twice and then cuts its middle, which
shifts it near the ends of chromosomes; here profiles are cut by coordinate.
"""

import gzip
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyBigWig
import pyfaidx

ROOT = Path("crates/dataset/tests/golden/released")
PAIRS = ROOT / "promo_enhan_inter"
ABC = PAIRS / "K562_DNase_ENCFF257HEE_hic_4DNFITUOMFUQ_1MB_ABC_nominated"
CHROMS = {"chr1": 30_000, "chr3": 15_000, "chr22": 15_000}
H3K27AC = PAIRS / "H3K27ac/K562/ENCFF465GBD.bigWig"
DNASE = PAIRS / "DNase-seq/K562/ENCFF414OGC.bigWig"
EXPRESSION = PAIRS / "GM12878_K562_18377_gene_expr_fromXpresso.csv"
FOLDS = PAIRS / "leave_chrom_out_crossvalidation_split_18377genes.csv"
BIN = 5_000
STORED = 6_000  # bases of a stored Hi-C profile; 200,000 in the released files
LENGTH = 4_000  # bases of a window

# ENSID, gene name, chromosome, TSS, strand. Two share a name; one is near either end of a chromosome.
GENES = [
    ("ENSG00000000001", "AAA1", "chr1", 12_345, "+"),
    ("ENSG00000000002", "BBB2", "chr1", 700, "-"),
    ("ENSG00000000003", "CCC3", "chr3", 7_500, "+"),
    ("ENSG00000000004", "CCC3", "chr22", 5_001, "-"),
    ("ENSG00000000005", "EEE5", "chr22", 14_600, "+"),
]
IN_NO_FOLD = ("ENSG00000000009", "NONE9", "chrUn_1", 100, "+")
MRNA = [
    "UTR5LEN_log10zscore", "CDSLEN_log10zscore", "INTRONLEN_log10zscore", "UTR3LEN_log10zscore",
    "UTR5GC", "CDSGC", "UTR3GC", "ORFEXONDENSITY",
]  # fmt: skip


def write_genome(rng):
    path = ROOT / "hg38/hg38.ml.fa"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as out:
        for chrom, length in CHROMS.items():
            bases = "".join(rng.choice(list("ACGTN"), length, p=[0.28, 0.21, 0.21, 0.28, 0.02]))
            out.write(f">{chrom}\n" + "\n".join(bases[i : i + 100] for i in range(0, length, 100)) + "\n")
    pyfaidx.Fasta(str(path))
    (ROOT / "chr_length.json").write_text(json.dumps({"hg38": CHROMS}))


def write_bigwig(path, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    track = pyBigWig.open(str(path), "w")
    track.addHeader(list(CHROMS.items()))
    for chrom, length in CHROMS.items():
        edges = np.unique(rng.integers(0, length, 300))
        keep = rng.random(len(edges) - 1) < 0.7  # the rest has no data
        starts, ends = edges[:-1][keep], edges[1:][keep]
        values = rng.gamma(1.0, 2.0, len(starts)).astype(np.float32).astype(float)
        track.addEntries([chrom] * len(starts), starts.tolist(), ends=ends.tolist(), values=values.tolist())
    track.close()


def write_hic(rng):
    folder = PAIRS / "HiC/K562"
    folder.mkdir(parents=True, exist_ok=True)
    pseudocount = np.exp(-4.80 + 11.63 * 0.87 - 0.87 * np.log(1_000_000 + 1))
    for chrom, length in CHROMS.items():
        with h5py.File(folder / f"hic_feat_{chrom}.h5", "w") as out:
            for ensid, _, gene_chrom, tss, _ in GENES:
                if gene_chrom != chrom:
                    continue
                bins = rng.gamma(1.0, 20.0, length // BIN + 1) + pseudocount
                if ensid.endswith("3"):
                    bins[:] = np.nan  # no contact at the start site
                positions = np.arange(tss - STORED // 2, tss + STORED // 2)
                inside = (positions >= 0) & (positions < length)
                profile = np.where(inside, bins[np.clip(positions, 0, length - 1) // BIN], 0.0)
                out.create_dataset(f"{chrom}_{tss}", data=profile.tolist())


def write_tables(rng):
    folder = ABC / "DNase_ENCFF257HEE_Neighborhoods"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for ensid, _, chrom, tss, strand in GENES + [IN_NO_FOLD]:
        rows.append(
            {
                "chr": chrom, "start": tss, "end": tss + 50, "name": ensid, "score": 0, "strand": strand,
                "symbol": ensid, "tss": tss,
                "H3K27ac.RPM.TSS1Kb": rng.gamma(1.0, 3.0), "DHS.RPM.TSS1Kb": rng.gamma(1.0, 3.0),
                "is_ue": np.nan,
            }  # fmt: skip
        )
    pd.DataFrame(rows).to_csv(folder / "GeneList.txt", sep="\t", index=False)

    expression = pd.DataFrame(
        [
            {
                "ENSID": ensid, "Gene name": name, "Actual_K562": rng.normal(0, 1), "Actual_GM12878": rng.normal(0, 1),
                **dict(zip(MRNA, rng.normal(0.4, 0.3, 8))),
                "K562_CAGE_128*3_sum": rng.gamma(1.0, 100.0), "GM12878_CAGE_128*3_sum": rng.gamma(1.0, 100.0),
                "note": 'with, comma and "quotes"',
            }
            for ensid, name, *_ in GENES
        ]
    )  # fmt: skip
    expression.to_csv(EXPRESSION, index=False)

    scheme = [
        ("2 12", "1 11"), ("3 13", "2 12"), ("4 14", "3 13"), ("5 15", "4 14"), ("6 16", "5 15"), ("7 17", "6 16"),
        ("8 18", "7 17"), ("9 19", "8 18"), ("10 20", "9 19"), ("11 21", "10 20"), ("22 X", "3 21"), ("1", "2 22"),
    ]  # fmt: skip
    table = []
    for ensid, name, chrom, *_ in GENES:
        bare = chrom.removeprefix("chr")
        row = {"ENSID": ensid, "chrom": bare}
        for number, (test, valid) in enumerate(scheme, 1):
            row[f"fold_{number}"] = "test" if bare in test.split() else "valid" if bare in valid.split() else "train"
        table.append({**row, "fold_enformer": "train", "Gene name": name})
    pd.DataFrame(table).to_csv(FOLDS, index=False)

    links = ABC / "Gene_enhancer_links"
    links.mkdir(exist_ok=True)
    ensid, _, chrom, tss, _ = GENES[0]
    rows = [
        {
            "chr": chrom, "start": tss + offset, "end": tss + offset + 500, "name": f"element{offset}", "class": "intergenic",
            "activity_base": rng.gamma(1.0, 2.0), "TargetGene": ensid, "TargetGeneTSS": tss,
            "distance": abs(offset + 250), "hic_contact": contact, "ABC.Score": rng.random(),
        }
        for offset, contact in [(-9_000, 0.5), (3_000, np.nan), (800, 2.5)]
    ]  # fmt: skip
    with gzip.GzipFile(links / "EnhancerPredictionsAllPutative.txt.gz", "wb", mtime=0) as out:
        out.write(pd.DataFrame(rows).to_csv(sep="\t", index=False).encode())


def masks(regions):
    arrays = {chrom: np.zeros(length, dtype=bool) for chrom, length in CHROMS.items()}
    for chrom, start, end in regions:
        arrays[chrom][start:end] = True
    return arrays


BLOCKLIST = [("chr1", 0, 150), ("chr1", 11_900, 12_000), ("chr1", 29_990, 30_000), ("chr22", 6_100, 6_101)]


def write_masks():
    with open(ROOT / "hg38_blacklist_dict_v1.pkl", "wb") as out:
        pickle.dump(masks(BLOCKLIST), out)
    with open(ROOT / "hg38_includelist_dict.pkl", "wb") as out:
        pickle.dump(masks([("chr3", 7_250, 7_750)]), out)
    # Every protocol, for the reader's own test.
    for protocol in range(2, 6):
        with open(f"crates/genome/tests/golden/mask_protocol_{protocol}.pkl", "wb") as out:
            small = {"a": np.array([0, 1, 1, 0, 1], dtype=bool), "b": masks(BLOCKLIST)["chr1"][11_000:13_000]}
            pickle.dump(small, out, protocol=protocol)


def padded(values, start, end, length):
    values = np.nan_to_num(np.asarray(values, dtype=np.float32), nan=0.0)
    return np.concatenate([np.zeros(max(0, -start)), values, np.zeros(max(0, end - length))])


def expected_rows():
    genome = pyfaidx.Fasta(str(ROOT / "hg38/hg38.ml.fa"))
    tracks = [pyBigWig.open(str(path)) for path in (H3K27AC, DNASE)]
    genes = pd.read_csv(ABC / "DNase_ENCFF257HEE_Neighborhoods/GeneList.txt", sep="\t", index_col="symbol")
    expression = pd.read_csv(EXPRESSION, index_col="ENSID")
    folds = pd.read_csv(FOLDS, index_col="ENSID")
    with open(ROOT / "hg38_blacklist_dict_v1.pkl", "rb") as file:
        blocklist = pickle.load(file)
    position = np.arange(1, LENGTH + 1)
    for ensid in folds.index:
        chrom, tss = genes.loc[ensid, ["chr", "tss"]]
        length = len(genome[chrom])
        start, end = tss - LENGTH // 2, tss + LENGTH // 2
        low, high = max(0, start), min(length, end)
        sequence = "N" * max(0, -start) + genome[chrom][low:high].seq + "N" * max(0, end - length)
        columns = [padded(track.values(chrom, int(low), int(high)), start, end, length) for track in tracks]
        with h5py.File(PAIRS / f"HiC/K562/hic_feat_{chrom}.h5") as file:
            profile = np.nan_to_num(file[f"{chrom}_{tss}"][:], nan=0.0)
        middle = (STORED - LENGTH) // 2
        columns.append(np.log10(profile[middle : middle + LENGTH].astype(np.float32) + 1))
        blocked = padded(blocklist[chrom][low:high], start, end, length)
        activity = np.sqrt(genes.loc[ensid, "H3K27ac.RPM.TSS1Kb"] * genes.loc[ensid, "DHS.RPM.TSS1Kb"])
        features = [*expression.loc[ensid, MRNA], activity]
        yield [
            ensid,
            folds.loc[ensid, "fold_11"],
            "".join(sequence[i] for i in range(0, LENGTH, 97)),
            *(f"{(column * position).sum():.9g}" for column in columns),
            str(int((blocked * position).sum())),
            ",".join(f"{value:.9g}" for value in features),
            f"{np.log10(expression.loc[ensid, 'K562_CAGE_128*3_sum'] + 1):.9g}",
            f"{expression.loc[ensid, 'Actual_K562']:.9g}",
        ]


def main():
    rng = np.random.default_rng(11)
    write_genome(rng)
    write_bigwig(H3K27AC, rng)
    write_bigwig(DNASE, rng)
    write_hic(rng)
    write_tables(rng)
    write_masks()
    header = "ensid split every_97th_base h3k27ac dnase contact blocked features cage rna".split()
    lines = [
        "# oracle/released_layout.py; sums are of value * (offset + 1) over the window of 4,000 bases",
        "\t".join(header),
    ]
    lines += ["\t".join(row) for row in expected_rows()]
    (ROOT / "expected.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
