//! A track that was read once into a bigWig, and where that bigWig is kept.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

use crate::atomic::write_atomic;
use crate::bigwig::BigWig;
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;

/// Where the bigWig of a converted track is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversionPlace {
    /// It lay beside the file from an earlier run.
    Found,
    /// It was written beside the file; later runs find it there.
    Written,
    /// It could not be written beside the file; it is in the folder for temporary files and
    /// disappears with the track, so that the next run converts again.
    Temporary,
}

/// What a track file was converted into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The file that the user gave.
    pub source: PathBuf,
    /// The bigWig that its values are read from.
    pub bigwig: PathBuf,
    /// Where that is.
    pub place: ConversionPlace,
    /// What was read, for example the number of reads; kept beside the bigWig for later runs, empty
    /// where it is not there.
    pub note: String,
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, bigwig) = (self.source.display(), self.bigwig.display());
        match self.place {
            ConversionPlace::Found => {
                write!(
                    f,
                    "{source} is read from {bigwig}, which it was converted to"
                )?;
                if !self.note.is_empty() {
                    write!(f, " ({})", self.note)?;
                }
                Ok(())
            }
            ConversionPlace::Written => write!(
                f,
                "{source} was converted to {bigwig} ({}); later runs read that",
                self.note
            ),
            ConversionPlace::Temporary => write!(
                f,
                "{source} was converted to a temporary bigWig ({}), because its folder cannot be \
                 written to; every run converts it again",
                self.note
            ),
        }
    }
}

/// A conversion, and the folder that it keeps alive.
#[derive(Debug)]
pub(super) struct Converted {
    conversion: Conversion,
    _temporary: Option<TempDir>,
}

impl Converted {
    pub(super) fn conversion(&self) -> &Conversion {
        &self.conversion
    }
}

/// What a converted file depends on: its source's size and time of change, and the settings.
pub(super) struct Key {
    label: String,
    hash: u64,
}

impl Key {
    /// Looks at the source; `label` names the settings and goes into the file's name.
    pub(super) fn new(source: &Path, label: &str) -> Result<Self, GenomeError> {
        let metadata = std::fs::metadata(source).map_err(GenomeError::io(source, "open"))?;
        if metadata.is_dir() {
            let error = std::io::ErrorKind::IsADirectory.into();
            return Err(GenomeError::io(source, "read")(error));
        }
        let changed = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |age| age.as_nanos());
        let mut key = Key {
            label: label.to_string(),
            hash: FNV_OFFSET,
        };
        key.mix(label.as_bytes());
        key.mix(&metadata.len().to_le_bytes());
        key.mix(&changed.to_le_bytes());
        Ok(key)
    }

    /// Adds the chromosomes that the conversion is told of.
    pub(super) fn with_chrom_sizes(mut self, chrom_sizes: &ChromSizes) -> Self {
        for (name, length) in chrom_sizes.iter() {
            self.mix(name.as_bytes());
            self.mix(&[0]);
            self.mix(&length.to_le_bytes());
        }
        self
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// `reads.bam` becomes `reads.bam.LABEL.HASH.bw`.
    fn file_name(&self, source: &Path) -> OsString {
        let mut name = source.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.{:016x}.bw", self.label, self.hash));
        name
    }
}

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Opens the bigWig of a source, which `convert` writes when there is none yet.
///
/// `convert` gets the path to write and returns a note for the user.
pub(super) fn open(
    source: &Path,
    key: &Key,
    convert: impl FnOnce(&Path) -> Result<String, GenomeError>,
) -> Result<(BigWig, Converted), GenomeError> {
    let folder = match source.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The only sure way to know whether a folder can be written to.
    let is_writable = tempfile::tempfile_in(folder).is_ok();
    open_in(source, key, is_writable, convert)
}

/// As [`open`], told whether the source's folder can be written to.
pub(super) fn open_in(
    source: &Path,
    key: &Key,
    is_writable: bool,
    convert: impl FnOnce(&Path) -> Result<String, GenomeError>,
) -> Result<(BigWig, Converted), GenomeError> {
    let name = key.file_name(source);
    let beside = source.with_file_name(&name);
    let finish = |bigwig: PathBuf, place, note, temporary| {
        let values = BigWig::open(&bigwig)?;
        let conversion = Conversion {
            source: source.to_path_buf(),
            bigwig,
            place,
            note,
        };
        let converted = Converted {
            conversion,
            _temporary: temporary,
        };
        Ok((values, converted))
    };
    if beside.exists() {
        let note = read_note(&beside);
        return finish(beside, ConversionPlace::Found, note, None);
    }
    if is_writable {
        let note = convert(&beside)?;
        write_atomic(note_path(&beside), |file| writeln!(file, "{note}"))?;
        return finish(beside, ConversionPlace::Written, note, None);
    }
    let temporary = TempDir::with_prefix("seq2exp-").map_err(GenomeError::io(
        &std::env::temp_dir(),
        "make a temporary folder in",
    ))?;
    let target = temporary.path().join(&name);
    let note = convert(&target)?;
    finish(target, ConversionPlace::Temporary, note, Some(temporary))
}

/// Where the note about a bigWig is kept: beside it.
fn note_path(bigwig: &Path) -> PathBuf {
    bigwig.with_extension("note.txt")
}

/// The note about a bigWig of an earlier run; empty when it is not there.
fn read_note(bigwig: &Path) -> String {
    let note = std::fs::read_to_string(note_path(bigwig)).unwrap_or_default();
    note.trim_end().to_string()
}
