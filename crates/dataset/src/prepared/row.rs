//! One example as one row: the columns, writing and reading them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, FixedSizeListBuilder, Float32Builder, ListBuilder, PrimitiveBuilder,
    StringBuilder, UInt64Builder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Int64Type, UInt8Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use genome::{Gene, Strand};

use super::packing::{fill_runs, pack_bases, run_ranges, runs, true_runs, unpack_bases};
use crate::candidate::{Candidate, Candidates};
use crate::config::DataConfig;
use crate::contact_track::{ContactBins, bins_of};
use crate::error::DatasetError;
use crate::example::{Example, ExampleParts};
use crate::features::N_FEATURES;
use crate::fold::Split;
use crate::region_mask::RegionCode;
use crate::window::Window;

/// Number of columns before those of the tracks.
const N_FIXED_COLUMNS: usize = 18;

/// What must be known of a data set to read one of its rows.
#[derive(Debug, Clone)]
pub(crate) struct RowLayout {
    length: u64,
    track_names: Vec<String>,
    contact_resolution: Option<u64>,
    has_peaks: bool,
    /// Bases that are read of a candidate enhancer, of a data set that has them.
    element_length: Option<u64>,
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
    fn first_after_tracks(&self) -> usize {
        let n_contact = 2 * usize::from(self.contact_resolution.is_some());
        N_FIXED_COLUMNS + 2 * self.track_names.len() + n_contact
    }

    /// Indices of the columns that [`gene_of`] and [`split_of`] read.
    pub(super) fn gene_columns() -> Vec<usize> {
        (0..9).collect()
    }
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, false))
}

fn list_field(name: &str, data_type: DataType) -> Field {
    Field::new(name, DataType::List(item(data_type)), false)
}

/// Turns examples into a record batch of the layout's columns.
///
/// # Errors
/// [`DatasetError::Arrow`]; `path` is the data file, for the message.
pub(crate) fn batch_of(
    examples: &[Example],
    layout: &RowLayout,
    path: &Path,
) -> Result<RecordBatch, DatasetError> {
    let genes = || examples.iter().map(Example::gene);
    let packed: Vec<_> = examples
        .iter()
        .map(|example| pack_bases(example.base_codes()))
        .collect();
    let regions: Vec<_> = examples
        .iter()
        .map(|example| {
            runs(example.regions().iter().map(|code| *code as u8), |a, b| {
                a == b
            })
        })
        .collect();
    let mut features = FixedSizeListBuilder::new(Float32Builder::new(), N_FEATURES as i32)
        .with_field(item(DataType::Float32));
    let mut sequence = BinaryBuilder::new();
    let mut window_start = PrimitiveBuilder::<Int64Type>::new();
    for (example, packed) in examples.iter().zip(&packed) {
        features.values().append_slice(example.features());
        features.append(true);
        sequence.append_value(&packed.bytes);
        window_start.append_value(example.window().start());
    }
    let mut columns: Vec<ArrayRef> = vec![
        strings(genes().map(|gene| Some(gene.symbol.as_str()))),
        strings(genes().map(|gene| Some(gene.gene_id.as_str()))),
        strings(genes().map(|gene| Some(gene.chrom.as_str()))),
        integers(genes().map(|gene| gene.tss)),
        strings(genes().map(|gene| Some(strand_name(gene.strand)))),
        strings(genes().map(|gene| gene.gene_type.as_deref())),
        strings(genes().map(|gene| gene.split.as_deref())),
        integers(genes().map(|gene| gene.line)),
        strings(examples.iter().map(|example| Some(example.split().name()))),
        integers(
            examples
                .iter()
                .map(|example| example.window().chrom_length()),
        ),
        Arc::new(window_start.finish()),
        Arc::new(arrow_array::Float32Array::from_iter(
            examples.iter().map(Example::target),
        )),
        Arc::new(features.finish()),
        Arc::new(sequence.finish()),
        lists::<UInt32Type>(packed.iter().map(|packed| &packed.n_starts[..])),
        lists::<UInt32Type>(packed.iter().map(|packed| &packed.n_lengths[..])),
        lists::<UInt8Type>(regions.iter().map(|(codes, _)| &codes[..])),
        lists::<UInt32Type>(regions.iter().map(|(_, lengths)| &lengths[..])),
    ];
    for column in 0..layout.track_names.len() {
        let track: Vec<_> = examples
            .iter()
            .map(|example| {
                let values = example
                    .tracks()
                    .iter()
                    .skip(column)
                    .step_by(layout.n_tracks());
                // Bits, not values: 0 and -0 stay what they are.
                runs(values.copied(), |a, b| a.to_bits() == b.to_bits())
            })
            .collect();
        columns.push(lists::<Float32Type>(
            track.iter().map(|(values, _)| &values[..]),
        ));
        columns.push(lists::<UInt32Type>(
            track.iter().map(|(_, lengths)| &lengths[..]),
        ));
    }
    if let Some(resolution) = layout.contact_resolution {
        let bins: Vec<ContactBins> = examples
            .iter()
            .map(|example| contact_bins_of(example, resolution))
            .collect();
        columns.push(integers(bins.iter().map(|bins| bins.first_bin)));
        columns.push(lists::<Float32Type>(
            bins.iter().map(|bins| &bins.log10p1[..]),
        ));
    }
    if layout.has_peaks {
        let peaks: Vec<_> = examples
            .iter()
            .map(|example| true_runs(example.peaks().unwrap_or_default()))
            .collect();
        columns.push(lists::<UInt32Type>(
            peaks.iter().map(|(starts, _)| &starts[..]),
        ));
        columns.push(lists::<UInt32Type>(
            peaks.iter().map(|(_, lengths)| &lengths[..]),
        ));
    }
    if layout.element_length.is_some() {
        columns.extend(candidate_columns(examples));
    }
    RecordBatch::try_new(Arc::clone(&layout.schema), columns)
        .map_err(DatasetError::arrow(path, "write"))
}

