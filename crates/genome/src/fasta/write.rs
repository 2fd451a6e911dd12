//! Writing a reference sequence as bgzip FASTA.

use std::io::{self, Write};
use std::path::Path;

use noodles::bgzf;

use super::{Fasta, beside};
use crate::atomic::{AtomicFile, remove_if_there};
use crate::error::GenomeError;

/// Bases per line, as UCSC and Ensembl write them.
const LINE_BASES: usize = 60;

/// Writes sequences as bgzip FASTA with `.fai` and `.gzi` beside it, and opens the file.
///
/// Names and bases are written as they are; 60 bases a line. The bytes depend on the arguments only. Older indexes of
/// that path are removed before the new data appear.
///
/// # Errors
/// [`GenomeError::Io`], and what [`Fasta::open`] says about names and bases that no reader would take.
pub fn write_fasta<'a>(
    path: impl AsRef<Path>,
    sequences: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Fasta, GenomeError> {
    let path = path.as_ref();
    let refuse = GenomeError::io(path, "write to");
    let mut file = AtomicFile::create(path)?;
    let mut writer = bgzf::io::Writer::new(file.writer());
    for (name, bases) in sequences {
        write_record(&mut writer, name, bases).map_err(&refuse)?;
    }
    writer.finish().map_err(&refuse)?;
    for index in [".fai", ".gzi"] {
        remove_if_there(&beside(path, index))?;
    }
    file.commit()?;
    Fasta::open(path)
}

fn write_record(out: &mut impl Write, name: &str, bases: &[u8]) -> io::Result<()> {
    writeln!(out, ">{name}")?;
    for line in bases.chunks(LINE_BASES) {
        out.write_all(line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fasta::IndexSource;
    use crate::interval::Interval;

    #[test]
    fn written_fasta_reads_back_and_replaces_an_older_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fa.gz");
        // Longer than one bgzip block of 64 KiB.
        let long: Vec<u8> = (0..150_000).map(|i| b"ACGTN"[i * i % 5]).collect();
        write_fasta(&path, [("old", &b"ACGT"[..])]).unwrap();
        write_fasta(&path, [("chrA", &long[..]), ("chrB", b"ac")]).unwrap();
        let fasta = Fasta::open(&path).unwrap();
        assert_eq!(fasta.index_source(), IndexSource::Found);
        let read = |chrom, start, end| {
            fasta
                .read_bases(&Interval::try_new(chrom, start, end).unwrap())
                .unwrap()
        };
        assert_eq!(read("chrA", 0, 150_000), long);
        assert_eq!(read("chrA", 65_500, 65_700), long[65_500..65_700]);
        assert_eq!(read("chrB", 0, 2), b"ac");
        let first = std::fs::read(&path).unwrap();
        write_fasta(&path, [("chrA", &long[..]), ("chrB", b"ac")]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }
}
