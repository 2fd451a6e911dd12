//! Where examples come from: raw files or a prepared data set.

use genome::Gene;

use crate::error::DatasetError;
use crate::example::Example;
use crate::fold::Split;

/// A list of examples that can be read in any order and from many threads.
pub trait ExampleSource: Send + Sync {
    /// Number of examples.
    fn len(&self) -> usize;

    /// Whether there is no example.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The gene of an example.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len), like a slice.
    fn gene(&self, index: usize) -> &Gene;

    /// The split of an example.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len), like a slice.
    fn split(&self, index: usize) -> Split;

    /// Number of positions of every example.
    fn length(&self) -> usize;

    /// Number of tracks of every example.
    fn n_tracks(&self) -> usize;

    /// Reads one example; the same bits every time and from any thread.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchExample`] past the last one; whatever the files underneath cause.
    fn read(&self, index: usize) -> Result<Example, DatasetError>;

    /// Indices of the examples of one split, in order.
    fn indices_of(&self, split: Split) -> Vec<usize> {
        (0..self.len())
            .filter(|&index| self.split(index) == split)
            .collect()
    }
}
