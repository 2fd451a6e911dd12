//! Whether a variant file was called on this genome: its reference alleles against the bases.

use std::fmt;
use std::path::{Path, PathBuf};

use genome::{
    Allele, GenomeError, Interval, Reference, ReferenceCheck, VariantFile, VariantRecord,
    assembly_of,
};
use serde::Serialize;

use crate::chrom_alias::ChromAlias;
use crate::error::DatasetError;

/// How the reference alleles of a variant file compare with the genome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VariantCheck {
    /// The file.
    pub path: PathBuf,
    /// The assembly that the lengths in the file's header give away.
    pub assembly: Option<&'static str>,
    /// Records of the file.
    pub n_records: u64,
    /// Records whose reference allele is what the genome has there.
    pub n_same: u64,
    /// Records whose reference allele is something else.
    pub n_differ: u64,
    /// Records that reach past the end of their chromosome.
    pub n_outside: u64,
    /// Records on chromosomes that the genome does not have.
    pub n_unknown_chrom: u64,
    /// What the records that differ have in common.
    pub explained: Explanations,
    /// The first records that differ or lie outside, [`MAX_MISMATCHES`] at most.
    pub mismatches: Vec<VariantMismatch>,
    /// What is wrong, one sentence each, with the first example and what to do.
    pub problems: Vec<String>,
    /// The first chromosome that the genome does not have.
    #[serde(skip)]
    unknown_chrom: Option<String>,
}

/// How many of the records that differ would agree if they were read in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Explanations {
    /// The genome has one of the alternate alleles.
    pub swapped: u64,
    /// The genome has the reverse complement.
    pub other_strand: u64,
    /// The genome has the reference allele one base further left.
    pub one_to_the_left: u64,
    /// The genome has the reference allele one base further right.
    pub one_to_the_right: u64,
}

/// One record that does not fit the genome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VariantMismatch {
    /// Where it stands: the file with the line of a VCF, or the record of a BCF.
    pub place: String,
    /// The bases of its reference allele as a region string (1-based, inclusive), chromosome as in the file.
    pub region: String,
    /// The reference allele.
    pub reference: String,
    /// What the genome has there; none past the end of the chromosome.
    pub genome: Option<String>,
}

/// Records that do not fit and are kept one by one.
pub const MAX_MISMATCHES: usize = 20;

/// Records that must differ before what they have in common is called a cause: by chance one base in four agrees.
const MIN_EXPLAINED: u64 = 10;

/// Bases of an allele that a message shows.
const MAX_SHOWN: usize = 24;

impl VariantCheck {
    /// Reads every record and compares it with the genome; memory does not grow with the file.
    ///
    /// # Errors
    /// [`DatasetError::Genome`] when the file or the genome cannot be read.
    pub(crate) fn read(
        path: &Path,
        genome: &Reference,
        alias: &ChromAlias,
    ) -> Result<Self, DatasetError> {
        let mut file = VariantFile::open(path)?;
        let mut check = VariantCheck {
            path: path.to_path_buf(),
            assembly: assembly_of(file.declared_sizes()),
            n_records: 0,
            n_same: 0,
            n_differ: 0,
            n_outside: 0,
            n_unknown_chrom: 0,
            explained: Explanations::default(),
            mismatches: Vec::new(),
            problems: Vec::new(),
            unknown_chrom: None,
        };
        while let Some(record) = file.next_record()? {
            check.add(record, genome, alias)?;
        }
        check.problems = check.find_problems(genome);
        Ok(check)
    }

    fn add(
        &mut self,
        mut record: VariantRecord,
        genome: &Reference,
        alias: &ChromAlias,
    ) -> Result<(), GenomeError> {
        self.n_records += 1;
        let region = record.interval()?.to_string();
        let name = alias.genome_name(&record.chrom).to_string();
        if genome.chrom_sizes().get(&name).is_none() {
            self.n_unknown_chrom += 1;
            self.unknown_chrom.get_or_insert(record.chrom);
            return Ok(());
        }
        record.chrom = name;
        let found = match record.check_reference(genome)? {
            ReferenceCheck::Same => {
                self.n_same += 1;
                return Ok(());
            }
            ReferenceCheck::Differs { genome: found } => {
                self.n_differ += 1;
                self.explained.add(&record, &found, genome)?;
                Some(found)
            }
            ReferenceCheck::NotThere { .. } => {
                self.n_outside += 1;
                None
            }
        };
        if self.mismatches.len() < MAX_MISMATCHES {
            self.mismatches.push(VariantMismatch {
                place: record.place.in_file(&self.path),
                region,
                reference: record.reference,
                genome: found,
            });
        }
        Ok(())
    }

