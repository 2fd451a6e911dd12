//! Chromosome names and lengths of every input file, side by side.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use genome::{
    ChromSizes, ContactMap, Expression, Gene, GenomeError, ReadFilter, Reference, StoredContacts,
    TrackFile, VariantFile, assembly_of, read_annotation, read_regions,
};

use crate::chrom_alias::{ChromAlias, count_genes_by_chrom};
use crate::config::{CONTACT_TRACK, DataConfig};
use crate::error::DatasetError;
use crate::example::read_genes;
use crate::placed_genes::{PlacedGenes, leave_out_unwanted};
use crate::selection::select_genes;
use crate::target::{expression_key, read_target};
use crate::variant_check::VariantCheck;

/// One input file and the chromosomes it knows.
#[derive(Debug)]
pub struct FileRow {
    /// What the file is used for, for example `genome` or `track dnase`.
    pub role: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its chromosomes, in its own order, or why it cannot be read.
    pub chroms: Result<Vec<FileChrom>, DatasetError>,
}

/// One chromosome of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChrom {
    /// Name in the file.
    pub name: String,
    /// Length in bases, in files that store it.
    pub length: Option<u64>,
    /// Number of genes on it, in a gene table.
    pub n_genes: Option<usize>,
}

/// Every file of a configuration with its chromosomes, and what does not fit together.
///
/// [`Display`](fmt::Display) writes it as a table. Unlike
/// [`ExampleReader::open`](crate::ExampleReader::open) it does not stop at the first problem.
#[derive(Debug)]
pub struct FileTable {
    /// The files; the genome is the first.
    pub rows: Vec<FileRow>,
    /// What is wrong, one sentence each; empty when all files fit together.
    pub problems: Vec<String>,
}

impl FileRow {
    /// The assembly that its chromosomes' lengths give away, see [`genome::assembly_of`].
    pub fn assembly(&self) -> Option<&'static str> {
        let chroms = self.chroms.as_ref().ok()?;
        assembly_of(&sizes_of(chroms))
    }
}

/// The chromosomes whose lengths are known.
fn sizes_of(chroms: &[FileChrom]) -> ChromSizes {
    let sized = chroms
        .iter()
        .filter_map(|chrom| Some((chrom.name.clone(), chrom.length?)));
    ChromSizes::new(sized.collect())
}

impl FileTable {
    /// Opens every file of the configuration and compares its chromosomes with the genome's.
    ///
    /// Tables keyed by gene (expression, mRNA features) name no chromosome and are left out. A file
    /// that cannot be read becomes a row with its error, and a problem.
    pub fn read(config: &DataConfig) -> Self {
        let mut problems = config.validate();
        let genome = KnownGenome::read(config);
        let known = genome.sizes_by_any_name();
        let is_valid = problems.is_empty();
        let (gene_chroms, wanted) = match WantedGenes::read(config, genome.alias.as_ref()) {
            Ok(wanted) => (Ok(wanted.chroms()), Some(wanted)),
            Err(error) => (Err(error), None),
        };
        let mut gene_chroms = Some(gene_chroms);
        let rows: Vec<FileRow> = config
            .source_files()
            .into_iter()
            .filter(|(role, _)| {
                let is_track = role == "expression" && config.expression.is_track();
                is_track || !TABLES_BY_GENE.contains(&role.as_str())
            })
            .map(|(role, path)| FileRow {
                chroms: match gene_chroms.take_if(|_| role == "genes") {
                    Some(chroms) => chroms,
                    None => read_chroms(config, &known, &role, path),
                },
                path: path.to_path_buf(),
                role,
            })
            .collect();
        for row in &rows {
            if let Err(error) = &row.chroms {
                problems.push(error.to_string());
            }
        }
        match wanted.map(|wanted| compare(config, &rows, &wanted, is_valid)) {
            Some(Ok(found)) => problems.extend(found),
            Some(Err(error)) => problems.push(error.to_string()),
            None => {}
        }
        FileTable { rows, problems }
    }

