//! Genes and the table that lists them.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::assembly::assembly_with_room;
use crate::chrom_sizes::ChromSizes;
use crate::error::{GenomeError, shorten};
use crate::interval::{Interval, Strand};
use crate::table::Table;

/// One gene and where its transcription starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gene {
    /// Identifier as in the source, for example an Ensembl identifier; need not be unique.
    pub gene_id: String,
    /// The unique key of the gene; the identifier where the source has no symbols.
    pub symbol: String,
    /// Chromosome.
    pub chrom: String,
    /// First transcribed base, 0-based.
    pub tss: u64,
    /// Strand it is transcribed from.
    pub strand: Strand,
    /// Kind of gene, for example `protein_coding`, where the source says it.
    pub gene_type: Option<String>,
    /// `train`, `valid` or `test` as in the source, where it says it.
    pub split: Option<String>,
    /// Line of the gene in its source, from 1.
    pub line: u64,
}

/// Reads a gene table: tab-separated (or `.csv`), with a header line, one gene a row.
///
/// | column | content |
/// |---|---|
/// | `gene_id`, `symbol` | at least one of the two; `symbol` must be unique |
/// | `chrom` (or `chr`) | chromosome |
/// | `tss` | first transcribed base, 0-based |
/// | `strand` | `+` or `-` |
/// | `gene_type`, `split` | optional; empty, `NA` and `.` mean that it is not known |
///
/// Other columns are ignored. Without a `symbol` column the identifier is the symbol, and the
/// other way round. Windows line ends, gzip and bgzip are accepted.
///
/// # Errors
/// [`GenomeError`] with path and line: a missing column (the message lists those that exist), a
/// wrong number of fields, a bad value, a symbol that occurs twice, no gene at all.
pub fn read_gene_table(path: impl AsRef<Path>) -> Result<Vec<Gene>, GenomeError> {
    let path = path.as_ref();
    let mut table = Table::open(path)?;
    let (gene_id, symbol) = match (table.find("gene_id"), table.find("symbol")) {
        (Some(gene_id), Some(symbol)) => (gene_id, symbol),
        (Some(only), None) | (None, Some(only)) => (only, only),
        (None, None) => return Err(table.missing("\"symbol\" or \"gene_id\"".to_string())),
    };
    let chrom = match table.find("chrom").or_else(|| table.find("chr")) {
        Some(chrom) => chrom,
        None => return Err(table.missing("\"chrom\"".to_string())),
    };
    let tss = table.require("tss")?;
    let strand = table.require("strand")?;
    let gene_type = table.find("gene_type");
    let split = table.find("split");

    let mut genes = Vec::new();
    let mut first_lines: HashMap<String, u64> = HashMap::new();
    while let Some(row) = table.next_row()? {
        let known = |index: Option<usize>| {
            index
                .map(|index| row.get(index))
                .filter(|text| !matches!(*text, "" | "NA" | "."))
                .map(str::to_string)
        };
        let gene = Gene {
            gene_id: row.text(gene_id)?.to_string(),
            symbol: row.text(symbol)?.to_string(),
            chrom: row.text(chrom)?.to_string(),
            tss: row.parse(tss, "a whole number (0-based position)")?,
            strand: row.parse(strand, "+ or -")?,
            gene_type: known(gene_type),
            split: known(split),
            line: row.line(),
        };
        Interval::try_new(gene.chrom.as_str(), gene.tss, gene.tss.saturating_add(1)).map_err(
            |error| match error {
                GenomeError::InvalidInterval { reason, .. } if reason.contains("long") => {
                    row.invalid(tss, "a position on a chromosome: it is too large")
                }
                _ => row.invalid(chrom, "a chromosome's name: it has white space in it"),
            },
        )?;
        if let Some(first_line) = first_lines.insert(gene.symbol.clone(), gene.line) {
            return Err(row.duplicate(symbol, first_line));
        }
        genes.push(gene);
    }
    if genes.is_empty() {
        return Err(GenomeError::Empty {
            path: path.to_path_buf(),
            what: "gene",
        });
    }
    Ok(genes)
}

