//! Properties of a gene's mature transcript.

use std::collections::HashMap;
use std::path::Path;

use crate::annotation::Transcript;
use crate::error::GenomeError;
use crate::interval::{Interval, Strand};
use crate::reference::Reference;
use crate::table::{Row, Table};

/// Lengths, base composition and junctions of one transcript; raw values.
///
/// The coding part is what the exons have between the first and the last base of the CDS; the
/// stop codon belongs to the 3' UTR where the annotation leaves it out of the CDS, as GENCODE
/// and Ensembl do. A transcript without CDS has lengths of 0 but for its introns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MrnaFeatures {
    /// Bases of the 5' untranslated region.
    pub utr5_len: u64,
    /// Coding bases.
    pub cds_len: u64,
    /// Bases of the 3' untranslated region.
    pub utr3_len: u64,
    /// Bases between the exons.
    pub intron_len: u64,
    /// G and C among the A, C, G and T of the 5' UTR, 0 to 1; 0 when it has none of them.
    pub utr5_gc: f64,
    /// The same of the coding bases.
    pub cds_gc: f64,
    /// The same of the 3' UTR.
    pub utr3_gc: f64,
    /// Exon junctions.
    pub n_junctions: u64,
    /// Exon junctions with coding bases on both sides.
    pub n_orf_junctions: u64,
    /// `n_orf_junctions` per 1,000 coding bases; 0 when there are none.
    pub orf_junctions_per_kb: f64,
}

/// Bases of one part of a transcript.
#[derive(Default)]
struct Part {
    length: u64,
    n_gc: u64,
    n_at: u64,
}

impl Part {
    fn add(&mut self, bases: &[u8]) {
        self.length += bases.len() as u64;
        for base in bases {
            match base.to_ascii_uppercase() {
                b'G' | b'C' => self.n_gc += 1,
                b'A' | b'T' => self.n_at += 1,
                _ => {}
            }
        }
    }

    fn gc(&self) -> f64 {
        match self.n_gc + self.n_at {
            0 => 0.0,
            n => self.n_gc as f64 / n as f64,
        }
    }
}

impl MrnaFeatures {
    /// Computes the features of a transcript from its exons and the reference sequence.
    ///
    /// # Errors
    /// As [`Reference::read_bases`], for example when an exon lies outside its chromosome.
    pub fn from_transcript(
        transcript: &Transcript,
        reference: &Reference,
    ) -> Result<Self, GenomeError> {
        let exons = transcript.exons.as_slice();
        let intron_len = exons
            .windows(2)
            .map(|pair| match pair {
                [a, b] => b.start().saturating_sub(a.end()),
                _ => 0,
            })
            .sum();
        let n_junctions = exons.len().saturating_sub(1) as u64;
        let Some((cds_start, cds_end)) = transcript.cds_span() else {
            return Ok(MrnaFeatures {
                utr5_len: 0,
                cds_len: 0,
                utr3_len: 0,
                intron_len,
                utr5_gc: 0.0,
                cds_gc: 0.0,
                utr3_gc: 0.0,
                n_junctions,
                n_orf_junctions: 0,
                orf_junctions_per_kb: 0.0,
            });
        };

        let (mut before, mut coding, mut after) =
            (Part::default(), Part::default(), Part::default());
        let mut n_coding_exons = 0_u64;
        for run in runs(exons) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let offset = first.start();
            let bases = reference.read_bases(&Interval::try_new(
                first.shared_chrom(),
                offset,
                last.end(),
            )?)?;
            for exon in run {
                let cut = |start: u64, end: u64| {
                    let (start, end) = (start.max(exon.start()), end.min(exon.end()));
                    let range =
                        start.saturating_sub(offset) as usize..end.saturating_sub(offset) as usize;
                    bases.get(range).unwrap_or_default()
                };
                let coding_bases = cut(cds_start, cds_end);
                n_coding_exons += u64::from(!coding_bases.is_empty());
                coding.add(coding_bases);
                before.add(cut(0, cds_start));
                after.add(cut(cds_end, u64::MAX));
            }
        }
        let (utr5, utr3) = match transcript.strand {
            Strand::Forward => (before, after),
            Strand::Reverse => (after, before),
        };
        let n_orf_junctions = n_coding_exons.saturating_sub(1);
        Ok(MrnaFeatures {
            utr5_len: utr5.length,
            cds_len: coding.length,
            utr3_len: utr3.length,
            intron_len,
            utr5_gc: utr5.gc(),
            cds_gc: coding.gc(),
            utr3_gc: utr3.gc(),
            n_junctions,
            n_orf_junctions,
            orf_junctions_per_kb: match coding.length {
                0 => 0.0,
                length => n_orf_junctions as f64 / (length as f64 / 1000.0),
            },
        })
    }
}

