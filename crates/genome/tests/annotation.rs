//! Annotations in the styles of GENCODE, Ensembl and RefSeq, against gffutils.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use genome::{ChosenBy, Interval, read_annotation};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn ranges(pieces: &[Interval]) -> String {
    if pieces.is_empty() {
        return "-".to_string();
    }
    let texts: Vec<String> = pieces
        .iter()
        .map(|piece| format!("{}-{}", piece.start(), piece.end()))
        .collect();
    texts.join(",")
}

#[test]
fn read_annotation_equals_gffutils_in_every_style() {
    // Made by gffutils: `oracle/annotation_expected.py`, version in the first line.
    let table = std::fs::read_to_string(golden("annotation.tsv")).unwrap();
    let rows: Vec<&str> = table.lines().skip(2).collect();
    let files: BTreeSet<&str> = rows.iter().filter_map(|r| r.split('\t').next()).collect();
    assert_eq!((files.len(), rows.len()), (5, 25));
    for file in files {
        let annotation = read_annotation(golden(file)).unwrap();
        let found: Vec<String> = annotation
            .transcripts()
            .iter()
            .map(|t| {
                [
                    file,
                    &t.gene_id,
                    &t.gene_name,
                    &t.transcript_id,
                    &t.chrom,
                    &t.strand.to_string(),
                    &ranges(&t.exons),
                    &ranges(&t.cds),
                ]
                .join("\t")
            })
            .collect();
        let expected: Vec<&str> = rows
            .iter()
            .copied()
            .filter(|row| row.starts_with(&format!("{file}\t")))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn representative_follows_the_tags_in_every_style() {
    for file in [
        "gencode.gtf",
        "gencode.gff3",
        "ensembl.gtf",
        "ensembl.gff3",
        "refseq.gff3",
    ] {
        let annotation = read_annotation(golden(file)).unwrap();
        let genes = annotation.genes();
        // ALPHA: 1 is canonical and has the longer CDS, 2 is MANE Select. BETA;1: 5 is canonical,
        // 4 has the longer CDS. Starts: base 1001 of ALPHA, base 6000 of BETA;1, 1-based.
        for (gene, symbol, tss, number, by) in [
            (&genes[0], "ALPHA", 1000, "2", ChosenBy::ManeSelect),
            (&genes[1], "BETA;1", 5999, "5", ChosenBy::Canonical),
        ] {
            assert_eq!((gene.symbol.as_str(), gene.tss), (symbol, tss), "{file}");
            assert_eq!(gene.gene_type.as_deref(), Some("protein_coding"), "{file}");
            let (transcript, chosen_by) = annotation.representative(gene).unwrap();
            let id = transcript.transcript_id.split('.').next().unwrap();
            assert!(id.ends_with(number), "{file}: {id}");
            assert_eq!(chosen_by, by, "{file}");
        }
        assert_eq!(genes.len(), 2, "{file}");
    }
}
