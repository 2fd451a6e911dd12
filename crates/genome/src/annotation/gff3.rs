//! The GFF3 format: 1-based closed positions, nine columns, `key=value;` attributes, parents.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::annotation::draft::{self, ChromNames, Columns, GeneDraft, GeneKey, TranscriptDraft};
use crate::annotation::{Annotation, TranscriptTag, UnstrandedGene};
use crate::error::{GenomeError, shorten};
use crate::interval::{Interval, Strand};
use crate::lines::Lines;

/// Generations between an exon and its gene; the formats in use have two or three.
const MAX_DEPTH: usize = 16;

/// Reads the lines of a GFF3 file.
///
/// Every feature that is the parent of an `exon` or `CDS` is a transcript, and its topmost
/// ancestor the gene; a gene with such children of its own is its own transcript. A line may come
/// before its parent's. Reading ends at `##FASTA`.
pub(super) fn read_gff3(path: &Path, mut lines: Lines) -> Result<Annotation, GenomeError> {
    let mut forest = Forest::default();
    while let Some((line, text)) = lines.next_line()? {
        if text.starts_with("##FASTA") {
            break;
        }
        if !(text.starts_with('#') || text.trim().is_empty()) {
            forest.add(path, line, text)?;
        }
    }
    forest.finish(path)
}

/// Numbers the identifiers of a file in the order in which they turn up.
#[derive(Default)]
struct Ids(HashMap<String, usize>);

impl Ids {
    fn number_of(&mut self, id: &str) -> usize {
        match self.0.get(id) {
            Some(number) => *number,
            None => {
                let number = self.0.len();
                self.0.insert(id.to_string(), number);
                number
            }
        }
    }
}

/// A feature that other features may name as their parent.
struct Node {
    line: u64,
    chrom: Arc<str>,
    start: u64,
    end: u64,
    /// Nothing for `?`.
    strand: Option<Strand>,
    parent: Option<usize>,
    is_gene: bool,
    gene_id: Option<String>,
    gene_name: Option<String>,
    gene_type: Option<String>,
    transcript_id: Option<String>,
    tag: Option<TranscriptTag>,
}

/// An exon or a piece of a coding sequence.
struct Piece {
    line: u64,
    parent: usize,
    interval: Interval,
    is_cds: bool,
}

/// Every feature of the file, until all parents are known.
#[derive(Default)]
struct Forest {
    chroms: ChromNames,
    ids: Ids,
    /// By the number of the identifier; nothing for one that is only named as a parent.
    nodes: Vec<Option<Node>>,
    pieces: Vec<Piece>,
    /// Why a feature with a parent is none of the nodes, by the number of its identifier: only one with parts of its own
    /// must have a place.
    unplaced: HashMap<usize, GenomeError>,
}

impl Forest {
    fn add(&mut self, path: &Path, line: u64, text: &str) -> Result<(), GenomeError> {
        let mut columns = Columns::cut(path, line, text)?;
        let chrom = unescape(columns.chrom);
        columns.chrom = &chrom;
        let is_cds = match columns.feature {
            "exon" => false,
            "CDS" => true,
            _ => return self.add_node(path, line, &columns),
        };
        let (start, end, _) = place_of(&columns, path, line)?;
        let chrom = self.chroms.get(columns.chrom);
        let interval = Interval::try_new(chrom, start, end)?;
        let Some(parents) = Attributes(columns.attributes).find(|(key, _)| *key == "Parent") else {
            return Err(GenomeError::InvalidLine {
                path: path.to_path_buf(),
                line,
                reason: format!(
                    "the {} has no Parent; write Parent=… with the identifier of its transcript",
                    columns.feature
                ),
            });
        };
        for parent in parents.1.split(',') {
            self.pieces.push(Piece {
                line,
                parent: self.ids.number_of(&unescape(parent)),
                interval: interval.clone(),
                is_cds,
            });
        }
        Ok(())
    }