/// Splits exons where a long intron follows: each run is one access to the sequence file.
fn runs(exons: &[Interval]) -> impl Iterator<Item = &[Interval]> {
    /// About what one BGZF block holds: reading over less costs no more than a new access.
    const MAX_INTRON: u64 = 1 << 16;
    exons.chunk_by(|a, b| b.start().saturating_sub(a.end()) <= MAX_INTRON)
}

/// Reads features from a tab-separated table with a header line, by gene.
///
/// The columns are the fields of [`MrnaFeatures`] and `symbol` (or `gene_id`), which must be
/// unique. An empty composition or density, `NA`, is 0: there are no bases to take it from.
///
/// # Errors
/// [`GenomeError`] with path and line: a missing column (the message lists those that exist), a
/// length that is no whole number, a composition outside 0 to 1, a gene that occurs twice.
pub fn read_mrna_table(
    path: impl AsRef<Path>,
) -> Result<HashMap<String, MrnaFeatures>, GenomeError> {
    let path = path.as_ref();
    let mut table = Table::open(path)?;
    let key = match table.find("symbol").or_else(|| table.find("gene_id")) {
        Some(key) => key,
        None => return Err(table.missing("\"symbol\" or \"gene_id\"".to_string())),
    };
    let [
        utr5_len,
        cds_len,
        utr3_len,
        intron_len,
        n_junctions,
        n_orf_junctions,
    ] = [
        table.require("utr5_len")?,
        table.require("cds_len")?,
        table.require("utr3_len")?,
        table.require("intron_len")?,
        table.require("n_junctions")?,
        table.require("n_orf_junctions")?,
    ];
    let [utr5_gc, cds_gc, utr3_gc, orf_junctions_per_kb] = [
        table.require("utr5_gc")?,
        table.require("cds_gc")?,
        table.require("utr3_gc")?,
        table.require("orf_junctions_per_kb")?,
    ];
    let mut features = HashMap::new();
    let mut first_lines: HashMap<String, u64> = HashMap::new();
    while let Some(row) = table.next_row()? {
        let count = |index| row.parse::<u64>(index, "a whole number");
        let gene = row.text(key)?.to_string();
        if let Some(first_line) = first_lines.insert(gene.clone(), row.line()) {
            return Err(row.duplicate(key, first_line));
        }
        features.insert(
            gene,
            MrnaFeatures {
                utr5_len: count(utr5_len)?,
                cds_len: count(cds_len)?,
                utr3_len: count(utr3_len)?,
                intron_len: count(intron_len)?,
                utr5_gc: ratio(&row, utr5_gc, 1.0, "a number from 0 to 1, or NA")?,
                cds_gc: ratio(&row, cds_gc, 1.0, "a number from 0 to 1, or NA")?,
                utr3_gc: ratio(&row, utr3_gc, 1.0, "a number from 0 to 1, or NA")?,
                n_junctions: count(n_junctions)?,
                n_orf_junctions: count(n_orf_junctions)?,
                orf_junctions_per_kb: ratio(
                    &row,
                    orf_junctions_per_kb,
                    f64::MAX,
                    "a number of at least 0, or NA",
                )?,
            },
        );
    }
    if features.is_empty() {
        return Err(GenomeError::Empty {
            path: path.to_path_buf(),
            what: "gene",
        });
    }
    Ok(features)
}

