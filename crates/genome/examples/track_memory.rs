//! How much memory reading a track takes, and what it reads, for files of any size.
//!
//! ```text
//! track_memory write FILE N_ROWS        a synthetic bigWig of the human genome's size
//! track_memory read FILE GENOME REGION…  values of windows: bases with data, sum, weighted sum
//! ```
//!
//! Both end with the peak memory of the process (Linux: `VmHWM`). Rows are a fixed function of
//! their number, so that every run writes the same bytes. `scripts/big-track` uses it.

use std::error::Error;
use std::path::Path;

use genome::{ChromSizes, Interval, ReadFilter, TrackFile, read_chrom_sizes, write_bigwig_with};

/// Chromosomes of the synthetic genome: as many and as long, in all, as the human ones.
const N_CHROMS: u64 = 24;
const CHROM_LENGTH: u64 = 128_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["write", file, n_rows] => write(Path::new(file), n_rows.parse()?)?,
        ["read", file, genome, regions @ ..] => read(Path::new(file), Path::new(genome), regions)?,
        _ => return Err("track_memory write FILE N_ROWS, or read FILE GENOME REGION…".into()),
    }
    println!("peak_memory_mib\t{}", peak_memory_mib()?);
    Ok(())
}

/// A number without a short period: SplitMix64 of the row's number.
fn mixed(row: u64) -> u64 {
    let mut x = row.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn write(path: &Path, n_rows: u64) -> Result<(), Box<dyn Error>> {
    let chroms: Vec<(String, u64)> = (1..=N_CHROMS)
        .map(|number| (format!("chr{number}"), CHROM_LENGTH))
        .collect();
    let n_rows_each = n_rows.div_ceil(N_CHROMS);
    let stride = CHROM_LENGTH / n_rows_each;
    if stride == 0 {
        return Err("more rows than bases".into());
    }
    let sizes = ChromSizes::new(chroms.clone());
    write_bigwig_with(path, &sizes, |rows| {
        for (number, (chrom, _)) in (0_u64..).zip(&chroms) {
            let whole = Interval::try_new(chrom.as_str(), 0, CHROM_LENGTH)?;
            for row in 0..n_rows_each {
                let random = mixed(number * n_rows_each + row);
                let start = row * stride;
                let end = start + 1 + random % stride;
                // 23 random bits: a value that deflate cannot shorten.
                let value = 1.0 + (random >> 41) as f32 / (1 << 23) as f32;
                rows.push(Interval::try_new(whole.shared_chrom(), start, end)?, value)?;
            }
        }
        Ok(())
    })?;
    println!("bytes\t{}", std::fs::metadata(path)?.len());
    Ok(())
}

fn read(path: &Path, genome: &Path, regions: &[&str]) -> Result<(), Box<dyn Error>> {
    let sizes = read_chrom_sizes(genome).unwrap_or_default();
    let track = TrackFile::open(path, &sizes, genome, &ReadFilter::default())?;
    if let Some(conversion) = track.conversion() {
        eprintln!("{conversion}");
    }
    for region in regions {
        let values = track.read_values(&Interval::parse_region(region)?)?;
        let (mut n_data, mut sum, mut weighted) = (0_u64, 0.0, 0.0);
        for (offset, value) in values.into_iter().enumerate() {
            if !value.is_nan() {
                n_data += 1;
                sum += f64::from(value);
                weighted += f64::from(value) * (offset + 1) as f64;
            }
        }
        println!("{region}\t{n_data}\t{sum:?}\t{weighted:?}");
    }
    Ok(())
}

fn peak_memory_mib() -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("the system does not tell the peak memory")?
        .parse()?;
    Ok(format!("{:.1}", kib / 1024.0))
}
