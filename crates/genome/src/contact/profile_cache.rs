//! Rows of a contact map that were read before.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Contacts kept at most: 32 MiB a map, at 5 kb the 200 kb windows of 100,000 genes.
const MAX_CONTACTS: usize = (32 << 20) / size_of::<f64>();

/// Longer rows are not kept.
const MAX_ROW: usize = 4096;

/// The number of the chromosome, the gene's bin, and the first and one past the last bin.
type Key = (usize, u64, u64, u64);

/// Keeps the rows of genes, so that every epoch but the first finds them in memory.
#[derive(Debug, Default)]
pub(super) struct ProfileCache {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    by_key: HashMap<Key, Arc<[f64]>>,
    n_contacts: usize,
}

impl ProfileCache {
    /// Returns the row as it was read before, or reads it; an error is not kept.
    pub(super) fn find_or_read<E>(
        &self,
        chrom_index: usize,
        bin: u64,
        bins: &Range<u64>,
        read: impl FnOnce() -> Result<Vec<f64>, E>,
    ) -> Result<Vec<f64>, E> {
        let key = (chrom_index, bin, bins.start, bins.end);
        let lock = || self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = lock().by_key.get(&key) {
            return Ok(row.to_vec());
        }
        // Other threads go on meanwhile; two may read the same row, and both find the same.
        let row = read()?;
        if row.len() <= MAX_ROW {
            let mut rows = lock();
            if rows.n_contacts + row.len() > MAX_CONTACTS {
                *rows = Rows::default();
            }
            if rows.by_key.insert(key, row.as_slice().into()).is_none() {
                rows.n_contacts += row.len();
            }
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_or_read_reads_once_and_keeps_no_error() {
        let cache = ProfileCache::default();
        let mut n_reads = 0;
        for (bins, answer, expected) in [
            (0..2, Err("damaged"), Err("damaged")),
            (0..2, Ok(vec![1.0, 2.0]), Ok(vec![1.0, 2.0])),
            (0..2, Err("not asked"), Ok(vec![1.0, 2.0])),
            (0..1, Ok(vec![1.0]), Ok(vec![1.0])),
        ] {
            let found = cache.find_or_read(0, 5, &bins, || {
                n_reads += 1;
                answer
            });
            assert_eq!(found, expected);
        }
        assert_eq!(n_reads, 3);
    }

    #[test]
    fn find_or_read_keeps_memory_bounded() {
        let cache = ProfileCache::default();
        for bin in 0..(2 * MAX_CONTACTS / MAX_ROW) as u64 {
            let row = cache.find_or_read(0, bin, &(0..1), || Ok::<_, ()>(vec![0.0; MAX_ROW]));
            assert_eq!(row.map(|row| row.len()), Ok(MAX_ROW));
            assert!(cache.rows.lock().unwrap().n_contacts <= MAX_CONTACTS);
        }
        let long = cache.find_or_read(1, 0, &(0..1), || Ok::<_, ()>(vec![0.0; MAX_ROW + 1]));
        assert_eq!(long.map(|row| row.len()), Ok(MAX_ROW + 1));
        assert!(
            !cache
                .rows
                .lock()
                .unwrap()
                .by_key
                .contains_key(&(1, 0, 0, 1))
        );
    }
}
