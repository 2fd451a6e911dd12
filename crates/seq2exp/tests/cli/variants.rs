//! `check --variants`: reference alleles against the genome.

use crate::run_in;
use crate::tiny_experiment::{CONTIG_LENGTH, TinyExperiment};

const HEADER: &str = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";

/// The genome's bases; the base at a 1-based position is `[position - 1]`.
fn bases(experiment: &TinyExperiment) -> Vec<char> {
    let fasta = experiment.read("genome.fa");
    fasta.lines().skip(1).flat_map(str::chars).collect()
}

/// One SNV every 1,000 bases from 1,000 to 20,000; `alleles` gives REF and ALT of a 1-based position.
fn snvs(alleles: impl Fn(usize) -> (char, char)) -> String {
    let rows = (1..=20).map(|n| {
        let position = 1_000 * n;
        let (reference, alternate) = alleles(position);
        format!("chrT\t{position}\t.\t{reference}\t{alternate}\t.\t.\t.\n")
    });
    HEADER.to_string() + &rows.collect::<String>()
}

/// A base other than the one given, and neither is its complement.
fn other(base: char) -> char {
    match base {
        'A' => 'C',
        'C' => 'A',
        'G' => 'T',
        _ => 'G',
    }
}

fn complement(base: char) -> char {
    match base {
        'A' => 'T',
        'C' => 'G',
        'G' => 'C',
        _ => 'A',
    }
}

/// Runs `check --variants v.vcf` with more arguments: exit code, standard output, standard error.
fn check(experiment: &TinyExperiment, vcf: &str, more: &[&str]) -> (i32, String, String) {
    experiment.write("v.vcf", vcf);
    let arguments = ["check", "experiment.toml", "--variants", "v.vcf"];
    run_in(experiment.folder(), &[&arguments, more].concat())
}

#[test]
fn variants_that_fit_are_counted() {
    let experiment = TinyExperiment::new();
    let bases = bases(&experiment);
    let vcf = snvs(|position| (bases[position - 1], other(bases[position - 1])))
        + "chrQ\t5\t.\tA\tC\t.\t.\t.\n"
        // A deletion in lower case.
        + &format!(
            "chrT\t30001\t.\t{}\t{}\t.\t.\t.\n",
            bases[30_000..30_004].iter().collect::<String>().to_lowercase(),
            bases[30_000]
        );
    let (code, table, message) = check(&experiment, &vcf, &[]);
    assert_eq!(code, 0, "{message}");
    let line = "variants 22 records, 21 with the genome's REF, 0 with another, 0 past the end, \
                1 on chromosomes that the genome lacks";
    assert!(table.contains(line), "{table}");
}

#[test]
fn variants_that_do_not_fit_name_the_first_line_the_count_and_the_cause() {
    let experiment = TinyExperiment::new();
    let bases = bases(&experiment);
    let at = |position: usize| bases[position - 1];
    let hg19 = HEADER.replace("#CHROM", "##contig=<ID=chr1,length=249250621>\n#CHROM");
    let one_wrong = snvs(|position| match position {
        3_000 => (other(at(3_000)), 'N'),
        _ => (at(position), other(at(position))),
    });
    let past_end = format!("{HEADER}chrT\t40000\t.\tAA\tA\t.\t.\t.\n");
    let swapped = snvs(|position| (other(at(position)), at(position)));
    let cases = [
        // The third record is on line 5: two header lines.
        (
            one_wrong,
            "v.vcf:5: REF ",
            "1 of 20 records differ; correct or remove",
        ),
        (
            swapped.clone(),
            "v.vcf:3: REF ",
            "20 of 20 records differ; for 20 of them the genome has their ALT",
        ),
        (
            snvs(|position| (complement(at(position)), 'N')),
            "v.vcf:3: REF ",
            "the genome has the reverse complement",
        ),
        // Positions counted from 0: the base belongs to the next position.
        (
            snvs(|position| (at(position + 1), 'N')),
            "v.vcf:",
            "one base to the right",
        ),
        (
            snvs(|position| (at(position - 1), 'N')),
            "v.vcf:",
            "one base to the left",
        ),
        // The base of another place altogether agrees by chance with a quarter.
        (
            snvs(|position| (at(position + 7), 'N')),
            "v.vcf:",
            "is this of another assembly, for example hg19",
        ),
        (
            past_end,
            "v.vcf:3: chrT:40000-40001 reaches past the end of its chromosome",
            "1 of 1 records do; is this of another assembly",
        ),
        (
            swapped.replace("chrT", "T"),
            "v.vcf: ",
            "none of its 20 records is on a chromosome of the genome, in which it is called \"chrT\" there",
        ),
        (
            hg19.clone() + "chrT\t1\t.\tAC",
            "v.vcf:4: ",
            "4 tab-separated fields",
        ),
    ];
    for (vcf, place, cause) in cases {
        let (code, table, message) = check(&experiment, &vcf, &[]);
        assert_eq!(code, 1, "{table}");
        assert!(
            message.contains(place) && message.contains(cause),
            "{cause}: {message}"
        );
        assert!(
            table.starts_with("genome "),
            "the table comes first: {table}"
        );
    }
    // An alias makes the same file readable, and REF is compared.
    let vcf = swapped.replace("chrT", "T");
    let (_, _, message) = check(&experiment, &vcf, &["--chrom-alias", "T=chrT"]);
    assert!(message.contains("20 of 20 records differ"), "{message}");
}

#[test]
fn variants_as_json_list_the_mismatches() {
    let experiment = TinyExperiment::new();
    let bases = bases(&experiment);
    let wrong = other(bases[1_999]);
    let vcf = snvs(|position| match position {
        2_000 => (wrong, 'N'),
        _ => (bases[position - 1], 'N'),
    });
    let (code, json, message) = check(&experiment, &vcf, &["--json"]);
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let variants = &report["variants"][0];
    assert_eq!(variants["n_records"], 20);
    assert_eq!(
        (&variants["n_same"], &variants["n_differ"]),
        (&19.into(), &1.into())
    );
    let mismatch = &variants["mismatches"][0];
    assert!(
        mismatch["place"]
            .as_str()
            .is_some_and(|place| place.ends_with("v.vcf:4"))
    );
    assert_eq!(mismatch["region"], "chrT:2000-2000");
    assert_eq!(mismatch["reference"], wrong.to_string());
    assert_eq!(mismatch["genome"], bases[1_999].to_string());
    let problem = report["problems"][0].as_str().expect("one problem");
    assert!(message.contains(problem), "{message}");
    assert_eq!(report["files"][0]["chroms"][0]["length"], CONTIG_LENGTH);
}
