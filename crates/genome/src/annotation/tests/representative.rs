//! Which transcript stands for a gene.

use super::*;

#[test]
fn representative_longest_cds_then_longest_mrna_then_first() {
    let piece = |id: &str, feature, start, end| {
        line(
            "c",
            feature,
            start,
            end,
            "+",
            &format!("gene_id \"G.1\"; transcript_id \"{id}\";"),
        )
    };
    let text = [
        piece("long_mrna", "exon", 1, 1000),
        piece("long_mrna", "CDS", 1, 10),
        piece("cds", "exon", 1, 100),
        piece("cds", "CDS", 11, 40),
        piece("first", "exon", 1, 200),
        piece("first", "CDS", 11, 40),
        piece("second", "exon", 1, 200),
        piece("second", "CDS", 11, 40),
        line(
            "c",
            "exon",
            1,
            900,
            "-",
            "gene_id \"G.1\"; transcript_id \"other strand\";",
        ),
        line(
            "c",
            "CDS",
            1,
            900,
            "-",
            "gene_id \"G.1\"; transcript_id \"other strand\";",
        ),
    ]
    .concat();
    let annotation = read(text).unwrap();
    let gene = |gene_id: &str, symbol: &str, chrom: &str, strand| Gene {
        gene_id: gene_id.into(),
        symbol: symbol.into(),
        chrom: chrom.into(),
        tss: 0,
        strand,
        gene_type: None,
        split: None,
        line: 1,
    };
    let cases = [
        (gene("G.1", "x", "c", Strand::Forward), Some("first")),
        (gene("none", "G.1", "c", Strand::Forward), Some("first")),
        (gene("G.1", "x", "c", Strand::Reverse), Some("other strand")),
        (gene("G.1", "x", "d", Strand::Forward), None),
        // Only Ensembl identifiers have a version to ignore.
        (gene("G", "x", "c", Strand::Forward), None),
    ];
    for (gene, expected) in cases {
        let found = annotation.representative(&gene).map(|(t, chosen_by)| {
            assert_eq!(chosen_by, ChosenBy::LongestCds);
            t.transcript_id.as_str()
        });
        assert_eq!(found, expected, "{gene:?}");
    }
}

#[test]
fn representative_prefers_a_coding_transcript_and_then_its_tag() {
    let piece = |id: &str, feature, start, end, tag: &str| {
        let tag = if tag.is_empty() {
            String::new()
        } else {
            format!(" tag \"{tag}\";")
        };
        let attributes = format!("gene_id \"G\"; transcript_id \"{id}\";{tag}");
        line("c", feature, start, end, "+", &attributes)
    };
    let noncoding = [
        piece("tagged noncoding", "exon", 1, 900, "Ensembl_canonical"),
        piece("noncoding", "exon", 1, 950, ""),
    ];
    let coding = [
        piece("short", "exon", 1, 300, ""),
        piece("short", "CDS", 1, 30, ""),
        piece("long", "exon", 1, 300, ""),
        piece("long", "CDS", 1, 60, ""),
    ];
    let canonical = [
        piece("canonical", "exon", 1, 200, "Ensembl_canonical"),
        piece("canonical", "CDS", 1, 9, "Ensembl_canonical"),
    ];
    let select = [
        piece("select", "exon", 1, 100, "MANE_Select"),
        // A tag of one line is the transcript's, as is the higher of two.
        piece("select", "CDS", 1, 6, ""),
        piece("select", "CDS", 8, 10, "Ensembl_canonical"),
    ];
    let gene = Gene {
        gene_id: "G".into(),
        symbol: "G".into(),
        chrom: "c".into(),
        tss: 0,
        strand: Strand::Forward,
        gene_type: None,
        split: None,
        line: 1,
    };
    let mut text = String::new();
    for (lines, expected) in [
        (
            noncoding.concat(),
            ("tagged noncoding", ChosenBy::Canonical),
        ),
        (coding.concat(), ("long", ChosenBy::LongestCds)),
        (canonical.concat(), ("canonical", ChosenBy::Canonical)),
        (select.concat(), ("select", ChosenBy::ManeSelect)),
    ] {
        text.push_str(&lines);
        let annotation = read(&text).unwrap();
        let (found, chosen_by) = annotation.representative(&gene).unwrap();
        assert_eq!((found.transcript_id.as_str(), chosen_by), expected);
    }
    let annotation = read(&noncoding[1]).unwrap();
    let (_, chosen_by) = annotation.representative(&gene).unwrap();
    assert_eq!(chosen_by, ChosenBy::LongestMrna);
}
