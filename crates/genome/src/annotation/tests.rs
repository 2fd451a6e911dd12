mod representative;

use proptest::prelude::*;

use super::*;

fn read(bytes: impl AsRef<[u8]>) -> Result<Annotation, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gtf");
    std::fs::write(&path, bytes).unwrap();
    read_annotation(&path).map_err(|e| {
        e.to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    })
}

/// One GTF line; positions 1-based, both ends included.
fn line(
    chrom: &str,
    feature: &str,
    start: u64,
    end: u64,
    strand: &str,
    attributes: &str,
) -> String {
    format!("{chrom}\ttest\t{feature}\t{start}\t{end}\t.\t{strand}\t.\t{attributes}\n")
}

fn ranges(intervals: &[Interval]) -> Vec<(u64, u64)> {
    intervals.iter().map(|i| (i.start(), i.end())).collect()
}

#[test]
fn read_gtf_example_has_61_genes_and_230_transcripts() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/k562_chr22/genes.gtf.gz"
    );
    let annotation = read_annotation(path).unwrap();
    // SOURCES.md: 61 genes, 230 coding transcripts.
    assert_eq!(annotation.genes().len(), 61);
    assert_eq!(annotation.transcripts().len(), 230);
    // First lines of the file, by zcat: gene 16590751-16592810 on the minus strand.
    let gene = &annotation.genes()[0];
    assert_eq!(
        (gene.gene_id.as_str(), gene.symbol.as_str()),
        ("ENSG00000198445.4", "CCT8L2")
    );
    assert_eq!(
        (gene.tss, gene.strand, gene.line),
        (16_592_809, Strand::Reverse, 2)
    );
    assert_eq!(gene.gene_type.as_deref(), Some("protein_coding"));
    for key in [
        "ENSG00000198445.4",
        "ENSG00000198445",
        "ENSG00000198445.99",
        "CCT8L2",
    ] {
        let found: Vec<_> = annotation.transcripts_of(key).collect();
        assert_eq!(found.len(), 1, "{key}");
        assert_eq!(ranges(&found[0].exons), [(16_590_750, 16_592_810)]);
        assert_eq!(ranges(&found[0].cds), [(16_590_879, 16_592_550)]);
    }
    assert_eq!(annotation.transcripts_of("no such gene").count(), 0);
}

#[test]
fn read_gtf_order_and_missing_lines_do_not_matter() {
    let id = "gene_id \"G\"; transcript_id \"T\";";
    // Exons in descending order as GENCODE has them on the minus strand; no gene line.
    let text = [
        line("1", "exon", 301, 400, "-", id),
        line("1", "CDS", 301, 350, "-", id),
        line("1", "start_codon", 348, 350, "-", id),
        line("1", "exon", 101, 200, "-", id),
        line("1", "CDS", 151, 200, "-", id),
        line("1", "transcript", 101, 400, "-", id),
    ]
    .concat();
    for text in [
        text.clone(),
        text.replace('\n', "\r\n"),
        format!("# x\n\n{text}"),
    ] {
        let annotation = read(text).unwrap();
        let gene = &annotation.genes()[0];
        assert_eq!(
            (gene.symbol.as_str(), gene.tss, &gene.gene_type),
            ("G", 399, &None)
        );
        let transcript = &annotation.transcripts()[0];
        assert_eq!(ranges(&transcript.exons), [(100, 200), (300, 400)]);
        assert_eq!(ranges(&transcript.cds), [(150, 200), (300, 350)]);
        assert_eq!((transcript.mrna_len(), transcript.cds_len()), (200, 100));
        assert_eq!(transcript.cds_span(), Some((150, 350)));
    }
    let only_cds = read(line("1", "CDS", 1, 1, "+", id)).unwrap();
    assert_eq!(ranges(&only_cds.transcripts()[0].exons), [(0, 1)]);
    let no_exon = read(line("1", "transcript", 1, 9, "+", id)).unwrap();
    assert_eq!((no_exon.genes().len(), no_exon.transcripts().len()), (1, 0));
}

