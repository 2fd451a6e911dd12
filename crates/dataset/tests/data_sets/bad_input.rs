//! Input that is wrong: one message with file and place, and what to do; never a panic.

use std::error::Error;

use dataset::{DataConfig, DataDescription, ExampleReader, FileTable};

use crate::tiny_genome::{CHROMS, TinyGenome, fasta};

/// A change to the configuration's text or to a file, and a part of the message.
type Case<'a> = (
    &'a str,
    &'a [(&'a str, &'a str)],
    Option<(&'a str, &'a str, &'a str)>,
    &'a str,
);

#[test]
fn open_bad_input_names_file_line_and_remedy() {
    let cases: [Case; 19] = [
        ("missing file", &[("genome.fa", "none.fa")], None, "none.fa"),
        (
            "chromosome of another naming",
            &[],
            Some(("genes.tsv", "LEFT\tID_LEFT\tchr1", "LEFT\tID_LEFT\t1")),
            "genes.tsv:2: no chromosome \"1\" in the genome; it is called \"chr1\"",
        ),
        (
            "tss past the end",
            &[],
            Some(("genes.tsv", "chr1\t2999", "chr1\t3000")),
            "genes.tsv:7: tss 3000 is past the end of chr1 (3000 bp); is this",
        ),
        (
            "duplicate gene",
            &[],
            Some(("genes.tsv", "MINUS\tID_MINUS", "PLUS\tID_MINUS")),
            "genes.tsv:4: symbol \"PLUS\" occurs already on line 3",
        ),
        (
            "NaN expression",
            &[],
            Some(("expression.tsv", "PLUS\t9", "PLUS\tNaN")),
            "expression.tsv:3: tpm \"NaN\"",
        ),
        (
            "missing expression as an error",
            &[("length = 40", "length = 40\nmissing_expression = \"error\"")],
            None,
            "genes.tsv:9: gene \"UNKNOWN\" has no measured expression in",
        ),
        (
            "names that do not meet",
            &[(
                "value = \"tpm\"",
                "value = \"tpm\", key_holds = \"gene_id\"",
            )],
            None,
            "none of its names is the gene_id of a gene of",
        ),
        (
            "identifiers of which one has a version",
            &[(
                "value = \"tpm\"",
                "value = \"tpm\", key_holds = \"gene_id\"",
            )],
            Some(("expression.tsv", "LEFT\t0", "ID_LEFT.3\t0")),
            "the first are \"ID_LEFT.3\" and \"ID_LEFT\"; one of them has a version behind a dot; remove it",
        ),
        (
            "empty split",
            &[("by = \"column\"", "by = \"fold\", fold = 11")],
            None,
            "no gene is left in the valid split (8 genes read, 1 left out: 1 without measured expression); the genes lie on too few",
        ),
        (
            "most names of another kind",
            &[],
            // LEFT is measured still, PLUS by its identifier, and of the others there is no row.
            Some((
                "expression.tsv",
                "PLUS\t9\nMINUS\t99\nMIDDLE\t3\nLINC\t1\nRIGHT\t999\nSHORT\t0.5\n",
                "ID_PLUS\t9\n",
            )),
            "no gene is left in the valid split (8 genes read, 7 left out: 7 without measured expression); genes without measured \
             expression whose row has another name: 1, as \"PLUS\" under \"ID_PLUS\"; names must be equal",
        ),
        (
            "split column with another word",
            &[],
            Some(("genes.tsv", "\tvalid\n", "\tdev\n")),
            "genes.tsv:4: gene \"MINUS\" has split \"dev\"; write train, valid or test",
        ),
        (
            "no gene left of a kind",
            &[("length = 40", "length = 40\ngene_types = [\"miRNA\"]")],
            None,
            "LEFT was left out because: gene type protein_coding is not kept",
        ),
        (
            "alias to nowhere",
            &[(
                "length = 40",
                "length = 40\nchrom_alias = { 1 = \"chrom1\" }",
            )],
            None,
            "chrom_alias \"1\" leads to \"chrom1\", which is not in",
        ),
        (
            "regions of another naming",
            &[],
            Some(("exclude.bed", "chr1", "1")),
            "exclude.bed:1: no chromosome \"1\" in the genome; it is called \"chr1\"",
        ),
        (
            "region past the end",
            &[],
            Some(("exclude.bed", "2990\t3000", "2990\t3001")),
            "exclude.bed:2: chr1:2991-3001 is outside chr1 (3000 bp); is this the same assembly",
        ),
        (
            "contact without a map",
            &[("fallback = \"power_law\", ", "")],
            None,
            "contact has no path; give one, or write fallback = \"power_law\"",
        ),
        (
            "several problems at once",
            &[
                ("length = 40", "length = 41"),
                ("promoter = 4", "promoter = 3"),
            ],
            None,
            "has 2 problem(s): length 41 must be even",
        ),
        (
            "track that is no bigWig",
            &[("path = \"dnase.bw\"", "path = \"genes.tsv\"")],
            None,
            "genes.tsv: byte 0",
        ),
        (
            "gene kind that is not known",
            &[(
                "length = 40",
                "length = 40\ngene_types = [\"protein_coding\"]",
            )],
            Some(("genes.tsv", "lincRNA", "NA")),
            "genes.tsv:6: gene \"LINC\" has no gene_type",
        ),
    ];
    for (name, replace, edit, part) in cases {
        let tiny = TinyGenome::write();
        if let Some((file, from, to)) = edit {
            tiny.edit(file, from, to);
        }
        let error = match ExampleReader::open(&tiny.config_with(replace)) {
            Ok(_) => panic!("{name}: no error"),
            Err(error) => error,
        };
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            message += &format!("; {inner}");
            source = inner.source();
        }
        assert!(message.contains(part), "{name}: {message}");
    }
}

