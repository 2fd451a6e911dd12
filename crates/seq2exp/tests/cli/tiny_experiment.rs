//! A whole experiment small enough to train in seconds: one 40 kb contig, twelve genes, two tracks.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use genome::{ChromSizes, Interval, write_bigwig};
use tempfile::TempDir;

/// Length of the only contig, in bases.
pub const CONTIG_LENGTH: u64 = 40_000;
/// Genes, one every 3 kb from 3,000 on.
pub const N_GENES: u64 = 12;

/// The experiment's folder, removed when dropped.
pub struct TinyExperiment {
    folder: TempDir,
}

impl TinyExperiment {
    /// Writes genome, tracks, genes, expression and `experiment.toml` into a fresh folder.
    pub fn new() -> Self {
        let experiment = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        experiment.write_genome("chrT");
        experiment.write_track("h3k27ac.bw", "chrT", CONTIG_LENGTH, 1);
        experiment.write_track("dnase.bw", "chrT", CONTIG_LENGTH, 2);
        experiment.write_genes();
        experiment.write("experiment.toml", CONFIG);
        experiment
    }

    /// Path of a file of the experiment.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes one file of the experiment.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("the temporary folder is writable");
    }

    /// Reads one file of the experiment as text.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Replaces `from`, which must occur, in one file.
    pub fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} does not hold {from:?}");
        self.write(name, text.replacen(from, to, 1));
    }

    /// Cuts a file after `n_bytes`.
    pub fn truncate(&self, name: &str, n_bytes: usize) {
        let mut bytes = fs::read(self.path(name)).expect(name);
        assert!(
            n_bytes < bytes.len(),
            "{name} has only {} bytes",
            bytes.len()
        );
        bytes.truncate(n_bytes);
        self.write(name, bytes);
    }

    /// Writes the reference, with `chrom` as the name of its contig.
    pub fn write_genome(&self, chrom: &str) {
        let mut fasta = format!(">{chrom}\n");
        let mut state = 7u32;
        for position in 0..CONTIG_LENGTH {
            // A linear congruential generator (Numerical Recipes constants) is random enough for bases.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            fasta.push(['A', 'C', 'G', 'T'][(state >> 30) as usize]);
            if position % 60 == 59 {
                fasta.push('\n');
            }
        }
        fasta.push('\n');
        self.write("genome.fa", fasta);
    }

    /// Writes a track with a peak at each promoter whose height grows with the gene's expression.
    pub fn write_track(&self, name: &str, chrom: &str, contig_length: u64, scale: u64) {
        let sizes = ChromSizes::new(vec![(chrom.to_string(), contig_length)]);
        let rows: Vec<(Interval, f32)> = (0..N_GENES)
            .map(|gene| {
                let tss = tss(gene);
                let interval =
                    Interval::try_new(chrom, tss - 200, tss + 200).expect("inside the contig");
                (interval, (level(gene) * scale) as f32)
            })
            .collect();
        write_bigwig(self.path(name), &sizes, rows).expect("a valid bigWig");
    }

    fn write_genes(&self) {
        let mut genes = String::from("gene_id\tsymbol\tchrom\ttss\tstrand\tsplit\n");
        let mut expression = String::from("gene\ttpm\n");
        for gene in 0..N_GENES {
            let split = match gene {
                0..=7 => "train",
                8..=9 => "valid",
                _ => "test",
            };
            let strand = if gene % 2 == 0 { '+' } else { '-' };
            writeln!(
                genes,
                "G{gene:02}\tGENE{gene}\tchrT\t{}\t{strand}\t{split}",
                tss(gene)
            )
            .expect("a String");
            writeln!(expression, "GENE{gene}\t{}", 10 * level(gene)).expect("a String");
        }
        self.write("genes.tsv", genes);
        self.write("expression.tsv", expression);
    }
}

/// Transcription start of a gene, 0-based.
pub fn tss(gene: u64) -> u64 {
    3_000 + 3_000 * gene
}

/// Expression level of a gene, 0 to 4, not in genomic order.
fn level(gene: u64) -> u64 {
    gene * 7 % 5
}

const CONFIG: &str = r#"
name = "tiny"
seeds = [2]

[data]
genome = "genome.fa"
genes = "genes.tsv"
length = 600
promoter = 100
expression = { path = "expression.tsv", key = "gene", value = "tpm" }
tracks = [
  { name = "h3k27ac", path = "h3k27ac.bw" },
  { name = "dnase", path = "dnase.bw" },
]
contact = { fallback = "power_law" }
split = { by = "column" }

[model]
kind = "seq2exp_soft"
d_model = 8
n_layer_generator = 1
n_layer_predictor = 1
promoter = 100

[train]
steps = 6
batch = 4
warmup_steps = 2
validation_every = 3
"#;
