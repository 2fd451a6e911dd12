//! A genome of two short chromosomes with everything a data set needs, written into a folder.

use std::path::{Path, PathBuf};

use dataset::DataConfig;
use genome::{ChromSizes, Interval, write_bigwig};
use tempfile::TempDir;

/// The folder with the files, and the configuration text that names them.
pub struct TinyGenome {
    folder: TempDir,
    pub config: String,
}

/// Name and length of each chromosome.
pub const CHROMS: [(&str, u64); 2] = [("chr1", 3000), ("chr2", 400)];

/// Base of chromosome `chrom` (0 or 1) at a 0-based position: N at 40 to 49, lower case from 50 to
/// 59, otherwise a sequence without a short period.
pub fn letter(chrom: usize, position: u64) -> u8 {
    let mixed = position * position / 7 + position / 3 + 5 * chrom as u64;
    let letter = b"ACGT"[(mixed % 4) as usize];
    match position {
        40..50 => b'N',
        50..60 => letter.to_ascii_lowercase(),
        _ => letter,
    }
}

/// Stretches of the track `dnase` on chr1 with their values; no data elsewhere.
pub const DNASE: [(u64, u64, f32); 4] = [
    (0, 3, 1.5),
    (90, 110, 4.0),
    (1400, 1600, 9.0),
    (2995, 3000, 0.25),
];

/// Stretches of the track `h3k27ac` on chr1 with their values; no data elsewhere.
pub const H3K27AC: [(u64, u64, f32); 2] = [(80, 120, 2.0), (1300, 1700, 1.0)];

/// symbol, chrom, tss, strand, type, split, TPM
pub const GENES: [(&str, &str, u64, &str, &str, &str, &str); 8] = [
    ("LEFT", "chr1", 3, "+", "protein_coding", "train", "0"),
    ("PLUS", "chr1", 100, "+", "protein_coding", "train", "9"),
    ("MINUS", "chr1", 100, "-", "protein_coding", "valid", "99"),
    ("MIDDLE", "chr1", 1500, "-", "protein_coding", "test", "3"),
    ("LINC", "chr1", 2000, "+", "lincRNA", "train", "1"),
    ("RIGHT", "chr1", 2999, "-", "protein_coding", "test", "999"),
    ("SHORT", "chr2", 399, "+", "protein_coding", "valid", "0.5"),
    ("UNKNOWN", "chr2", 200, "+", "protein_coding", "train", "NA"),
];

impl TinyGenome {
    pub fn write() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let sizes = ChromSizes::new(CHROMS.map(|(name, n)| (name.to_string(), n)).into());
        std::fs::write(path.join("genome.fa"), fasta(&CHROMS)).unwrap();
        for (name, stretches) in [("dnase", &DNASE[..]), ("h3k27ac", &H3K27AC[..])] {
            let rows = stretches.iter().map(|&(start, end, value)| {
                (Interval::try_new("chr1", start, end).unwrap(), value)
            });
            write_bigwig(path.join(format!("{name}.bw")), &sizes, rows).unwrap();
        }
        let mut genes = "symbol\tgene_id\tchrom\ttss\tstrand\tgene_type\tsplit\n".to_string();
        let mut expression = "gene\ttpm\n".to_string();
        for (symbol, chrom, tss, strand, gene_type, split, tpm) in GENES {
            genes +=
                &format!("{symbol}\tID_{symbol}\t{chrom}\t{tss}\t{strand}\t{gene_type}\t{split}\n");
            expression += &format!("{symbol}\t{tpm}\n");
        }
        std::fs::write(path.join("genes.tsv"), genes).unwrap();
        std::fs::write(path.join("expression.tsv"), expression).unwrap();
        // Three coding genes; the columns of the example's mrna_features.tsv.
        let mrna = "symbol\tutr5_len\tcds_len\tutr3_len\tintron_len\tutr5_gc\tcds_gc\tutr3_gc\t\
                    n_junctions\tn_orf_junctions\torf_junctions_per_kb\n\
                    LEFT\t9\t99\t999\t0\t0.5\t0.25\t0.75\t1\t0\t0\n\
                    PLUS\t99\t99\t9\t0\t0.7\t0.75\t0.25\t1\t1\t4\n\
                    MIDDLE\t0\t999\t9\t99\tNA\t0.5\t0.5\t2\t1\t1\n";
        std::fs::write(path.join("mrna.tsv"), mrna).unwrap();
        std::fs::write(path.join("exclude.bed"), "chr1\t92\t99\nchr1\t2990\t3000\n").unwrap();
        std::fs::write(path.join("include.bed"), "chr1\t95\t97\n").unwrap();
        let config = r#"
genome = "genome.fa"
genes = "genes.tsv"
mrna_features = "mrna.tsv"
expression = { path = "expression.tsv", value = "tpm" }
contact = { fallback = "power_law", resolution = 10 }
include = "include.bed"
exclude = "exclude.bed"
length = 40
promoter = 4
split = { by = "column" }

[[tracks]]
name = "h3k27ac"
path = "h3k27ac.bw"

[[tracks]]
name = "dnase"
path = "dnase.bw"
"#
        .to_string();
        TinyGenome { folder, config }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration, after replacing a part of its text.
    pub fn config_with(&self, replace: &[(&str, &str)]) -> DataConfig {
        let mut text = self.config.clone();
        for (from, to) in replace {
            assert!(text.contains(from), "{from:?} is not in the configuration");
            text = text.replace(from, to);
        }
        let config: DataConfig = toml::from_str(&text).unwrap();
        config.resolve(self.folder())
    }

    /// Replaces a part of one of the text files.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from:?} is not in {name}");
        std::fs::write(self.path(name), text.replace(from, to)).unwrap();
    }
}

/// FASTA text with lines of 50 bases.
pub fn fasta(chroms: &[(&str, u64)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, (name, length)) in chroms.iter().enumerate() {
        text.extend_from_slice(format!(">{name}\n").as_bytes());
        let letters: Vec<u8> = (0..*length)
            .map(|position| letter(index, position))
            .collect();
        for line in letters.chunks(50) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
    }
    text
}
