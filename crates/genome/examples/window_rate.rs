//! Seconds of CPU that reading a window of 200 kb with two tracks from the raw files takes.
//!
//! ```text
//! cargo run --release -p genome --example window_rate
//! ```
//!
//! Run from the root of the repository, beside `oracle/bench_windows.py`, which reads the same windows of the example
//! with pyfaidx and pyBigWig. CPU time, so that other work on the machine counts less than in
//! `cargo bench -p genome --bench windows`, which measures elapsed time.

#[path = "clock/processor_time.rs"]
mod processor_time;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;

use genome::{BigWig, Fasta, Interval, read_gene_table};

use processor_time::cpu_seconds;

const EXAMPLE: &str = "examples/k562_chr22";
const HALF_LENGTH: u64 = 100_000;
/// Times that every window is read in one round.
const N_TIMES: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let in_example = |name: &str| Path::new(EXAMPLE).join(name);
    let fasta = Fasta::open(in_example("genome.fa.gz"))?;
    let tracks = [
        BigWig::open(in_example("h3k27ac.bw"))?,
        BigWig::open(in_example("dnase.bw"))?,
    ];
    let windows = read_gene_table(in_example("genes.tsv"))?
        .iter()
        .map(|gene| {
            let (start, end) = (gene.tss - HALF_LENGTH, gene.tss + HALF_LENGTH);
            Interval::try_new(gene.chrom.as_str(), start, end)
        })
        .collect::<Result<Vec<Interval>, _>>()?;
    let mut rounds = Vec::new();
    for _ in 0..5 {
        let before = cpu_seconds()?;
        for _ in 0..N_TIMES {
            for window in &windows {
                black_box(fasta.read_bases(window)?);
                for track in &tracks {
                    black_box(track.read_values(window)?);
                }
            }
        }
        let seconds = cpu_seconds()? - before;
        rounds.push(seconds / (N_TIMES * windows.len()) as f64);
    }
    rounds.sort_by(f64::total_cmp);
    let median = rounds[rounds.len() / 2];
    println!(
        "{:.0} windows/s\t{:.3} ms/window",
        1.0 / median,
        1e3 * median
    );
    Ok(())
}
