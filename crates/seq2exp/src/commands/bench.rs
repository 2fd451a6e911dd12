//! `seq2exp bench`.

use anyhow::Result;
use model::{NetworkConfig, NetworkKind};

use crate::bench::{Bench, BenchKind};
use crate::cli::{BenchArgs, BenchTarget};
use crate::commands::{print_json, print_text};
use crate::device::OpenDevice;

/// Times Seq2Exp-soft at its published width.
pub fn execute(args: &BenchArgs) -> Result<()> {
    let kind = match args.kind {
        BenchTarget::Forward => BenchKind::Forward,
        BenchTarget::Train => BenchKind::Train,
        BenchTarget::Copy => BenchKind::Copy,
        BenchTarget::Matmul => BenchKind::Matmul,
        BenchTarget::MatmulHalf => BenchKind::MatmulHalf,
    };
    let mut network = NetworkKind::Seq2ExpSoft.preset();
    if let (Some(n_layers), NetworkConfig::Seq2Exp(config)) = (args.layers, &mut network) {
        config.n_layer_generator = usize::from(n_layers);
        config.n_layer_predictor = usize::from(n_layers);
    }
    let bench = Bench {
        kind,
        network,
        length: args.length,
        batch: args.batch,
        n_runs: usize::from(args.runs),
    };
    let device = OpenDevice::open(args.device.device)?;
    if args.verify {
        let agreement = bench.verify(&device)?;
        eprintln!(
            "{}: a training pass differs from the CPU's by {:.1e} in the loss and {:.1e} in the gradient, relative",
            device.name, agreement.loss, agreement.gradient
        );
    }
    let record = bench.run(&device)?;
    if args.json {
        return print_json(&record);
    }
    let mut text = format!(
        "{}: {} bases, batch {}: median {:.3} s of {} runs, {:.1} Gflop/s, {:.1} GB/s, {} threads, {}\n",
        record.device,
        record.length,
        record.batch,
        record.seconds,
        record.runs.len(),
        record.gflops,
        record.gbytes_per_second,
        record.threads,
        record.simd
    );
    if let Some(bytes) = record.peak_rss_bytes {
        text.push_str(&format!("peak memory {:.2} GB\n", bytes as f64 / 1e9));
    }
    print_text(&text)
}