/// Names of the columns with what is known of each candidate.
const CANDIDATE_FEATURES: [&str; 3] = [
    "candidate_distance_kb",
    "candidate_contact_log10p1",
    "candidate_activity",
];

/// Places and features of the candidates, one list an example.
fn candidate_columns(examples: &[Example]) -> [ArrayRef; 5] {
    fn column<T: ArrowPrimitiveType>(
        examples: &[Example],
        value: fn(&Candidate) -> T::Native,
    ) -> ArrayRef {
        let rows: Vec<Vec<T::Native>> = examples
            .iter()
            .map(|example| {
                let list = example.candidates().map(|candidates| &candidates.list[..]);
                list.unwrap_or_default().iter().map(value).collect()
            })
            .collect();
        lists::<T>(rows.iter().map(|row| &row[..]))
    }
    [
        column::<UInt64Type>(examples, |candidate| candidate.start),
        column::<UInt64Type>(examples, |candidate| candidate.end),
        column::<Float32Type>(examples, |candidate| candidate.distance_kb),
        column::<Float32Type>(examples, |candidate| candidate.contact_log10p1),
        column::<Float32Type>(examples, |candidate| candidate.activity),
    ]
}

/// Reads the candidates of a row back.
fn candidates_of(
    batch: &RecordBatch,
    row: usize,
    first: usize,
    element_length: u64,
) -> Result<Candidates, RowError> {
    let starts = list::<UInt64Type>(batch, first, row)?;
    let ends = list::<UInt64Type>(batch, first + 1, row)?;
    let distances = list::<Float32Type>(batch, first + 2, row)?;
    let contacts = list::<Float32Type>(batch, first + 3, row)?;
    let activities = list::<Float32Type>(batch, first + 4, row)?;
    let lengths = [
        ends.len(),
        distances.len(),
        contacts.len(),
        activities.len(),
    ];
    if lengths != [starts.len(); 4] {
        return Err("the columns of the candidates have unequal lengths".into());
    }
    let list = (0..starts.len()).map(|index| Candidate {
        start: starts[index],
        end: ends[index],
        distance_kb: distances[index],
        contact_log10p1: contacts[index],
        activity: activities[index],
    });
    Ok(Candidates {
        element_length,
        list: list.collect(),
    })
}

