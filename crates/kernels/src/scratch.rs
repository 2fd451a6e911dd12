//! Scratch memory that outlives a call, because touching fresh pages costs as much as the arithmetic.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use crate::aligned::AlignedFloats;

static BUFFERS: Mutex<Vec<AlignedFloats>> = Mutex::new(Vec::new());

/// Floats that do not matter when looking for a buffer of about the right size.
const SMALL: usize = 4096;

/// A borrowed buffer of floats with unspecified contents; it returns to the process's store when dropped.
pub(crate) struct Scratch {
    buffer: AlignedFloats,
    len: usize,
}

impl Scratch {
    /// Borrows `len` floats, reusing a stored buffer of about that size.
    pub(crate) fn take(len: usize) -> Self {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        // A much larger buffer is left for those who need it.
        let fits = len..=2 * len + SMALL;
        let fitting = buffers
            .iter()
            .enumerate()
            .filter(|(_, buffer)| fits.contains(&buffer.len()))
            .min_by_key(|(_, buffer)| buffer.len())
            .map(|(index, _)| index);
        let buffer = match fitting {
            Some(index) => buffers.swap_remove(index),
            None => {
                // Replaces a buffer that has become too small, so that the store does not grow with every length.
                let too_small = (0..buffers.len())
                    .filter(|&index| buffers[index].len() < len)
                    .max_by_key(|&index| buffers[index].len());
                if let Some(index) = too_small {
                    drop(buffers.swap_remove(index));
                }
                AlignedFloats::zeroed(len)
            }
        };
        Self { buffer, len }
    }

    /// Borrows `len` floats, all zero.
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut scratch = Self::take(len);
        scratch.fill(0.0);
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::replace(&mut self.buffer, AlignedFloats::EMPTY);
        BUFFERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(buffer);
    }
}

impl std::ops::Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.buffer[..self.len]
    }
}

impl std::ops::DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.len]
    }
}

/// Frees the scratch memory that finished calls have left for the next one.
///
/// Kernels keep their work buffers between calls. After the last call on long sequences, a program that goes
/// on to do something else may want that memory back (about 1 GB after a backward pass at 200,000 bases).
pub fn release_scratch() {
    BUFFERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}

/// Calls `work` with `len` floats of unspecified contents that belong to the calling thread.
///
/// The same memory is handed out again on the next call from this thread, so it stays in the processor's
/// own cache. `work` must not wait for other parallel tasks.
pub(crate) fn with_thread_scratch<T>(len: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    thread_local! {
        static BUFFER: RefCell<AlignedFloats> = const { RefCell::new(AlignedFloats::EMPTY) };
    }
    BUFFER.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => {
            if buffer.len() < len {
                *buffer = AlignedFloats::zeroed(len);
            }
            work(&mut buffer[..len])
        }
        Err(_) => work(&mut AlignedFloats::zeroed(len)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_zeroed_clears_what_the_last_user_left() {
        Scratch::take(37).fill(3.0);
        assert!(Scratch::zeroed(37).iter().all(|&value| value == 0.0));
    }

    #[test]
    fn scratch_take_gives_the_length_asked_for() {
        for len in [0, 1, 5, 100_000, 7, 60_000, 100_000] {
            assert_eq!(Scratch::take(len).len(), len);
        }
    }

    #[test]
    fn thread_scratch_nested_gets_separate_memory() {
        with_thread_scratch(5, |outer| {
            outer.fill(1.0);
            with_thread_scratch(5, |inner| inner.fill(2.0));
            assert_eq!(outer, [1.0; 5]);
        });
    }
}
