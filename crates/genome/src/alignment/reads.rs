//! The reads of a BAM or CRAM file, one after the other.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use noodles::bam;
use noodles::cram;
use noodles::fasta::repository::{Adapter, Repository};
use noodles::fasta::{self, record::Definition};
use noodles::sam::Header;
use noodles::sam::alignment::Record;
use noodles::sam::alignment::record::Flags;
use noodles::sam::alignment::record::cigar::op::Kind;

use super::{CramReference, ReadFilter, ReadSpan};
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::input_file::{foreign_content, head_of, open_input};
use crate::interval::Interval;
use crate::packing::{Packing, bgzf_end};
use crate::panic_guard::catch_panic;
use crate::reference::Reference;

/// Flags of reads that never count.
const LEFT_OUT: Flags = Flags::UNMAPPED
    .union(Flags::SECONDARY)
    .union(Flags::SUPPLEMENTARY)
    .union(Flags::QC_FAIL)
    .union(Flags::DUPLICATE);

/// What ends every complete CRAM file of version 3 (CRAM specification, section 9).
const CRAM_END: [u8; 38] = [
    0x0f, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0xe0, 0x45, 0x4f, 0x46, 0, 0, 0, 0, 1, 0, 0x05,
    0xbd, 0xd9, 0x4f, 0, 1, 0, 6, 6, 1, 0, 1, 0, 1, 0, 0xee, 0x63, 1, 0x4b,
];

/// A read that counts.
#[derive(Debug, Clone, Default)]
pub(super) struct AlignedRead {
    /// Number of its chromosome in the header.
    pub(super) chrom_index: usize,
    /// First aligned base, 0-based.
    pub(super) start: u64,
    /// The bases that count, 0-based and half-open.
    pub(super) blocks: Vec<(u64, u64)>,
}

/// Hands each read that counts to `visit`, in the order of the file, which must be by position.
///
/// Returns the chromosomes and the number of records.
pub(super) fn for_each_read(
    path: &Path,
    reference: &CramReference,
    filter: &ReadFilter,
    visit: impl FnMut(&AlignedRead) -> Result<(), GenomeError>,
) -> Result<(ChromSizes, u64), GenomeError> {
    let mut file = open_input(path)?;
    let mut magic = [0_u8; 4];
    let n_magic = read_up_to(&mut file, &mut magic).map_err(GenomeError::io(path, "read"))?;
    let is_cram = magic[..n_magic] == *b"CRAM";
    let mut n_bytes = u64::MAX;
    if is_cram {
        check_cram_end(path, &mut file)?;
    } else if magic.starts_with(&[0x1f, 0x8b]) {
        if Packing::of(&mut file).map_err(GenomeError::io(path, "read"))? != Packing::Bgzf {
            return Err(GenomeError::CorruptAtByte {
                path: path.to_path_buf(),
                offset: 0,
                reason: "this is packed with gzip, and a BAM is with bgzip; sort and convert a SAM with: \
                         samtools sort -o sorted.bam FILE"
                    .to_string(),
            });
        }
        n_bytes = bgzf_end(path, &mut file)?;
    } else {
        return Err(GenomeError::CorruptAtByte {
            path: path.to_path_buf(),
            offset: 0,
            reason: match foreign_content(&head_of(path)) {
                Some(content) => format!("this is neither a BAM nor a CRAM file but {content}"),
                None => "this is neither a BAM nor a CRAM file; convert it with samtools view -b, or name \
                         the file by what it is"
                    .to_string(),
            },
        });
    }
    file.rewind().map_err(GenomeError::io(path, "read"))?;

    // The libraries below are not proved to be free of panics; the count says how far they came.
    let n_records = Cell::new(0);
    let pass = Pass {
        path,
        filter,
        visit,
        n_records: &n_records,
        last: (0, 0),
        read: AlignedRead::default(),
    };
    let buffered = BufReader::with_capacity(1 << 16, file);
    let result = catch_panic(|| {
        if is_cram {
            pass.read_cram(buffered, reference)
        } else {
            pass.read_bam(buffered.take(n_bytes))
        }
    });
    let chrom_sizes = result.map_err(|message| damaged(path, n_records.get() + 1, &message))??;
    Ok((chrom_sizes, n_records.get()))
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let n_wanted = buffer.len() as u64;
    let mut bytes = Vec::new();
    file.take(n_wanted).read_to_end(&mut bytes)?;
    buffer[..bytes.len()].copy_from_slice(&bytes);
    Ok(bytes.len())
}