/// The contact of each bin, from the last track: it is constant within a bin.
fn contact_bins_of(example: &Example, resolution: u64) -> ContactBins {
    let window = example.window();
    let (first_bin, end_bin) = bins_of(window.inside(), resolution);
    let log10p1 = (first_bin..end_bin)
        .filter_map(|bin| {
            let offsets = crate::contact_track::bin_offsets(window, bin, resolution);
            let last_of_row = (offsets.start + 1) * example.n_tracks() - 1;
            example.tracks().get(last_of_row).copied()
        })
        .collect();
    ContactBins {
        resolution,
        first_bin,
        log10p1,
    }
}

/// Reads one row back; the error says what does not fit.
pub(super) fn example_of(
    batch: &RecordBatch,
    row: usize,
    layout: &RowLayout,
) -> Result<Example, RowError> {
    let gene = gene_of(batch, row)?;
    let chrom_length = integer(batch, 9, row)?;
    let window = Window::centered_on(&gene.chrom, gene.tss, layout.length, chrom_length)
        .map_err(|error| RowError(error.to_string()))?;
    if primitive::<Int64Type>(batch, 10, row)? != Some(window.start()) {
        return Err("window_start is not that of the gene's window".into());
    }
    let length = window.length() as usize;
    let n_tracks = layout.n_tracks();
    let sequence = batch
        .column(13)
        .as_binary_opt::<i32>()
        .ok_or("sequence is not binary")?
        .value(row);
    let base_codes = unpack_bases(
        sequence,
        &list::<UInt32Type>(batch, 14, row)?,
        &list::<UInt32Type>(batch, 15, row)?,
        length,
    )?;
    let mut regions = vec![RegionCode::Keep; length];
    let codes = list::<UInt8Type>(batch, 16, row)?;
    for (code, range) in run_ranges(&codes, &list::<UInt32Type>(batch, 17, row)?, length)? {
        let code = RegionCode::from_code(code).ok_or("a region code is above 2")?;
        regions[range].fill(code);
    }

    let mut tracks = vec![0.0_f32; length * n_tracks];
    for column in 0..layout.track_names.len() {
        let first = N_FIXED_COLUMNS + 2 * column;
        let values = list::<Float32Type>(batch, first, row)?;
        let lengths = list::<UInt32Type>(batch, first + 1, row)?;
        for (value, range) in run_ranges(&values, &lengths, length)? {
            // Most of a track is 0, which is there already; -0 has other bits.
            if value.to_bits() != 0 {
                let rows = &mut tracks[range.start * n_tracks..range.end * n_tracks];
                for row in rows.chunks_exact_mut(n_tracks) {
                    row[column] = value;
                }
            }
        }
    }
    if let Some(resolution) = layout.contact_resolution {
        let first = N_FIXED_COLUMNS + 2 * layout.track_names.len();
        let bins = ContactBins {
            resolution,
            first_bin: integer(batch, first, row)?,
            log10p1: list::<Float32Type>(batch, first + 1, row)?.to_vec(),
        };
        let (first_bin, end_bin) = bins_of(window.inside(), resolution);
        if bins.first_bin != first_bin || bins.log10p1.len() as u64 != end_bin - first_bin {
            return Err("the contact bins do not cover the window".into());
        }
        bins.fill(&window, &mut tracks, n_tracks, n_tracks - 1);
    }
    let peaks = layout.has_peaks.then(|| {
        let first = layout.first_after_tracks();
        let starts = list::<UInt32Type>(batch, first, row)?;
        let lengths = list::<UInt32Type>(batch, first + 1, row)?;
        fill_runs(&starts, &lengths, length)
            .ok_or_else(|| RowError("a peak reaches over the window's end".to_string()))
    });
    let candidates = layout.element_length.map(|element_length| {
        let first = layout.first_after_tracks() + 2 * usize::from(layout.has_peaks);
        candidates_of(batch, row, first, element_length)
    });
    let features = batch
        .column(12)
        .as_fixed_size_list_opt()
        .and_then(|column| column.value(row).as_primitive_opt::<Float32Type>().cloned())
        .and_then(|values| <[f32; N_FEATURES]>::try_from(&values.values()[..]).ok())
        .ok_or("features are not nine numbers")?;
    Example::try_from(ExampleParts {
        split: split_of(batch, row)?,
        target: primitive::<Float32Type>(batch, 11, row)?,
        gene,
        window,
        base_codes,
        tracks,
        n_tracks,
        regions,
        peaks: peaks.transpose()?,
        candidates: candidates.transpose()?,
        features,
    })
    .map_err(|error| match error {
        DatasetError::InvalidExample { reason, .. } => RowError(reason.to_string()),
        other => RowError(other.to_string()),
    })
}

