//! The columns of a prepared data set.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::config::DataConfig;
use crate::features::N_FEATURES;

/// Number of columns before those of the tracks.
pub(super) const N_FIXED_COLUMNS: usize = 18;

/// What must be known of a data set to read one of its rows.
#[derive(Debug, Clone)]
pub(crate) struct RowLayout {
    /// Bases of a window.
    pub(super) length: u64,
    pub(super) track_names: Vec<String>,
    /// Bases of a bin of the contacts, of a data set that has them.
    pub(super) contact_resolution: Option<u64>,
    pub(super) has_peaks: bool,
    /// Bases that are read of a candidate enhancer, of a data set that has them.
    pub(super) element_length: Option<u64>,
    schema: SchemaRef,
}

/// Rows of a record batch: as many as make up one window of 200,000 bases, so that reading one
/// example reads little else, and short windows are not dwarfed by the batch's own bytes.
pub(crate) fn rows_per_batch(length: u64) -> usize {
    (200_000 / length.max(1)).clamp(1, 64) as usize
}

impl RowLayout {
    /// The columns of the examples of a configuration.
    pub(crate) fn of(config: &DataConfig) -> Self {
        let track_names: Vec<String> = config
            .tracks
            .iter()
            .map(|track| track.name.clone())
            .collect();
        let contact_resolution = config
            .contact
            .as_ref()
            .map(|contact| u64::from(contact.resolution));
        let mut fields = vec![
            Field::new("symbol", DataType::Utf8, false),
            Field::new("gene_id", DataType::Utf8, false),
            Field::new("chrom", DataType::Utf8, false),
            Field::new("tss", DataType::UInt64, false),
            Field::new("strand", DataType::Utf8, false),
            Field::new("gene_type", DataType::Utf8, true),
            Field::new("table_split", DataType::Utf8, true),
            Field::new("line", DataType::UInt64, false),
            Field::new("split", DataType::Utf8, false),
            Field::new("chrom_length", DataType::UInt64, false),
            Field::new("window_start", DataType::Int64, false),
            Field::new("target", DataType::Float32, true),
            Field::new(
                "features",
                DataType::FixedSizeList(item(DataType::Float32), N_FEATURES as i32),
                false,
            ),
            Field::new("sequence", DataType::Binary, false),
            list_field("n_run_start", DataType::UInt32),
            list_field("n_run_length", DataType::UInt32),
            list_field("region_code", DataType::UInt8),
            list_field("region_length", DataType::UInt32),
        ];
        debug_assert_eq!(fields.len(), N_FIXED_COLUMNS);
        for name in &track_names {
            fields.push(list_field(
                &format!("track_{name}_value"),
                DataType::Float32,
            ));
            fields.push(list_field(
                &format!("track_{name}_length"),
                DataType::UInt32,
            ));
        }
        if contact_resolution.is_some() {
            fields.push(Field::new("contact_first_bin", DataType::UInt64, false));
            fields.push(list_field("contact_log10p1", DataType::Float32));
        }
        let has_peaks = !config.peaks.is_empty();
        if has_peaks {
            fields.push(list_field("peak_start", DataType::UInt32));
            fields.push(list_field("peak_length", DataType::UInt32));
        }
        let candidates = config.candidates.as_ref();
        let element_length = candidates.map(|candidates| candidates.element_length);
        if element_length.is_some() {
            for name in ["candidate_start", "candidate_end"] {
                fields.push(list_field(name, DataType::UInt64));
            }
            for name in CANDIDATE_FEATURES {
                fields.push(list_field(name, DataType::Float32));
            }
        }
        // One key only: several would be written in no particular order.
        let about = serde_json::json!({
            "format_version": super::FORMAT_VERSION,
            "length": config.length,
            "promoter": config.promoter,
            "contact_resolution": contact_resolution,
        });
        let metadata = HashMap::from([("seq2exp".to_string(), about.to_string())]);
        RowLayout {
            length: config.length,
            track_names,
            contact_resolution,
            has_peaks,
            element_length,
            schema: Arc::new(Schema::new_with_metadata(fields, metadata)),
        }
    }

    /// The columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of tracks, the contact included.
    pub(crate) fn n_tracks(&self) -> usize {
        self.track_names.len() + usize::from(self.contact_resolution.is_some())
    }

    /// Index of the first column behind those of the tracks, the contact included.
    pub(super) fn first_after_tracks(&self) -> usize {
        let n_contact = 2 * usize::from(self.contact_resolution.is_some());
        N_FIXED_COLUMNS + 2 * self.track_names.len() + n_contact
    }

    /// Indices of the columns of a gene and its split.
    pub(super) fn gene_columns() -> Vec<usize> {
        (0..9).collect()
    }
}

/// The elements of a list, none of which is missing.
pub(super) fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, false))
}

fn list_field(name: &str, data_type: DataType) -> Field {
    Field::new(name, DataType::List(item(data_type)), false)
}

/// Names of the columns with what is known of each candidate.
const CANDIDATE_FEATURES: [&str; 3] = [
    "candidate_distance_kb",
    "candidate_contact_log10p1",
    "candidate_activity",
];
