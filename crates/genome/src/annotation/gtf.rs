//! The GTF format: 1-based closed positions, nine columns, `key "value";` attributes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::annotation::draft::{
    self, ChromNames, Columns, GeneDraft, GeneKey, Place, TranscriptDraft,
};
use crate::annotation::{Annotation, TranscriptTag};
use crate::error::{GenomeError, shorten};
use crate::interval::Interval;
use crate::lines::Lines;

/// Reads the lines of a GTF file.
///
/// `gene`, `transcript`, `exon` and `CDS` lines are read, in any order; other features are
/// ignored. Gene and transcript lines may be missing. A transcript with a CDS and no exon has
/// its CDS as exons.
pub(super) fn read_gtf(path: &Path, mut lines: Lines) -> Result<Annotation, GenomeError> {
    let mut collector = Collector::new(path);
    while let Some((line, text)) = lines.next_line()? {
        if text.starts_with('#') || text.trim().is_empty() {
            continue;
        }
        if let Some(record) = parse_line(path, line, text)? {
            collector.add(&record)?;
        }
    }
    draft::finish(path, collector.genes, collector.transcripts)
}

/// The kinds of lines that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    Gene,
    Transcript,
    Exon,
    Cds,
}

/// One line of the file.
struct Record<'a> {
    line: u64,
    feature: Feature,
    chrom: &'a str,
    place: Place,
    gene_id: &'a str,
    gene_name: Option<&'a str>,
    gene_type: Option<&'a str>,
    /// Empty on a gene line.
    transcript_id: &'a str,
    tag: Option<TranscriptTag>,
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
    let columns = Columns::cut(path, line, text)?;
    let feature = match columns.feature {
        "gene" => Feature::Gene,
        "transcript" => Feature::Transcript,
        "exon" => Feature::Exon,
        "CDS" => Feature::Cds,
        _ => return Ok(None),
    };
    let place = columns.place(path, line)?;

    let (mut gene_id, mut gene_name, mut gene_type, mut transcript_id) = (None, None, None, None);
    let mut tag = None;
    for (key, value) in Attributes(columns.attributes) {
        match key {
            "gene_id" => gene_id = Some(value),
            "gene_name" => gene_name = Some(value),
            "gene_type" | "gene_biotype" => gene_type = Some(value),
            "transcript_id" => transcript_id = Some(value),
            "tag" => tag = tag.max(TranscriptTag::parse(value)),
            _ => {}
        }
    }
    let present = |value: Option<&'a str>| value.filter(|text| !text.is_empty());
    let Some(gene_id) = present(gene_id) else {
        return Err(refuse(
            "no gene_id among the attributes; write gene_id \"…\";".to_string(),
        ));
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
        chrom: columns.chrom,
        place,
        gene_id,
        gene_name: present(gene_name),
        gene_type: present(gene_type),
        transcript_id,
        tag,
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

/// Collects lines until the file ends.
struct Collector<'a> {
    path: &'a Path,
    chroms: ChromNames,
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
            chroms: ChromNames::default(),
            genes: Vec::new(),
            gene_index: HashMap::new(),
            transcripts: Vec::new(),
            transcript_index: HashMap::new(),
            last_gene: 0,
            last_transcript: 0,
        }
    }

    fn add(&mut self, record: &Record<'_>) -> Result<(), GenomeError> {
        let chrom = self.chroms.get(record.chrom);
        let gene_index = self.gene_of(record, &chrom)?;
        if record.feature == Feature::Gene {
            return Ok(());
        }
        let transcript_index = self.transcript_of(gene_index, record.transcript_id);
        let piece = Interval::try_new(chrom, record.place.start, record.place.end)?;
        if let Some(transcript) = self.transcripts.get_mut(transcript_index) {
            transcript.tag = transcript.tag.max(record.tag);
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
                id == record.gene_id && on == chrom && *strand == record.place.strand
            });
        let index = if same {
            self.last_gene
        } else {
            let key = (
                record.gene_id.to_string(),
                Arc::clone(chrom),
                record.place.strand,
            );
            match self.gene_index.get(&key) {
                Some(index) => *index,
                None => {
                    let index = self.genes.len();
                    self.gene_index.insert(key.clone(), index);
                    let draft = GeneDraft {
                        name: None,
                        gene_type: None,
                        start: record.place.start,
                        end: record.place.end,
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
            (draft.start, draft.end, draft.line) =
                (record.place.start, record.place.end, record.line);
        } else if !draft.has_line {
            draft.start = draft.start.min(record.place.start);
            draft.end = draft.end.max(record.place.end);
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
                    tag: None,
                    exons: Vec::new(),
                    cds: Vec::new(),
                });
                self.transcripts.len() - 1
            });
        }
        self.last_transcript
    }
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