    /// Keeps a feature that has an identifier.
    fn add_node(
        &mut self,
        path: &Path,
        line: u64,
        columns: &Columns<'_>,
    ) -> Result<(), GenomeError> {
        let mut id = None;
        let mut parent = None;
        let (mut gene_id, mut gene_name, mut name, mut symbol) = (None, None, None, None);
        let (mut gene_type, mut transcript_id, mut tag) = (None, None, None);
        for (key, value) in Attributes(columns.attributes) {
            match key {
                "ID" => id = Some(unescape(value)),
                "Parent" => parent = value.split(',').next().map(unescape),
                "gene_id" => gene_id = Some(unescape(value)),
                "gene_name" => gene_name = Some(unescape(value)),
                "Name" => name = Some(unescape(value)),
                "gene" => symbol = Some(unescape(value)),
                "gene_type" | "gene_biotype" | "biotype" => gene_type = Some(unescape(value)),
                "transcript_id" => transcript_id = Some(unescape(value)),
                "tag" => {
                    tag = value
                        .split(',')
                        .map(|value| TranscriptTag::parse(&unescape(value)))
                        .fold(tag, Ord::max)
                }
                _ => {}
            }
        }
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return Ok(());
        };
        // Regions, alignments and the like have no strand, and are usually nobody's parent.
        let (start, end, strand) = match place_of(columns, path, line) {
            Ok(place) => place,
            Err(error) if columns.feature.ends_with("gene") => return Err(error),
            Err(error) => {
                // A transcript has a gene for a parent; of the others there may be millions.
                if parent.is_some() {
                    self.unplaced.insert(self.ids.number_of(&id), error);
                }
                return Ok(());
            }
        };
        let number = self.ids.number_of(&id);
        let parent = parent.map(|parent| self.ids.number_of(&parent));
        if self.nodes.len() <= number {
            self.nodes.resize_with(self.ids.0.len(), || None);
        }
        let Some(slot) = self.nodes.get_mut(number) else {
            return Ok(());
        };
        let is_gene = parent.is_none() && columns.feature.ends_with("gene");
        match slot {
            // One feature on several lines keeps its first; that is fine but for a gene with a strand.
            Some(first) if is_gene && first.strand.is_some() => {
                return Err(GenomeError::Duplicate {
                    path: path.to_path_buf(),
                    line,
                    column: "ID".to_string(),
                    value: shorten(&id),
                    first_line: first.line,
                });
            }
            Some(_) => {}
            None => {
                // Ensembl writes `gene:ENSG…` and `transcript:ENST…`, RefSeq `gene-TP53` and
                // `rna-NM_…`, GENCODE the bare identifier.
                let bare = ["gene:", "transcript:", "gene-", "rna-", "id-"]
                    .iter()
                    .find_map(|prefix| id.strip_prefix(prefix))
                    .unwrap_or(&id)
                    .to_string();
                let owned = |value: Option<Cow<'_, str>>| {
                    value.map(Cow::into_owned).filter(|text| !text.is_empty())
                };
                *slot = Some(Node {
                    line,
                    chrom: self.chroms.get(columns.chrom),
                    start,
                    end,
                    strand,
                    parent,
                    is_gene,
                    gene_id: owned(gene_id).or_else(|| parent.is_none().then(|| bare.clone())),
                    gene_name: owned(gene_name).or(match parent {
                        None => owned(name).or(owned(symbol)),
                        Some(_) => None,
                    }),
                    gene_type: owned(gene_type),
                    transcript_id: owned(transcript_id).or(Some(bare)),
                    tag,
                });
            }
        }
        Ok(())
    }

    /// The topmost ancestor of a feature.
    fn root_of(&self, number: usize) -> Result<usize, String> {
        let mut number = number;
        for _ in 0..MAX_DEPTH {
            match self.nodes.get(number) {
                Some(Some(Node {
                    parent: Some(parent),
                    ..
                })) => number = *parent,
                Some(Some(_)) => return Ok(number),
                _ => {
                    return Err(format!(
                        "its ancestor {:?} is not in the file; add its line, or remove this Parent",
                        self.id_of(number)
                    ));
                }
            }
        }
        Err("its ancestors go round in a circle; correct the Parent of one of them".to_string())
    }

    fn id_of(&self, number: usize) -> String {
        let found = self.ids.0.iter().find(|(_, other)| **other == number);
        found.map(|(id, _)| shorten(id)).unwrap_or_default()
    }

    fn finish(mut self, path: &Path) -> Result<Annotation, GenomeError> {
        let refuse = |line: u64, reason: String| GenomeError::InvalidLine {
            path: path.to_path_buf(),
            line,
            reason,
        };
        let mut genes: Vec<(GeneKey, GeneDraft)> = Vec::new();
        let mut gene_of_root: HashMap<usize, usize> = HashMap::new();
        let mut add_gene = |root: usize, node: &Node, strand: Strand| {
            *gene_of_root.entry(root).or_insert_with(|| {
                let gene_id = node.gene_id.clone().unwrap_or_default();
                let key = (gene_id, Arc::clone(&node.chrom), strand);
                let draft = GeneDraft {
                    name: node.gene_name.clone(),
                    gene_type: node.gene_type.clone(),
                    start: node.start,
                    end: node.end,
                    line: node.line,
                    has_line: node.is_gene,
                };
                genes.push((key, draft));
                genes.len() - 1
            })
        };
        // Genes keep the order of their lines, also those without an exon.
        let mut roots: Vec<(u64, usize)> = (self.nodes.iter().enumerate())
            .filter_map(|(number, node)| Some((node.as_ref().filter(|n| n.is_gene)?.line, number)))
            .collect();
        roots.sort_unstable();
        let mut unstranded = Vec::new();
        for (line, number) in roots {
            let Some(Some(node)) = self.nodes.get(number) else {
                continue;
            };
            match node.strand {
                Some(strand) => {
                    add_gene(number, node, strand);
                }
                None => {
                    let symbol = node.gene_name.as_ref().or(node.gene_id.as_ref());
                    unstranded.push(UnstrandedGene {
                        symbol: symbol.cloned().unwrap_or_default(),
                        line,
                    });
                }
            }
        }

        let mut transcripts: Vec<TranscriptDraft> = Vec::new();
        let mut transcript_of: HashMap<usize, usize> = HashMap::new();
        for piece in &self.pieces {
            let Some(Some(parent)) = self.nodes.get(piece.parent) else {
                if let Some(error) = self.unplaced.remove(&piece.parent) {
                    return Err(error);
                }
                let parent = self.id_of(piece.parent);
                return Err(refuse(
                    piece.line,
                    format!(
                        "its parent {parent:?} is not in the file; add its line, or remove this one"
                    ),
                ));
            };
            let index = match transcript_of.get(&piece.parent) {
                Some(index) => *index,
                None => {
                    let root = self
                        .root_of(piece.parent)
                        .map_err(|reason| refuse(parent.line, reason))?;
                    let Some(Some(gene)) = self.nodes.get(root) else {
                        continue;
                    };
                    // Its parts may lie on either strand.
                    let Some(strand) = gene.strand else {
                        continue;
                    };
                    if parent.strand != Some(strand) || gene.chrom != parent.chrom {
                        return Err(refuse(
                            parent.line,
                            "it lies on another chromosome or strand than its gene; correct one of the two"
                                .to_string(),
                        ));
                    }
                    transcripts.push(TranscriptDraft {
                        gene: add_gene(root, gene, strand),
                        transcript_id: parent.transcript_id.clone().unwrap_or_default(),
                        tag: parent.tag,
                        exons: Vec::new(),
                        cds: Vec::new(),
                    });
                    transcript_of.insert(piece.parent, transcripts.len() - 1);
                    transcripts.len() - 1
                }
            };
            if piece.interval.chrom() != &*parent.chrom {
                return Err(refuse(
                    piece.line,
                    "it lies on another chromosome than its parent; correct one of the two"
                        .to_string(),
                ));
            }
            if let Some(transcript) = transcripts.get_mut(index) {
                let pieces = match piece.is_cds {
                    true => &mut transcript.cds,
                    false => &mut transcript.exons,
                };
                pieces.push((piece.line, piece.interval.clone()));
            }
        }
        if let (true, Some(first)) = (genes.is_empty(), unstranded.first()) {
            return Err(refuse(
                first.line,
                "no gene of the file has a strand, as this one has none (?); a start site needs one"
                    .to_string(),
            ));
        }
        let mut annotation = draft::finish(path, genes, transcripts)?;
        annotation.unstranded = unstranded;
        Ok(annotation)
    }
}

