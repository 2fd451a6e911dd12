//! Writes synthetic input files of the size of a human genome, to measure preparation on.
//!
//! ```text
//! cargo run --release -p dataset --example synthetic_genome -- FOLDER [DIVISOR] [MEAN_RUN]
//! ```
//!
//! `genome.fa` with the lengths of hg38's chromosomes divided by `DIVISOR` (default 1), two bigWig
//! tracks with a value every `MEAN_RUN` bases on average (default 40), `contacts.cool` with the contacts of every bin of
//! 5 kb with the 20 behind it, `genes.tsv` and `expression.tsv` with 18,000 genes divided by
//! `DIVISOR`, and `experiment.toml` with windows of 200 kb. At full size this is about 3.1 GB of
//! sequence, 2 x 0.5 GB of tracks and 13 million pairs of bins. `scripts/prepare-scale` runs it, measures,
//! and removes the files.

use std::io::Write;
use std::path::Path;

use genome::{
    ChromSizes, ContactPixel, Interval, assembly_sizes, write_atomic, write_bigwig, write_cool,
};

const N_GENES: u64 = 18_000;

/// Bases of a bin of the contact map.
const BIN: u32 = 5_000;

/// Bins behind a bin that it is in contact with: as far as half a window reaches.
const REACH: u64 = 20;

/// Steele, Lea and Flood's SplitMix64: enough randomness for sizes and shapes.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("give the folder to write into")?;
    let divisor: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mean_run: u64 = arguments.next().map_or(Ok(40), |text| text.parse())?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let sizes = assembly_sizes("hg38").ok_or("hg38 is not known")?;
    let chroms: Vec<(String, u64)> = sizes
        .iter()
        .map(|(chrom, length)| (chrom.to_string(), length / divisor.max(1)))
        .collect();
    write_genome(&folder.join("genome.fa"), &chroms)?;
    for (seed, name) in [(1, "h3k27ac.bw"), (2, "dnase.bw")] {
        write_track(&folder.join(name), &chroms, seed, mean_run.max(1))?;
    }
    write_contacts(&folder.join("contacts.cool"), &chroms)?;
    write_genes(folder, &chroms, N_GENES / divisor.max(1))?;
    std::fs::write(folder.join("experiment.toml"), EXPERIMENT)?;
    Ok(())
}

fn write_genome(path: &Path, chroms: &[(String, u64)]) -> Result<(), genome::GenomeError> {
    const LINE: u64 = 60;
    let mut random = SplitMix(0);
    write_atomic(path, |out| {
        for (name, length) in chroms {
            writeln!(out, ">{name}")?;
            let mut left = *length;
            while left > 0 {
                let (mut line, mut bits) = ([0; LINE as usize + 1], 0);
                let n_bases = left.min(LINE) as usize;
                for (index, base) in line[..n_bases].iter_mut().enumerate() {
                    if index % 32 == 0 {
                        bits = random.next();
                    }
                    *base = b"ACGT"[(bits & 3) as usize];
                    bits >>= 2;
                }
                line[n_bases] = b'\n';
                out.write_all(&line[..=n_bases])?;
                left -= n_bases as u64;
            }
        }
        Ok(())
    })
}

/// Runs of 1 to `2 * mean_run - 1` bases, each with one of 1,000 values.
fn write_track(
    path: &Path,
    chroms: &[(String, u64)],
    seed: u64,
    mean_run: u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let sizes = ChromSizes::new(chroms.to_vec());
    let mut random = SplitMix(seed);
    let rows = chroms.iter().flat_map(|(name, length)| {
        let name: std::sync::Arc<str> = std::sync::Arc::from(name.as_str());
        let random_seed = random.next();
        let mut random = SplitMix(random_seed);
        let (mut start, length) = (0, *length);
        std::iter::from_fn(move || {
            let drawn = random.next();
            let end = (start + 1 + drawn % (2 * mean_run - 1)).min(length);
            let interval = Interval::try_new(std::sync::Arc::clone(&name), start, end).ok()?;
            if interval.is_empty() {
                return None;
            }
            start = end;
            Some((interval, ((drawn >> 32) % 1000) as f32 / 10.0))
        })
    });
    write_bigwig(path, &sizes, rows)?;
    Ok(())
}

/// Counts that fall with distance, one in eight of them 0.
fn write_contacts(path: &Path, chroms: &[(String, u64)]) -> Result<(), genome::GenomeError> {
    let mut random = SplitMix(4);
    let mut pixels = Vec::new();
    let mut first = 0;
    for (_, length) in chroms {
        let end = first + length.div_ceil(u64::from(BIN));
        for bin1 in first..end {
            for bin2 in bin1..(bin1 + REACH + 1).min(end) {
                let drawn = random.next();
                if !drawn.is_multiple_of(8) {
                    let count = 1 + (drawn >> 32) as u32 % 1000 / (1 + (bin2 - bin1) as u32);
                    pixels.push(ContactPixel { bin1, bin2, count });
                }
            }
        }
        first = end;
    }
    write_cool(path, &ChromSizes::new(chroms.to_vec()), BIN, &pixels)
}

fn write_genes(folder: &Path, chroms: &[(String, u64)], n_genes: u64) -> std::io::Result<()> {
    let total: u64 = chroms.iter().map(|(_, length)| length).sum();
    let mut random = SplitMix(3);
    let mut genes = String::from("symbol\tchrom\ttss\tstrand\n");
    let mut expression = String::from("gene\ttpm\n");
    for gene in 0..n_genes {
        let mut position = random.next() % total;
        for (name, length) in chroms {
            if position < *length {
                let strand = ["+", "-"][(gene % 2) as usize];
                genes += &format!("GENE{gene}\t{name}\t{position}\t{strand}\n");
                expression += &format!("GENE{gene}\t{}\n", random.next() % 1000);
                break;
            }
            position -= length;
        }
    }
    std::fs::write(folder.join("genes.tsv"), genes)?;
    std::fs::write(folder.join("expression.tsv"), expression)
}

const EXPERIMENT: &str = r#"name = "synthetic_genome"

[data]
genome = "genome.fa"
genes = "genes.tsv"
expression = { path = "expression.tsv", value = "tpm" }
contact = { path = "contacts.cool", resolution = 5000 }
split = { by = "fold", fold = 11 }

[[data.tracks]]
name = "h3k27ac"
path = "h3k27ac.bw"

[[data.tracks]]
name = "dnase"
path = "dnase.bw"

[model]
kind = "seq2exp_soft"
"#;
