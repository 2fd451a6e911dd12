//! Why an example or a data set could not be made.

use std::path::{Path, PathBuf};

use genome::GenomeError;

use crate::prepared::MANIFEST_FILE_NAME;
use crate::selection::SkipCounts;

/// Why a data set, a window or an example was refused.
///
/// Lines count from 1. Messages print an interval as a region string (1-based, inclusive).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A genome file or a coordinate was refused.
    #[error(transparent)]
    Genome(GenomeError),

    /// The configuration contradicts itself.
    #[error("the data configuration has {} problem(s): {}", problems.len(), problems.join("; "))]
    Config {
        /// Every problem found, with its remedy.
        problems: Vec<String>,
    },

    /// No window can be placed there.
    #[error(
        "no window of {length} bp at {chrom}, tss {tss} (0-based; the chromosome has {chrom_length} bp): {reason}"
    )]
    InvalidWindow {
        /// Chromosome.
        chrom: String,
        /// Start site, 0-based.
        tss: u64,
        /// Length asked for, in bases.
        length: u64,
        /// Length of the chromosome in bases.
        chrom_length: u64,
        /// What is wrong.
        reason: &'static str,
    },

    /// A file lacks a chromosome that genes lie on.
    #[error("{}: no chromosome {chrom:?}, which {n_genes} gene(s) lie on; {hint}; if it has another name there, add it to chrom_alias", path.display())]
    MissingChrom {
        /// The file that lacks it.
        path: PathBuf,
        /// The genome's name of the chromosome.
        chrom: String,
        /// How many genes need it.
        n_genes: usize,
        /// The names the file has.
        hint: String,
    },

    /// A track lacks chromosomes that genes lie on, which is not declared.
    #[error("{}: no chromosome {}; {hint}; {remedy}", path.display(), list_chroms(chroms))]
    AbsentChroms {
        /// The file that lacks them.
        path: PathBuf,
        /// The genome's names of the chromosomes, each with the number of genes that need it.
        chroms: Vec<(String, usize)>,
        /// The names the file has.
        hint: String,
        /// What to do.
        remedy: &'static str,
    },

    /// Two names of one chromosome, both present in a file.
    #[error("{}: both {first:?} and {second:?} stand for {chrom:?}; remove one of them from chrom_alias", path.display())]
    AmbiguousChrom {
        /// The file.
        path: PathBuf,
        /// The genome's name of the chromosome.
        chrom: String,
        /// One name in the file.
        first: String,
        /// The other name in the file.
        second: String,
    },

    /// An alias leads to a chromosome that the genome does not have.
    #[error("chrom_alias {alias:?} leads to {chrom:?}, which is not in {}; {hint}", path.display())]
    UnknownAlias {
        /// The genome's file.
        path: PathBuf,
        /// The alias.
        alias: String,
        /// Where it leads.
        chrom: String,
        /// The names the genome has.
        hint: String,
    },

    /// A chromosome has another length than in the genome.
    #[error("{}: {chrom} has {}, but {} in {}{}; use files of one assembly", path.display(), length_text(chrom, *length), length_text(chrom, *genome_length), genome.display(), count_more(*n_more))]
    ChromLength {
        /// The file that disagrees.
        path: PathBuf,
        /// The chromosome.
        chrom: String,
        /// Its length there, in bases.
        length: u64,
        /// The genome's file.
        genome: PathBuf,
        /// Its length in the genome, in bases.
        genome_length: u64,
        /// Further chromosomes whose lengths differ.
        n_more: usize,
    },

    /// A gene's split cannot be read.
    #[error("{}:{line}: gene {symbol:?} has {}; write train, valid or test, or choose another split", path.display(), found.as_deref().map_or("no split".to_string(), |value| format!("split {value:?}")))]
    UnknownSplit {
        /// The gene table.
        path: PathBuf,
        /// The gene's line.
        line: u64,
        /// The gene.
        symbol: String,
        /// What the column holds, if anything.
        found: Option<String>,
    },

    /// No gene is left to train, validate or test on.
    #[error("{}: no gene is left in the {split} split ({n_genes} genes read, {n_skipped} left out{}{left_out}); {hint}", path.display(), if *n_skipped == 0 { "" } else { ": " })]
    EmptySplit {
        /// The gene table.
        path: PathBuf,
        /// `train`, `valid` or `test`.
        split: &'static str,
        /// Genes in the table.
        n_genes: usize,
        /// Genes left out.
        n_skipped: usize,
        /// Why they are left out.
        left_out: SkipCounts,
        /// What may have happened.
        hint: String,
    },

    /// A gene's kind is asked for but not known.
    #[error("{}:{line}: gene {symbol:?} has no gene_type; fill it in, or remove gene_types from the configuration", path.display())]
    NoGeneType {
        /// The gene table.
        path: PathBuf,
        /// The gene's line.
        line: u64,
        /// The gene.
        symbol: String,
    },

    /// A gene has no measured expression and the configuration calls that an error.
    #[error("{}:{line}: gene {symbol:?} has no measured expression in {}; write missing_expression = \"skip\" to leave such genes out", path.display(), expression.display())]
    NoExpression {
        /// The gene table.
        path: PathBuf,
        /// The gene's line.
        line: u64,
        /// The gene.
        symbol: String,
        /// The expression table.
        expression: PathBuf,
    },

    /// A gene has no row in the table of promoter activities.
    #[error("{}:{line}: gene {symbol:?} has no promoter activity in {}; add it, or leave the gene out", path.display(), table.display())]
    NoActivity {
        /// The gene table.
        path: PathBuf,
        /// The gene's line.
        line: u64,
        /// The gene.
        symbol: String,
        /// The table of activities.
        table: PathBuf,
    },

    /// Files of the configuration that do not exist.
    #[error("{} file(s) are missing: {}", missing.len(), list_files(missing))]
    MissingFiles {
        /// What each is used for, and where it should be.
        missing: Vec<(String, PathBuf)>,
    },

    /// The contact that is stored for a gene does not fit its window.
    #[error("{}: {chrom}_{tss}: {reason}", path.display())]
    InvalidStoredContact {
        /// The file of the chromosome's contacts.
        path: PathBuf,
        /// The chromosome.
        chrom: String,
        /// The start site, 0-based.
        tss: u64,
        /// What is wrong.
        reason: &'static str,
    },

    /// Two tables have no gene in common.
    #[error("{}: none of its names is the {key} of a gene of {}; the first are {first:?} and {gene:?}; {}", path.display(), genes.display(), name_remedy(key, first, gene))]
    NoCommonGene {
        /// The table that was joined to the genes.
        path: PathBuf,
        /// The gene table.
        genes: PathBuf,
        /// What was compared: `symbol` or `gene_id`.
        key: &'static str,
        /// First name in the table.
        first: String,
        /// First name among the genes.
        gene: String,
    },

    /// No gene of the table has a coding transcript in the annotation.
    #[error("{}: no gene of {} has a coding transcript there; the first is {symbol:?} ({gene_id:?}); do names, chromosomes and assembly agree?", path.display(), genes.display())]
    NoMrna {
        /// The annotation or the table of mRNA features.
        path: PathBuf,
        /// The gene table.
        genes: PathBuf,
        /// Symbol of the first gene.
        symbol: String,
        /// Identifier of the first gene.
        gene_id: String,
    },

    /// No gene has a candidate enhancer in the file of links.
    #[error("{}: no gene has a candidate enhancer there; the first is {symbol:?} ({gene_id:?}); do names and assembly agree?", path.display())]
    NoCandidates {
        /// The links.
        path: PathBuf,
        /// Symbol of the first gene.
        symbol: String,
        /// Identifier of the first gene.
        gene_id: String,
    },

    /// A track holds a value that no model can use.
    #[error("{}: {region} has the value {value}: {reason}", path.display())]
    InvalidTrackValue {
        /// The track's file.
        path: PathBuf,
        /// The base, as a region string.
        region: String,
        /// The value.
        value: f32,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The parts of an example do not fit together.
    #[error(
        "gene {symbol:?} (line {line} of the gene table), window {region}: {reason}; correct the input it comes from, or leave the gene out"
    )]
    InvalidExample {
        /// The gene.
        symbol: String,
        /// Its line in the gene table.
        line: u64,
        /// The part of its window on the chromosome, as a region string.
        region: String,
        /// What is wrong.
        reason: &'static str,
    },

    /// An index past the last example.
    #[error("there is no example {index}; the data set has {len} (counted from 0)")]
    NoSuchExample {
        /// Index asked for.
        index: usize,
        /// Number of examples.
        len: usize,
    },

    /// The operating system refused to open, read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "open", "read", "write to".
        action: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },

    /// The operating system refused a thread that reads examples.
    #[error("cannot start thread {} of {n_threads} that read examples: {source}; lower loader_threads", n_started + 1)]
    NoThread {
        /// Threads that were started before.
        n_started: usize,
        /// Threads that were to be started.
        n_threads: usize,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },

    /// A preparation was asked to stop; what it wrote is kept.
    #[error("the preparation was stopped; the same command continues it")]
    Stopped,

    /// A folder holds no manifest, so no preparation was completed there.
    #[error("{}: there is no manifest, so no preparation was completed here; run seq2exp prepare", path.display())]
    NoManifest {
        /// Where it should be.
        path: PathBuf,
    },

    /// A file of a prepared data set is missing or cannot be read.
    #[error("{}: {reason}; {}", path.display(), prepare_again(path))]
    NotPrepared {
        /// The data file or the manifest.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },

    /// A prepared data set of a version that this program does not read.
    #[error("{}: written in format version {found}, this program reads version {expected}; {}", path.display(), prepare_again(path))]
    PreparedVersion {
        /// The manifest.
        path: PathBuf,
        /// Version in the manifest.
        found: u32,
        /// Version this program reads.
        expected: u32,
    },

    /// The data file is not the one its manifest describes.
    #[error("{}: the file is not the one that manifest.json describes ({what}: {found} instead of {expected}); {}", path.display(), prepare_again(path))]
    PreparedDigest {
        /// The data file.
        path: PathBuf,
        /// What differs: `size` or `sha256`.
        what: &'static str,
        /// As found.
        found: String,
        /// As in the manifest.
        expected: String,
    },

    /// A row of the data file breaks the format.
    #[error("{}: row {row}: {reason}; the file is damaged, {}", path.display(), prepare_again(path))]
    CorruptRow {
        /// The data file.
        path: PathBuf,
        /// The row, counted from 0.
        row: usize,
        /// What is wrong.
        reason: String,
    },

    /// The data file cannot be read or written as an Arrow file.
    #[error("cannot {action} {} as an Arrow file: {source}; {}", path.display(), arrow_remedy(path, action))]
    Arrow {
        /// The data file.
        path: PathBuf,
        /// What was tried: "read" or "write".
        action: &'static str,
        /// The Arrow library's reason.
        #[source]
        source: arrow_schema::ArrowError,
    },

    /// Reading an example panicked, which is a mistake of this program.
    #[error("example {index}: {reason}; this should not happen, please report it")]
    ReaderPanicked {
        /// Index of the example.
        index: usize,
        /// The panic's message.
        reason: String,
    },
}

