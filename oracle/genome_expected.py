"""Writes the fixtures and expected values of the genome crate's file readers.

    python -m venv venv && venv/bin/pip install pyBigWig==0.3.29 cooler==0.11.0 hictkpy==1.4.0
    venv/bin/python oracle/genome_expected.py

Run from the root of the repository. Fixtures are made of random numbers from a fixed seed; the
expected values are what pyBigWig, cooler and hictkpy read, never what this project reads.
"""

import struct
import zlib
from pathlib import Path

import cooler
import hictkpy
import numpy as np
import pandas as pd
import pyBigWig

EXAMPLE = Path("examples/k562_chr22")
GOLDEN = Path("crates/genome/tests/golden")
CHR22 = 50_818_468

# TSS and window: six genes (two of them in bins that ICE masks at 5 kb, DGCR6 and HIC2), then
# windows that touch either end of the chromosome, one base, and a TSS outside its window.
WINDOWS = [
    (16_592_809, 16_492_809, 16_692_809),  # CCT8L2
    (17_359_948, 17_259_948, 17_459_948),  # CECR2
    (18_906_222, 18_806_222, 19_006_222),  # DGCR6
    (19_291_715, 19_191_715, 19_391_715),  # CLTCL1
    (20_917_425, 20_817_425, 21_017_425),  # CRKL
    (21_417_403, 21_317_403, 21_517_403),  # HIC2
    (50_000, 0, 150_000),
    (CHR22 - 1, CHR22 - 100_001, CHR22),
    (20_917_407, 20_917_407, 20_917_408),
    (20_000_000, 20_300_000, 20_345_001),
]


def write_mixed_bigwig(path):
    """One bigWig with bedGraph, variableStep and fixedStep sections on two chromosomes."""
    track = pyBigWig.open(str(path), "w")
    track.addHeader([("chr1", 10_000), ("chr2", 500)])
    track.addEntries(["chr1"] * 3, [0, 10, 30], ends=[5, 20, 31], values=[1.5, -2.0, 0.0])
    track.addEntries("chr1", [100, 120, 133], values=[3.0, 4.0, 5.0], span=10)
    track.addEntries("chr1", 9_000, values=[float(i) for i in range(100)], span=5, step=10)
    track.addEntries("chr2", 495, values=[7.0, 8.0, 9.0, 10.0, 11.0], span=1, step=1)
    track.close()


def bigwig_rows():
    for name in ("dnase.bw", "h3k27ac.bw"):
        track = pyBigWig.open(str(EXAMPLE / name))
        for _, start, end in WINDOWS:
            values = track.values("chr22", start, end)
            n_data, total, weighted = 0, 0.0, 0.0
            for offset, value in enumerate(values):
                if value == value:
                    n_data += 1
                    total += value
                    weighted += value * (offset + 1)
            yield name, start, end, n_data, repr(total), repr(weighted)


SMALL_CHROMS = [("chr1", 203_000), ("chr2", 57_500)]
SMALL_BIN = 5_000
NORMS = ["VC", "VC_SQRT", "KR", "SCALE"]


