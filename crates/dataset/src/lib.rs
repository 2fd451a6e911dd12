//! From one gene to the arrays a model reads, and prepared data sets.
//!
//! A [`DataConfig`] names the files. [`ExampleReader`] opens them and turns gene after gene into an
//! [`Example`]: bases, tracks, contact, fixed regions, features and target over a [`Window`] around
//! the transcription start site. [`write_prepared`] stores all examples in one Arrow file, which
//! [`PreparedReader`] reads back bit for bit. Both are an [`ExampleSource`], from which a [`Loader`]
//! reads ahead with threads.
//!
//! Every coordinate is 0-based and half-open. There are no tensors in this crate.

mod activity_table;
mod candidate;
mod chrom_alias;
mod config;
mod contact_config;
mod contact_track;
mod error;
mod estimate;
mod example;
mod expression_config;
mod features;
mod file_table;
mod fold;
mod hidden_input;
mod loader;
mod mask_prior;
mod misnamed;
mod mrna;
mod one_hot;
mod placed_genes;
mod prepared;
mod region_file;
mod region_mask;
mod released;
mod selection;
mod source;
mod split_config;
mod split_overlap;
mod stray_starts;
mod target;
mod track_config;
mod tracks;
mod tss_peaks;
mod variant_check;
mod window;

pub use activity_table::ActivityConfig;
pub use candidate::{Candidate, CandidateConfig, Candidates};
pub use config::{CONTACT_TRACK, DataConfig};
pub use contact_config::{ContactConfig, ContactFallback};
pub use error::DatasetError;
pub use estimate::{Estimate, estimate};
pub use example::{Example, ExampleParts, ExampleReader};
pub use expression_config::{ExpressionConfig, ExpressionTransform, GeneKey, MissingExpression};
pub use features::{FEATURE_NAMES, FeatureScaling, N_FEATURES, promoter_activity};
pub use file_table::{FileChrom, FileRow, FileTable};
pub use fold::{Assignment, FOLDS, Fold, Split, assign_splits};
pub use hidden_input::HiddenInput;
pub use loader::Loader;
pub use mask_prior::MaskPrior;
pub use misnamed::MisnamedGenes;
pub use one_hot::{NO_BASE, base_code, one_hot};
pub use prepared::{
    ContactSource, DATA_FILE_NAME, DataDescription, DataFile, FORMAT_VERSION, MANIFEST_FILE_NAME,
    Manifest, PreparedReader, SourceFile, SplitCounts, describe_data, read_manifest,
    write_prepared,
};
pub use region_file::RegionsLeftOut;
pub use region_mask::{RegionCode, region_codes};
pub use released::{RELEASED_KEYS, Released, ReleasedCell, ReleasedTarget};
pub use selection::{SkipCounts, SkipReason, SkippedGene};
pub use source::ExampleSource;
pub use split_config::{SplitConfig, SplitRows};
pub use split_overlap::SplitOverlap;
pub use stray_starts::StrayStarts;
pub use track_config::{AbsentChrom, TrackConfig, TrackTransform};
pub use tracks::ACTIVITY_FLANK;
pub use tss_peaks::{TssCounts, TssPeaksConfig};
pub use variant_check::{Explanations, MAX_MISMATCHES, VariantCheck, VariantMismatch};
pub use window::Window;