/// Chromosomes named in one message.
const MAX_NAMED: usize = 6;

fn list_chroms(chroms: &[(String, usize)]) -> String {
    let mut named: Vec<String> = chroms
        .iter()
        .take(MAX_NAMED)
        .map(|(chrom, n_genes)| format!("{chrom:?} ({n_genes} genes)"))
        .collect();
    if chroms.len() > MAX_NAMED {
        named.push(format!("… ({} chromosomes in all)", chroms.len()));
    }
    named.join(", ")
}

/// A length and the assembly it gives away.
fn length_text(chrom: &str, length: u64) -> String {
    match genome::assembly_of_chrom(chrom, length) {
        Some(assembly) => format!("{length} bp (as in {assembly})"),
        None => format!("{length} bp"),
    }
}

fn count_more(n_more: usize) -> String {
    match n_more {
        0 => String::new(),
        n => format!(", and {n} more differ"),
    }
}

/// What to do about a prepared data set, one of whose files is at `path`: without its manifest it is
/// prepared anew.
fn prepare_again(path: &Path) -> String {
    let manifest = path.with_file_name(MANIFEST_FILE_NAME);
    format!(
        "delete {} and run seq2exp prepare again",
        manifest.display()
    )
}

fn arrow_remedy(path: &Path, action: &str) -> String {
    match action {
        "write" => "the same command continues where it stopped".to_string(),
        _ => format!("the file is damaged, {}", prepare_again(path)),
    }
}