/// A number from 0 to `max`; 0 where the table has none.
fn ratio(
    row: &Row<'_>,
    index: usize,
    max: f64,
    expected: &'static str,
) -> Result<f64, GenomeError> {
    if matches!(row.get(index), "" | "NA") {
        return Ok(0.0);
    }
    let value = row.finite(index, expected)?;
    if (0.0..=max).contains(&value) {
        Ok(value)
    } else {
        Err(row.invalid(index, expected))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::annotation::read_annotation;
    use crate::gene::read_gene_table;

    fn example(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../examples/k562_chr22")
            .join(name)
    }

    #[test]
    fn from_transcript_example_agrees_with_its_table() {
        // The table was computed by another program (SOURCES.md) and has four decimals.
        const HALF_A_DIGIT: f64 = 0.5e-4 + 1e-12;
        let expected = read_mrna_table(example("mrna_features.tsv")).unwrap();
        let annotation = read_annotation(example("genes.gtf.gz")).unwrap();
        let reference = Reference::open(example("genome.fa.gz")).unwrap();
        let mut n_compared = 0;
        for gene in read_gene_table(example("genes.tsv")).unwrap() {
            let Some(expected) = expected.get(&gene.symbol) else {
                assert_ne!(
                    gene.gene_type.as_deref(),
                    Some("protein_coding"),
                    "{gene:?}"
                );
                continue;
            };
            let (transcript, _) = annotation.representative(&gene).unwrap();
            let found = MrnaFeatures::from_transcript(transcript, &reference).unwrap();
            let counts = |f: &MrnaFeatures| {
                [
                    f.utr5_len,
                    f.cds_len,
                    f.utr3_len,
                    f.intron_len,
                    f.n_junctions,
                    f.n_orf_junctions,
                ]
            };
            assert_eq!(counts(&found), counts(expected), "{}", gene.symbol);
            let ratios =
                |f: &MrnaFeatures| [f.utr5_gc, f.cds_gc, f.utr3_gc, f.orf_junctions_per_kb];
            for (a, b) in ratios(&found).into_iter().zip(ratios(expected)) {
                assert!(
                    (a - b).abs() <= HALF_A_DIGIT,
                    "{}: {a} and {b}",
                    gene.symbol
                );
            }
            n_compared += 1;
        }
        assert_eq!((n_compared, expected.len()), (61, 61));
    }

    #[test]
    fn from_transcript_both_strands_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.fa");
        //                         0123456789012345678901
        std::fs::write(&path, ">c\nggccaattNNGCATgcTTTTAC\n").unwrap();
        let reference = Reference::open(&path).unwrap();
        let interval = |start, end| Interval::try_new("c", start, end).unwrap();
        let mut transcript = Transcript {
            gene_id: "G".into(),
            gene_name: "G".into(),
            transcript_id: "T".into(),
            tag: None,
            chrom: "c".into(),
            strand: Strand::Forward,
            exons: vec![interval(0, 6), interval(8, 12), interval(14, 22)],
            cds: vec![interval(4, 6), interval(8, 12), interval(14, 17)],
        };
        // Before the CDS: ggcc, all G or C. CDS: aa, NNGC, gcT: 4 G or C of 7 that are no N.
        // After it: TTTAC, 1 of 5. Introns: 6..8 and 12..14. Two junctions inside 9 coding bases.
        let forward = MrnaFeatures {
            utr5_len: 4,
            cds_len: 9,
            utr3_len: 5,
            intron_len: 4,
            utr5_gc: 1.0,
            cds_gc: 4.0 / 7.0,
            utr3_gc: 0.2,
            n_junctions: 2,
            n_orf_junctions: 2,
            orf_junctions_per_kb: 2.0 / 0.009,
        };
        let close = |found: MrnaFeatures, expected: MrnaFeatures| {
            // The density is a quotient of two roundings.
            assert!((found.orf_junctions_per_kb - expected.orf_junctions_per_kb).abs() < 1e-9);
            let orf_junctions_per_kb = expected.orf_junctions_per_kb;
            assert_eq!(
                MrnaFeatures {
                    orf_junctions_per_kb,
                    ..found
                },
                expected
            );
        };
        let of = |transcript: &Transcript| MrnaFeatures::from_transcript(transcript, &reference);
        close(of(&transcript).unwrap(), forward);
        transcript.strand = Strand::Reverse;
        let reverse = MrnaFeatures {
            utr5_len: 5,
            utr3_len: 4,
            utr5_gc: 0.2,
            utr3_gc: 1.0,
            ..forward
        };
        close(of(&transcript).unwrap(), reverse);
        transcript.cds.clear();
        let noncoding = MrnaFeatures {
            utr5_len: 0,
            cds_len: 0,
            utr3_len: 0,
            intron_len: 4,
            utr5_gc: 0.0,
            cds_gc: 0.0,
            utr3_gc: 0.0,
            n_junctions: 2,
            n_orf_junctions: 0,
            orf_junctions_per_kb: 0.0,
        };
        assert_eq!(of(&transcript).unwrap(), noncoding);
        transcript.exons = vec![interval(0, 23)];
        transcript.cds = vec![interval(0, 23)];
        let message = of(&transcript).unwrap_err().to_string();
        assert!(
            message.ends_with("c:1-23 is outside c (22 bp)"),
            "{message}"
        );
    }

    const HEADER: &str = "symbol\tutr5_len\tcds_len\tutr3_len\tintron_len\tutr5_gc\tcds_gc\tutr3_gc\tn_junctions\tn_orf_junctions\torf_junctions_per_kb\n";

    fn read(text: impl AsRef<[u8]>) -> Result<HashMap<String, MrnaFeatures>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.tsv");
        std::fs::write(&path, text).unwrap();
        read_mrna_table(&path).map_err(|e| {
            e.to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
    }

    #[test]
    fn read_mrna_table_bad_input_names_line_and_column() {
        let cases = [
            (
                HEADER.replace("cds_gc", "gc"),
                "m.tsv:1: no column \"cds_gc\"; the columns are symbol, ",
            ),
            (HEADER.to_string(), "m.tsv: no gene in the file"),
            (
                format!("{HEADER}A\t-1\t1\t1\t1\t0\t0\t0\t1\t1\t1\n"),
                "m.tsv:2: utr5_len \"-1\" is not a whole number",
            ),
            (
                format!("{HEADER}A\t1\t1\t1\t1\t1.01\t0\t0\t1\t1\t1\n"),
                "m.tsv:2: utr5_gc \"1.01\" is not a number from 0 to 1, or NA",
            ),
            (
                format!("{HEADER}A\t1\t1\t1\t1\t0\t1.01\t0\t1\t1\t1\n"),
                "m.tsv:2: cds_gc \"1.01\" is not a number from 0 to 1, or NA",
            ),
            (
                format!("{HEADER}A\t1\t1\t1\t1\t0\t0\t1.01\t1\t1\t1\n"),
                "m.tsv:2: utr3_gc \"1.01\" is not a number from 0 to 1, or NA",
            ),
            (
                format!("{HEADER}A\t1\t1\t1\t1\t0\t1\t0\t1\t1\tinf\n"),
                "m.tsv:2: orf_junctions_per_kb \"inf\" is not a number of at least 0, or NA",
            ),
            (
                format!(
                    "{HEADER}A\t1\t1\t1\t1\tNA\t1\t0\t1\t1\t1\nA\t1\t1\t1\t1\t0\t1\t0\t1\t1\t1\n"
                ),
                "m.tsv:3: symbol \"A\" occurs already on line 2",
            ),
        ];
        for (text, expected) in cases {
            let message = read(text).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    proptest! {
        #[test]
        fn read_mrna_table_any_row_never_panics(row in "[A-C]?(\t[0-9.eNA-]{0,4}){9,11}\r?\n") {
            let _ = read(format!("{HEADER}{row}"));
        }
    }
}
