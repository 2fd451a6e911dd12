"""Writes the peaks that MACS's bdgpeakcall finds in the example's tracks, for the tests of crates/genome.

    python -m venv venv
    venv/bin/pip install pyBigWig==0.3.29
    venv/bin/python oracle/peaks_expected.py macs2

Run from the root of the repository. The committed files are of Debian's macs 2.2.7.1; `macs3` of PyPI takes the same
options and has the same bdgpeakcall. A bigWig is written out as a bedGraph with the value 0 wherever it has no data,
because bdgpeakcall reads only the ends of rows. The name of a peak is left out.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import pyBigWig

EXAMPLE = Path("examples/k562_chr22")
EXPECTED = Path("crates/genome/tests/golden/peaks")
# Track, cutoff, shortest length, longest gap: among them the defaults, and ones that join and that reject many.
CASES = [
    ("dnase", 5, 200, 30),
    ("dnase", 20, 500, 3000),
    ("h3k27ac", 12.5, 700, 0),
]


def write_bedgraph(track, path):
    with pyBigWig.open(str(EXAMPLE / f"{track}.bw")) as bigwig, open(path, "w") as out:
        for chrom, length in bigwig.chroms().items():
            at = 0
            for start, end, value in bigwig.intervals(chrom) or ():
                if start > at:
                    out.write(f"{chrom}\t{at}\t{start}\t0\n")
                out.write(f"{chrom}\t{start}\t{end}\t{value!r}\n")
                at = end
            if at < length:
                out.write(f"{chrom}\t{at}\t{length}\t0\n")


def main():
    macs = sys.argv[1]
    version = subprocess.run([macs, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    EXPECTED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for track, cutoff, length, gap in CASES:
            bedgraph, output = Path(folder) / f"{track}.bdg", Path(folder) / "peaks"
            write_bedgraph(track, bedgraph)
            options = ["-c", str(cutoff), "-l", str(length), "-g", str(gap), "--no-trackline"]
            subprocess.run([macs, "bdgpeakcall", "-i", bedgraph, "-o", output, *options], check=True)
            name = f"{track}_c{cutoff}_l{length}_g{gap}.narrowPeak"
            with open(output) as rows, open(EXPECTED / name, "w") as out:
                out.write(f"# {version}, bdgpeakcall {' '.join(options)}, {EXAMPLE}/{track}.bw\n")
                for row in rows:
                    fields = row.rstrip("\n").split("\t")
                    fields[3] = "."
                    out.write("\t".join(fields) + "\n")


if __name__ == "__main__":
    main()
