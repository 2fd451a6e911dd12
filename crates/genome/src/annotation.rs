//! Genes and their transcripts from a GTF or GFF3 file.

mod draft;
mod gff3;
mod gtf;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::GenomeError;
use crate::gene::Gene;
use crate::interval::{Interval, Strand};
use crate::lines::Lines;

/// Reads the annotation of GENCODE, Ensembl, RefSeq or UCSC, as GTF or GFF3; plain, gzip or bgzip.
///
/// Which of the two it is follows from the first line that is no comment. Genes, transcripts,
/// exons and coding sequences are read, in any order; other features are ignored. A transcript
/// with a coding sequence and no exon has its coding sequence as exons.
///
/// GTF: gene and transcript lines may be missing. GFF3: every feature with an exon or CDS is a
/// transcript and its topmost ancestor the gene; `gene_id` and `transcript_id` go before `ID`,
/// from which `gene:`, `gene-`, `transcript:` and `rna-` are cut. A gene with strand `?`, as RefSeq has
/// for trans-spliced ones, is left out with its transcripts: see [`Annotation::unstranded_genes`].
///
/// # Errors
/// [`GenomeError`] with path and line: fewer than nine columns, a position that is no number or
/// is 0, an end before its start, a strand that is not `+` or `-`, a missing identifier, a parent
/// that is not in the file, exons that overlap, a CDS outside its exons, a gene that occurs twice.
pub fn read_annotation(path: impl AsRef<Path>) -> Result<Annotation, GenomeError> {
    let path = path.as_ref();
    let lines = Lines::open(path)?;
    match is_gff3(path)? {
        true => gff3::read_gff3(path, lines),
        false => gtf::read_gtf(path, lines),
    }
}

/// Looks at the first line that says which format it is.
fn is_gff3(path: &Path) -> Result<bool, GenomeError> {
    let mut lines = Lines::open(path)?;
    while let Some((_, text)) = lines.next_line()? {
        if text.starts_with("##gff-version") {
            return Ok(text
                .split_whitespace()
                .nth(1)
                .is_some_and(|v| v.starts_with('3')));
        }
        if text.starts_with('#') || text.trim().is_empty() {
            continue;
        }
        // `ID=gene:G;…` against `gene_id "G"; …`.
        let attributes = text.splitn(9, '\t').nth(8).unwrap_or_default();
        let first = attributes.trim_start();
        return Ok(first
            .find(['=', ' ', '"'])
            .is_some_and(|at| first[at..].starts_with('=')));
    }
    Ok(false)
}

/// What an annotation's authors say of a transcript; a later one outweighs an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TranscriptTag {
    /// `Ensembl_canonical` or `RefSeq Select`: one transcript a gene, chosen by one of the two.
    Canonical,
    /// `MANE Select`: one transcript a gene on which RefSeq and Ensembl agree.
    ManeSelect,
}

impl TranscriptTag {
    /// Reads the value of a `tag` attribute; nothing for the many other tags.
    fn parse(value: &str) -> Option<Self> {
        match value {
            "MANE_Select" | "MANE Select" => Some(TranscriptTag::ManeSelect),
            "Ensembl_canonical" | "RefSeq Select" | "RefSeq_Select" => {
                Some(TranscriptTag::Canonical)
            }
            _ => None,
        }
    }
}

/// Why a transcript stands for its gene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenBy {
    /// It is tagged `MANE Select`.
    ManeSelect,
    /// It is tagged `Ensembl_canonical` or `RefSeq Select`.
    Canonical,
    /// No transcript is tagged; it has the longest coding sequence.
    LongestCds,
    /// None is tagged and none is coding; it has the longest mRNA.
    LongestMrna,
}

impl fmt::Display for ChosenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChosenBy::ManeSelect => "MANE Select",
            ChosenBy::Canonical => "canonical",
            ChosenBy::LongestCds => "longest CDS",
            ChosenBy::LongestMrna => "longest mRNA",
        })
    }
}

/// One transcript of a gene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Identifier of its gene, with the version if the file has one.
    pub gene_id: String,
    /// Name of its gene; the identifier where the file has no names.
    pub gene_name: String,
    /// Its own identifier.
    pub transcript_id: String,
    /// What the file says of it.
    pub tag: Option<TranscriptTag>,
    /// Chromosome.
    pub chrom: String,
    /// Strand.
    pub strand: Strand,
    /// Exons by start; they neither overlap nor are empty, and there is at least one.
    pub exons: Vec<Interval>,
    /// Pieces of the coding sequence by start, each inside an exon. As in the file: GTF leaves the
    /// stop codon out, GFF3 of Ensembl and RefSeq has it in. Empty for a transcript that is not
    /// coding.
    pub cds: Vec<Interval>,
}

impl Transcript {
    /// Bases of all exons together.
    pub fn mrna_len(&self) -> u64 {
        self.exons.iter().map(Interval::len).sum()
    }

    /// From the first to one past the last coding base, 0-based half-open; introns included.
    pub fn cds_span(&self) -> Option<(u64, u64)> {
        let start = self.cds.iter().map(Interval::start).min()?;
        let end = self.cds.iter().map(Interval::end).max()?;
        Some((start, end))
    }

