//! What can go wrong in a run.

use std::path::PathBuf;

use crate::check::InputReport;

/// An error of the toolkit above the level of single files, data sets and networks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The experiment file is not valid TOML, or holds a wrong type or an unknown key.
    #[error("{}: {message}", path.display())]
    ConfigSyntax {
        /// The experiment file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// The experiment file is well formed, but its values do not work together.
    #[error("{}: {} problem(s):\n  - {}", path.display(), problems.len(), problems.join("\n  - "))]
    ConfigInvalid {
        /// The experiment file.
        path: PathBuf,
        /// All problems.
        problems: Vec<String>,
    },
    /// A `--set` override does not fit the configuration.
    #[error("--set {item}: {message}")]
    Override {
        /// The override as given.
        item: String,
        /// Why it does not fit.
        message: String,
    },
    /// A value of the command line is not what its option takes.
    #[error("{argument}: {message}")]
    Argument {
        /// The option with its value.
        argument: String,
        /// What it takes.
        message: String,
    },
    /// A row of a truth file does not say what it is.
    #[error("{}: {region}: {reason}; is it the truth.bed.gz of simulate?", path.display())]
    NoTruth {
        /// The file.
        path: PathBuf,
        /// The row's region, 1-based as genome browsers write it.
        region: String,
        /// What is missing or unknown.
        reason: String,
    },
    /// Known elements are not those of a run's genes.
    #[error("{}: {reason}, in {}; is it another simulation's truth?", path.display(), folder.display())]
    OtherTruth {
        /// The file of the known elements.
        path: PathBuf,
        /// The run.
        folder: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A genome file, or an output written like one, failed.
    #[error(transparent)]
    Genome(#[from] genome::GenomeError),
    /// Another process runs in the output folder.
    #[error(
        "{}: in use by another run (process {process}); wait for it, or choose another output folder with -o",
        path.display()
    )]
    FolderInUse {
        /// The output folder.
        path: PathBuf,
        /// The number of the process that holds it.
        process: String,
    },
    /// The output folder already holds a run of the same configuration.
    #[error(
        "{}: already holds this run; continue it with --resume, choose another folder with -o, or remove it",
        path.display()
    )]
    FolderOccupied {
        /// The output folder.
        path: PathBuf,
    },
    /// The output folder holds something that the command would write over or mix with.
    #[error("{}: holds {found}, so {kind} cannot go there; choose a new folder or an empty one", path.display())]
    FolderOfOther {
        /// The output folder.
        path: PathBuf,
        /// The file or folder in it, and what it is of where that is known.
        found: String,
        /// What would be written.
        kind: &'static str,
    },
    /// The output folder or checkpoint belongs to a run of another configuration.
    #[error(
        "{}: belongs to a run with other settings; go back to them or choose another output folder with -o:\n  - {}",
        path.display(),
        differences.join("\n  - ")
    )]
    OtherConfig {
        /// The file that holds the other configuration.
        path: PathBuf,
        /// The fields that differ.
        differences: Vec<String>,
    },
    /// A cell of a benchmark was run with other settings than the benchmark has now.
    #[error(
        "{}: run with other settings ({}); delete this folder to run the cell with the new ones, go back to the old ones, or \
         choose another output folder with -o",
        path.display(),
        differences.join("; ")
    )]
    CellOfOtherSettings {
        /// The folder of the cell.
        path: PathBuf,
        /// The fields that differ.
        differences: Vec<String>,
    },
    /// A benchmark's cell was made of the network of another cell, which has another one now.
    #[error(
        "{}: made of the network of {needed}, which was trained anew since; delete this folder to run the cell on the new one",
        path.display()
    )]
    CellOfOtherNetwork {
        /// The folder of the cell.
        path: PathBuf,
        /// The other cell in words.
        needed: String,
    },
    /// A line of `metrics.jsonl` is not a record.
    #[error("{}:{line}: not a record of training: {source}", path.display())]
    BadRecord {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The saved state of an interrupted run cannot be used.
    #[error("{}: cannot continue from it: {message}; remove it to train from the start", path.display())]
    BadState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The mask, regions or tracks of a gene do not have one value per position of its window.
    #[error(
        "{gene}: {found} values where its window needs {expected}; are model and data of the same length?"
    )]
    MaskLength {
        /// The gene.
        gene: String,
        /// Values the window needs.
        expected: u64,
        /// Values given.
        found: u64,
    },
    /// A mask value is not a probability.
    #[error(
        "{gene}: the mask at {chrom}:{position} is {value}, not in [0, 1]; the weights are damaged, or training \
         diverged: try a lower learning rate"
    )]
    MaskValue {
        /// The gene.
        gene: String,
        /// The chromosome of its window.
        chrom: String,
        /// Position on the chromosome, 1-based; 0 or negative in the padding before it.
        position: i64,
        /// The value.
        value: f32,
    },
    /// An example could not be read.
    #[error(transparent)]
    Dataset(#[from] dataset::DatasetError),
    /// A network could not be built, saved, loaded or run.
    #[error(transparent)]
    Model(#[from] model::ModelError),
    /// Examples of different shapes cannot be one batch.
    #[error(
        "{} examples of one batch must have one length and number of tracks",
        symbol.as_ref().map_or("no example given;".to_string(), |symbol| format!("gene {symbol:?} differs;"))
    )]
    UnequalExamples {
        /// The first gene that differs from the first one; none when there is no example at all.
        symbol: Option<String>,
    },
    /// A gene to learn from or to score has no observed expression.
    #[error(
        "gene {symbol:?} has no measured expression to learn from; set data.missing_expression = \"skip\""
    )]
    NoTarget {
        /// The gene.
        symbol: String,
    },
    /// A split that is needed has no genes.
    #[error("no gene is in the {split} split; check [data.split] and which genes were skipped")]
    EmptySplit {
        /// The split.
        split: dataset::Split,
    },
    /// The device asked for is not there, or cannot be used.
    #[error("--device {choice}: {message}")]
    Device {
        /// The device asked for.
        choice: crate::device::DeviceChoice,
        /// Why, and what to do.
        message: String,
    },
    /// A device or a network does not compute or keep numbers as asked.
    #[error("{of} has no {setting}; {remedy}")]
    Numerics {
        /// The device, the network, or the part of it.
        of: String,
        /// The setting.
        setting: String,
        /// What to do.
        remedy: String,
    },
    /// A device has less of something than the kernels of a network's blocks need.
    #[error(
        "{device} has {limit} {what}, and kernels need {needed}; {remedy}, or use --device cpu"
    )]
    Limit {
        /// The device.
        device: String,
        /// What it has too few of.
        what: &'static str,
        /// How many a kernel needs.
        needed: u64,
        /// How many the device has.
        limit: u64,
        /// What to do.
        remedy: String,
    },
    /// A window or a batch does not fit in one buffer of its device.
    #[error(
        "a batch of {batch} with {length} bases needs a tensor of {needed} bytes, and {device} holds at most {limit} in one; \
         {remedy}, or use --device cpu"
    )]
    Buffer {
        /// The device.
        device: String,
        /// Window length in bases.
        length: usize,
        /// Windows at once.
        batch: usize,
        /// Bytes of the largest tensor.
        needed: u64,
        /// Bytes of the device's largest buffer.
        limit: u64,
        /// What to do.
        remedy: String,
    },
    /// A tensor could not be brought back from its device.
    #[error("reading a tensor from the device: {message}")]
    Tensor {
        /// The device's message.
        message: String,
    },
    /// A device computes something else than the CPU.
    #[error(
        "{device}: its training pass is not that of the CPU: loss {loss:.1e} and gradient {gradient:.1e} off, relative; do \
         not trust its results, update the driver, and report it with the output of `seq2exp info --devices`"
    )]
    Differs {
        /// The device.
        device: String,
        /// Relative difference of the loss.
        loss: f64,
        /// Relative difference of the gradient.
        gradient: f64,
    },
    /// A number became NaN or infinite.
    #[error(
        "{}{what} is NaN or infinite, with gene(s) {}; the last good checkpoint is kept; look at the tracks of these \
         genes{}, or lower train.lr",
        step.map_or(String::new(), |step| format!("step {step}: ")),
        genes.join(", "),
        inputs.as_ref().map_or(String::new(), |path| format!(" and at the step's inputs in {}", path.display()))
    )]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// The update it happened in, from 1; none outside training.
        step: Option<u64>,
        /// The genes of the batch.
        genes: Vec<String>,
        /// The file that holds what the step was computed from; none outside training.
        inputs: Option<PathBuf>,
    },
    /// A signal asked to stop, and what had to be saved is saved.
    #[error("stopped by {signal}; {remedy}")]
    Interrupted {
        /// The signal.
        signal: crate::interrupt::Signal,
        /// How to go on.
        remedy: String,
    },
    /// The input files do not fit together.
    #[error("the input files do not fit together:\n  - {}", _0.problems.join("\n  - "))]
    Files(Box<InputReport>),
    /// A folder holds no run.
    #[error("{}: not an output folder of `seq2exp run` or `train` (no config.toml in it)", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A network of the run was not trained yet.
    #[error("{}: not there yet; run `seq2exp train` first, with --resume when it was begun", path.display())]
    NotTrained {
        /// The missing checkpoint.
        path: PathBuf,
    },
    /// The networks of a run were not evaluated yet.
    #[error("{}: not there; run `seq2exp evaluate` on its folder first", path.display())]
    NotEvaluated {
        /// The missing table.
        path: PathBuf,
    },
    /// The best network of a run, from which its training has gone on, is not there any more.
    #[error(
        "{}: not there, although the network was trained; delete {} and train again, with --resume for the seeds that are left",
        path.display(),
        folder.display()
    )]
    LostNetwork {
        /// The missing checkpoint.
        path: PathBuf,
        /// The folder of its seed.
        folder: PathBuf,
    },
    /// A checkpoint of a run is damaged, or not one of its networks.
    #[error("{source}; if the file is damaged, delete {} and train again, with --resume for the seeds that are left", folder.display())]
    BadNetwork {
        /// The folder of its seed.
        folder: PathBuf,
        /// What is wrong, with the file.
        #[source]
        source: model::ModelError,
    },
    /// A checkpoint lies in the folder of another seed.
    #[error(
        "{}: the network of seed {found}, not of seed {expected}; put the right file back, or delete {} and train again",
        path.display(),
        folder.display()
    )]
    OtherSeed {
        /// The checkpoint.
        path: PathBuf,
        /// The seed that it was trained with.
        found: u64,
        /// The seed of its folder.
        expected: u64,
        /// The folder of its seed.
        folder: PathBuf,
    },
    /// A trained network that another one takes parts of does not fit.
    #[error("{}: {source}", path.display())]
    OtherNetwork {
        /// The checkpoint.
        path: PathBuf,
        /// What does not fit.
        #[source]
        source: model::ModelError,
    },
    /// A network was trained on other data than the folder holds.
    #[error("{}: trained on other data than the prepared data set of this folder; train again in a new folder", path.display())]
    OtherData {
        /// The checkpoint.
        path: PathBuf,
    },
    /// Input files are no longer those that networks were trained on.
    #[error(
        "{}: networks here were trained on a data set whose inputs have changed since; choose another output folder with \
         -o, or delete this one:\n  - {}",
        path.display(),
        changes.join("\n  - ")
    )]
    InputsChanged {
        /// The output folder.
        path: PathBuf,
        /// Each input file or setting that differs.
        changes: Vec<String>,
    },
    /// Input files are not where the settings of an earlier run name them.
    #[error(
        "{source}; they are looked for where {} names them: put them back, move the run and its inputs together, or correct \
         the paths there",
        config.display()
    )]
    MovedInputs {
        /// The settings of the run.
        config: PathBuf,
        /// The missing files.
        #[source]
        source: Box<dataset::DatasetError>,
    },
    /// A table that this tool wrote cannot be read back.
    #[error("{}:{line}: {message}", path.display())]
    BadTable {
        /// The table.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// Two of the runs to pool tested the same gene.
    #[error("gene {symbol:?} is a test gene in {} and in {}; pool runs that test different genes", first.display(), second.display())]
    PooledTwice {
        /// The gene.
        symbol: String,
        /// The predictions that have it.
        first: PathBuf,
        /// The predictions that have it again.
        second: PathBuf,
    },
    /// Two of the runs to pool have different predictors.
    #[error("{}: its predictors are not those of the first run ({expected}); evaluate both with this version", path.display())]
    PooledColumns {
        /// The predictions that differ.
        path: PathBuf,
        /// The predictors of the first run.
        expected: String,
    },
    /// What a cell of a benchmark left cannot be read back.
    #[error("{}: cannot be read back: {message}; remove the cell's folder to run it again", path.display())]
    BadOutcome {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Cells of a benchmark failed; the others are in the table.
    #[error("{n_failed} of {n_cells} cells failed; {} has their errors", table.display())]
    CellsFailed {
        /// Cells that failed.
        n_failed: usize,
        /// All cells.
        n_cells: usize,
        /// The list of cells.
        table: PathBuf,
    },
}
