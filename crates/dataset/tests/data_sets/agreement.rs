//! `check` and opening a data set ask the same of the files.

use dataset::{ExampleReader, FileTable};
use genome::{ChromSizes, Interval, write_bigwig};

use crate::tiny_genome::{CHROMS, DNASE, TinyGenome};

/// What both say: nothing, or an error that is among the problems of the files.
fn verdict(tiny: &TinyGenome, replace: &[(&str, &str)]) -> Option<String> {
    let config = tiny.config_with(replace);
    let problems = FileTable::read(&config).problems;
    match ExampleReader::open(&config) {
        Ok(_) => {
            assert_eq!(problems, [""; 0], "open accepts what check refuses");
            None
        }
        Err(error) => {
            let message = error.to_string();
            assert!(problems.contains(&message), "{message}: {problems:?}");
            Some(message)
        }
    }
}

#[test]
fn a_track_needs_only_the_chromosomes_of_genes_that_become_examples() {
    const CODING: (&str, &str) = (
        "length = 40",
        "length = 40\ngene_types = [\"protein_coding\"]",
    );
    const KEEP: (&str, &str) = ("length = 40", "length = 40\nmissing_expression = \"keep\"");
    type Edits<'a> = &'a [(&'a str, &'a str, &'a str)];
    // On chr2 lie SHORT (0.5 TPM) and UNKNOWN (not measured); dnase.bw lacks chr2.
    let not_coding: Edits = &[("genes.tsv", "399\t+\tprotein_coding", "399\t+\tlincRNA")];
    let not_measured: Edits = &[("expression.tsv", "SHORT\t0.5", "SHORT\tNA")];
    type Setting<'a> = Option<(&'a str, &'a str)>;
    let cases: [(Edits, Setting, Option<&str>); 6] = [
        (&[], None, Some("\"chr2\" (1 genes)")),
        (&[], Some(KEEP), Some("\"chr2\" (2 genes)")),
        (not_coding, None, Some("\"chr2\" (1 genes)")),
        (not_coding, Some(CODING), None),
        (not_measured, None, None),
        (not_measured, Some(KEEP), Some("\"chr2\" (2 genes)")),
    ];
    for (edits, setting, expected) in cases {
        let tiny = TinyGenome::write();
        let sizes = ChromSizes::new(vec![("chr1".to_string(), CHROMS[0].1)]);
        let rows = DNASE
            .map(|(start, end, value)| (Interval::try_new("chr1", start, end).unwrap(), value));
        write_bigwig(tiny.path("dnase.bw"), &sizes, rows).unwrap();
        for (file, from, to) in edits {
            tiny.edit(file, from, to);
        }
        let found = verdict(&tiny, setting.as_slice());
        match (&found, expected) {
            (None, None) => {}
            (Some(message), Some(part)) => assert!(message.contains(part), "{message}"),
            _ => panic!("{edits:?} {setting:?}: {found:?}"),
        }
    }
}

#[test]
fn genes_of_other_kinds_may_lie_on_chromosomes_that_the_genome_lacks() {
    let tiny = TinyGenome::write();
    let genes = std::fs::read_to_string(tiny.path("genes.tsv")).unwrap();
    let patch = "PATCHED\tID_PATCHED\tHG1_PATCH\t7\t+\tlincRNA\ttrain\n";
    std::fs::write(tiny.path("genes.tsv"), genes + patch).unwrap();
    let coding = [(
        "length = 40",
        "length = 40\ngene_types = [\"protein_coding\"]",
    )];
    assert_eq!(verdict(&tiny, &coding), None);
    let reader = ExampleReader::open(&tiny.config_with(&coding)).unwrap();
    let reasons: Vec<(&str, String)> = reader
        .skipped()
        .iter()
        .map(|gene| (gene.symbol.as_str(), gene.reason.to_string()))
        .collect();
    let expected = [
        ("LINC", "gene type lincRNA is not kept"),
        ("UNKNOWN", "no measured expression"),
        ("PATCHED", "gene type lincRNA is not kept"),
    ];
    assert_eq!(reasons, expected.map(|(symbol, why)| (symbol, why.into())));

    // Of all kinds, the gene is refused by its line, and its chromosome by check.
    let config = tiny.config_with(&[]);
    let error = ExampleReader::open(&config).unwrap_err().to_string();
    assert!(
        error.contains("genes.tsv:10: no chromosome \"HG1_PATCH\" in the genome"),
        "{error}"
    );
    let problems = FileTable::read(&config).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("no chromosome \"HG1_PATCH\" (1 genes); there are"),
        "{problems:?}"
    );
}

#[test]
fn an_expression_track_needs_the_chromosomes_of_the_kinds_that_are_kept() {
    let tiny = TinyGenome::write();
    let sizes = ChromSizes::new(vec![("chr1".to_string(), CHROMS[0].1)]);
    let row = (Interval::try_new("chr1", 0, 200).unwrap(), 0.5);
    write_bigwig(tiny.path("cage.bw"), &sizes, [row]).unwrap();
    let table = "{ path = \"expression.tsv\", value = \"tpm\" }";
    let track = (table, "{ path = \"cage.bw\", value = \"cage\" }");
    let message = verdict(&tiny, &[track]).unwrap();
    let part = "cage.bw: no chromosome \"chr2\" (2 genes); there are chr1; if it has another name \
                there, add it to chrom_alias; else take a file that has it, or leave its genes out";
    assert!(message.contains(part), "{message}");
    for (symbol, tss) in [("SHORT", "399"), ("UNKNOWN", "200")] {
        let row = format!("{symbol}\tID_{symbol}\tchr2\t{tss}\t+\t");
        tiny.edit(
            "genes.tsv",
            &(row.clone() + "protein_coding"),
            &(row + "lincRNA"),
        );
    }
    let coding = (
        "length = 40",
        "length = 40\ngene_types = [\"protein_coding\"]",
    );
    assert_eq!(verdict(&tiny, &[track, coding]), None);
}
