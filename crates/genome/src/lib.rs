//! Genome files and coordinates: sequence, tracks, contacts, genes and regions.
//!
//! Every coordinate is `u64`, 0-based and half-open; 1-based positions live only inside the
//! readers of formats that use them and in region strings. A reader that is asked for anything
//! outside its chromosome returns an error; nothing is clipped or padded here. There are no
//! arrays and no tensors in this crate.

mod alignment;
mod annotation;
mod assembly;
mod atomic;
mod bed;
mod bed_graph;
mod bedpe;
mod bigwig;
mod chrom_sizes;
mod contact;
mod enhancer_link;
mod error;
mod expression;
mod fasta;
mod gene;
mod input_file;
mod interval;
mod lines;
mod mask_pickle;
mod mrna;
mod packing;
mod panic_guard;
mod peak_call;
mod positional_file;
mod power_law;
mod reference;
mod region_index;
mod standardised_mrna;
mod table;
mod text_column;
mod track_file;
mod tss_signal;
mod two_bit;
mod variant;

pub use alignment::{CramReference, ReadFilter, ReadSpan};
pub use annotation::{
    Annotation, ChosenBy, Transcript, TranscriptTag, UnstrandedGene, read_annotation,
    without_version,
};
pub use assembly::{assembly_of, assembly_of_chrom, assembly_sizes};
pub use atomic::{AtomicFile, refuse_input_as_output, remove_abandoned, write_atomic};
pub use bed::{
    Region, for_each_region, read_bed_comments, read_regions, write_bed, write_bed_tabix,
};
pub use bedpe::{RegionPair, read_pairs};
pub use bigwig::{BigWig, BigWigRows, write_bigwig, write_bigwig_with};
pub use chrom_sizes::{ChromSizes, read_chrom_sizes};
pub use contact::{
    ContactMap, ContactPixel, ContactProfile, Normalization, StoredContacts,
    UnknownNormalizationName, write_cool,
};
pub use enhancer_link::{EnhancerLink, read_enhancer_links};
pub use error::GenomeError;
pub use expression::{Expression, read_expression, read_transformed_expression};
pub use fasta::{Fasta, IndexSource, write_fasta};
pub use gene::{Gene, check_genes_against, read_gene_table};
pub use interval::{Interval, MAX_POSITION, ParseStrandError, Strand};
pub use mrna::{MrnaFeatures, read_mrna_table};
pub use panic_guard::catch_panic;
pub use peak_call::PeakCaller;
pub use power_law::power_law_contact;
pub use reference::Reference;
pub use region_index::RegionIndex;
pub use standardised_mrna::{N_STANDARDISED, read_standardised_mrna};
pub use text_column::read_text_column;
pub use track_file::{Conversion, ConversionPlace, TrackFile, TrackKind};
pub use tss_signal::{TSS_SIGNAL_BASES, TssSignal};
pub use two_bit::TwoBit;
pub use variant::{Allele, ReferenceCheck, VariantFile, VariantPlace, VariantRecord};
