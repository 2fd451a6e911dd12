//! Many runs as one table: models x seeds x data sets x folds.
//!
//! A [`Plan`] lists the cells, each an ordinary run in a folder of its own; [`run_cells`] runs those that are not
//! finished, several at a time, and [`ResultTable::new`] turns what they left in their folders into rows and tests.

mod ablation;
mod cell;
mod cell_process;
mod cell_record;
mod config;
mod outcome;
mod paired;
mod plan;
mod published;
mod random_mask;
mod result_table;
mod runner;
mod table_text;

pub use cell::{Cell, CellWork};
pub use config::{BenchmarkConfig, DatasetEntry, Folds, ModelEntry, TrialSize};
pub use outcome::{CellOutcome, Scored};
pub use paired::{GeneTest, SeedTest, gene_test, seed_test};
pub use plan::Plan;
pub use published::{PublishedData, PublishedRow, published_row};
pub use result_table::{FoldLabel, ResultRow, ResultTable};
pub use runner::{CellState, RunnerOptions, cell_states, run_cells};
pub use table_text::{CELLS_FILE, MARKDOWN_FILE, TABLE_FILE, markdown, write_tables};
pub(crate) use table_text::{Shown, problems};
