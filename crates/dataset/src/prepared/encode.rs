//! Examples as rows of the data file.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, FixedSizeListBuilder, Float32Builder, ListBuilder, PrimitiveBuilder,
    StringBuilder, UInt64Builder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Int64Type, UInt8Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use genome::Strand;

use super::layout::{RowLayout, item};
use super::packing::{pack_bases, runs, true_runs};
use crate::candidate::Candidate;
use crate::contact_track::{ContactBins, bin_offsets, bins_of};
use crate::error::DatasetError;
use crate::example::Example;
use crate::features::N_FEATURES;

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
    RecordBatch::try_new(Arc::clone(layout.schema()), columns)
        .map_err(DatasetError::arrow(path, "write"))
}

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

/// The contact of each bin, from the last track: it is constant within a bin.
fn contact_bins_of(example: &Example, resolution: u64) -> ContactBins {
    let window = example.window();
    let (first_bin, end_bin) = bins_of(window.inside(), resolution);
    let log10p1 = (first_bin..end_bin)
        .filter_map(|bin| {
            let offsets = bin_offsets(window, bin, resolution);
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
