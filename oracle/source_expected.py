"""Writes the fixtures and expected values of the readers of 2bit, aligned reads and variants.

    python -m venv venv
    venv/bin/pip install pysam==0.24.1 py2bit==1.0.1 pyBigWig==0.3.29 deeptools==3.5.6
    venv/bin/python oracle/source_expected.py

Run from the root of the repository. Fixtures are made of random numbers from a fixed seed; the
expected values are what py2bit, deepTools' bamCoverage and pysam read, never what this project
reads. `source_differential.py` compares larger files without committing them.
"""

import random
import struct
import subprocess
import sys
from pathlib import Path

import py2bit
import pyBigWig
import pysam

GOLDEN = Path("crates/genome/tests/golden/sources")
SIZES = {"chr1": 3_000, "chr2": 700, "HLA-A*01:01": 1, "chrNone": 40}
# SAM flags that are never counted: unmapped, secondary, QC-fail, duplicate, supplementary.
LEFT_OUT = 3844


def sequences(rng):
    """Random bases with runs of N and of lower case, per chromosome."""
    bases = {}
    for name, length in SIZES.items():
        letters = [rng.choice("ACGT") for _ in range(length)]
        for letter, n_runs in (("N", length // 300), (None, length // 100)):
            for _ in range(n_runs):
                start = rng.randrange(length)
                for at in range(start, min(length, start + rng.randrange(1, 60))):
                    letters[at] = letter or letters[at].lower()
        bases[name] = "".join(letters)
    return bases


def write_fasta(path, bases):
    with open(path, "w") as out:
        for name, letters in bases.items():
            out.write(f">{name}\n")
            for start in range(0, len(letters), 60):
                out.write(letters[start : start + 60] + "\n")
    pysam.faidx(str(path))


def runs(letters, is_in):
    found, start = [], None
    for at, letter in enumerate(letters + "."):
        if is_in(letter) and start is None:
            start = at
        elif not is_in(letter) and start is not None:
            found.append((start, at - start))
            start = None
    return found


def write_two_bit(path, bases):
    """UCSC's format description, version 0, little endian."""
    index, records = b"", b""
    offset = 16 + sum(5 + len(name) for name in bases)
    for name, letters in bases.items():
        record = struct.pack("<I", len(letters))
        for is_in in (lambda letter: letter in "Nn", str.islower):
            found = runs(letters, is_in)
            record += struct.pack("<I", len(found))
            record += b"".join(struct.pack("<I", start) for start, _ in found)
            record += b"".join(struct.pack("<I", length) for _, length in found)
        record += struct.pack("<I", 0)
        codes = ["TCAG".find(letter.upper()) for letter in letters]
        codes = [max(code, 0) for code in codes] + [0] * (-len(codes) % 4)
        for at in range(0, len(codes), 4):
            a, b, c, d = codes[at : at + 4]
            record += bytes([a << 6 | b << 4 | c << 2 | d])
        index += bytes([len(name)]) + name.encode() + struct.pack("<I", offset + len(records))
        records += record
    path.write_bytes(struct.pack("<IIII", 0x1A412743, 0, len(bases), 0) + index + records)


def write_two_bit_expected(rng, path):
    file = py2bit.open(str(GOLDEN / "small.2bit"), True)
    with open(path, "w") as out:
        out.write("# py2bit 1.0.1, storeMasked; oracle/source_expected.py\nchrom\tstart\tend\tbases\n")
        for name, length in SIZES.items():
            windows = [(0, length), (0, 1), (length - 1, length)]
            for _ in range(8):
                start = rng.randrange(length)
                windows.append((start, rng.randrange(start, min(length, start + 90)) + 1))
            for start, end in windows:
                out.write(f"{name}\t{start}\t{end}\t{file.sequence(name, start, end)}\n")


def cigar_of(rng, n_bases):
    """A CIGAR over `n_bases` read bases: clips, an insertion, a deletion or an intron."""
    kind = rng.randrange(6)
    if kind == 0:
        return [(4, 3), (0, n_bases - 3)]
    if kind == 1:
        return [(0, 10), (2, rng.randrange(1, 9)), (0, n_bases - 10)]
    if kind == 2:
        return [(0, 8), (3, rng.randrange(20, 300)), (0, n_bases - 8)]
    if kind == 3:
        return [(0, 12), (1, 2), (0, n_bases - 14)]
    if kind == 4:
        return [(7, 9), (8, 1), (7, n_bases - 10)]
    return [(0, n_bases)]


def write_reads(rng, bases):
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": name, "LN": length} for name, length in SIZES.items()],
    }
    header = pysam.AlignmentHeader.from_dict(header)
    reads = []
    for number in range(400):
        tid = 0 if rng.random() < 0.8 else 1
        read = pysam.AlignedSegment(header)
        read.query_name = f"r{number}"
        n_bases = rng.randrange(20, 50)
        read.cigartuples = cigar_of(rng, n_bases)
        span = sum(n for op, n in read.cigartuples if op in (0, 2, 3, 7, 8))
        length = list(SIZES.values())[tid]
        read.reference_id = tid
        read.reference_start = rng.randrange(length - span + 1)
        read.mapping_quality = rng.choice([0, 5, 20, 30, 60, 255])
        read.flag = rng.choice([0, 0, 0, 0, 16, 16, 16, 256, 512, 1024, 2048, 16 + 1024])
        read.query_sequence = "".join(rng.choice("ACGT") for _ in range(n_bases))
        read.query_qualities = pysam.qualitystring_to_array("I" * n_bases)
        reads.append(read)
    one = pysam.AlignedSegment(header)
    one.query_name, one.query_sequence, one.cigartuples = "one", "A", [(0, 1)]
    one.reference_id, one.reference_start, one.mapping_quality, one.flag = 2, 0, 60, 0
    reads.append(one)
    reads.sort(key=lambda read: (read.reference_id, read.reference_start))
    for number in range(3):
        read = pysam.AlignedSegment(header)
        read.query_name, read.query_sequence, read.flag = f"u{number}", "ACGT", 4
        reads.append(read)
    with pysam.AlignmentFile(GOLDEN / "reads.bam", "wb", header=header) as out:
        for read in reads:
            out.write(read)
    reference = str(GOLDEN / "genome.fa")
    with pysam.AlignmentFile(
        GOLDEN / "reads.cram", "wc", header=header, reference_filename=reference
    ) as out:
        for read in reads:
            out.write(read)


def write_coverage_expected(path):
    """The runs of bamCoverage's bigWig for each setting; zeros included."""
    settings = {
        "q0": [],
        "q20": ["--minMappingQuality", "20"],
        "q0-5prime": ["--Offset", "1"],
    }
    bam = GOLDEN / "reads.bam"
    pysam.index(str(bam))
    with open(path, "w") as out:
        out.write(
            "# deepTools 3.5.6: bamCoverage --binSize 1 --normalizeUsing CPM --exactScaling "
            f"--samFlagExclude {LEFT_OUT}; oracle/source_expected.py\n"
            "setting\tchrom\tstart\tend\tvalue\n"
        )
        for name, options in settings.items():
            track = Path("coverage.tmp.bw")
            command = [
                Path(sys.executable).with_name("bamCoverage"),
                *("-b", bam, "-o", track, "--binSize", "1", "--normalizeUsing", "CPM"),
                *("--exactScaling", "--samFlagExclude", str(LEFT_OUT), *options),
            ]
            subprocess.run(command, check=True)
            file = pyBigWig.open(str(track))
            for chrom in SIZES:
                for start, end, value in file.intervals(chrom) or []:
                    out.write(f"{name}\t{chrom}\t{start}\t{end}\t{value!r}\n")
            track.unlink()
    Path(f"{bam}.bai").unlink()


def write_variants(rng, bases):
    """Records of every kind, plain, bgzip and BCF; and what pysam reads of each file."""
    records = []
    for number in range(60):
        chrom = rng.choice(["chr1", "chr2"])
        start = rng.randrange(SIZES[chrom] - 5)
        reference = bases[chrom][start : start + rng.choice([1, 1, 1, 3])].upper()
        alternates = rng.choice(
            [["C"], ["T", "GA"], ["<DEL>"], ["*", "A"], ["ACGTACGTACGTACGTACGT"], ["A]chr2:7]"], None]
        )
        if rng.random() < 0.1:
            reference = "A" * len(reference)
        ident = rng.choice([None, f"rs{number}", f"rs{number};x"])
        records.append((chrom, start, ident, reference, alternates))
    records.append(("chr1", 0, None, bases["chr1"][0].upper(), ["G"]))
    records.append(("HLA-A*01:01", 0, "one", bases["HLA-A*01:01"].upper(), ["N"]))
    order = list(SIZES)
    records.sort(key=lambda record: (order.index(record[0]), record[1]))
    text = GOLDEN / "variants.vcf"
    with open(text, "w") as out:
        out.write('##fileformat=VCFv4.3\n##ALT=<ID=DEL,Description="Deletion">\n')
        out.write('##INFO=<ID=END,Number=1,Type=Integer,Description="End">\n')
        for name, length in SIZES.items():
            out.write(f"##contig=<ID={name},length={length}>\n")
        out.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for chrom, start, ident, reference, alternates in records:
            alternates = ",".join(alternates or ["."])
            out.write(f"{chrom}\t{start + 1}\t{ident or '.'}\t{reference}\t{alternates}\t.\t.\t.\n")
    for name, mode in {"variants.vcf.gz": "wz", "variants.bcf": "wb"}.items():
        source = pysam.VariantFile(str(text))
        with pysam.VariantFile(str(GOLDEN / name), mode, header=source.header) as out:
            for record in source:
                out.write(record)
    fasta = pysam.FastaFile(str(GOLDEN / "genome.fa"))
    with open(GOLDEN / "variants.tsv", "w") as out:
        out.write("# pysam 0.24.1; oracle/source_expected.py\n")
        out.write("chrom\tstart\tid\tref\talts\tsame\n")
        for record in pysam.VariantFile(str(GOLDEN / "variants.bcf")):
            found = fasta.fetch(record.chrom, record.start, record.start + len(record.ref))
            row = (
                record.chrom,
                record.start,
                record.id or ".",
                record.ref,
                ",".join(record.alts or ["."]),
                found.upper() == record.ref,
            )
            out.write("\t".join(map(str, row)) + "\n")


def write_cage_sums():
    """The sum of real CAGE over [tss - 192, tss + 192) of each gene's strand, by pyBigWig."""
    folder = Path("../shared/data/cage_windows")
    if not folder.exists():
        print(f"{folder} is not there: cage_tss.tsv stays as it is")
        return
    strands = {"+": "plus", "-": "minus"}
    files = {
        strand: pyBigWig.open(str(folder / f"cage_cd4_tcell_{name}.bw"))
        for strand, name in strands.items()
    }
    lines = (folder / "genes.tsv").read_text().splitlines()
    columns = lines[0].split("\t")
    with open(GOLDEN / "cage_tss.tsv", "w") as out:
        out.write("# pyBigWig 0.3.29 over data/cage_windows; oracle/source_expected.py\n")
        out.write("symbol\tchrom\ttss\tstrand\tsum\n")
        for line in lines[1:]:
            gene = dict(zip(columns, line.split("\t")))
            file, tss = files[gene["strand"]], int(gene["tss"])
            end = min(tss + 192, file.chroms(gene["chrom"]))
            values = file.values(gene["chrom"], max(0, tss - 192), end)
            total = sum(value for value in values if value == value)
            row = (gene["symbol"], gene["chrom"], tss, gene["strand"], repr(total))
            out.write("\t".join(map(str, row)) + "\n")


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    rng = random.Random(22)
    bases = sequences(rng)
    write_fasta(GOLDEN / "genome.fa", bases)
    write_two_bit(GOLDEN / "small.2bit", bases)
    write_two_bit_expected(rng, GOLDEN / "two_bit.tsv")
    write_reads(rng, bases)
    write_coverage_expected(GOLDEN / "coverage.tsv")
    write_variants(rng, bases)
    write_cage_sums()


if __name__ == "__main__":
    main()