    fn find_problems(&self, genome: &Reference) -> Vec<String> {
        let sizes = genome.chrom_sizes();
        let genome_assembly = assembly_of(sizes);
        let n_records = self.n_records;
        let mut problems = Vec::new();
        let first = |is_inside: bool| {
            let mut mismatches = self.mismatches.iter();
            mismatches.find(|mismatch| mismatch.genome.is_some() == is_inside)
        };
        if self.n_differ > 0 {
            let example = match first(true) {
                Some(mismatch) => mismatch.to_string(),
                None => format!("{}: REF is not what the genome has", self.path.display()),
            };
            problems.push(format!(
                "{example}; {} of {n_records} records differ; {}",
                self.n_differ,
                self.remedy(genome_assembly)
            ));
        }
        if self.n_outside > 0 {
            let example = match first(false) {
                Some(mismatch) => mismatch.to_string(),
                None => format!("{}: records lie past the end", self.path.display()),
            };
            problems.push(format!(
                "{example}; {} of {n_records} records do; {}",
                self.n_outside,
                self.assembly_remedy(genome_assembly)
            ));
        }
        if let (Some(chrom), true) = (&self.unknown_chrom, self.n_unknown_chrom == n_records) {
            let error = GenomeError::UnknownChrom {
                path: self.path.clone(),
                chrom: chrom.clone(),
                hint: format!(
                    "none of its {n_records} records is on a chromosome of the genome, in which {}",
                    sizes.hint(chrom)
                ),
            };
            problems.push(error.to_string());
        }
        problems
    }

    /// What to do about records that differ: by what they have in common, else by how many they are.
    fn remedy(&self, genome_assembly: Option<&str>) -> String {
        let is_known = self.assembly.is_some() && genome_assembly.is_some();
        if is_known && self.assembly != genome_assembly {
            return self.assembly_remedy(genome_assembly);
        }
        let n_differ = self.n_differ;
        let explains = |n: u64| n_differ >= MIN_EXPLAINED && n * 10 >= n_differ * 9;
        let explained = &self.explained;
        let causes = [
            (
                explained.swapped,
                "the genome has their ALT: REF and ALT are swapped",
            ),
            (
                explained.other_strand,
                "the genome has the reverse complement: alleles are of the other strand",
            ),
            (
                explained.one_to_the_left,
                "the genome has their REF one base to the left: positions of a VCF count from 1",
            ),
            (
                explained.one_to_the_right,
                "the genome has their REF one base to the right: positions of a VCF count from 1, not from 0",
            ),
        ];
        if let Some((n, cause)) = causes.iter().find(|(n, _)| explains(*n)) {
            return format!("for {n} of them {cause}");
        }
        // By chance a quarter of single bases agrees, so a wrong assembly shows in more than half.
        if n_differ * 3 > self.n_records {
            return self.assembly_remedy(genome_assembly);
        }
        "correct or remove these records, for example with bcftools norm --check-ref".to_string()
    }

    fn assembly_remedy(&self, genome_assembly: Option<&str>) -> String {
        match (self.assembly, genome_assembly) {
            (Some(own), Some(genome)) if own != genome => {
                format!("its header has the lengths of {own}, and the genome is {genome}")
            }
            (_, Some("hg38")) => "the genome is hg38; is this hg19?".to_string(),
            (_, Some("hg19")) => "the genome is hg19; is this hg38?".to_string(),
            (_, Some(genome)) => format!("the genome is {genome}; is this another assembly?"),
            (_, None) => "is this of another assembly, for example hg19 and not hg38?".to_string(),
        }
    }
}

impl Explanations {
    fn add(
        &mut self,
        record: &VariantRecord,
        found: &str,
        genome: &Reference,
    ) -> Result<(), GenomeError> {
        let reference = record.reference.to_ascii_uppercase();
        let has = |start: Option<u64>, bases: &str| -> Result<bool, GenomeError> {
            let Some(start) = start else {
                return Ok(false);
            };
            let end = start.saturating_add(bases.len() as u64);
            if genome
                .chrom_sizes()
                .get(&record.chrom)
                .is_none_or(|n| end > n)
            {
                return Ok(false);
            }
            let interval = Interval::try_new(record.chrom.as_str(), start, end)?;
            let there = genome.read_bases(&interval)?;
            Ok(there.eq_ignore_ascii_case(bases.as_bytes()))
        };
        for allele in &record.alternates {
            if let Allele::Bases(bases) = allele
                && has(Some(record.start), bases)?
            {
                self.swapped += 1;
                break;
            }
        }
        let complement: String = reference.chars().rev().map(complement).collect();
        self.other_strand += u64::from(found.eq_ignore_ascii_case(&complement));
        self.one_to_the_left += u64::from(has(record.start.checked_sub(1), &reference)?);
        self.one_to_the_right += u64::from(has(record.start.checked_add(1), &reference)?);
        Ok(())
    }
}

/// The base on the other strand; what is no base stays as it is.
fn complement(base: char) -> char {
    match base {
        'A' => 'T',
        'C' => 'G',
        'G' => 'C',
        'T' => 'A',
        other => other,
    }
}

fn shown(bases: &str) -> String {
    match bases.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}… ({} bases)", &bases[..end], bases.len()),
        None => bases.to_string(),
    }
}

impl fmt::Display for VariantMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, region) = (&self.place, &self.region);
        match &self.genome {
            Some(genome) => write!(
                f,
                "{place}: REF {:?} at {region} is not the genome's {:?}",
                shown(&self.reference),
                shown(genome)
            ),
            None => write!(
                f,
                "{place}: {region} reaches past the end of its chromosome"
            ),
        }
    }
}

/// One line: how many records fit, and how many do not and why.
impl fmt::Display for VariantCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records, {} with the genome's REF, {} with another, {} past the end, {} on chromosomes that \
             the genome lacks",
            self.n_records, self.n_same, self.n_differ, self.n_outside, self.n_unknown_chrom
        )
    }
}
