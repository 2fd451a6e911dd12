//! Genes and transcripts while their file is read, and the checks at its end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::annotation::{Annotation, Transcript, TranscriptTag};
use crate::error::{GenomeError, shorten};
use crate::gene::Gene;
use crate::interval::{Interval, Strand};

/// A gene is what shares identifier, chromosome and strand: the pseudoautosomal genes and the
/// loci of UCSC's files repeat an identifier.
pub(super) type GeneKey = (String, Arc<str>, Strand);

pub(super) struct GeneDraft {
    pub(super) name: Option<String>,
    pub(super) gene_type: Option<String>,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) line: u64,
    /// Whether a gene line gave the ends.
    pub(super) has_line: bool,
}

pub(super) struct TranscriptDraft {
    pub(super) gene: usize,
    pub(super) transcript_id: String,
    pub(super) tag: Option<TranscriptTag>,
    /// Line of a piece and the piece.
    pub(super) exons: Vec<(u64, Interval)>,
    pub(super) cds: Vec<(u64, Interval)>,
}

/// The first eight columns of a GTF or GFF3 line, positions 0-based and half-open.
pub(super) struct Columns<'a> {
    pub(super) chrom: &'a str,
    pub(super) feature: &'a str,
    /// Text of the position columns and the strand; checked by [`Columns::place`].
    place: [&'a str; 3],
    pub(super) attributes: &'a str,
}

/// Where a line lies, 0-based and half-open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) strand: Strand,
}

impl<'a> Columns<'a> {
    /// Cuts a line into its nine columns.
    pub(super) fn cut(path: &Path, line: u64, text: &'a str) -> Result<Self, GenomeError> {
        let fields: Vec<&str> = text.splitn(9, '\t').collect();
        let [chrom, _, feature, start, end, _, strand, _, attributes] = fields[..] else {
            return Err(GenomeError::FieldCount {
                path: path.to_path_buf(),
                line,
                expected: "9".to_string(),
                found: fields.len(),
            });
        };
        Ok(Columns {
            chrom,
            feature,
            place: [start, end, strand],
            attributes,
        })
    }

    /// Whether the strand matters but is not known, which GFF3 writes as `?`.
    pub(super) fn has_unknown_strand(&self) -> bool {
        self.place[2] == "?"
    }

    /// Reads positions and strand.
    pub(super) fn place(&self, path: &Path, line: u64) -> Result<Place, GenomeError> {
        let (start, end) = self.ends(path, line)?;
        let strand = self.place[2];
        let strand = strand.parse().map_err(|_| GenomeError::InvalidField {
            path: path.to_path_buf(),
            line,
            column: "strand".to_string(),
            value: shorten(strand),
            expected: "+ or -",
        })?;
        Ok(Place { start, end, strand })
    }

    /// Reads the positions: the first base and one past the last, 0-based.
    pub(super) fn ends(&self, path: &Path, line: u64) -> Result<(u64, u64), GenomeError> {
        let invalid = |column: &str, value: &str, expected| GenomeError::InvalidField {
            path: path.to_path_buf(),
            line,
            column: column.to_string(),
            value: shorten(value),
            expected,
        };
        let position = |column, value: &str| match value.trim().parse::<u64>() {
            Ok(0) | Err(_) => Err(invalid(column, value, "a whole number of at least 1")),
            Ok(position) => Ok(position),
        };
        let [start, end, _] = self.place;
        let (first, last) = (position("start", start)?, position("end", end)?);
        if last < first {
            return Err(invalid("end", end, "at or after the start of the line"));
        }
        Interval::try_new(self.chrom, first - 1, last).map_err(|error| match error {
            GenomeError::InvalidInterval { reason, .. } if reason.contains("long") => {
                invalid("end", end, "a position on a chromosome: it is too large")
            }
            _ => invalid("chromosome", self.chrom, "a chromosome's name"),
        })?;
        Ok((first - 1, last))
    }
}

/// Keeps one copy of each chromosome's name.
#[derive(Default)]
pub(super) struct ChromNames(HashMap<String, Arc<str>>);

impl ChromNames {
    pub(super) fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(chrom) = self.0.get(name) {
            return Arc::clone(chrom);
        }
        let chrom: Arc<str> = name.into();
        self.0.insert(name.to_string(), Arc::clone(&chrom));
        chrom
    }
}

