//! Rows of the data file as examples.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Int64Type, UInt8Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use genome::{Gene, Strand};

use super::layout::{N_FIXED_COLUMNS, RowLayout};
use super::packing::{fill_runs, run_ranges, unpack_bases};
use crate::candidate::{Candidate, Candidates};
use crate::contact_track::{ContactBins, bins_of};
use crate::error::DatasetError;
use crate::example::{Example, ExampleParts};
use crate::features::N_FEATURES;
use crate::fold::Split;
use crate::region_mask::RegionCode;
use crate::window::Window;

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