/// Makes sure that every gene lies on a chromosome of the genome.
///
/// `path` is the file the genes come from; it goes into the message.
///
/// # Errors
/// For the first gene that does not: [`GenomeError::UnknownChromOnLine`] when its chromosome is
/// missing (`chr22` and `22` are different names; the message says so),
/// [`GenomeError::TssOutsideChrom`] when it starts past the end.
pub fn check_genes_against(
    path: &Path,
    genes: &[Gene],
    sizes: &ChromSizes,
) -> Result<(), GenomeError> {
    for gene in genes {
        let length = sizes
            .get(&gene.chrom)
            .ok_or_else(|| GenomeError::UnknownChromOnLine {
                path: path.to_path_buf(),
                line: gene.line,
                chrom: shorten(&gene.chrom),
                hint: sizes.hint(&gene.chrom),
            })?;
        if gene.tss >= length {
            return Err(GenomeError::TssOutsideChrom {
                path: path.to_path_buf(),
                line: gene.line,
                tss: gene.tss,
                chrom: gene.chrom.clone(),
                length,
                assembly: assembly_with_room(&gene.chrom, gene.tss, length)
                    .unwrap_or("another assembly"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: impl AsRef<[u8]>) -> Result<Vec<Gene>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genes.tsv");
        std::fs::write(&path, bytes).unwrap();
        let prefix = format!("{}/", folder.path().display());
        read_gene_table(&path).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    #[test]
    fn read_gene_table_example_has_75_genes() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/k562_chr22/genes.tsv"
        );
        let genes = read_gene_table(path).unwrap();
        assert_eq!(genes.len(), 75);
        // First row of the file, read by eye.
        assert_eq!(
            genes[0],
            Gene {
                gene_id: "ENSG00000198445".into(),
                symbol: "CCT8L2".into(),
                chrom: "chr22".into(),
                tss: 16_592_809,
                strand: Strand::Reverse,
                gene_type: Some("protein_coding".into()),
                split: Some("valid".into()),
                line: 2,
            }
        );
    }

    #[test]
    fn read_gene_table_optional_columns_and_line_ends() {
        let unix = "gene_id\tchrom\ttss\tstrand\nE1\tchr1\t0\t+\n\nE2\t1\t7\t-\n";
        for text in [
            unix.to_string(),
            unix.replace('\n', "\r\n"),
            format!("\u{feff}{unix}"),
            format!("## made by hand\n# 2 genes\n#{unix}"),
            unix.trim_end().to_string(),
        ] {
            let genes = read(&text).unwrap();
            assert_eq!(genes.len(), 2);
            assert_eq!((genes[0].symbol.as_str(), genes[0].tss), ("E1", 0));
            assert_eq!((genes[1].chrom.as_str(), genes[1].tss), ("1", 7));
            assert_eq!(genes[1].strand, Strand::Reverse);
            assert_eq!((&genes[1].gene_type, &genes[1].split), (&None, &None));
        }
        let genes = read("symbol\tchrom\ttss\tstrand\tsplit\nA\tc\t1\t+\tNA\nB\tc\t1\t+\ttest\n");
        let genes = genes.unwrap();
        assert_eq!((genes[0].gene_id.as_str(), &genes[0].split), ("A", &None));
        assert_eq!(genes[1].split.as_deref(), Some("test"));
    }

    #[test]
    fn read_gene_table_bad_input_names_line_and_remedy() {
        let header = "symbol\tchrom\ttss\tstrand\n";
        let cases = [
            (
                "",
                "genes.tsv: no header line in the file; is it the right one, and whole?",
            ),
            (
                header,
                "genes.tsv: no gene in the file; is it the right one, and whole?",
            ),
            (
                "name\tchrom\ttss\tstrand\n",
                "genes.tsv:1: no column \"symbol\" or \"gene_id\"; the columns are name, chrom, tss, strand",
            ),
            (
                "symbol\tchrom\tTSS\tstrand\n",
                "genes.tsv:1: no column \"tss\"; the columns are symbol, chrom, TSS, strand",
            ),
            (
                "symbol chrom tss strand\n",
                "genes.tsv:1: no column \"symbol\" or \"gene_id\"; the columns are symbol chrom tss strand (only one: are the columns separated by tabs?)",
            ),
            (
                "symbol\tchrom\ttss\ttss\tstrand\n",
                "genes.tsv:1: two columns are called \"tss\"",
            ),
            (
                &format!("{header}A\tchr1\t1.5\t+\n"),
                "genes.tsv:2: tss \"1.5\" is not a whole number (0-based position)",
            ),
            (
                &format!("{header}A\tchr1\t-1\t+\n"),
                "genes.tsv:2: tss \"-1\" is not a whole number (0-based position)",
            ),
            (
                &format!("{header}A\tchr1\t18446744073709551615\t+\n"),
                "genes.tsv:2: tss \"18446744073709551615\" is not a position on a chromosome: it is too large",
            ),
            (
                &format!("{header}A\tchr1\t1\t.\n"),
                "genes.tsv:2: strand \".\" is not + or -",
            ),
            (
                &format!("{header}\tchr1\t1\t+\n"),
                "genes.tsv:2: symbol \"\" is not a name: it is empty",
            ),
            (
                &format!("{header}A\tchr 1\t1\t+\n"),
                "genes.tsv:2: chrom \"chr 1\" is not a chromosome's name: it has white space in it",
            ),
            (
                &format!("{header}A\tchr1\t1\n"),
                "genes.tsv:2: 3 tab-separated fields where 4 (as in the header) are expected",
            ),
            (
                &format!("{header}A\tchr1\t1\t+\nB\tchr1\t1\t+\nA\tchr2\t1\t+\n"),
                "genes.tsv:4: symbol \"A\" occurs already on line 2; keep one of the two",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).unwrap_err(), expected);
        }
        assert_eq!(
            read(b"symbol\tchrom\ttss\tstrand\nA\xff\tchr1\t1\t+\n").unwrap_err(),
            "genes.tsv:2: byte 1 of the line is not UTF-8 text; save the file as UTF-8"
        );
    }

    #[test]
    fn read_gene_table_missing_file_is_named() {
        let error = read_gene_table("no/such/genes.tsv")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot open no/such/genes.tsv: "),
            "{error}"
        );
    }

    #[test]
    fn check_genes_against_names_and_ends() {
        let sizes = ChromSizes::new(vec![
            ("chr19".into(), 58_617_616),
            ("chr22".into(), 50_818_468),
            ("scaffold".into(), 10),
        ]);
        let gene = |chrom: &str, tss| Gene {
            gene_id: "G".into(),
            symbol: "G".into(),
            chrom: chrom.into(),
            tss,
            strand: Strand::Forward,
            gene_type: None,
            split: None,
            line: 412,
        };
        let cases = [
            ("chr19", 0, ""),
            ("chr19", 58_617_615, ""),
            (
                "chr19",
                59_000_000,
                "genes.tsv:412: tss 59000000 is past the end of chr19 (58617616 bp); is this hg19?",
            ),
            (
                "scaffold",
                10,
                "genes.tsv:412: tss 10 is past the end of scaffold (10 bp); is this another assembly?",
            ),
            (
                "22",
                5,
                "genes.tsv:412: no chromosome \"22\" in the genome; it is called \"chr22\" there; use the same names in all files",
            ),
            (
                "chr1",
                5,
                "genes.tsv:412: no chromosome \"chr1\" in the genome; there are chr19, chr22, scaffold",
            ),
        ];
        for (chrom, tss, expected) in cases {
            let found = check_genes_against(Path::new("genes.tsv"), &[gene(chrom, tss)], &sizes);
            assert_eq!(
                found.err().map_or(String::new(), |e| e.to_string()),
                expected
            );
        }
    }

    proptest! {
        // Half of the cases are near a real table, half are any bytes.
        #[test]
        fn read_gene_table_any_bytes_never_panics(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "symbol\tchrom\ttss\tstrand\r?\n([A-C]{0,2}\t?chr[0-9]?\t[0-9-]{0,22}\t[+.-]?\r?\n){0,4}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            let _ = read(bytes);
        }
    }
}
