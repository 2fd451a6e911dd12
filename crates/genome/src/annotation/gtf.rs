//! The GTF format: 1-based closed positions, nine columns, `key "value";` attributes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::annotation::{Annotation, Transcript};
use crate::error::{GenomeError, shorten};
use crate::gene::Gene;
use crate::interval::{Interval, Strand};
use crate::table::Lines;

/// Reads a GTF file of GENCODE, Ensembl or UCSC; plain, gzip or bgzip.
///
/// `gene`, `transcript`, `exon` and `CDS` lines are read, in any order; other features are
/// ignored. Gene and transcript lines may be missing. A transcript with a CDS and no exon has
/// its CDS as exons.
///
/// # Errors
/// [`GenomeError`] with path and line: fewer than nine columns, a position that is no number or
/// is 0, an end before its start, a strand that is not `+` or `-`, no `gene_id` or
/// `transcript_id`, exons that overlap, a CDS outside its exons, a GFF3 file.
pub fn read_gtf(path: impl AsRef<Path>) -> Result<Annotation, GenomeError> {
    let path = path.as_ref();
    let mut lines = Lines::open(path)?;
    let mut collector = Collector::new(path);
    while let Some((line, text)) = lines.next_line()? {
        if text.starts_with('#') || text.trim().is_empty() {
            continue;
        }
        if let Some(record) = parse_line(path, line, text)? {
            collector.add(&record)?;
        }
    }
    collector.finish()
}

/// The kinds of lines that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    Gene,
    Transcript,
    Exon,
    Cds,
}

/// One line of the file, positions 0-based and half-open.
struct Record<'a> {
    line: u64,
    feature: Feature,
    chrom: &'a str,
    start: u64,
    end: u64,
    strand: Strand,
    gene_id: &'a str,
    gene_name: Option<&'a str>,
    gene_type: Option<&'a str>,
    /// Empty on a gene line.
    transcript_id: &'a str,
}

/// Reads one line; `None` when its feature is not one of ours.
fn parse_line<'a>(
    path: &Path,
    line: u64,
    text: &'a str,
) -> Result<Option<Record<'a>>, GenomeError> {
    let refuse = |reason: String| GenomeError::InvalidLine {
        path: path.to_path_buf(),
        line,
        reason,
    };
    let invalid = |column: &str, value: &str, expected| GenomeError::InvalidField {
        path: path.to_path_buf(),
        line,
        column: column.to_string(),
        value: shorten(value),
        expected,
    };
    let fields: Vec<&str> = text.splitn(9, '\t').collect();
    let [chrom, _, feature, start, end, _, strand, _, attributes] = fields[..] else {
        return Err(GenomeError::FieldCount {
            path: path.to_path_buf(),
            line,
            expected: "9".to_string(),
            found: fields.len(),
        });
    };
    let feature = match feature {
        "gene" => Feature::Gene,
        "transcript" => Feature::Transcript,
        "exon" => Feature::Exon,
        "CDS" => Feature::Cds,
        _ => return Ok(None),
    };
    let position = |column, value: &str| match value.trim().parse::<u64>() {
        Ok(0) | Err(_) => Err(invalid(column, value, "a whole number of at least 1")),
        Ok(position) => Ok(position),
    };
    let (first, last) = (position("start", start)?, position("end", end)?);
    if last < first {
        return Err(invalid("end", end, "at or after the start of the line"));
    }
    Interval::try_new(chrom, first - 1, last).map_err(|error| match error {
        GenomeError::InvalidInterval { reason, .. } if reason.contains("long") => {
            invalid("end", end, "a position on a chromosome: it is too large")
        }
        _ => invalid("chromosome", chrom, "a chromosome's name"),
    })?;
    let strand = strand
        .parse()
        .map_err(|_| invalid("strand", strand, "+ or -"))?;

    let (mut gene_id, mut gene_name, mut gene_type, mut transcript_id) = (None, None, None, None);
    for (key, value) in Attributes(attributes) {
        match key {
            "gene_id" => gene_id = Some(value),
            "gene_name" => gene_name = Some(value),
            "gene_type" | "gene_biotype" => gene_type = Some(value),
            "transcript_id" => transcript_id = Some(value),
            _ => {}
        }
    }
    let present = |value: Option<&'a str>| value.filter(|text| !text.is_empty());
    let Some(gene_id) = present(gene_id) else {
        let gff3 = attributes.starts_with("ID=") || attributes.starts_with("Parent=");
        return Err(refuse(if gff3 {
            "this is a GFF3 line; give the GTF file of the same annotation".to_string()
        } else {
            "no gene_id among the attributes; write gene_id \"…\";".to_string()
        }));
    };
    let transcript_id = match (present(transcript_id), feature) {
        (Some(id), _) => id,
        (None, Feature::Gene) => "",
        (None, _) => {
            return Err(refuse(
                "no transcript_id among the attributes; write transcript_id \"…\";".to_string(),
            ));
        }
    };
    Ok(Some(Record {
        line,
        feature,
        chrom,
        start: first - 1,
        end: last,
        strand,
        gene_id,
        gene_name: present(gene_name),
        gene_type: present(gene_type),
        transcript_id,
    }))
}