/// Refuses a CRAM file that was cut off behind a container.
fn check_cram_end(path: &Path, file: &mut File) -> Result<(), GenomeError> {
    let refuse = GenomeError::io(path, "read");
    let mut version = [0_u8; 2];
    file.seek(SeekFrom::Start(4)).map_err(&refuse)?;
    let n_read = read_up_to(file, &mut version).map_err(&refuse)?;
    if n_read < 2 || version[0] != 3 {
        return Err(GenomeError::CorruptAtByte {
            path: path.to_path_buf(),
            offset: 4,
            reason: format!(
                "CRAM version {}.{} is none of 3; convert it with: samtools view -b -o reads.bam -T \
                 GENOME {}",
                version[0],
                version[1],
                path.display()
            ),
        });
    }
    let length = file.seek(SeekFrom::End(0)).map_err(&refuse)?;
    let mut end = [0_u8; CRAM_END.len()];
    if let Some(offset) = length.checked_sub(end.len() as u64) {
        file.seek(SeekFrom::Start(offset)).map_err(&refuse)?;
        file.read_exact(&mut end).map_err(&refuse)?;
    }
    if end == CRAM_END {
        return Ok(());
    }
    Err(GenomeError::CorruptAtByte {
        path: path.to_path_buf(),
        offset: length,
        reason:
            "the file was cut off: the container that ends a CRAM file is missing; get it again"
                .to_string(),
    })
}

fn damaged(path: &Path, record: u64, reason: &str) -> GenomeError {
    GenomeError::InvalidRecord {
        path: path.to_path_buf(),
        record,
        reason: format!("it cannot be decoded ({reason}); the file is damaged, get it again"),
    }
}

/// One pass over a file.
struct Pass<'a, F> {
    path: &'a Path,
    filter: &'a ReadFilter,
    visit: F,
    n_records: &'a Cell<u64>,
    /// Chromosome and start of the record before.
    last: (usize, u64),
    /// Reused from read to read.
    read: AlignedRead,
}