/// The first base of a line, one past its last (0-based), and its strand; nothing for a strand of `?`.
fn place_of(
    columns: &Columns<'_>,
    path: &Path,
    line: u64,
) -> Result<(u64, u64, Option<Strand>), GenomeError> {
    match columns.has_unknown_strand() {
        true => columns
            .ends(path, line)
            .map(|(start, end)| (start, end, None)),
        false => columns
            .place(path, line)
            .map(|place| (place.start, place.end, Some(place.strand))),
    }
}

/// Goes through `key=value;` pairs; values are still escaped.
struct Attributes<'a>(&'a str);

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.0.is_empty() {
                return None;
            }
            let (pair, rest) = self.0.split_once(';').unwrap_or((self.0, ""));
            self.0 = rest;
            if let Some((key, value)) = pair.split_once('=') {
                return Some((key.trim(), value.trim()));
            }
        }
    }
}

/// Replaces `%3B` and the like by what they stand for.
fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_cut_and_unescaped() {
        let cases = [
            ("", vec![]),
            (";;x", vec![]),
            ("ID=a;Name=b;", vec![("ID", "a"), ("Name", "b")]),
            (" ID = a ;k=x=y", vec![("ID", "a"), ("k", "x=y")]),
        ];
        for (text, expected) in cases {
            assert_eq!(Attributes(text).collect::<Vec<_>>(), expected, "{text}");
        }
        // RFC 3986: %2C is a comma, %C3%A4 is ä in UTF-8.
        for (text, expected) in [
            ("a", "a"),
            ("a%2Cb", "a,b"),
            ("%C3%a4", "ä"),
            ("5%", "5%"),
            ("%zz", "%zz"),
        ] {
            assert_eq!(unescape(text), expected);
        }
    }
}
