"""Writes annotations in five styles, and their transcripts as gffutils reads them.

    python -m venv venv && venv/bin/pip install gffutils==0.14
    venv/bin/python oracle/annotation_expected.py

Run from the root of the repository. The two genes are made up; attributes, prefixes, tags and the
order of lines are those of GENCODE 45, Ensembl 111 and RefSeq GCF_000001405.40. The expected exons
and coding sequences are what gffutils finds as children of each transcript, never what this project
reads; which transcript stands for a gene follows from the tags written below.
"""

from pathlib import Path

import gffutils

GOLDEN = Path("crates/genome/tests/golden")

# name, strand, transcripts: (number, tag, exons 1-based closed, CDS first and last base)
GENES = [
    (
        "ALPHA",
        "+",
        [
            (1, "canonical", [(1001, 1200), (1501, 1700), (2001, 2600)], (1101, 2299)),
            (2, "mane", [(1051, 1200), (1501, 1650)], (1101, 1600)),
            (3, None, [(1001, 1300)], None),
        ],
    ),
    (
        "BETA;1",
        "-",
        [
            (4, None, [(5001, 5400), (5801, 6000)], (5101, 5900)),
            (5, "canonical", [(5301, 5400), (5801, 5990)], (5351, 5900)),
        ],
    ),
]

STYLES = {
    # mane and canonical tags, then how lines are written
    "gencode.gtf": ("MANE_Select", "Ensembl_canonical"),
    "gencode.gff3": ("MANE_Select", "Ensembl_canonical"),
    "ensembl.gff3": ("MANE_Select", "Ensembl_canonical"),
    "ensembl.gtf": ("MANE_Select", "Ensembl_canonical"),
    "refseq.gff3": ("MANE Select", "RefSeq Select"),
}


def pieces(exons, cds):
    return [(max(a, cds[0]), min(b, cds[1])) for a, b in exons if a <= cds[1] and b >= cds[0]] if cds else []


def names(style, gene, number):
    """Identifiers of the gene and, with a number, of a transcript, as the style writes them."""
    index = 1 + [name for name, _, _ in GENES].index(gene)
    if style == "refseq.gff3":
        escaped = gene.replace(";", "%3B")
        return f"gene-{escaped}", f"rna-NM_{number:06}.1", f"NM_{number:06}.1", escaped
    gene_id, transcript_id = f"ENSG{index:011}", f"ENST{number:011}"
    if style.startswith("gencode"):
        return f"{gene_id}.7", f"{transcript_id}.3", f"{transcript_id}.3", gene
    return f"gene:{gene_id}", f"transcript:{transcript_id}", transcript_id, gene


def gtf_lines(style, chrom):
    type_key = "gene_type" if style == "gencode.gtf" else "gene_biotype"
    mane, canonical = STYLES[style]
    for name, strand, transcripts in GENES:
        gene_id = names(style, name, 1)[0].removeprefix("gene:")
        about = f'gene_id "{gene_id}"; {type_key} "protein_coding"; gene_name "{name}";'
        first = min(exon[0] for _, _, exons, _ in transcripts for exon in exons)
        last = max(exon[1] for _, _, exons, _ in transcripts for exon in exons)
        yield chrom, "gene", first, last, strand, about
        for number, tag, exons, cds in transcripts:
            transcript_id = names(style, name, number)[2]
            own = f'{about} transcript_id "{transcript_id}"; tag "basic";'
            if tag:
                own += f' tag "{mane if tag == "mane" else canonical}";'
            yield chrom, "transcript", exons[0][0], exons[-1][1], strand, own
            order = exons if strand == "+" else exons[::-1]
            for number_of, (start, end) in enumerate(order, 1):
                yield chrom, "exon", start, end, strand, f"{own} exon_number {number_of};"
                for start, end in pieces([(start, end)], cds):
                    yield chrom, "CDS", start, end, strand, f"{own} exon_number {number_of};"


