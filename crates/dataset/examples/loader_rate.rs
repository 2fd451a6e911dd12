//! Examples per second of one loader thread, from a prepared data set.
//!
//! ```text
//! cargo run --release -p dataset --example loader_rate -- FOLDER
//! ```
//!
//! Reads up to 2,000 examples in a scattered order, as training does, and divides by the seconds of
//! CPU time that the process spent meanwhile, so that other work on the machine counts less.

use std::sync::Arc;

use dataset::{ExampleSource, Loader, PreparedReader};

const N_EXAMPLES: usize = 2_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("give a prepared data set")?;
    let prepared: Arc<dyn ExampleSource> = Arc::new(PreparedReader::open(&folder)?);
    let n_genes = prepared.len();
    // 7919 is prime, and so no divisor of the number of genes unless it is a multiple of it.
    let order: Vec<usize> = (0..N_EXAMPLES.min(n_genes))
        .map(|rank| rank * 7919 % n_genes)
        .collect();
    let n_examples = order.len();
    let before = cpu_seconds()?;
    for example in Loader::new(Arc::clone(&prepared), order, 1, 4) {
        std::hint::black_box(example?);
    }
    let seconds = cpu_seconds()? - before;
    println!(
        "{n_examples} windows of {} bases in {seconds:.2} s of CPU time: {:.0} windows/s per core",
        prepared.length(),
        n_examples as f64 / seconds
    );
    Ok(())
}

/// Seconds of CPU time of this process, user and system, from /proc (clock ticks of 10 ms).
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The fields after the process's name in parentheses; utime and stime are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
