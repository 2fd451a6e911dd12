//! `seq2exp peaks`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use genome::{
    BigWig, PeakCaller, Region, TrackKind, read_regions, refuse_input_as_output, write_bed,
    write_bed_tabix,
};

use crate::cli::PeaksArgs;
use crate::commands::print_text;

/// Calls the peaks of a bigWig, or has macs3 call those of aligned reads, and writes them as narrowPeak.
pub fn execute(args: &PeaksArgs) -> Result<()> {
    refuse_input_as_output(&args.output, [args.input.as_path()])?;
    let peaks = match TrackKind::of(&args.input) {
        TrackKind::BigWig => of_bigwig(args)?,
        TrackKind::Alignment => of_reads(args)?,
        TrackKind::BedGraph => bail!(
            "{}: peaks are called from a bigWig or from a BAM; a bedGraph is read by `macs3 bdgpeakcall` itself",
            args.input.display()
        ),
    };
    if peaks.is_empty() {
        bail!(
            "{}: no peak was found; lower the cutoff or the shortest length",
            args.input.display()
        );
    }
    if args.output.extension().is_some_and(|end| end == "gz") {
        write_bed_tabix(&args.output, &[], &peaks)?;
    } else {
        write_bed(&args.output, &peaks)?;
    }
    let n_bases: u64 = peaks.iter().map(|peak| peak.interval.len()).sum();
    let summary = format!(
        "{}: {} peaks, {n_bases} bases\n",
        args.output.display(),
        peaks.len()
    );
    // Standard output may be where the peaks went.
    if args.output.starts_with("/dev") {
        eprint!("{summary}");
        return Ok(());
    }
    print_text(&summary)
}

fn of_bigwig(args: &PeaksArgs) -> Result<Vec<Region>> {
    let input = args.input.display();
    if !args.macs3.is_empty() {
        bail!("{input}: options of macs3 are for a BAM; a bigWig's peaks are called here");
    }
    let cutoff = match args.cutoff {
        Some(cutoff) if cutoff.is_finite() && cutoff > 0.0 => cutoff,
        Some(cutoff) => bail!("--cutoff {cutoff} must be finite and above 0"),
        None => bail!("{input}: give --cutoff, the lowest value inside a peak in the track's unit"),
    };
    let usual = PeakCaller::new(cutoff);
    let caller = PeakCaller {
        min_length: args.min_length.unwrap_or(usual.min_length),
        max_gap: args.max_gap.unwrap_or(usual.max_gap),
        ..usual
    };
    Ok(caller.call(&BigWig::open(&args.input)?)?)
}

/// Runs `macs3 callpeak` in a folder of its own and reads what it wrote.
fn of_reads(args: &PeaksArgs) -> Result<Vec<Region>> {
    let input = args.input.display();
    if args.cutoff.is_some() || args.min_length.is_some() || args.max_gap.is_some() {
        bail!(
            "{input}: --cutoff, --min-length and --max-gap are for a bigWig; give options of `macs3 callpeak` after --"
        );
    }
    if !args.input.is_file() {
        bail!("{input}: no such file");
    }
    let folder = tempfile::tempdir().context("making a folder for macs3")?;
    let mut command = Command::new("macs3");
    command
        .args(["callpeak", "--name", NAME, "--outdir"])
        .arg(folder.path())
        .arg("--treatment")
        .arg(&args.input)
        .args(&args.macs3);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "{input}: peaks of aligned reads are called by macs3, which is not installed; `pip install macs3`, or give \
             a bigWig with --cutoff"
        ),
        Err(error) => return Err(error).context("starting macs3"),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = stderr.lines().filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        bail!(
            "{input}: macs3 callpeak failed ({}):\n{}",
            output.status,
            last.join("\n")
        );
    }
    Ok(read_regions(peaks_file(folder.path())?)?)
}

/// The name that macs3 gives its files.
const NAME: &str = "peaks";

/// Lines of macs3's messages that an error shows.
const SHOWN_LINES: usize = 5;

/// What macs3 wrote: narrow peaks, or broad ones when it was asked for them.
fn peaks_file(folder: &Path) -> Result<PathBuf> {
    let names = ["narrowPeak", "broadPeak"].map(|kind| folder.join(format!("{NAME}_peaks.{kind}")));
    let found = names.into_iter().find(|path| path.is_file());
    found.context("macs3 callpeak succeeded, but wrote no peaks")
}