impl<F: FnMut(&AlignedRead) -> Result<(), GenomeError>> Pass<'_, F> {
    fn damaged(&self, error: &io::Error) -> GenomeError {
        damaged(self.path, self.n_records.get() + 1, &error.to_string())
    }

    fn read_bam(mut self, source: impl Read) -> Result<ChromSizes, GenomeError> {
        let mut reader = bam::io::Reader::new(source);
        let header = reader
            .read_header()
            .map_err(|error| self.bad_header(&error))?;
        let chrom_sizes = self.chrom_sizes(&header)?;
        let mut record = bam::Record::default();
        while reader
            .read_record(&mut record)
            .map_err(|error| self.damaged(&error))?
            != 0
        {
            self.take(&record, &header, &chrom_sizes)?;
        }
        Ok(chrom_sizes)
    }

    fn read_cram(
        mut self,
        source: BufReader<File>,
        reference: &CramReference,
    ) -> Result<ChromSizes, GenomeError> {
        let repository = Repository::new(ReferenceBases::open(reference)?);
        let mut reader = cram::io::Reader::new(source);
        let header = reader
            .read_header()
            .map_err(|error| self.bad_header(&error))?;
        let chrom_sizes = self.chrom_sizes(&header)?;
        let mut container = cram::io::reader::Container::default();
        while reader
            .read_container(&mut container)
            .map_err(|error| self.damaged(&error))?
            != 0
        {
            let compression = container
                .compression_header()
                .map_err(|error| self.damaged(&error))?;
            for slice in container.slices() {
                let slice = slice.map_err(|error| self.damaged(&error))?;
                let (core, external) = slice
                    .decode_blocks()
                    .map_err(|error| self.damaged(&error))?;
                let records = slice
                    .records(repository.clone(), &header, &compression, &core, &external)
                    .map_err(|error| self.bad_slice(&error, &reference.path))?;
                for record in &records {
                    self.take(record, &header, &chrom_sizes)?;
                }
            }
            // The library keeps every chromosome it was given; one is enough.
            if repository.len() > 1 {
                repository.clear();
            }
        }
        Ok(chrom_sizes)
    }

    fn bad_slice(&self, error: &io::Error, reference: &Path) -> GenomeError {
        GenomeError::InvalidRecord {
            path: self.path.to_path_buf(),
            record: self.n_records.get() + 1,
            reason: format!(
                "it cannot be decoded with {} ({error}); a CRAM needs the sequence that its reads \
                 were aligned to",
                reference.display()
            ),
        }
    }

    fn bad_header(&self, error: &io::Error) -> GenomeError {
        GenomeError::CorruptObject {
            path: self.path.to_path_buf(),
            object: "header".to_string(),
            reason: format!("it cannot be read ({error}); is this a BAM or CRAM file?"),
        }
    }

    fn chrom_sizes(&self, header: &Header) -> Result<ChromSizes, GenomeError> {
        let sequences = header.reference_sequences();
        let sizes: Vec<(String, u64)> = sequences
            .iter()
            .map(|(name, map)| (name.to_string(), map.length().get() as u64))
            .collect();
        if sizes.is_empty() {
            return Err(GenomeError::Empty {
                path: self.path.to_path_buf(),
                what: "chromosome (@SQ line in the header)",
            });
        }
        Ok(ChromSizes::new(sizes))
    }

    /// Checks one record and hands it on when it counts.
    fn take(
        &mut self,
        record: &dyn Record,
        header: &Header,
        chrom_sizes: &ChromSizes,
    ) -> Result<(), GenomeError> {
        let counts = self
            .decode(record, header)
            .map_err(|error| self.damaged(&error))?;
        let number = self.n_records.get() + 1;
        self.n_records.set(number);
        let Some(counts) = counts else {
            return Ok(());
        };
        let refuse = |reason: String| GenomeError::InvalidRecord {
            path: self.path.to_path_buf(),
            record: number,
            reason,
        };
        let place = (self.read.chrom_index, self.read.start);
        if place < self.last {
            return Err(refuse(format!(
                "it lies before the read above it; sort the file with: samtools sort -o sorted.bam \
                 {}",
                self.path.display()
            )));
        }
        self.last = place;
        if !counts {
            return Ok(());
        }
        let end = self.read.blocks.iter().map(|block| block.1).max();
        let chrom = chrom_sizes.iter().nth(self.read.chrom_index);
        match (chrom, end) {
            (_, None) => Ok(()),
            (Some((_, length)), Some(end)) if end <= length => (self.visit)(&self.read),
            (Some((chrom, length)), Some(_)) => Err(refuse(format!(
                "the read at {chrom}:{} reaches past the end of {chrom} ({length} bp); its header is of \
                 another genome, or the file is damaged",
                self.read.start + 1
            ))),
            (None, Some(_)) => Err(refuse(
                "its chromosome is not in the header; the file is damaged, get it again"
                    .to_string(),
            )),
        }
    }

    /// Reads a record into `self.read`; `None` when it has no place, `false` when it does not
    /// count.
    fn decode(&mut self, record: &dyn Record, header: &Header) -> io::Result<Option<bool>> {
        let (Some(chrom_index), Some(start)) = (
            record.reference_sequence_id(header).transpose()?,
            record.alignment_start().transpose()?,
        ) else {
            return Ok(None);
        };
        self.read.chrom_index = chrom_index;
        self.read.start = start.get() as u64 - 1;
        self.read.blocks.clear();
        let flags = record.flags()?;
        if flags.intersects(LEFT_OUT) {
            return Ok(Some(false));
        }
        // A quality that is not known reads as none.
        let quality = record.mapping_quality().transpose()?;
        if quality.is_some_and(|quality| quality.get() < self.filter.min_mapping_quality) {
            return Ok(Some(false));
        }
        let mut position = self.read.start;
        for op in record.cigar().iter() {
            let op = op?;
            let end = position.saturating_add(op.len() as u64);
            match op.kind() {
                Kind::Match | Kind::SequenceMatch | Kind::SequenceMismatch => {
                    if end > position {
                        self.read.blocks.push((position, end));
                    }
                    position = end;
                }
                Kind::Deletion | Kind::Skip => position = end,
                Kind::Insertion | Kind::SoftClip | Kind::HardClip | Kind::Pad => {}
            }
        }
        if self.filter.span == ReadSpan::FivePrime {
            let first = match flags.is_reverse_complemented() {
                false => self.read.blocks.first().map(|block| block.0),
                true => self.read.blocks.last().map(|block| block.1 - 1),
            };
            self.read.blocks.clear();
            self.read
                .blocks
                .extend(first.map(|first| (first, first + 1)));
        }
        Ok(Some(true))
    }
}

/// Gives the CRAM decoder whole chromosomes of our reference.
struct ReferenceBases {
    reference: Reference,
    /// Names in the CRAM → names in the genome, where they differ.
    other_names: BTreeMap<String, String>,
}

impl ReferenceBases {
    fn open(cram_reference: &CramReference) -> Result<Self, GenomeError> {
        Ok(ReferenceBases {
            reference: Reference::open(&cram_reference.path)?,
            other_names: cram_reference.other_names.clone(),
        })
    }
}

impl Adapter for ReferenceBases {
    fn get(&mut self, name: &[u8]) -> Option<io::Result<fasta::Record>> {
        let read = || {
            let name = String::from_utf8_lossy(name);
            let chrom = self.other_names.get(&*name).map_or(&*name, String::as_str);
            let length = self.reference.chrom_sizes().get(chrom).ok_or_else(|| {
                let hint = self.reference.chrom_sizes().hint(chrom);
                io::Error::other(format!("there is no chromosome {chrom:?}; {hint}"))
            })?;
            let whole = Interval::try_new(chrom, 0, length).map_err(io::Error::other)?;
            let bases = self
                .reference
                .read_bases(&whole)
                .map_err(io::Error::other)?;
            Ok(fasta::Record::new(
                Definition::new(name.as_bytes(), None),
                bases.into(),
            ))
        };
        Some(read())
    }
}

#[cfg(test)]
mod tests;
