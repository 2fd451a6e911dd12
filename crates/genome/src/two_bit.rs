//! The reference sequence as a 2bit file: four bases a byte, runs of N and of lower case beside.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::chrom_sizes::ChromSizes;
use crate::error::{GenomeError, shorten};
use crate::input_file::{foreign_content, head_of, open_input};
use crate::interval::Interval;
use crate::positional_file::{PositionalFile, read_exact_at};

/// First four bytes of a 2bit file, in the byte order of the machine that wrote it.
const SIGNATURE: u32 = 0x1A41_2743;
/// Signature, version, number of sequences, reserved; four bytes each.
const HEADER_BYTES: u64 = 16;
/// The bases of the codes 0 to 3.
const BASES: [u8; 4] = *b"TCAG";

/// A reference sequence in UCSC's 2bit format, open for reading from any number of threads.
///
/// Opening reads the names and the place of each sequence; a query reads the bytes of its bases.
/// The runs of N and of lower case of a chromosome are read when it is first asked for and kept,
/// 8 bytes a run (human genome: 45 MB when every chromosome was asked for). Either byte order,
/// with 32-bit or 64-bit offsets (version 0 and 1).
#[derive(Debug)]
pub struct TwoBit {
    path: PathBuf,
    file: Arc<File>,
    is_big_endian: bool,
    sequences: Vec<Sequence>,
    sizes: ChromSizes,
}

/// Where one sequence lies.
#[derive(Debug)]
struct Sequence {
    length: u32,
    n_runs: Table,
    lower_runs: Table,
    /// First byte of the packed bases.
    packed: u64,
    runs: OnceLock<Runs>,
}

/// A list of run starts followed by a list of run lengths.
#[derive(Debug, Clone, Copy)]
struct Table {
    offset: u64,
    n_runs: u32,
}

/// Runs of one sequence, in order, 0-based and half-open.
#[derive(Debug)]
struct Runs {
    n: Vec<(u32, u32)>,
    lower: Vec<(u32, u32)>,
}