/// Checks the drafts and makes an annotation of them.
pub(super) fn finish(
    path: &Path,
    genes: Vec<(GeneKey, GeneDraft)>,
    drafts: Vec<TranscriptDraft>,
) -> Result<Annotation, GenomeError> {
    if genes.is_empty() {
        return Err(GenomeError::Empty {
            path: path.to_path_buf(),
            what: "gene, transcript, exon or CDS line",
        });
    }
    let mut transcripts = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let Some(((gene_id, chrom, strand), gene)) = genes.get(draft.gene) else {
            continue;
        };
        let (exons, cds) = check_pieces(path, draft.exons, draft.cds)?;
        // A transcript line alone says nothing about what is spliced out.
        if exons.is_empty() {
            continue;
        }
        transcripts.push(Transcript {
            gene_id: gene_id.clone(),
            gene_name: gene.name.clone().unwrap_or_else(|| gene_id.clone()),
            transcript_id: draft.transcript_id,
            tag: draft.tag,
            chrom: chrom.to_string(),
            strand: *strand,
            exons,
            cds,
        });
    }
    Ok(Annotation::new(
        path.to_path_buf(),
        unique_genes(genes),
        transcripts,
    ))
}

/// Sorts the pieces of a transcript and makes sure that they fit together.
fn check_pieces(
    path: &Path,
    mut exons: Vec<(u64, Interval)>,
    mut cds: Vec<(u64, Interval)>,
) -> Result<(Vec<Interval>, Vec<Interval>), GenomeError> {
    let refuse = |line, reason: String| GenomeError::InvalidLine {
        path: path.to_path_buf(),
        line,
        reason,
    };
    exons.sort_by(|a, b| a.1.cmp(&b.1));
    cds.sort_by(|a, b| a.1.cmp(&b.1));
    if exons.is_empty() {
        exons.clone_from(&cds);
    }
    for pair in exons.windows(2) {
        if let [(line_a, a), (line_b, b)] = pair
            && a.overlaps(b)
        {
            return Err(refuse(
                *line_a.max(line_b),
                format!(
                    "the exon overlaps that of line {} of the same transcript ({a} and {b}); remove one \
                     of them, or give each its own transcript",
                    line_a.min(line_b)
                ),
            ));
        }
    }
    for (line, piece) in &cds {
        let after = exons.partition_point(|(_, exon)| exon.start() <= piece.start());
        let inside = after
            .checked_sub(1)
            .and_then(|index| exons.get(index))
            .is_some_and(|(_, exon)| piece.end() <= exon.end());
        if !inside {
            return Err(refuse(
                *line,
                format!(
                    "the CDS {piece} is not inside an exon of its transcript; correct one of the two, \
                     or remove the transcript"
                ),
            ));
        }
    }
    let intervals = |pieces: Vec<(u64, Interval)>| pieces.into_iter().map(|(_, i)| i).collect();
    Ok((intervals(exons), intervals(cds)))
}

/// Turns drafts into genes with unique symbols.
fn unique_genes(drafts: Vec<(GeneKey, GeneDraft)>) -> Vec<Gene> {
    let mut n_names: HashMap<String, u64> = HashMap::new();
    let mut n_ids: HashMap<String, u64> = HashMap::new();
    for ((gene_id, ..), draft) in &drafts {
        *n_names
            .entry(draft.name.as_ref().unwrap_or(gene_id).clone())
            .or_default() += 1;
        *n_ids.entry(gene_id.clone()).or_default() += 1;
    }
    drafts
        .into_iter()
        .map(|((gene_id, chrom, strand), draft)| {
            let name = draft.name.unwrap_or_else(|| gene_id.clone());
            let symbol = if n_names.get(&name) == Some(&1) {
                name
            } else if n_ids.get(&gene_id) == Some(&1) {
                gene_id.clone()
            } else {
                format!("{gene_id}_{chrom}{strand}")
            };
            Gene {
                symbol,
                tss: match strand {
                    Strand::Forward => draft.start,
                    Strand::Reverse => draft.end - 1,
                },
                gene_id,
                chrom: chrom.to_string(),
                strand,
                gene_type: draft.gene_type,
                split: None,
                line: draft.line,
            }
        })
        .collect()
}
