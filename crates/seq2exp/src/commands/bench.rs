//! `seq2exp bench`.

use anyhow::{Result, bail};
use clap::ValueEnum;
use model::{NetworkConfig, NetworkKind};

use crate::bench::block::{BlockBench, BlockRecord, LENGTHS};
use crate::bench::{Bench, BenchKind};
use crate::cli::{BenchArgs, BenchTarget};
use crate::commands::{print_json, print_text};
use crate::config::ExperimentConfig;
use crate::device::OpenDevice;
use crate::setting_limits::size_problems;
use crate::train::Precision;

/// Length of a whole network's window unless another is asked for, in bases.
const LENGTH: usize = 20_000;

/// Bytes of the largest tensor that is tried: 1 TiB.
const MOST_TENSOR_BYTES: u128 = 1 << 40;

/// Times the network of an experiment file, or Seq2Exp-soft, or one of its blocks, at the published width.
pub fn execute(args: &BenchArgs) -> Result<()> {
    refuse_without_effect(args)?;
    let device = OpenDevice::open(args.device.device)?;
    eprintln!("device   {}", device.name);
    let kind = match args.kind {
        BenchTarget::Forward => BenchKind::Forward,
        BenchTarget::Train => BenchKind::Train,
        BenchTarget::Copy => BenchKind::Copy,
        BenchTarget::Matmul => BenchKind::Matmul,
        BenchTarget::MatmulHalf => BenchKind::MatmulHalf,
        BenchTarget::Block => return time_blocks(args, &device),
    };
    let (mut network, own_length) = match &args.config {
        Some(path) => {
            let config = ExperimentConfig::read(path, &[])?;
            (config.model, config.data.length as usize)
        }
        None => (NetworkKind::Seq2ExpSoft.preset(), LENGTH),
    };
    if let (Some(n_layers), NetworkConfig::Seq2Exp(config)) = (args.layers, &mut network) {
        config.n_layer_generator = usize::from(n_layers);
        config.n_layer_predictor = usize::from(n_layers);
    }
    let problems = size_problems(&network);
    if !problems.is_empty() {
        bail!("bench: {}", problems.join("; "));
    }
    device.note_parts_without_kernel(&network);
    let lengths = match args.length.is_empty() {
        true => vec![own_length],
        false => args.length.clone(),
    };
    refuse_too_large(args, &lengths, network.d_model())?;
    for &precision in &args.precision {
        for &length in &lengths {
            let mut network = network.clone();
            if network.window_problem(length).is_some() {
                network = network.with_length(length);
            }
            for &batch in &args.batch {
                let bench = Bench {
                    kind,
                    network: network.clone(),
                    length,
                    batch,
                    n_runs: usize::from(args.runs),
                    storage: args.storage.unwrap_or_default(),
                    precision,
                };
                time_one(&bench, &device, args)?;
            }
        }
    }
    Ok(())
}

/// Refuses options that what is timed would ignore, so that no record claims them.
fn refuse_without_effect(args: &BenchArgs) -> Result<()> {
    use BenchTarget::{Block, Forward, Train};
    let kind = args.kind;
    let is_network = matches!(kind, Forward | Train);
    let has_blocks = is_network || kind == Block;
    let options = [
        ("--config", args.config.is_some(), is_network),
        ("--layers", args.layers.is_some(), is_network),
        (
            "--storage",
            args.storage.is_some(),
            matches!(kind, Train | Block),
        ),
        (
            "--precision",
            args.precision != [Precision::F32],
            has_blocks,
        ),
        ("--batch", args.batch != [1], has_blocks),
        ("--verify", args.verify, kind == Train),
    ];
    let refused: Vec<&str> = options
        .iter()
        .filter(|(_, given, has_effect)| *given && !has_effect)
        .map(|(option, ..)| *option)
        .collect();
    if !refused.is_empty() {
        let kind = kind.to_possible_value();
        let kind = kind.as_ref().map_or("", |kind| kind.get_name());
        bail!("`bench {kind}` takes no {}", refused.join(" and no "));
    }
    Ok(())
}

