//! Writing contacts as `.cool`.

use std::io::Write;
use std::path::Path;

use hdf5_pure::{AttrValue, EnumTypeBuilder, FileBuilder};

use super::super::n_bins_of;
use super::node::refuse;
use crate::atomic::write_atomic;
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;

/// Contacts of two bins, counted over the whole genome, the first not behind the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContactPixel {
    /// First bin: bins of a chromosome follow those of the chromosomes before it.
    pub bin1: u64,
    /// Second bin.
    pub bin2: u64,
    /// Contacts.
    pub count: u32,
}

/// Writes a `.cool` file of one bin size, raw counts without balancing weights.
///
/// Pixels come sorted by `bin1`, then `bin2`, none twice. The bytes depend on the arguments only.
///
/// # Errors
/// [`GenomeError::Unwritable`] for a chromosome of 2^31 bp or more, and for a pixel out of order, below the diagonal or
/// outside the genome; [`GenomeError::Io`].
///
/// # Reference
/// Cooler schema version 3
pub fn write_cool(
    path: impl AsRef<Path>,
    chrom_sizes: &ChromSizes,
    resolution: u32,
    pixels: &[ContactPixel],
) -> Result<(), GenomeError> {
    let path = path.as_ref();
    let resolution = u64::from(resolution.max(1));
    let n_bins: Vec<u64> = chrom_sizes
        .iter()
        .map(|(_, length)| n_bins_of(length, resolution))
        .collect();
    let n_bin: u64 = n_bins.iter().sum();
    check_lengths(path, chrom_sizes)?;
    check_pixels(path, pixels, n_bin)?;

    let mut file = FileBuilder::new();
    for (name, value) in [
        ("format", "HDF5::Cooler"),
        ("bin-type", "fixed"),
        ("storage-mode", "symmetric-upper"),
        (
            "generated-by",
            concat!("seq2exp-", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        file.set_attr(name, AttrValue::String(value.to_string()));
    }
    for (name, value) in [
        ("format-version", 3),
        ("bin-size", resolution),
        ("nbins", n_bin),
        ("nchroms", chrom_sizes.len() as u64),
        ("nnz", pixels.len() as u64),
    ] {
        file.set_attr(name, AttrValue::I64(value as i64));
    }

    let names: Vec<&str> = chrom_sizes.names().collect();
    let lengths: Vec<i32> = chrom_sizes
        .iter()
        .map(|(_, length)| length as i32)
        .collect();
    let failed = |error: hdf5_pure::FormatError| refuse(path, "/", error.into());
    let mut chroms = file.create_group("chroms");
    chroms
        .create_dataset("name")
        .with_ascii_strings(&names)
        .map_err(failed)?;
    chroms.create_dataset("length").with_i32_data(&lengths);
    file.add_group(chroms.finish());

    let mut chrom_type = EnumTypeBuilder::i32_based();
    let (mut chrom_of, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut chrom_offset = vec![0_i64];
    for (index, ((name, length), n_bin)) in chrom_sizes.iter().zip(&n_bins).enumerate() {
        chrom_type = chrom_type.value(name, index as i32);
        for bin in 0..*n_bin {
            chrom_of.push(index as i32);
            starts.push((bin * resolution) as i32);
            ends.push(((bin + 1) * resolution).min(length) as i32);
        }
        chrom_offset.push(starts.len() as i64);
    }
    let mut bins = file.create_group("bins");
    bins.create_dataset("chrom")
        .with_enum_i32_data(chrom_type.build().map_err(failed)?, &chrom_of);
    bins.create_dataset("start").with_i32_data(&starts);
    bins.create_dataset("end").with_i32_data(&ends);
    file.add_group(bins.finish());

    let column = |value: fn(&ContactPixel) -> u64| -> Vec<i64> {
        pixels.iter().map(|pixel| value(pixel) as i64).collect()
    };
    let counts: Vec<i32> = pixels.iter().map(|pixel| pixel.count as i32).collect();
    let mut group = file.create_group("pixels");
    group
        .create_dataset("bin1_id")
        .with_i64_data(&column(|pixel| pixel.bin1));
    group
        .create_dataset("bin2_id")
        .with_i64_data(&column(|pixel| pixel.bin2));
    group.create_dataset("count").with_i32_data(&counts);
    file.add_group(group.finish());

    let bin1_offset: Vec<i64> = (0..=n_bin)
        .map(|bin| pixels.partition_point(|pixel| pixel.bin1 < bin) as i64)
        .collect();
    let mut indexes = file.create_group("indexes");
    indexes
        .create_dataset("chrom_offset")
        .with_i64_data(&chrom_offset);
    indexes
        .create_dataset("bin1_offset")
        .with_i64_data(&bin1_offset);
    file.add_group(indexes.finish());

    let bytes = file.finish().map_err(|error| refuse(path, "/", error))?;
    write_atomic(path, |out| out.write_all(&bytes))
}

/// The schema has lengths and positions in 32 bits with a sign.
fn check_lengths(path: &Path, chrom_sizes: &ChromSizes) -> Result<(), GenomeError> {
    for (row, (name, length)) in (1..).zip(chrom_sizes.iter()) {
        if i32::try_from(length).is_err() {
            return Err(GenomeError::Unwritable {
                path: path.to_path_buf(),
                row,
                column: "chromosome",
                value: format!("{name} ({length} bp)"),
                reason: "a cooler holds chromosomes up to 2147483647 bp",
            });
        }
    }
    Ok(())
}

fn check_pixels(path: &Path, pixels: &[ContactPixel], n_bin: u64) -> Result<(), GenomeError> {
    let mut previous = None;
    for (row, pixel) in (1..).zip(pixels) {
        let place = (pixel.bin1, pixel.bin2);
        let reason = if pixel.bin2 >= n_bin {
            "a bin lies behind the last chromosome"
        } else if pixel.bin1 > pixel.bin2 {
            "the first bin lies behind the second"
        } else if previous >= Some(place) {
            "pixels come sorted by their bins, none twice"
        } else if i32::try_from(pixel.count).is_err() {
            "the count is over 2^31"
        } else {
            previous = Some(place);
            continue;
        };
        return Err(GenomeError::Unwritable {
            path: path.to_path_buf(),
            row,
            column: "pixel",
            value: format!("{} {} {}", pixel.bin1, pixel.bin2, pixel.count),
            reason,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::{ContactMap, Normalization};
    use crate::interval::Interval;

    fn pixel(bin1: u64, bin2: u64, count: u32) -> ContactPixel {
        ContactPixel { bin1, bin2, count }
    }

    #[test]
    fn written_contacts_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cool");
        let sizes = ChromSizes::new(vec![("a".to_string(), 250), ("bb".to_string(), 100)]);
        // a has bins 0, 1, 2 (the last of 50 bp), bb has bin 3.
        let pixels = [
            pixel(0, 0, 9),
            pixel(0, 2, 4),
            pixel(1, 2, 5),
            pixel(3, 3, 7),
        ];
        write_cool(&path, &sizes, 100, &pixels).unwrap();
        let map = ContactMap::open(&path, 100, Normalization::None).unwrap();
        let profile = |chrom, end, tss| {
            let interval = Interval::try_new(chrom, 0, end).unwrap();
            map.read_profile(chrom, tss, &interval).unwrap().contacts
        };
        assert_eq!(profile("a", 250, 210), [4.0, 5.0, 0.0]);
        assert_eq!(profile("a", 250, 0), [9.0, 0.0, 4.0]);
        assert_eq!(profile("bb", 100, 50), [7.0]);
        let first = std::fs::read(&path).unwrap();
        write_cool(&path, &sizes, 100, &pixels).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }

    #[test]
    fn pixels_that_no_cooler_holds_are_refused() {
        let sizes = ChromSizes::new(vec![("a".to_string(), 250)]);
        for (pixels, part) in [
            (vec![pixel(0, 3, 1)], "behind the last chromosome"),
            (vec![pixel(2, 1, 1)], "behind the second"),
            (vec![pixel(1, 1, 1), pixel(0, 1, 1)], "sorted"),
            (vec![pixel(1, 1, 1), pixel(1, 1, 1)], "none twice"),
            (vec![pixel(0, 0, u32::MAX)], "2^31"),
        ] {
            let error = write_cool("unused.cool", &sizes, 100, &pixels).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(!Path::new("unused.cool").exists());
    }

    #[test]
    fn chromosome_longer_than_32_bits_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cool");
        for (length, is_written) in [(2_147_483_647, true), (2_147_483_648, false)] {
            let sizes = ChromSizes::new(vec![("a".to_string(), 1), ("b".to_string(), length)]);
            match write_cool(&path, &sizes, 1 << 28, &[]) {
                Ok(()) => assert!(is_written, "{length}"),
                Err(error) => {
                    assert!(!is_written, "{error}");
                    let part = "row 2: chromosome \"b (2147483648 bp)\"";
                    assert!(error.to_string().contains(part), "{error}");
                }
            }
        }
    }
}