    /// Bases of the exons that lie in the [`cds_span`](Self::cds_span); 0 without one.
    ///
    /// A base counts once, also where a frame shift makes pieces of the CDS overlap.
    pub fn cds_len(&self) -> u64 {
        let Some((start, end)) = self.cds_span() else {
            return 0;
        };
        self.exons
            .iter()
            .map(|exon| exon.end().min(end).saturating_sub(exon.start().max(start)))
            .sum()
    }
}

/// A gene whose strand the annotation does not know, and which has no start site for that reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnstrandedGene {
    /// Its name; its identifier where it has none.
    pub symbol: String,
    /// Its line, from 1.
    pub line: u64,
}

/// The genes of an annotation and their transcripts.
#[derive(Debug, Clone)]
pub struct Annotation {
    path: PathBuf,
    genes: Vec<Gene>,
    unstranded: Vec<UnstrandedGene>,
    transcripts: Vec<Transcript>,
    /// Transcripts by gene identifier, by identifier without version, and by gene name.
    by_id: HashMap<String, Vec<usize>>,
    by_bare_id: HashMap<String, Vec<usize>>,
    by_name: HashMap<String, Vec<usize>>,
}

impl Annotation {
    /// Files each transcript under the names it can be asked for.
    fn new(path: PathBuf, genes: Vec<Gene>, transcripts: Vec<Transcript>) -> Self {
        let mut annotation = Annotation {
            path,
            genes,
            unstranded: Vec::new(),
            transcripts: Vec::new(),
            by_id: HashMap::new(),
            by_bare_id: HashMap::new(),
            by_name: HashMap::new(),
        };
        for (index, transcript) in transcripts.iter().enumerate() {
            let file = |map: &mut HashMap<String, Vec<usize>>, key: &str| {
                map.entry(key.to_string()).or_default().push(index);
            };
            file(&mut annotation.by_id, &transcript.gene_id);
            file(
                &mut annotation.by_bare_id,
                without_version(&transcript.gene_id),
            );
            file(&mut annotation.by_name, &transcript.gene_name);
        }
        annotation.transcripts = transcripts;
        annotation
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The genes, in the order of the file.
    ///
    /// The start site is the 5' end of the gene's line, or of its outermost transcript where the
    /// file has no gene lines. `symbol` is the gene's name where no other gene has it, else the
    /// identifier, else identifier, chromosome and strand (`ENSG0_chrY+`): it is unique.
    pub fn genes(&self) -> &[Gene] {
        &self.genes
    }

    /// The genes with strand `?`, in the order of the file: they are not among [`genes`](Self::genes), nor are their
    /// transcripts among the others.
    pub fn unstranded_genes(&self) -> &[UnstrandedGene] {
        &self.unstranded
    }

    /// All transcripts, in the order of the file.
    pub fn transcripts(&self) -> &[Transcript] {
        &self.transcripts
    }

    /// The transcripts of a gene, in the order of the file.
    ///
    /// The first of these that fits counts: the identifier as it is, the identifier without its
    /// version (on either side), the name. A name that several genes share gives the
    /// transcripts of all of them.
    pub fn transcripts_of(&self, gene_id_or_name: &str) -> impl Iterator<Item = &Transcript> {
        self.by_id
            .get(gene_id_or_name)
            .or_else(|| self.by_bare_id.get(without_version(gene_id_or_name)))
            .or_else(|| self.by_name.get(gene_id_or_name))
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .filter_map(|index| self.transcripts.get(*index))
    }

    /// The transcript that stands for a gene, and why: the one tagged `MANE Select`, else the
    /// canonical one, else the one with the longest CDS, then the longest mRNA, then the first in
    /// the file.
    ///
    /// Only transcripts on the gene's chromosome and strand count, and a tag only on a coding
    /// transcript where the gene has any. They are looked up by `gene_id` and, when it has none
    /// there, by `symbol`.
    pub fn representative(&self, gene: &Gene) -> Option<(&Transcript, ChosenBy)> {
        let best = [&gene.gene_id, &gene.symbol].into_iter().find_map(|key| {
            self.transcripts_of(key)
                .filter(|t| t.chrom == gene.chrom && t.strand == gene.strand)
                .reduce(|best, other| {
                    let rank =
                        |t: &Transcript| (!t.cds.is_empty(), t.tag, t.cds_len(), t.mrna_len());
                    if rank(other) > rank(best) {
                        other
                    } else {
                        best
                    }
                })
        })?;
        let chosen_by = match best.tag {
            Some(TranscriptTag::ManeSelect) => ChosenBy::ManeSelect,
            Some(TranscriptTag::Canonical) => ChosenBy::Canonical,
            None if best.cds.is_empty() => ChosenBy::LongestMrna,
            None => ChosenBy::LongestCds,
        };
        Some((best, chosen_by))
    }
}

/// An Ensembl identifier without its version: `ENSG00000198445.4` is `ENSG00000198445`.
///
/// Only digits behind the last dot are a version, so names such as `AC012345.6-201` stay.
pub fn without_version(id: &str) -> &str {
    match id.rsplit_once('.') {
        Some((bare, version))
            if id.starts_with("ENS")
                && !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            bare
        }
        _ => id,
    }
}

#[cfg(test)]
mod tests;