/// Refuses lengths and batches of nothing, and those whose largest tensor no machine holds.
fn refuse_too_large(args: &BenchArgs, lengths: &[usize], d_model: usize) -> Result<()> {
    for (option, values) in [("--length", lengths), ("--batch", &args.batch)] {
        if values.contains(&0) {
            bail!("{option} is 0; it must be at least 1");
        }
    }
    for &length in lengths {
        for &batch in &args.batch {
            // Floats of the largest tensor; of a network that is a block's, twice as wide as the residual stream.
            let (length, batch) = (length as u128, batch as u128);
            let n_values = match args.kind {
                BenchTarget::Copy => Some(length),
                BenchTarget::Matmul | BenchTarget::MatmulHalf => length.checked_mul(length),
                BenchTarget::Forward | BenchTarget::Train | BenchTarget::Block => length
                    .checked_mul(batch)
                    .and_then(|n_positions| n_positions.checked_mul(2 * d_model as u128)),
            };
            let n_bytes = n_values.and_then(|n_values| n_values.checked_mul(4));
            if n_bytes.is_none_or(|n_bytes| n_bytes > MOST_TENSOR_BYTES) {
                bail!(
                    "--length {length} with --batch {batch} needs a tensor of more than 1 TiB; lower one of the two"
                );
            }
        }
    }
    Ok(())
}

/// Times one block at every length, for each precision and batch.
fn time_blocks(args: &BenchArgs, device: &OpenDevice) -> Result<()> {
    let lengths = match args.length.is_empty() {
        true => LENGTHS.to_vec(),
        false => args.length.clone(),
    };
    let d_model = NetworkKind::Seq2ExpSoft.preset().d_model();
    refuse_too_large(args, &lengths, d_model)?;
    for &precision in &args.precision {
        for &batch in &args.batch {
            let bench = BlockBench {
                lengths: lengths.clone(),
                n_runs: usize::from(args.runs),
                d_model,
                batch,
                storage: args.storage.unwrap_or_default(),
                precision,
            };
            print_block(&bench.run(device)?, args.json)?;
        }
    }
    Ok(())
}

fn time_one(bench: &Bench, device: &OpenDevice, args: &BenchArgs) -> Result<()> {
    if args.verify {
        let agreement = bench.verify(device)?;
        eprintln!(
            "{}: a training pass differs from the CPU's by {:.1e} in the loss and {:.1e} in the gradient, relative",
            device.name, agreement.loss, agreement.gradient
        );
    }
    let record = bench.run(device)?;
    if args.json {
        return print_json(&record);
    }
    let traffic = record
        .gbytes_per_second
        .map_or_else(String::new, |rate| format!("{rate:.1} GB/s, "));
    let length = record.length;
    let what = match record.kind {
        BenchKind::Forward | BenchKind::Train => format!("{length} bases, batch {}", record.batch),
        BenchKind::Copy => format!("a copy of {length} numbers"),
        BenchKind::Matmul => format!("a product of two matrices of {length} rows"),
        BenchKind::MatmulHalf => {
            format!("a product of two half-precision matrices of {length} rows")
        }
    };
    let mut text = format!(
        "{}: {what}: median {:.3} s of {} runs, {:.1} Gflop/s, {}{} threads, {}\n",
        record.device,
        record.timing.seconds,
        record.timing.runs.len(),
        record.gflops,
        traffic,
        record.environment.threads,
        record.environment.simd
    );
    if let (Some(seconds), Some(share)) = (record.mask_seconds, record.mask_share) {
        let percent = 100.0 * share;
        text.push_str(&format!("of it the mask {seconds:.4} s, {percent:.1} %\n"));
    }
    if let Some(bytes) = record.environment.peak_rss_bytes {
        text.push_str(&format!("peak memory {:.2} GB\n", bytes as f64 / 1e9));
    }
    print_text(&text)
}

fn print_block(record: &BlockRecord, json: bool) -> Result<()> {
    if json {
        return print_json(record);
    }
    let mut text = format!(
        "one block on {}, d_model {}, batch {}, {} threads, {}\n{:>9}  {:>11} {:>9} {:>5}  {:>11} {:>9} {:>5}\n",
        record.device,
        record.d_model,
        record.batch,
        record.environment.threads,
        record.environment.simd,
        "bases",
        "forward [s]",
        "products",
        "ratio",
        "both [s]",
        "products",
        "ratio"
    );
    for row in &record.lengths {
        text.push_str(&format!("{:>9}", row.length));
        for part in [&row.forward, &row.both] {
            text.push_str(&format!("  {:>11.4}", part.block.seconds));
            text.push_str(&match &part.comparison {
                Some(with) => format!(" {:>9.4} {:>5.2}", with.products.seconds, with.ratio),
                None => format!(" {:>9} {:>5}", "-", "-"),
            });
        }
        text.push('\n');
    }
    print_text(&text)
}