/// Reads the gene of a row; needs only [`RowLayout::gene_columns`].
pub(super) fn gene_of(batch: &RecordBatch, row: usize) -> Result<Gene, RowError> {
    let required = |column: usize| {
        string(batch, column, row)?.ok_or_else(|| RowError("a name is missing".to_string()))
    };
    Ok(Gene {
        symbol: required(0)?,
        gene_id: required(1)?,
        chrom: required(2)?,
        tss: integer(batch, 3, row)?,
        strand: required(4)?
            .parse::<Strand>()
            .map_err(|_| "the strand is neither + nor -")?,
        gene_type: string(batch, 5, row)?,
        split: string(batch, 6, row)?,
        line: integer(batch, 7, row)?,
    })
}

/// Reads the split of a row; needs only [`RowLayout::gene_columns`].
pub(super) fn split_of(batch: &RecordBatch, row: usize) -> Result<Split, RowError> {
    string(batch, 8, row)?
        .as_deref()
        .and_then(Split::parse)
        .ok_or_else(|| "the split is neither train, valid nor test".into())
}

/// Why a row was refused; the caller adds file and row.
#[derive(Debug)]
pub(super) struct RowError(pub(super) String);

impl From<&str> for RowError {
    fn from(reason: &str) -> Self {
        RowError(reason.to_string())
    }
}

fn strand_name(strand: Strand) -> &'static str {
    match strand {
        Strand::Forward => "+",
        Strand::Reverse => "-",
    }
}

fn strings<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn integers(values: impl Iterator<Item = u64>) -> ArrayRef {
    let mut builder = UInt64Builder::new();
    values.for_each(|value| builder.append_value(value));
    Arc::new(builder.finish())
}

fn lists<'a, T: ArrowPrimitiveType>(rows: impl Iterator<Item = &'a [T::Native]>) -> ArrayRef {
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new()).with_field(item(T::DATA_TYPE));
    for values in rows {
        builder.values().append_slice(values);
        builder.append(true);
    }
    Arc::new(builder.finish())
}

fn string(batch: &RecordBatch, column: usize, row: usize) -> Result<Option<String>, RowError> {
    let values = batch
        .column(column)
        .as_string_opt::<i32>()
        .ok_or("a name is no text")?;
    Ok(values.is_valid(row).then(|| values.value(row).to_string()))
}

fn primitive<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    column: usize,
    row: usize,
) -> Result<Option<T::Native>, RowError> {
    let values = batch
        .column(column)
        .as_primitive_opt::<T>()
        .ok_or("a column has another type")?;
    Ok(values.is_valid(row).then(|| values.value(row)))
}

fn integer(batch: &RecordBatch, column: usize, row: usize) -> Result<u64, RowError> {
    primitive::<UInt64Type>(batch, column, row)?.ok_or_else(|| "a number is missing".into())
}

fn list<T: ArrowPrimitiveType>(
    batch: &RecordBatch,
    column: usize,
    row: usize,
) -> Result<arrow_buffer::ScalarBuffer<T::Native>, RowError> {
    batch
        .column(column)
        .as_list_opt::<i32>()
        .and_then(|lists| lists.value(row).as_primitive_opt::<T>().cloned())
        .map(|values| values.values().clone())
        .ok_or_else(|| "a column is no list of the right type".into())
}