impl TwoBit {
    /// Opens a 2bit file.
    ///
    /// # Errors
    /// [`GenomeError::Io`] when it cannot be read; [`GenomeError::CorruptAtByte`] when it is no
    /// 2bit file, is cut off, or lists a name twice or one that is no chromosome name;
    /// [`GenomeError::Empty`] without a sequence.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let file = Arc::new(open_input(path)?);
        let n_stored = file
            .metadata()
            .map_err(GenomeError::io(path, "read"))?
            .len();
        let mut header = [0_u8; HEADER_BYTES as usize];
        let is_short = n_stored < HEADER_BYTES;
        if !is_short {
            read_exact_at(&file, &mut header, 0).map_err(GenomeError::io(path, "read"))?;
        }
        let mut two_bit = TwoBit {
            path: path.to_path_buf(),
            file,
            is_big_endian: false,
            sequences: Vec::new(),
            sizes: ChromSizes::default(),
        };
        let [signature, version, n_sequences, _reserved] =
            [0, 4, 8, 12].map(|at| [header[at], header[at + 1], header[at + 2], header[at + 3]]);
        two_bit.is_big_endian = match u32::from_le_bytes(signature) {
            _ if is_short => {
                return Err(two_bit.corrupt(0, "this is no 2bit file, it is too short"));
            }
            SIGNATURE => false,
            found if found.swap_bytes() == SIGNATURE => true,
            found => {
                let reason = match foreign_content(&header) {
                    Some(content) => format!("this is no 2bit file but {content}"),
                    None if signature.starts_with(&[0x1f, 0x8b]) => {
                        "this is no 2bit file, it is packed with gzip; unpack it with gunzip"
                            .to_string()
                    }
                    None => format!("this is no 2bit file, it starts with {found:#010x}"),
                };
                return Err(two_bit.corrupt(0, &reason));
            }
        };
        let offset_bytes = match two_bit.number(version) {
            0 => 4,
            1 => 8,
            other => {
                return Err(two_bit.corrupt(4, &format!("2bit version {other} is neither 0 nor 1")));
            }
        };
        let names = two_bit.read_index(two_bit.number(n_sequences), offset_bytes, n_stored)?;
        let mut sizes = Vec::with_capacity(names.len());
        for (name, offset) in names {
            let sequence = two_bit.locate(&name, offset, n_stored)?;
            sizes.push((name, u64::from(sequence.length)));
            two_bit.sequences.push(sequence);
        }
        if sizes.is_empty() {
            return Err(GenomeError::Empty {
                path: path.to_path_buf(),
                what: "sequence",
            });
        }
        two_bit.sizes = ChromSizes::new(sizes);
        Ok(two_bit)
    }

    /// Whether a file begins as 2bit does, in either byte order.
    pub(crate) fn is_at(path: &Path) -> bool {
        head_of(path).first_chunk().is_some_and(|&signature| {
            [u32::from_le_bytes(signature), u32::from_be_bytes(signature)].contains(&SIGNATURE)
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names and lengths of the sequences, in the order of the file.
    pub fn chrom_sizes(&self) -> &ChromSizes {
        &self.sizes
    }

    /// Reads the bases of an interval: `A`, `C`, `G`, `T` or `N`, in lower case where the file
    /// masks them; `interval.len()` of them.
    ///
    /// # Errors
    /// [`GenomeError::UnknownChrom`] and [`GenomeError::OutsideChrom`] when the interval is not
    /// in the file; [`GenomeError::CorruptAtByte`] when its runs are out of order;
    /// [`GenomeError::Io`].
    pub fn read_bases(&self, interval: &Interval) -> Result<Vec<u8>, GenomeError> {
        self.sizes.check(&self.path, interval)?;
        let sequence = self
            .sizes
            .index_of(interval.chrom())
            .and_then(|index| self.sequences.get(index));
        let Some(sequence) = sequence.filter(|_| !interval.is_empty()) else {
            return Ok(Vec::new());
        };
        let (start, end) = (interval.start(), interval.end());
        let first_byte = start / 4;
        let mut packed = vec![0_u8; (end.div_ceil(4) - first_byte) as usize];
        read_exact_at(&self.file, &mut packed, sequence.packed + first_byte)
            .map_err(GenomeError::io(&self.path, "read"))?;
        let mut bases: Vec<u8> = packed
            .iter()
            .flat_map(|byte| [6, 4, 2, 0].map(|shift| BASES[usize::from(byte >> shift & 3)]))
            .skip((start % 4) as usize)
            .take(interval.len() as usize)
            .collect();
        let runs = self.runs(sequence)?;
        for_each_inside(&runs.n, interval, &mut bases, |stretch| stretch.fill(b'N'));
        for_each_inside(
            &runs.lower,
            interval,
            &mut bases,
            <[u8]>::make_ascii_lowercase,
        );
        Ok(bases)
    }

    fn corrupt(&self, offset: u64, reason: &str) -> GenomeError {
        GenomeError::CorruptAtByte {
            path: self.path.clone(),
            offset,
            reason: reason.to_string(),
        }
    }

    fn number(&self, bytes: [u8; 4]) -> u32 {
        if self.is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }

    /// Reads the name and the offset of each sequence.
    fn read_index(
        &self,
        n_sequences: u32,
        offset_bytes: u64,
        n_stored: u64,
    ) -> Result<Vec<(String, u64)>, GenomeError> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                self.corrupt(n_stored, "the file ends inside its list of sequences")
            }
            _ => GenomeError::io(&self.path, "read")(error),
        };
        let source = PositionalFile::new(Arc::clone(&self.file)).map_err(failed)?;
        let mut source = BufReader::with_capacity(1 << 16, source);
        source.seek_relative(HEADER_BYTES as i64).map_err(failed)?;
        let mut at = HEADER_BYTES;
        let mut names = Vec::new();
        let mut first_at: HashMap<String, u64> = HashMap::new();
        for _ in 0..n_sequences {
            let mut n_bytes = [0_u8];
            source.read_exact(&mut n_bytes).map_err(failed)?;
            let mut name = vec![0_u8; usize::from(n_bytes[0])];
            source.read_exact(&mut name).map_err(failed)?;
            let offset = if offset_bytes == 4 {
                let mut bytes = [0_u8; 4];
                source.read_exact(&mut bytes).map_err(failed)?;
                u64::from(self.number(bytes))
            } else {
                let mut bytes = [0_u8; 8];
                source.read_exact(&mut bytes).map_err(failed)?;
                if self.is_big_endian {
                    u64::from_be_bytes(bytes)
                } else {
                    u64::from_le_bytes(bytes)
                }
            };
            let text = String::from_utf8_lossy(&name).into_owned();
            if Interval::try_new(text.as_str(), 0, 0).is_err() {
                let reason = format!("{:?} is no name of a sequence", shorten(&text));
                return Err(self.corrupt(at, &reason));
            }
            if let Some(first) = first_at.insert(text.clone(), at) {
                let reason = format!(
                    "the sequence {:?} is listed already at byte {first}",
                    shorten(&text)
                );
                return Err(self.corrupt(at, &reason));
            }
            at += 1 + name.len() as u64 + offset_bytes;
            names.push((text, offset));
        }
        Ok(names)
    }

    /// Finds the parts of a sequence's record and makes sure that the file holds them.
    fn locate(&self, name: &str, offset: u64, n_stored: u64) -> Result<Sequence, GenomeError> {
        let cut = || {
            let reason = format!("the file ends before the sequence {name:?} does; get it again");
            self.corrupt(n_stored, &reason)
        };
        let number_at = |at: u64| -> Result<u32, GenomeError> {
            if at.checked_add(4).is_none_or(|end| end > n_stored) {
                return Err(cut());
            }
            let mut bytes = [0_u8; 4];
            read_exact_at(&self.file, &mut bytes, at)
                .map_err(GenomeError::io(&self.path, "read"))?;
            Ok(self.number(bytes))
        };
        // `number_at` bounds every offset by the file's size, so that the sums stay far below 2^64.
        let table_at = |at: u64| -> Result<(Table, u64), GenomeError> {
            let n_runs = number_at(at)?;
            let table = Table {
                offset: at + 4,
                n_runs,
            };
            Ok((table, at + 4 + 8 * u64::from(n_runs)))
        };
        let length = number_at(offset)?;
        let (n_runs, after) = table_at(offset + 4)?;
        let (lower_runs, after) = table_at(after)?;
        let packed = after + 4;
        if packed + u64::from(length).div_ceil(4) > n_stored {
            return Err(cut());
        }
        Ok(Sequence {
            length,
            n_runs,
            lower_runs,
            packed,
            runs: OnceLock::new(),
        })
    }

    /// The runs of a sequence, read now or before.
    fn runs<'a>(&self, sequence: &'a Sequence) -> Result<&'a Runs, GenomeError> {
        if let Some(runs) = sequence.runs.get() {
            return Ok(runs);
        }
        let runs = Runs {
            n: self.read_runs(sequence.n_runs, sequence.length)?,
            lower: self.read_runs(sequence.lower_runs, sequence.length)?,
        };
        Ok(sequence.runs.get_or_init(|| runs))
    }

    fn read_runs(&self, table: Table, length: u32) -> Result<Vec<(u32, u32)>, GenomeError> {
        let n_runs = table.n_runs as usize;
        // Opening made sure that the file is long enough for the table.
        let mut bytes = vec![0_u8; 8 * n_runs];
        read_exact_at(&self.file, &mut bytes, table.offset)
            .map_err(GenomeError::io(&self.path, "read"))?;
        let (numbers, _) = bytes.as_chunks::<4>();
        let (starts, lengths) = numbers.split_at(n_runs);
        let mut runs = Vec::with_capacity(n_runs);
        let mut previous_end = 0;
        for (index, (start, run_length)) in starts.iter().zip(lengths).enumerate() {
            let start = self.number(*start);
            let end = start.checked_add(self.number(*run_length));
            match end.filter(|end| start >= previous_end && *end <= length) {
                Some(end) => {
                    runs.push((start, end));
                    previous_end = end;
                }
                None => {
                    let at = table.offset + 4 * index as u64;
                    let reason = "a run of N or of lower case is out of order or past the end of \
                                  its sequence; the 2bit file is damaged, get it again";
                    return Err(self.corrupt(at, reason));
                }
            }
        }
        Ok(runs)
    }
}

/// Hands the part of the bases that each run covers to `change`.
fn for_each_inside(
    runs: &[(u32, u32)],
    interval: &Interval,
    bases: &mut [u8],
    change: impl Fn(&mut [u8]),
) {
    let first = runs.partition_point(|(_, end)| u64::from(*end) <= interval.start());
    for (start, end) in runs.iter().skip(first) {
        let start = u64::from(*start).max(interval.start());
        let end = u64::from(*end).min(interval.end());
        if start >= interval.end() {
            break;
        }
        let offset = |position: u64| (position - interval.start()) as usize;
        if let Some(stretch) = bases.get_mut(offset(start)..offset(end.max(start))) {
            change(stretch);
        }
    }
}

#[cfg(test)]
mod tests;