#[test]
fn genes_symbols_are_unique() {
    let text = [
        line(
            "X",
            "gene",
            1,
            9,
            "+",
            "gene_id \"E1\"; gene_name \"A\"; gene_biotype \"b\";",
        ),
        line(
            "X",
            "gene",
            1,
            9,
            "+",
            "gene_id \"E2\"; gene_name \"Y_RNA\";",
        ),
        line(
            "X",
            "gene",
            1,
            9,
            "-",
            "gene_id \"E3\"; gene_name \"Y_RNA\";",
        ),
        // One identifier on both chromosomes, as in the pseudoautosomal regions.
        line("X", "gene", 5, 9, "-", "gene_id \"P\"; gene_name \"PAR\";"),
        line("Y", "gene", 3, 9, "-", "gene_id \"P\"; gene_name \"PAR\";"),
        line("Y", "gene", 3, 9, "+", "gene_id \"N\";"),
    ]
    .concat();
    let annotation = read(text).unwrap();
    let found: Vec<_> = annotation
        .genes()
        .iter()
        .map(|gene| (gene.symbol.as_str(), gene.tss))
        .collect();
    let expected = [
        ("A", 0),
        ("E2", 0),
        ("E3", 8),
        ("P_X-", 8),
        ("P_Y-", 8),
        ("N", 2),
    ];
    assert_eq!(found, expected);
    assert_eq!(annotation.genes()[0].gene_type.as_deref(), Some("b"));
}

#[test]
fn genes_without_a_line_reach_over_their_exons() {
    let exons = |strand| {
        [(301, 400), (101, 200), (501, 600), (201, 250)].map(|(start, end)| {
            line(
                "c",
                "exon",
                start,
                end,
                strand,
                "gene_id \"G\"; transcript_id \"T\";",
            )
        })
    };
    for (strand, gene_line, tss) in [
        ("+", None, 100),
        ("-", None, 599),
        // The gene's own line says more, before and after its exons.
        ("+", Some((51, 700, 0)), 50),
        ("-", Some((51, 700, 4)), 699),
    ] {
        let mut lines = exons(strand).to_vec();
        if let Some((start, end, at)) = gene_line {
            lines.insert(at, line("c", "gene", start, end, strand, "gene_id \"G\";"));
        }
        let annotation = read(lines.concat()).unwrap();
        let found: Vec<u64> = annotation.genes().iter().map(|gene| gene.tss).collect();
        assert_eq!(found, [tss], "{strand} {gene_line:?}");
    }
}