/// Goes through `key "value"; key value;` pairs; a quoted value may hold semicolons.
struct Attributes<'a>(&'a str);

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.trim_start_matches([' ', ';', '\t']);
        let (key, rest) = text.split_once([' ', '\t'])?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(';').unwrap_or((rest, "")),
        };
        self.0 = rest;
        Some((key, value.trim()))
    }
}

/// A gene is what shares identifier, chromosome and strand: the pseudoautosomal genes and the
/// loci of UCSC's files repeat an identifier.
type GeneKey = (String, Arc<str>, Strand);

struct GeneDraft {
    name: Option<String>,
    gene_type: Option<String>,
    start: u64,
    end: u64,
    line: u64,
    /// Whether a gene line gave the ends.
    has_line: bool,
}

struct TranscriptDraft {
    gene: usize,
    transcript_id: String,
    /// Line of a piece and the piece.
    exons: Vec<(u64, Interval)>,
    cds: Vec<(u64, Interval)>,
}

/// Collects lines until the file ends.
struct Collector<'a> {
    path: &'a Path,
    chroms: HashMap<String, Arc<str>>,
    genes: Vec<(GeneKey, GeneDraft)>,
    gene_index: HashMap<GeneKey, usize>,
    transcripts: Vec<TranscriptDraft>,
    transcript_index: HashMap<(usize, String), usize>,
    /// The gene and the transcript of the line before, which are usually those of the next.
    last_gene: usize,
    last_transcript: usize,
}

impl<'a> Collector<'a> {
    fn new(path: &'a Path) -> Self {
        Collector {
            path,
            chroms: HashMap::new(),
            genes: Vec::new(),
            gene_index: HashMap::new(),
            transcripts: Vec::new(),
            transcript_index: HashMap::new(),
            last_gene: 0,
            last_transcript: 0,
        }
    }

    fn add(&mut self, record: &Record<'_>) -> Result<(), GenomeError> {
        let chrom = match self.chroms.get(record.chrom) {
            Some(chrom) => Arc::clone(chrom),
            None => {
                let chrom: Arc<str> = record.chrom.into();
                self.chroms
                    .insert(record.chrom.to_string(), Arc::clone(&chrom));
                chrom
            }
        };
        let gene_index = self.gene_of(record, &chrom)?;
        if record.feature == Feature::Gene {
            return Ok(());
        }
        let transcript_index = self.transcript_of(gene_index, record.transcript_id);
        let piece = Interval::try_new(chrom, record.start, record.end)?;
        if let Some(transcript) = self.transcripts.get_mut(transcript_index) {
            match record.feature {
                Feature::Exon => transcript.exons.push((record.line, piece)),
                Feature::Cds => transcript.cds.push((record.line, piece)),
                Feature::Gene | Feature::Transcript => {}
            }
        }
        Ok(())
    }