def small_pixels(rng):
    """Upper-triangle (bin1, bin2, count) of one chromosome's random contact map."""
    maps = []
    for _, length in SMALL_CHROMS:
        n_bins = -(-length // SMALL_BIN)
        pixels = [
            (i, j, int(rng.integers(1, 300) // (1 + j - i)))
            for i in range(n_bins)
            for j in range(i, n_bins)
            if rng.random() < 0.6
        ]
        maps.append([pixel for pixel in pixels if pixel[2] > 0])
    return maps


def small_vectors(rng):
    """Per normalization and chromosome one factor a bin; every seventh is NaN (masked)."""
    vectors = {}
    for name in NORMS:
        vectors[name] = []
        for chrom_index, (_, length) in enumerate(SMALL_CHROMS):
            vector = rng.uniform(0.2, 3.0, -(-length // SMALL_BIN)).astype(np.float32)
            vector[3 + chrom_index :: 7] = np.nan
            vectors[name].append(vector)
    return vectors


def write_cool(path, maps, vectors):
    frames, pixels, offset = [], [], 0
    for chrom_index, (name, length) in enumerate(SMALL_CHROMS):
        starts = np.arange(0, length, SMALL_BIN)
        frame = pd.DataFrame({"chrom": name, "start": starts})
        frame["end"] = np.minimum(starts + SMALL_BIN, length)
        frame["weight"] = 1 / vectors["SCALE"][chrom_index].astype(np.float64)
        frame["KR"] = vectors["KR"][chrom_index].astype(np.float64)
        frames.append(frame)
        pixels += [(i + offset, j + offset, count) for i, j, count in maps[chrom_index]]
        offset += len(starts)
    pixels.append((2, offset - 3, 41))  # between the chromosomes
    pixels.sort()
    pixels = pd.DataFrame(pixels, columns=["bin1_id", "bin2_id", "count"])
    cooler.create_cooler(str(path), pd.concat(frames, ignore_index=True), pixels, dtypes={"count": "int32"})


def text(value):
    return value.encode() + b"\0"


def hic_block(pixels, version):
    """One compressed block, rows of 16-bit counts; bin numbers relative to the block's corner."""
    column, row = min(p[0] for p in pixels), min(p[1] for p in pixels)
    body = struct.pack("<iii", len(pixels), column, row) + b"\0"
    if version > 8:
        body += b"\0\0"
    body += b"\x01"
    rows = sorted({j for _, j, _ in pixels})
    body += struct.pack("<h", len(rows))
    for y in rows:
        cells = sorted((i, count) for i, j, count in pixels if j == y)
        body += struct.pack("<hh", y - row, len(cells))
        for x, count in cells:
            body += struct.pack("<hh", x - column, count)
    return zlib.compress(body)


def write_hic(path, maps, vectors, version):
    """A .hic after the published format descriptions of versions 8 and 9, with vectors.

    Version 8 has blocks of 8 by 8 bins; version 9 keeps each chromosome in one block.
    """
    chroms = [("ALL", sum(length for _, length in SMALL_CHROMS) // 1000)] + SMALL_CHROMS
    wide = "<q" if version > 8 else "<i"
    real = "f" if version > 8 else "d"
    header = text("test") + (b"\0" * 16 if version > 8 else b"") + struct.pack("<i", 0)
    nvi_at = 16 + len(text("test"))
    header += struct.pack("<i", len(chroms))
    for name, length in chroms:
        header += text(name) + struct.pack(wide, length)
    header += struct.pack("<iii", 1, SMALL_BIN, 0)
    out = bytearray(b"HIC\0" + struct.pack("<iq", version, 0) + header)

    index = []
    for chrom_index, pixels in enumerate(maps, start=1):
        block_bins = 8 if version == 8 else 1000
        n_columns = 6 if version == 8 else 1
        blocks = {}
        for i, j, count in pixels:
            blocks.setdefault((j // block_bins) * n_columns + i // block_bins, []).append((i, j, count))
        entries = []
        for number in sorted(blocks):
            data = hic_block(blocks[number], version)
            entries.append((number, len(out), len(data)))
            out += data
        record = struct.pack("<iii", chrom_index, chrom_index, 1) + text("BP")
        record += struct.pack("<ififf", 0, sum(p[2] for p in pixels), len(pixels), 0.0, 0.0)
        record += struct.pack("<iiii", SMALL_BIN, block_bins, n_columns, len(entries))
        for entry in entries:
            record += struct.pack("<iqi", *entry)
        index.append((f"{chrom_index}_{chrom_index}", len(out), len(record)))
        out += record

    footer_at = len(out)
    footer = struct.pack("<i", len(index))
    for key, position, size in index:
        footer += text(key) + struct.pack("<qi", position, size)
    n_bins = max(-(-length // SMALL_BIN) for _, length in SMALL_CHROMS)
    expected = text("BP") + struct.pack("<i", SMALL_BIN) + struct.pack(wide, n_bins)
    expected += struct.pack(f"<{n_bins}{real}", *([1.0] * n_bins)) + struct.pack("<i", 2)
    for chrom_index in (1, 2):
        expected += struct.pack(f"<i{real}", chrom_index, 1.0)
    footer += struct.pack("<i", 1) + expected
    footer += struct.pack("<i", len(NORMS)) + b"".join(text(name) + expected for name in NORMS)
    footer_size = struct.pack(wide, len(footer))
    # The vectors follow their index, whose size is known before its offsets are.
    names = [(name, chrom_index) for name in NORMS for chrom_index in (1, 2)]
    entry_size = struct.calcsize(wide) + 8
    nvi_size = 4 + sum(len(text(name)) + 4 + 3 + 4 + entry_size for name, _ in names)
    nvi_position = footer_at + len(footer_size) + len(footer)
    vector_at = nvi_position + nvi_size
    nvi, payload = struct.pack("<i", len(names)), b""
    for name, chrom_index in names:
        vector = vectors[name][chrom_index - 1]
        data = struct.pack(wide, len(vector)) + struct.pack(f"<{len(vector)}{real}", *vector)
        nvi += text(name) + struct.pack("<i", chrom_index) + text("BP") + struct.pack("<i", SMALL_BIN)
        nvi += struct.pack("<q", vector_at + len(payload)) + struct.pack(wide, len(data))
        payload += data
    assert len(nvi) == nvi_size
    out += footer_size + footer + nvi + payload
    out[8:16] = struct.pack("<q", footer_at)
    if version > 8:
        out[nvi_at : nvi_at + 16] = struct.pack("<qq", nvi_position, nvi_size)
    path.write_bytes(out)


SMALL_WINDOWS = [
    ("chr1", 102_345, 2_345, 202_345),
    ("chr1", 0, 0, 100_000),
    ("chr1", 202_999, 102_999, 203_000),
    ("chr1", 15_000, 0, 203_000),
    ("chr1", 180_000, 5_000, 10_000),
    ("chr2", 57_499, 0, 57_500),
    ("chr2", 20_000, 40_000, 57_500),
]


def cooler_profile(uri, balance, chrom, tss, start, end):
    matrix = cooler.Cooler(uri).matrix(balance=balance, sparse=False)
    return matrix.fetch((chrom, tss, tss + 1), (chrom, start, end))[0].astype(float)


def hictk_profile(path, resolution, norm, chrom, tss, start, end):
    # hictk refuses queries below the diagonal, so the row is cut out of a square around both.
    low, high = min(tss, start), max(tss + 1, end)
    file = hictkpy.File(str(path), resolution)
    square = file.fetch(f"{chrom}\t{low}\t{high}", normalization=norm, count_type="float", query_type="BED")
    first = low // resolution
    row = square.to_numpy()[tss // resolution - first]
    return row[start // resolution - first : -(-end // resolution) - first]


def contact_rows():
    chr22 = [("chr22", *window) for window in WINDOWS]
    for name, file, norm, resolution, windows in [
        ("hic.mcool", EXAMPLE / "hic.mcool", "none", 5_000, chr22),
        ("hic.mcool", EXAMPLE / "hic.mcool", "weight", 5_000, chr22),
        ("hic.mcool", EXAMPLE / "hic.mcool", "weight", 10_000, chr22),
        ("small.cool", GOLDEN / "small.cool", "none", SMALL_BIN, SMALL_WINDOWS),
        ("small.cool", GOLDEN / "small.cool", "weight", SMALL_BIN, SMALL_WINDOWS),
        ("small.cool", GOLDEN / "small.cool", "kr", SMALL_BIN, SMALL_WINDOWS),
    ]:
        uri = f"{file}::resolutions/{resolution}" if name.endswith("mcool") else str(file)
        balance = {"none": False, "weight": True, "kr": "KR"}[norm]
        for window in windows:
            yield "cooler", name, resolution, norm, window, cooler_profile(uri, balance, *window)
    small = [
        (f"small_v{version}.hic", GOLDEN / f"small_v{version}.hic", norm, SMALL_BIN, SMALL_WINDOWS)
        for version in (8, 9)
        for norm in ["none", "vc", "vc_sqrt", "kr", "scale"]
    ]
    for name, file, norm, resolution, windows in [
        ("hic.hic", EXAMPLE / "hic.hic", "none", 5_000, chr22)
    ] + small:
        for window in windows:
            yield "hictkpy", name, resolution, norm, window, hictk_profile(
                file, resolution, norm.upper(), *window
            )


def write_table(path, made_with, columns, rows):
    lines = [f"# {made_with}; oracle/genome_expected.py", "\t".join(columns)]
    lines += ["\t".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def main():
    rng = np.random.default_rng(22)
    write_mixed_bigwig(GOLDEN / "mixed.bw")
    maps, vectors = small_pixels(rng), small_vectors(rng)
    write_cool(GOLDEN / "small.cool", maps, vectors)
    for version in (8, 9):
        write_hic(GOLDEN / f"small_v{version}.hic", maps, vectors, version)
    write_table(
        GOLDEN / "bigwig.tsv",
        "pyBigWig 0.3.29; weighted_sum = sum of value * (offset + 1)",
        ["file", "start", "end", "n_data", "sum", "weighted_sum"],
        bigwig_rows(),
    )
    write_table(
        GOLDEN / "contacts.tsv",
        f"cooler {cooler.__version__}, hictkpy {hictkpy.__version__}; coordinates 0-based half-open",
        ["tool", "file", "resolution", "normalization", "chrom", "tss", "start", "end", "contacts"],
        (
            (tool, name, resolution, norm, *window, ",".join(f"{value:.9g}" for value in profile))
            for tool, name, resolution, norm, window, profile in contact_rows()
        ),
    )


if __name__ == "__main__":
    main()
