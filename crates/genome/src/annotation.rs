//! Genes and their transcripts from a GTF file.

mod gtf;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::gene::Gene;
use crate::interval::{Interval, Strand};

pub use gtf::read_gtf;

/// One transcript of a gene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// Identifier of its gene, with the version if the file has one.
    pub gene_id: String,
    /// Name of its gene; the identifier where the file has no names.
    pub gene_name: String,
    /// Its own identifier.
    pub transcript_id: String,
    /// Chromosome.
    pub chrom: String,
    /// Strand.
    pub strand: Strand,
    /// Exons by start; they neither overlap nor are empty, and there is at least one.
    pub exons: Vec<Interval>,
    /// Pieces of the coding sequence by start, each inside an exon; without the stop codon in
    /// GENCODE and Ensembl files. Empty for a transcript that is not coding.
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

/// The genes of a GTF file and their transcripts.
#[derive(Debug, Clone)]
pub struct Annotation {
    path: PathBuf,
    genes: Vec<Gene>,
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

    /// The transcript that stands for a gene: longest CDS, then longest mRNA, then first in the
    /// file.
    ///
    /// Only transcripts on the gene's chromosome and strand count. They are looked up by
    /// `gene_id` and, when it has none there, by `symbol`.
    pub fn representative(&self, gene: &Gene) -> Option<&Transcript> {
        [&gene.gene_id, &gene.symbol].into_iter().find_map(|key| {
            self.transcripts_of(key)
                .filter(|t| t.chrom == gene.chrom && t.strand == gene.strand)
                .reduce(|best, other| {
                    let length = |t: &Transcript| (t.cds_len(), t.mrna_len());
                    if length(other) > length(best) {
                        other
                    } else {
                        best
                    }
                })
        })
    }
}

/// An Ensembl identifier without its version: `ENSG00000198445.4` is `ENSG00000198445`.
///
/// Only digits behind the last dot are a version, so names such as `AC012345.6-201` stay.
fn without_version(id: &str) -> &str {
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