/// What to do about names of two tables that have none in common.
fn name_remedy(key: &str, first: &str, gene: &str) -> String {
    // As in ENSG00000198445.3.
    let has_version = |name: &str| {
        let version = name.rsplit_once('.').map_or("", |(_, version)| version);
        !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
    };
    let kind = |name: &str| name.chars().take(3).collect::<String>();
    if has_version(first) != has_version(gene) && kind(first) == kind(gene) {
        return "one of them has a version behind a dot; remove it, or choose another column with key"
            .to_string();
    }
    let other = if key == "symbol" { "gene_id" } else { "symbol" };
    format!("choose another column with key, or key_holds = {other:?}")
}

fn list_files(missing: &[(String, PathBuf)]) -> String {
    let named = |(role, path): &(String, PathBuf)| format!("{role} {}", path.display());
    missing.iter().map(named).collect::<Vec<_>>().join("; ")
}

impl From<GenomeError> for DatasetError {
    /// The error, or the damage of the compressed file that it is about.
    fn from(error: GenomeError) -> Self {
        DatasetError::Genome(error.or_damage())
    }
}

impl DatasetError {
    /// Returns a closure that wraps a system error with the file and what was tried.
    pub(crate) fn io<'a>(
        path: &'a Path,
        action: &'static str,
    ) -> impl Fn(std::io::Error) -> DatasetError + 'a {
        move |source| DatasetError::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    /// Returns a closure that wraps an error of the Arrow library with the file and what was tried.
    pub(crate) fn arrow<'a>(
        path: &'a Path,
        action: &'static str,
    ) -> impl Fn(arrow_schema::ArrowError) -> DatasetError + 'a {
        move |source| DatasetError::Arrow {
            path: path.to_path_buf(),
            action,
            source,
        }
    }
}