#[test]
fn read_gff3_of_gencode_ensembl_and_ncbi_has_names_types_and_tags() {
    let gff = |feature, start, end, attributes| line("c", feature, start, end, "+", attributes);
    let gencode = [
        gff(
            "gene",
            1,
            90,
            "ID=G1;gene_id=ENSG1.2;gene_type=protein_coding;gene_name=A",
        ),
        gff(
            "transcript",
            1,
            90,
            "ID=T1;Parent=G1;transcript_id=ENST1.5;tag=basic,MANE_Select,CCDS",
        ),
        gff("exon", 1, 90, "ID=e;Parent=T1"),
    ];
    let ensembl = [
        gff(
            "gene",
            1,
            90,
            "ID=gene:ENSG1;Name=A;biotype=protein_coding;gene_id=ENSG1;version=2",
        ),
        gff(
            "mRNA",
            1,
            90,
            "ID=transcript:ENST1;Parent=gene:ENSG1;transcript_id=ENST1;tag=Ensembl_canonical",
        ),
        gff("exon", 1, 90, "Parent=transcript:ENST1;Name=ENSE1"),
    ];
    let ncbi = [
        gff(
            "gene",
            1,
            90,
            "ID=gene-A-2;Dbxref=GeneID:1;gene=A;gene_biotype=protein_coding",
        ),
        gff(
            "mRNA",
            1,
            90,
            "ID=rna-NM_1.3;Parent=gene-A-2;gene=A;tag=MANE Select;transcript_id=NM_1.3",
        ),
        gff("exon", 1, 90, "ID=exon-1;Parent=rna-NM_1.3;gene=A"),
    ];
    for (lines, gene_id, transcript_id, tag) in [
        (gencode, "ENSG1.2", "ENST1.5", TranscriptTag::ManeSelect),
        (ensembl, "ENSG1", "ENST1", TranscriptTag::Canonical),
        (ncbi, "A-2", "NM_1.3", TranscriptTag::ManeSelect),
    ] {
        // A comment says nothing of the format.
        let annotation = read(format!("# made by hand\n\n{}", lines.concat())).unwrap();
        let [gene] = annotation.genes() else {
            panic!("{:?}", annotation.genes());
        };
        assert_eq!(
            (gene.gene_id.as_str(), gene.symbol.as_str()),
            (gene_id, "A")
        );
        assert_eq!(gene.gene_type.as_deref(), Some("protein_coding"));
        let [transcript] = annotation.transcripts() else {
            panic!("{:?}", annotation.transcripts());
        };
        assert_eq!(
            (transcript.transcript_id.as_str(), transcript.tag),
            (transcript_id, Some(tag))
        );
    }
}

#[test]
fn read_gtf_bad_line_is_named() {
    let id = "gene_id \"G\"; transcript_id \"T\";";
    let exon = |start, end| line("1", "exon", start, end, "+", id);
    let cases = [
        (
            String::new(),
            "a.gtf: no gene, transcript, exon or CDS line in the file; is it the right one, and whole?",
        ),
        (
            "# only\n".to_string(),
            "a.gtf: no gene, transcript, exon or CDS line in the file; is it the right one, and whole?",
        ),
        (
            "chr1\tx\texon\n".to_string(),
            "a.gtf:1: 3 tab-separated fields where 9 are expected",
        ),
        (
            exon(0, 5),
            "a.gtf:1: start \"0\" is not a whole number of at least 1",
        ),
        (
            exon(6, 5),
            "a.gtf:1: end \"5\" is not at or after the start of the line",
        ),
        (
            exon(6, u64::MAX),
            "a.gtf:1: end \"18446744073709551615\" is not a position on a chromosome: it is too large",
        ),
        (
            line("1", "exon", 1, 5, ".", id),
            "a.gtf:1: strand \".\" is not + or -",
        ),
        (
            line("", "exon", 1, 5, "+", id),
            "a.gtf:1: chromosome \"\" is not a chromosome's name",
        ),
        (
            line("1", "exon", 1, 5, "+", "transcript_id \"T\";"),
            "a.gtf:1: no gene_id among the attributes; write gene_id \"…\";",
        ),
        (
            line("1", "exon", 1, 5, "+", "gene_id \"G\";"),
            "a.gtf:1: no transcript_id among the attributes; write transcript_id \"…\";",
        ),
        (
            line("1", "exon", 1, 5, "+", id) + &line("1", "gene", 1, 5, "+", "ID=gene:G;Name=G"),
            "a.gtf:2: no gene_id among the attributes; write gene_id \"…\";",
        ),
        (
            exon(1, 10) + &exon(20, 30) + &exon(5, 12),
            "a.gtf:3: the exon overlaps that of line 1 of the same transcript (1:1-10 and 1:5-12); \
             remove one of them, or give each its own transcript",
        ),
        (
            exon(1, 10) + &line("1", "CDS", 5, 11, "+", id),
            "a.gtf:2: the CDS 1:5-11 is not inside an exon of its transcript; correct one of the two, or \
             remove the transcript",
        ),
        (
            line("1", "gene", 1, 5, "+", id) + &line("1", "gene", 1, 5, "+", id),
            "a.gtf:2: gene_id \"G\" occurs already on line 1; keep one of the two",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).unwrap_err(), expected);
    }
}