    /// Finds or makes the gene of a line and adds what the line says about it.
    fn gene_of(&mut self, record: &Record<'_>, chrom: &Arc<str>) -> Result<usize, GenomeError> {
        let same = self
            .genes
            .get(self.last_gene)
            .is_some_and(|((id, on, strand), _)| {
                id == record.gene_id && on == chrom && *strand == record.strand
            });
        let index = if same {
            self.last_gene
        } else {
            let key = (record.gene_id.to_string(), Arc::clone(chrom), record.strand);
            match self.gene_index.get(&key) {
                Some(index) => *index,
                None => {
                    let index = self.genes.len();
                    self.gene_index.insert(key.clone(), index);
                    let draft = GeneDraft {
                        name: None,
                        gene_type: None,
                        start: record.start,
                        end: record.end,
                        line: record.line,
                        has_line: false,
                    };
                    self.genes.push((key, draft));
                    index
                }
            }
        };
        self.last_gene = index;
        let Some((_, draft)) = self.genes.get_mut(index) else {
            return Ok(index);
        };
        if record.feature == Feature::Gene {
            if draft.has_line {
                return Err(GenomeError::Duplicate {
                    path: self.path.to_path_buf(),
                    line: record.line,
                    column: "gene_id".to_string(),
                    value: shorten(record.gene_id),
                    first_line: draft.line,
                });
            }
            draft.has_line = true;
            (draft.start, draft.end, draft.line) = (record.start, record.end, record.line);
        } else if !draft.has_line {
            draft.start = draft.start.min(record.start);
            draft.end = draft.end.max(record.end);
        }
        if draft.name.is_none() {
            draft.name = record.gene_name.map(str::to_string);
        }
        if draft.gene_type.is_none() {
            draft.gene_type = record.gene_type.map(str::to_string);
        }
        Ok(index)
    }

    /// Finds or makes a transcript of a gene.
    fn transcript_of(&mut self, gene: usize, transcript_id: &str) -> usize {
        let same = self
            .transcripts
            .get(self.last_transcript)
            .is_some_and(|draft| draft.gene == gene && draft.transcript_id == transcript_id);
        if !same {
            let key = (gene, transcript_id.to_string());
            self.last_transcript = *self.transcript_index.entry(key).or_insert_with(|| {
                self.transcripts.push(TranscriptDraft {
                    gene,
                    transcript_id: transcript_id.to_string(),
                    exons: Vec::new(),
                    cds: Vec::new(),
                });
                self.transcripts.len() - 1
            });
        }
        self.last_transcript
    }

    fn finish(self) -> Result<Annotation, GenomeError> {
        if self.genes.is_empty() {
            return Err(GenomeError::Empty {
                path: self.path.to_path_buf(),
                what: "gene, transcript, exon or CDS line",
            });
        }
        let mut transcripts = Vec::with_capacity(self.transcripts.len());
        for draft in self.transcripts {
            let Some(((gene_id, chrom, strand), gene)) = self.genes.get(draft.gene) else {
                continue;
            };
            let (exons, cds) = check_pieces(self.path, draft.exons, draft.cds)?;
            // A transcript line alone says nothing about what is spliced out.
            if exons.is_empty() {
                continue;
            }
            transcripts.push(Transcript {
                gene_id: gene_id.clone(),
                gene_name: gene.name.clone().unwrap_or_else(|| gene_id.clone()),
                transcript_id: draft.transcript_id,
                chrom: chrom.to_string(),
                strand: *strand,
                exons,
                cds,
            });
        }
        let genes = unique_genes(self.genes);
        Ok(Annotation::new(self.path.to_path_buf(), genes, transcripts))
    }
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
                    "the exon overlaps that of line {} of the same transcript ({a} and {b})",
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
                format!("the CDS {piece} is not inside an exon of its transcript"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_quotes_and_bare_values() {
        let cases = [
            ("", vec![]),
            (";; ", vec![]),
            ("gene_id \"A\";", vec![("gene_id", "A")]),
            (
                "gene_id \"A; B\"; exon_number 1; tag \"x\"",
                vec![("gene_id", "A; B"), ("exon_number", "1"), ("tag", "x")],
            ),
            ("gene_id \"A", vec![("gene_id", "A")]),
            ("gene_id  A ;x y", vec![("gene_id", "A"), ("x", "y")]),
        ];
        for (text, expected) in cases {
            assert_eq!(Attributes(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
