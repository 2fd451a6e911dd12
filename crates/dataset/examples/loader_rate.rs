//! Examples per second of one loader thread, from a prepared data set.
//!
//! ```text
//! cargo run --release -p dataset --example loader_rate -- FOLDER
//! ```
//!
//! Reads up to 2,000 examples in a scattered order, as training does, and divides by the seconds of
//! CPU time that the process spent meanwhile, so that other work on the machine counts less.

#[path = "../../genome/examples/clock/processor_time.rs"]
mod processor_time;

use std::sync::Arc;

use dataset::{ExampleSource, Loader, PreparedReader};

use processor_time::cpu_seconds;

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
    for example in Loader::start(Arc::clone(&prepared), order, 1, 4)? {
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