    /// Adds a variant file: its row, how its reference alleles compare with the genome, and its problems.
    ///
    /// Nothing when the file or the genome cannot be read, which is then a problem.
    pub fn add_variants(&mut self, config: &DataConfig, path: &Path) -> Option<VariantCheck> {
        let declared = |path: &Path| Ok(named(VariantFile::open(path)?.declared_sizes()));
        let row = FileRow {
            chroms: declared(path),
            path: path.to_path_buf(),
            role: "variants".to_string(),
        };
        let check = || {
            let genome = Reference::open(&config.genome)?;
            let sizes = genome.chrom_sizes();
            let alias = ChromAlias::try_new(&config.chrom_alias, &config.genome, sizes)?;
            VariantCheck::read(path, &genome, &alias)
        };
        self.rows.push(row);
        match check() {
            Ok(check) => {
                self.problems.extend(check.problems.iter().cloned());
                Some(check)
            }
            Err(error) => {
                let problem = error.to_string();
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    /// The row of a role.
    pub fn row(&self, role: &str) -> Option<&FileRow> {
        self.rows.iter().find(|row| row.role == role)
    }
}

/// Roles of tables that name no chromosome.
const TABLES_BY_GENE: [&str; 5] = [
    "expression",
    "mrna_features",
    "promoter_activity",
    "split",
    "candidate links",
];

fn named(sizes: &ChromSizes) -> Vec<FileChrom> {
    sizes
        .iter()
        .map(|(name, length)| FileChrom {
            name: name.to_string(),
            length: Some(length),
            n_genes: None,
        })
        .collect()
}

/// The genome and its aliases, as far as they can be read; what is wrong with them is reported elsewhere.
struct KnownGenome {
    sizes: ChromSizes,
    alias: Option<ChromAlias>,
}

impl KnownGenome {
    fn read(config: &DataConfig) -> Self {
        let sizes = Reference::open(&config.genome)
            .map(|genome| genome.chrom_sizes().clone())
            .ok();
        let alias = sizes
            .as_ref()
            .and_then(|sizes| ChromAlias::try_new(&config.chrom_alias, &config.genome, sizes).ok());
        KnownGenome {
            sizes: sizes.unwrap_or_default(),
            alias,
        }
    }

    /// Lengths under every name that a file may use; nothing without a genome.
    fn sizes_by_any_name(&self) -> ChromSizes {
        match &self.alias {
            Some(alias) => alias.sizes_by_any_name(),
            None => self.sizes.clone(),
        }
    }
}

fn read_chroms(
    config: &DataConfig,
    known: &ChromSizes,
    role: &str,
    path: &Path,
) -> Result<Vec<FileChrom>, DatasetError> {
    let names_only = |names: BTreeSet<&str>| -> Vec<FileChrom> {
        let chrom = |name: &str| FileChrom {
            name: name.to_string(),
            length: None,
            n_genes: None,
        };
        names.into_iter().map(chrom).collect()
    };
    Ok(match role {
        "genome" => named(Reference::open(path)?.chrom_sizes()),
        "annotation" => {
            let annotation = read_annotation(path)?;
            names_only(
                annotation
                    .genes()
                    .iter()
                    .map(|gene| gene.chrom.as_str())
                    .collect(),
            )
        }
        "include" | "exclude" | "tss_peaks" | "peaks" | "candidates" => {
            let regions = read_regions(path)?;
            names_only(
                regions
                    .iter()
                    .map(|region| region.interval.chrom())
                    .collect(),
            )
        }
        CONTACT_TRACK if path.is_dir() => {
            names_only(StoredContacts::open(path)?.chroms().collect())
        }
        CONTACT_TRACK => match &config.contact {
            Some(contact) => {
                let map = ContactMap::open(path, contact.resolution, contact.normalization)?;
                named(map.chrom_sizes())
            }
            None => Vec::new(),
        },
        _ => {
            let track = config.tracks.iter().find(|track| track.path == path);
            let reads = track.map_or_else(ReadFilter::default, |track| track.reads);
            named(TrackFile::open(path, known, config.cram_reference(), &reads)?.chrom_sizes())
        }
    })
}

/// The genes of the table that the settings ask for: where others lie does not matter.
struct WantedGenes(Vec<Gene>);

impl WantedGenes {
    /// Reads the gene table; chromosomes keep the names they have there.
    ///
    /// Without a genome to compare with, all its genes are wanted.
    fn read(config: &DataConfig, alias: Option<&ChromAlias>) -> Result<Self, DatasetError> {
        let (mut genes, _) = read_genes(&config.genes)?;
        let Some(alias) = alias else {
            return Ok(WantedGenes(genes));
        };
        let (kept, _) = leave_out_unwanted(config, genes.clone(), alias.sizes(), alias)?;
        let lines: HashSet<u64> = kept.iter().map(|gene| gene.line).collect();
        genes.retain(|gene| lines.contains(&gene.line));
        Ok(WantedGenes(genes))
    }

    fn chroms(&self) -> Vec<FileChrom> {
        count_genes_by_chrom(&self.0)
            .into_iter()
            .map(|(name, n_genes)| FileChrom {
                name: name.to_string(),
                length: None,
                n_genes: Some(n_genes),
            })
            .collect()
    }

    /// The genes that lie on the genome, under its names.
    fn on_genome(&self, alias: &ChromAlias) -> Vec<Gene> {
        let mut genes = self.0.clone();
        for gene in &mut genes {
            gene.chrom = alias.genome_name(&gene.chrom).to_string();
        }
        genes.retain(|gene| alias.sizes().get(&gene.chrom).is_some());
        genes
    }
}

/// The genes that become examples, whose chromosomes every track needs.
///
/// Where choosing fails, which opening the data set reports, all are taken.
fn examples_among(config: &DataConfig, genes: &[Gene], alias: &ChromAlias) -> Vec<Gene> {
    let sizes = alias.sizes();
    let choose = || {
        let placed = PlacedGenes::find(config, genes.to_vec(), sizes, alias)?;
        let expression = match config.expression.is_track() {
            false => read_target(config, &placed.genes, alias)?,
            // A track has a value for every gene, and none is chosen by it.
            true => Expression::new(
                &config.expression.path,
                genes
                    .iter()
                    .map(|gene| (expression_key(config, gene).to_string(), Some(0.0))),
            ),
        };
        select_genes(config, placed, &expression, sizes)
    };
    choose().map_or_else(|_| genes.to_vec(), |selection| selection.genes)
}

/// Compares what could be read; nothing to say when the genome could not.
///
/// `is_valid` says that the settings do not contradict themselves.
fn compare(
    config: &DataConfig,
    rows: &[FileRow],
    wanted: &WantedGenes,
    is_valid: bool,
) -> Result<Vec<String>, DatasetError> {
    let chroms_of = |role: &str| {
        let row = rows.iter().find(|row| row.role == role)?;
        row.chroms.as_deref().ok()
    };
    let (Some(genome), Some(genes)) = (chroms_of("genome"), chroms_of("genes")) else {
        return Ok(Vec::new());
    };
    let sizes = sizes_of(genome);
    let alias = ChromAlias::try_new(&config.chrom_alias, &config.genome, &sizes)?;

    let mut problems = Vec::new();
    // A list of genes often has all patches and scaffolds, or all chromosomes under other names: one problem each.
    let (renamed, unknown): (Vec<_>, Vec<_>) = genes
        .iter()
        .filter(|chrom| sizes.get(alias.genome_name(&chrom.name)).is_none())
        .map(|chrom| (chrom.name.clone(), chrom.n_genes.unwrap_or(0)))
        .partition(|(chrom, _)| sizes.similar_name(chrom).is_some());
    for (chroms, remedy) in [
        (renamed, "or add each to chrom_alias"),
        (
            unknown,
            "if it has another name there, add it to chrom_alias; else leave these genes out of the gene table",
        ),
    ] {
        if let Some((first, _)) = chroms.first() {
            let absent = DatasetError::AbsentChroms {
                path: config.genome.clone(),
                hint: sizes.hint(first),
                chroms,
                remedy,
            };
            problems.push(absent.to_string());
        }
    }
    let placed = wanted.on_genome(&alias);
    // Settings that contradict themselves choose no genes.
    let examples = match is_valid {
        true => examples_among(config, &placed, &alias),
        false => placed.clone(),
    };
    let needed = count_genes_by_chrom(&examples);
    let needed_by_expression = count_genes_by_chrom(&placed);
    for row in rows {
        let Ok(chroms) = &row.chroms else { continue };
        match row.role.as_str() {
            "genome" | "genes" => {}
            "annotation" | "include" | "exclude" | "tss_peaks" | "peaks" | "candidates" => {
                let known = |chrom: &FileChrom| sizes.get(alias.genome_name(&chrom.name)).is_some();
                if let (false, Some(first)) = (chroms.iter().any(known), chroms.first()) {
                    let error = GenomeError::UnknownChrom {
                        path: row.path.clone(),
                        chrom: first.name.clone(),
                        hint: format!("in the genome {}", sizes.hint(&first.name)),
                    };
                    problems.push(error.to_string());
                }
            }
            _ => {
                let file_sizes = match row.role == CONTACT_TRACK && row.path.is_dir() {
                    true => alias.sizes_of(chroms.iter().map(|chrom| chrom.name.as_str())),
                    false => sizes_of(chroms),
                };
                let absent = config.absent_chrom(&row.role);
                let needed = match row.role.starts_with("expression") {
                    true => &needed_by_expression,
                    false => &needed,
                };
                if let Err(error) = alias.names_in(&row.path, &file_sizes, needed, absent) {
                    problems.push(error.to_string());
                }
            }
        }
    }
    Ok(problems)
}

impl fmt::Display for FileTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Chromosomes named in one row.
        const MAX_SHOWN: usize = 4;
        let width = self
            .rows
            .iter()
            .map(|row| row.role.len())
            .max()
            .unwrap_or(0);
        let here = std::env::current_dir().unwrap_or_default();
        for row in &self.rows {
            let role = &row.role;
            // As a user would write it.
            let path = row.path.strip_prefix(&here).unwrap_or(&row.path).display();
            match &row.chroms {
                Err(_) => writeln!(f, "{role:width$}  cannot be read  {path}")?,
                Ok(chroms) => {
                    let mut shown: Vec<String> = chroms
                        .iter()
                        .take(MAX_SHOWN)
                        .map(|chrom| match (chrom.length, chrom.n_genes) {
                            (Some(length), _) => format!("{} {length} bp", chrom.name),
                            (None, Some(n_genes)) => format!("{} {n_genes} genes", chrom.name),
                            (None, None) => chrom.name.clone(),
                        })
                        .collect();
                    if chroms.len() > MAX_SHOWN {
                        shown.push(format!("… ({} in all)", chroms.len()));
                    }
                    let assembly = row
                        .assembly()
                        .map_or(String::new(), |name| format!("  ({name})"));
                    writeln!(f, "{role:width$}  {}{assembly}  {path}", shown.join(", "))?;
                }
            }
        }
        Ok(())
    }
}