#[test]
fn files_without_a_region_are_errors_but_for_exclude() {
    let empty = "length = 40\npeaks = [\"include.bed\", \"empty.bed\"]";
    let cases = [
        ("peaks", "length = 40", empty),
        (
            "tss_peaks",
            "length = 40",
            "length = 40\ntss_peaks = { path = \"empty.bed\" }",
        ),
        (
            "candidates",
            "length = 40",
            "length = 90\ncandidates = { elements = \"empty.bed\", element_length = 4 }",
        ),
        ("include", "\"include.bed\"", "\"empty.bed\""),
        ("exclude", "\"exclude.bed\"", "\"empty.bed\""),
    ];
    let tiny = TinyGenome::write();
    for text in ["", "# chrom\tstart\tend\ntrack name=peaks\n\n"] {
        std::fs::write(tiny.path("empty.bed"), text).unwrap();
        let path = tiny.path("empty.bed").display().to_string();
        for (role, from, to) in cases {
            let found = ExampleReader::open(&tiny.config_with(&[(from, to)]));
            let found = match found {
                Ok(reader) => Ok(DataDescription::without_sources(&reader).notes()),
                Err(error) => Err(error.to_string()),
            };
            if role == "exclude" {
                let note = format!("exclude {path}: there is no region in the file");
                assert!(found.as_ref().unwrap().contains(&note), "{found:?}");
            } else {
                let message = "no region in the file; is it the right one, and whole?";
                assert_eq!(found, Err(format!("{path}: {message}")), "{role}");
            }
        }
    }
}

#[test]
fn mrna_table_of_other_genes_is_an_error() {
    let tiny = TinyGenome::write();
    let table = std::fs::read_to_string(tiny.path("mrna.tsv")).unwrap();
    let table = table.trim_end().replace('\n', "\nOTHER_");
    std::fs::write(tiny.path("mrna.tsv"), table).unwrap();
    let error = ExampleReader::open(&tiny.config_with(&[]))
        .unwrap_err()
        .to_string();
    let part = "has a coding transcript there; the first is \"LEFT\" (\"ID_LEFT\")";
    assert!(error.contains(part), "{error}");
}

