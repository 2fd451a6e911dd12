//! Prepared data sets: one Arrow file with a row per gene, and a manifest that describes it.
//!
//! The columns are documented in `docs/data-format.md`. A prepared example is bit for bit the one
//! that [`ExampleReader`](crate::ExampleReader) reads.

mod decode;
mod empty_tracks;
mod encode;
mod journal;
mod layout;
mod manifest;
mod notes;
mod packing;
mod reader;
mod writer;

pub use manifest::{
    ContactSource, DataDescription, DataFile, Manifest, SourceFile, SplitCounts, describe_data,
};
pub use reader::{PreparedReader, read_manifest};
pub use writer::write_prepared;

pub(crate) use encode::batch_of;
pub(crate) use layout::{RowLayout, rows_per_batch};

/// Version of the file format; a reader takes only its own.
pub const FORMAT_VERSION: u32 = 2;

/// Name of the data file in the folder of a prepared data set.
pub const DATA_FILE_NAME: &str = "examples.arrow";

/// Name of the manifest in the folder of a prepared data set.
pub const MANIFEST_FILE_NAME: &str = "manifest.json";
