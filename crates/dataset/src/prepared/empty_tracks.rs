//! Tracks that hold nothing where the genes lie, most often a wrong file or assembly.

use crate::example::ExampleReader;
use crate::hidden_input::HiddenInput;
use crate::source::ExampleSource;

/// Windows that are looked at for tracks without data.
pub(super) const EMPTY_SAMPLE: usize = 64;

/// Names of the tracks that are 0 in windows evenly spaced among the examples: two or three are read where all tracks have
/// data. A file that cannot be read there is reported where the examples are read.
pub(super) fn empty_tracks(reader: &ExampleReader) -> Vec<String> {
    let names = reader.config().track_names();
    if reader.config().hidden == Some(HiddenInput::Tracks) {
        return Vec::new();
    }
    let mut is_empty = vec![true; names.len()];
    let (n_examples, n_sample) = (reader.len(), reader.len().min(EMPTY_SAMPLE));
    for rank in 0..n_sample {
        if !is_empty.contains(&true) {
            break;
        }
        let Ok(example) = reader.read(rank * n_examples / n_sample) else {
            return Vec::new();
        };
        for row in example.tracks().chunks_exact(names.len()) {
            for (is_empty, value) in is_empty.iter_mut().zip(row) {
                *is_empty &= *value == 0.0;
            }
        }
    }
    (names.into_iter().zip(is_empty))
        .filter_map(|(name, is_empty)| is_empty.then_some(name))
        .collect()
}