#[test]
fn track_of_another_assembly_is_an_error() {
    let tiny = TinyGenome::write();
    let longer = [("chr1", CHROMS[0].1 + 1), CHROMS[1]];
    std::fs::write(tiny.path("genome.fa"), fasta(&longer)).unwrap();
    let error = ExampleReader::open(&tiny.config_with(&[]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("h3k27ac.bw: chr1 has 3000 bp, but 3001 bp in"),
        "{error}"
    );
    let table = FileTable::read(&tiny.config_with(&[]));
    assert_eq!(table.problems.len(), 2, "{:?}", table.problems); // both tracks
}

#[test]
fn config_unknown_key_is_an_error() {
    let tiny = TinyGenome::write();
    for (from, to, part) in [
        ("length = 40", "lenght = 40", "unknown field `lenght`"),
        (
            "value = \"tpm\"",
            "value = \"tpm\", x = 1",
            "unknown field `x`",
        ),
        (
            "by = \"column\"",
            "by = \"column\", fold = 1",
            "unknown field `fold`",
        ),
        (
            "by = \"column\"",
            "by = \"colum\"",
            "unknown variant `colum`",
        ),
        (
            "name = \"dnase\"",
            "name = \"dnase\"\nbias = 1",
            "unknown field `bias`",
        ),
    ] {
        let text = tiny.config.replace(from, to);
        let error = toml::from_str::<DataConfig>(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn truncated_files_are_errors() {
    for file in ["genome.fa", "dnase.bw", "h3k27ac.bw"] {
        let tiny = TinyGenome::write();
        let bytes = std::fs::read(tiny.path(file)).unwrap();
        std::fs::write(tiny.path(file), &bytes[..bytes.len() / 2]).unwrap();
        let config = tiny.config_with(&[]);
        let outcome = ExampleReader::open(&config).and_then(|reader| {
            (0..7)
                .map(|index| reader.read(index))
                .collect::<Result<Vec<_>, _>>()
        });
        let error = outcome
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(!error.is_empty(), "{file}");
    }
}

#[test]
fn damaged_gzip_is_said_to_be_damaged_whatever_its_text_says() {
    let tiny = TinyGenome::write();
    tiny.edit("expression.tsv", "PLUS\t9", "PLUS\tx");
    let text = std::fs::read(tiny.path("expression.tsv")).unwrap();
    // RFC 1952 and 1951: one block that is stored as it is; the checksum behind it is not its own.
    let length = (text.len() as u16).to_le_bytes();
    let mut damaged = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    damaged.extend(length);
    damaged.extend(length.map(|byte| !byte));
    damaged.extend(&text);
    damaged.extend([0; 4]);
    damaged.extend((text.len() as u32).to_le_bytes());
    std::fs::write(tiny.path("expression.tsv.gz"), damaged).unwrap();
    let config = tiny.config_with(&[("expression.tsv", "expression.tsv.gz")]);
    let error = ExampleReader::open(&config).unwrap_err().to_string();
    let part = "expression.tsv.gz:10: the compressed data is cut off or damaged here";
    assert!(error.contains(part), "{error}");
}

#[test]
fn file_table_lists_every_file_and_problem() {
    let tiny = TinyGenome::write();
    let good = FileTable::read(&tiny.config_with(&[]));
    assert_eq!(good.problems, [""; 0]);
    let roles: Vec<&str> = good.rows.iter().map(|row| row.role.as_str()).collect();
    assert_eq!(
        roles,
        [
            "genome",
            "genes",
            "track h3k27ac",
            "track dnase",
            "include",
            "exclude"
        ]
    );
    let text = good.to_string();
    assert!(
        text.contains("genome         chr1 3000 bp, chr2 400 bp"),
        "{text}"
    );
    assert!(
        text.contains("genes          chr1 6 genes, chr2 2 genes"),
        "{text}"
    );

    tiny.edit("genes.tsv", "chr2", "2");
    tiny.edit("exclude.bed", "chr1", "1");
    std::fs::remove_file(tiny.path("include.bed")).unwrap();
    let bad = FileTable::read(&tiny.config_with(&[]));
    assert_eq!(bad.problems.len(), 3, "{:?}", bad.problems);
    for part in [
        "include.bed",
        "no chromosome \"2\" (2 genes); it is called \"chr2\" there; use the same names",
        "exclude.bed: no chromosome \"1\"",
    ] {
        let found = bad.problems.iter().any(|problem| problem.contains(part));
        assert!(found, "{part}: {:?}", bad.problems);
    }
}

#[test]
fn genes_on_many_unknown_chromosomes_are_one_problem() {
    let tiny = TinyGenome::write();
    let patches = (1..=8).fold(String::new(), |text, patch| {
        let gene = format!("P{patch}\tID_P{patch}\tKI{patch}.1\t5\t+\tprotein_coding\ttrain\n");
        text + &gene
    });
    tiny.edit("genes.tsv", "\nLEFT", &format!("\n{patches}LEFT"));
    let problems = FileTable::read(&tiny.config_with(&[])).problems;
    let genome = tiny.path("genome.fa").display().to_string();
    assert_eq!(
        problems,
        [format!(
            "{genome}: no chromosome \"KI1.1\" (1 genes), \"KI2.1\" (1 genes), \"KI3.1\" (1 genes), \"KI4.1\" (1 genes), \
             \"KI5.1\" (1 genes), \"KI6.1\" (1 genes), … (8 chromosomes in all); there are chr1, chr2; if it has another \
             name there, add it to chrom_alias; else leave these genes out of the gene table"
        )]
    );
}

#[test]
fn summit_outside_its_peak_is_an_error_where_it_counts() {
    let tiny = TinyGenome::write();
    let peaks =
        "chr1\t90\t130\tp\t9\t.\t1.5\t-1\t-1\t20\nchr1\t90\t130\tp\t9\t.\t1.5\t-1\t-1\t40\n";
    std::fs::write(tiny.path("a.narrowPeak"), peaks).unwrap();
    let moved = (
        "promoter = 4",
        "promoter = 4\ntss_peaks = { path = \"a.narrowPeak\" }",
    );
    let error = ExampleReader::open(&tiny.config_with(&[moved])).unwrap_err();
    let message = error.to_string();
    let part = "a.narrowPeak:2: summit (column 10) \"40\" is not the offset of a base of the peak";
    assert!(message.contains(part), "{message}");
    // The mask takes the whole peak.
    let excluded = ("exclude.bed", "a.narrowPeak");
    ExampleReader::open(&tiny.config_with(&[excluded])).unwrap();
}

#[test]
fn gene_of_unknown_strand_is_left_out_with_the_reason() {
    let tiny = TinyGenome::write();
    let text = std::fs::read_to_string(tiny.path("genes.tsv")).unwrap();
    let mut gff = String::from("##gff-version 3\nchr1\t.\tgene\t5\t90\t.\t?\t.\tID=rps12\n");
    for row in text.lines().skip(1) {
        let fields: Vec<&str> = row.split('\t').collect();
        let (symbol, chrom, tss, strand) = (fields[0], fields[2], fields[3], fields[4]);
        let base = tss.parse::<u64>().unwrap() + 1;
        gff += &format!("{chrom}\t.\tgene\t{base}\t{base}\t.\t{strand}\t.\tID={symbol}\n");
    }
    std::fs::write(tiny.path("genes.gff3"), gff).unwrap();
    let blocks = "by = \"blocks\", n_blocks = 3, test_block = 0";
    let config = tiny.config_with(&[("genes.tsv", "genes.gff3"), ("by = \"column\"", blocks)]);
    let reader = ExampleReader::open(&config).unwrap();
    let skipped = &reader.skipped()[0];
    assert_eq!((skipped.symbol.as_str(), skipped.line), ("rps12", 2));
    assert_eq!(
        skipped.reason.to_string(),
        "its strand is not known (?), and a start site needs one"
    );
}
