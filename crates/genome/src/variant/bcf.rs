//! BCF: the same records in binary.

use std::fs::File;
use std::io::{self, BufReader, Read, Take};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use noodles::bcf;
use noodles::bgzf;
use noodles::vcf::Header;
use noodles::vcf::variant::record::{AlternateBases as _, Ids as _};

use super::{VariantPlace, VariantRecord, is_bases, parse_allele};
use crate::chrom_sizes::ChromSizes;
use crate::error::{GenomeError, shorten};
use crate::input_file::open_input;
use crate::packing::{Packing, bgzf_end};
use crate::panic_guard::catch_panic;

/// The records of a BCF behind its header.
pub(super) struct BcfRecords {
    path: PathBuf,
    reader: bcf::io::Reader<bgzf::io::Reader<Take<BufReader<File>>>>,
    header: Header,
    declared: ChromSizes,
    record: bcf::Record,
    n_records: u64,
    failed: bool,
}

/// Whether a file unpacks to what a BCF begins with.
pub(super) fn is_bcf(path: &Path) -> Result<bool, GenomeError> {
    let mut file = open_input(path)?;
    let refuse = GenomeError::io(path, "read");
    if Packing::of(&mut file).map_err(&refuse)? != Packing::Bgzf {
        return Ok(false);
    }
    let mut magic = [0_u8; 3];
    // Damage is said by the reader that is chosen.
    let is_read = GzDecoder::new(file).read_exact(&mut magic).is_ok();
    Ok(is_read && magic == *b"BCF")
}

impl BcfRecords {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, GenomeError> {
        let mut file = open_input(path)?;
        let n_bytes = bgzf_end(path, &mut file)?;
        let buffered = BufReader::with_capacity(1 << 16, file).take(n_bytes);
        let refuse = |reason: String| GenomeError::CorruptObject {
            path: path.to_path_buf(),
            object: "header".to_string(),
            reason: format!("it cannot be read ({reason}); is this a BCF file?"),
        };
        let (reader, header) = catch_panic(move || {
            let mut reader = bcf::io::Reader::new(buffered);
            let header = reader.read_header();
            (reader, header)
        })
        .map_err(&refuse)?;
        let header: Header = header.map_err(|error| refuse(error.to_string()))?;
        let contigs = header.contigs().iter();
        let declared = contigs
            .filter_map(|(name, contig)| Some((name.clone(), contig.length()? as u64)))
            .collect();
        Ok(BcfRecords {
            path: path.to_path_buf(),
            reader,
            header,
            declared: ChromSizes::new(declared),
            record: bcf::Record::default(),
            n_records: 0,
            failed: false,
        })
    }

    /// The contigs of the header that have a length.
    pub(super) fn declared_sizes(&self) -> &ChromSizes {
        &self.declared
    }

    pub(super) fn next_record(&mut self) -> Result<Option<VariantRecord>, GenomeError> {
        if self.failed {
            return Ok(None);
        }
        let number = self.n_records + 1;
        let found = catch_panic(|| match self.reader.read_record(&mut self.record) {
            Ok(0) => Ok(None),
            Ok(_) => decode(&self.record, &self.header, number).map(Some),
            Err(error) => Err(error),
        });
        // What a panic or an error left of the reader is not used again.
        self.failed = !matches!(found, Ok(Ok(_)));
        let reason = match found {
            Ok(Ok(record)) => {
                self.n_records = number;
                return Ok(record);
            }
            Ok(Err(error)) => error.to_string(),
            Err(message) => message,
        };
        Err(GenomeError::InvalidRecord {
            path: self.path.clone(),
            record: number,
            reason,
        })
    }
}

fn decode(record: &bcf::Record, header: &Header, number: u64) -> io::Result<VariantRecord> {
    let refuse = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let chrom = record.reference_sequence_name(header.string_maps())?;
    let start = record
        .variant_start()
        .transpose()?
        .ok_or_else(|| refuse("its position is 0, before the first base".to_string()))?;
    let reference = String::from_utf8_lossy(record.reference_bases().as_ref()).into_owned();
    if !is_bases(&reference) {
        return Err(refuse(format!(
            "REF {:?} is not one or more bases",
            shorten(&reference)
        )));
    }
    let mut alternates = Vec::new();
    for text in record.alternate_bases().iter() {
        let text = text?;
        let allele = parse_allele(text).ok_or_else(|| {
            let text = shorten(text);
            refuse(format!(
                "ALT {text:?} is not bases, *, a <name> or a breakend"
            ))
        })?;
        alternates.push(allele);
    }
    let ids = record.ids();
    let ids: Vec<&str> = ids.iter().collect();
    let record = VariantRecord {
        chrom: chrom.to_string(),
        start: start.get() as u64 - 1,
        id: (!ids.is_empty()).then(|| ids.join(";")),
        reference,
        alternates,
        place: VariantPlace::Record(number),
    };
    record
        .interval()
        .map_err(|error| refuse(error.to_string()))?;
    Ok(record)
}