#[test]
fn read_gff3_order_depth_and_own_exons_do_not_matter() {
    let gff = |feature, start, end, attributes| line("c", feature, start, end, "+", attributes);
    let lines = [
        gff("gene", 1, 90, "ID=gene-M;gene=M"),
        gff("primary_transcript", 1, 90, "ID=rna-P;Parent=gene-M"),
        gff("exon", 1, 90, "ID=e1;Parent=rna-P"),
        gff("miRNA", 11, 30, "ID=rna-R;Parent=rna-P;transcript_id=R.1"),
        gff("exon", 11, 30, "ID=e2;Parent=rna-R,rna-P2"),
        gff("lnc_RNA", 11, 30, "ID=rna-P2;Parent=gene-M"),
        // A gene that is its own transcript, as tRNA genes are.
        gff("pseudogene", 101, 120, "ID=gene-T;Name=T"),
        gff("exon", 101, 110, "Parent=gene-T"),
        gff("exon", 113, 120, "Parent=gene-T"),
    ];
    let expected = [
        ("P", vec![(0, 90)], "M"),
        ("P2", vec![(10, 30)], "M"),
        ("R.1", vec![(10, 30)], "M"),
        ("T", vec![(100, 110), (112, 120)], "T"),
    ];
    let reversed: Vec<&str> = lines.iter().rev().map(String::as_str).collect();
    for text in [
        format!("##gff-version 3\n{}", lines.concat()),
        lines.concat().replace('\n', "\r\n"),
        reversed.concat(),
        format!("{}##FASTA\n>c\nACGT\n", lines.concat()),
    ] {
        let annotation = read(&text).unwrap();
        let mut found: Vec<_> = annotation
            .transcripts()
            .iter()
            .map(|t| {
                (
                    t.transcript_id.as_str(),
                    ranges(&t.exons),
                    t.gene_id.as_str(),
                )
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{text}");
        assert_eq!(annotation.genes().len(), 2);
    }
}

#[test]
fn read_gff3_gene_of_unknown_strand_is_set_aside_with_its_parts() {
    let gff = |feature, start, end, strand, attributes| {
        line("c", feature, start, end, strand, attributes)
    };
    // The second to sixth lines as RefSeq writes rps12, whose parts lie on both strands of a chloroplast.
    let text = [
        gff("region", 1, 99, "?", "ID=r"),
        gff("gene", 10, 90, "?", "ID=gene-rps12;Name=rps12;part=1"),
        gff("gene", 10, 20, "?", "ID=gene-rps12;Name=rps12;part=2"),
        gff("mRNA", 10, 90, "?", "ID=rna-1;Parent=gene-rps12"),
        gff("exon", 10, 20, "-", "Parent=rna-1"),
        gff("CDS", 80, 90, "?", "Parent=gene-rps12"),
        gff("gene", 40, 60, "-", "ID=gene-G;Name=G"),
        gff("exon", 40, 60, "-", "Parent=gene-G"),
    ]
    .concat();
    let annotation = read(&text).unwrap();
    let found: Vec<_> = (annotation.genes().iter())
        .map(|gene| (gene.symbol.as_str(), gene.tss))
        .collect();
    assert_eq!(found, [("G", 59)]);
    assert_eq!(annotation.transcripts().len(), 1);
    let rps12 = UnstrandedGene {
        symbol: "rps12".to_string(),
        line: 2,
    };
    assert_eq!(annotation.unstranded_genes(), [rps12]);
}

#[test]
fn read_gff3_bad_line_is_named() {
    let gff = |feature, strand, attributes| line("c", feature, 1, 9, strand, attributes);
    let gene = gff("gene", "+", "ID=gene:G;Name=G");
    let cases = [
        (
            gene.clone() + &gff("exon", "+", "ID=x"),
            "a.gtf:2: the exon has no Parent; write Parent=… with the identifier of its transcript",
        ),
        (
            gene.clone() + &gff("CDS", "+", "Parent=transcript:T"),
            "a.gtf:2: its parent \"transcript:T\" is not in the file; add its line, or remove this one",
        ),
        (
            gff("region", ".", "ID=r")
                + &gene
                + &gff("mRNA", ".", "ID=T;Parent=gene:G")
                + &gff("exon", "+", "Parent=T"),
            "a.gtf:3: strand \".\" is not + or -",
        ),
        (
            gff("mRNA", "+", "ID=T;Parent=G") + &gff("exon", "+", "Parent=T"),
            "a.gtf:1: its ancestor \"G\" is not in the file; add its line, or remove this Parent",
        ),
        (
            gff("mRNA", "+", "ID=T;Parent=U")
                + &gff("mRNA", "+", "ID=U;Parent=T")
                + &gff("exon", "+", "Parent=T"),
            "a.gtf:1: its ancestors go round in a circle; correct the Parent of one of them",
        ),
        (
            gene.clone() + &gff("mRNA", "-", "ID=T;Parent=gene:G") + &gff("exon", "-", "Parent=T"),
            "a.gtf:2: it lies on another chromosome or strand than its gene; correct one of the two",
        ),
        (
            gene.clone() + &gene,
            "a.gtf:2: ID \"gene:G\" occurs already on line 1; keep one of the two",
        ),
        (
            gff("gene", ".", "ID=G"),
            "a.gtf:1: strand \".\" is not + or -",
        ),
        (
            gff("gene", "?", "ID=G"),
            "a.gtf:1: no gene of the file has a strand, as this one has none (?); a start site needs one",
        ),
        (
            gene.clone() + &gff("mRNA", "?", "ID=T;Parent=gene:G") + &gff("exon", "+", "Parent=T"),
            "a.gtf:2: it lies on another chromosome or strand than its gene; correct one of the two",
        ),
        (
            "##gff-version 3\n".to_string(),
            "a.gtf: no gene, transcript, exon or CDS line in the file; is it the right one, and whole?",
        ),
        (
            format!(
                "##gff-version 3\n{}",
                line("c", "exon", 9, 1, "+", "Parent=T")
            ),
            "a.gtf:2: end \"1\" is not at or after the start of the line",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).unwrap_err(), expected);
    }
}

#[test]
fn read_gtf_cut_off_file_is_an_error() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/k562_chr22/genes.gtf.gz"
    );
    let bytes = std::fs::read(path).unwrap();
    for length in [100, 20_000, bytes.len() - 28, bytes.len() - 3] {
        let message = read(&bytes[..length]).unwrap_err();
        assert!(
            message.starts_with("a.gtf") && message.contains("cut off"),
            "{message}"
        );
    }
}

proptest! {
    // Two thirds of the cases are near a real file, one third are any bytes.
    #[test]
    fn read_annotation_any_bytes_never_panics(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "([12]\tx\t(gene|exon|CDS|transcript)\t[0-9]{1,2}\t[0-9]{1,20}\t.\t[+-]\t.\tgene_id \"?[AB]\"?;( transcript_id \"[TU]\";?)?\r?\n){0,8}"
                .prop_map(String::into_bytes),
            "(##gff-version 3\n)?([12]\tx\t(gene|exon|CDS|mRNA)\t[0-9]{1,2}\t[0-9]{1,20}\t.\t[+-]\t.\t(ID=[AB];?)?(Parent=[ABC](,[AB])?;?)?\r?\n){0,8}"
                .prop_map(String::into_bytes),
        ],
    ) {
        if let Ok(annotation) = read(bytes) {
            for transcript in annotation.transcripts() {
                prop_assert!(!transcript.exons.is_empty());
                prop_assert!(transcript.cds_len() <= transcript.mrna_len());
            }
        }
    }
}
