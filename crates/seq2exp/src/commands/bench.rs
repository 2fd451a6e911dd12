//! `seq2exp bench`.

use anyhow::Result;
use burn::tensor::Device;
use model::NetworkKind;

use crate::bench::{Bench, BenchKind};
use crate::cli::{BenchArgs, BenchTarget};
use crate::commands::{print_json, print_text};

/// Times Seq2Exp-soft at its published width.
pub fn execute(args: &BenchArgs) -> Result<()> {
    let kind = match args.kind {
        BenchTarget::Forward => BenchKind::Forward,
        BenchTarget::Train => BenchKind::Train,
    };
    let bench = Bench {
        kind,
        network: NetworkKind::Seq2ExpSoft.preset(),
        length: args.length,
        batch: args.batch,
        n_runs: usize::from(args.runs),
    };
    let record = bench.run(&Device::flex())?;
    if args.json {
        return print_json(&record);
    }
    let mut text = format!(
        "{} bases, batch {}: median {:.3} s of {} runs, {:.1} Gflop/s, {} threads, {}\n",
        record.length,
        record.batch,
        record.seconds,
        record.runs.len(),
        record.gflops,
        record.threads,
        record.simd
    );
    if let Some(bytes) = record.peak_rss_bytes {
        text.push_str(&format!("peak memory {:.2} GB\n", bytes as f64 / 1e9));
    }
    print_text(&text)
}