def gff3_lines(style, chrom):
    mane, canonical = STYLES[style]
    for name, strand, transcripts in GENES:
        gene_id, _, _, escaped = names(style, name, 1)
        first = min(exon[0] for _, _, exons, _ in transcripts for exon in exons)
        last = max(exon[1] for _, _, exons, _ in transcripts for exon in exons)
        escaped = name.replace(";", "%3B")
        about = {
            "gencode.gff3": f"ID={gene_id};gene_id={gene_id};gene_type=protein_coding;gene_name={escaped}",
            "ensembl.gff3": f"ID={gene_id};Name={escaped};biotype=protein_coding;gene_id={gene_id[5:]};version=7",
            "refseq.gff3": f"ID={gene_id};Dbxref=GeneID:9,HGNC:HGNC:9;Name={escaped};gbkey=Gene;gene={escaped};gene_biotype=protein_coding",
        }[style]
        yield chrom, "gene", first, last, strand, about
        for number, tag, exons, cds in transcripts:
            _, node, transcript_id, _ = names(style, name, number)
            tags = ["basic"] if style != "refseq.gff3" else []
            if tag:
                tags.append(mane if tag == "mane" else canonical)
            own = f"ID={node};Parent={gene_id};transcript_id={transcript_id}"
            if style == "gencode.gff3":
                own += f";gene_id={gene_id};gene_name={escaped};gene_type=protein_coding"
            elif style == "refseq.gff3":
                own += f";Name={transcript_id};gbkey=mRNA;gene={escaped}"
            else:
                own += f";Name={escaped}-20{number};biotype=protein_coding"
            if tags:
                own += ";tag=" + ",".join(tags)
            kind = "transcript" if style == "gencode.gff3" else ("mRNA" if cds else "lnc_RNA")
            yield chrom, kind, exons[0][0], exons[-1][1], strand, own
            for index, (start, end) in enumerate(exons, 1):
                yield chrom, "exon", start, end, strand, f"ID=exon-{node}-{index};Parent={node}"
            for start, end in pieces(exons, cds):
                yield chrom, "CDS", start, end, strand, f"ID=cds-{node};Parent={node};protein_id=P{number}"


def write_style(style):
    chrom = "NC_000001.11" if style == "refseq.gff3" else ("1" if style.startswith("ensembl") else "chr1")
    lines = gtf_lines(style, chrom) if style.endswith("gtf") else gff3_lines(style, chrom)
    text = "##gff-version 3\n" if style.endswith("gff3") else "#!genome-build GRCh38\n"
    if style == "refseq.gff3":
        text += f"{chrom}\tRefSeq\tregion\t1\t248956422\t.\t+\t.\tID={chrom}:1..248956422;Dbxref=taxon:9606\n"
        text += f"{chrom}\tRefSeq\tmatch\t5\t9\t.\t.\t.\tID=aln0;Target=x 1 5\n"
    for chrom, feature, start, end, strand, attributes in lines:
        phase = "0" if feature == "CDS" else "."
        text += f"{chrom}\ttest\t{feature}\t{start}\t{end}\t.\t{strand}\t{phase}\t{attributes}\n"
        if feature == "gene" and style.endswith("gff3"):
            text += "###\n" if style != "gencode.gff3" else ""
    (GOLDEN / style).write_text(text)


def half_open(features):
    return ",".join(f"{f.start - 1}-{f.end}" for f in sorted(features, key=lambda f: f.start)) or "-"


def rows(style):
    options = dict(keep_order=True, merge_strategy="create_unique")
    if style.endswith("gtf"):
        options |= dict(disable_infer_genes=True, disable_infer_transcripts=True)
    db = gffutils.create_db(str(GOLDEN / style), ":memory:", **options)
    for transcript in db.all_features():
        children = list(db.children(transcript, level=1))
        exons = [child for child in children if child.featuretype == "exon"]
        if not exons:
            continue
        gene = next(iter(db.parents(transcript, level=1)))
        first = lambda feature, *keys: next(feature[key][0] for key in keys if key in feature.attributes)
        yield (
            style,
            first(gene, "gene_id", "gene"),
            first(gene, "gene_name", "Name"),
            first(transcript, "transcript_id"),
            transcript.chrom,
            transcript.strand,
            half_open(exons),
            half_open(child for child in children if child.featuretype == "CDS"),
        )


def main():
    lines = [
        f"# gffutils {gffutils.__version__}; oracle/annotation_expected.py; 0-based half-open",
        "file\tgene_id\tgene_name\ttranscript_id\tchrom\tstrand\texons\tcds",
    ]
    for style in STYLES:
        write_style(style)
        lines += ["\t".join(row) for row in rows(style)]
    (GOLDEN / "annotation.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
