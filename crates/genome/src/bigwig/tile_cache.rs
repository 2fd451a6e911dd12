//! Decoded stretches of a track, kept so that neighbouring genes do not decode them again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Bases per tile. Small against a window, so that little outside a window is decoded for it.
pub(super) const TILE_LENGTH: u32 = 1 << 15;

/// Runs kept at most, each of 12 bytes: 32 MiB a file.
const MAX_RUNS: usize = (32 << 20) / size_of::<Run>();

/// What an empty tile takes, counted in runs.
const TILE_OVERHEAD: usize = 8;

/// One value over `[start, end)`, 0-based, half-open, not empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Run {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) value: f32,
}

/// The runs of one tile in the order of the file, cut at the tile's ends.
pub(super) type Tile = Arc<[Run]>;

/// Which tile: the number of its chromosome, and its own along the chromosome.
type Key = (usize, u32);

/// Keeps the tiles used last, up to a fixed amount of memory.
///
/// There are two generations. A tile goes into the young one when it is stored or found; when
/// that is full it becomes the old one, and what was not used since the last time is forgotten.
#[derive(Debug, Default)]
pub(super) struct TileCache {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Tile>,
    old: HashMap<Key, Tile>,
    n_young_runs: usize,
}

impl TileCache {
    /// Finds the tiles that are kept, in order; `None` for one that is not.
    pub(super) fn find(&self, chrom_index: usize, tiles: Range<u32>) -> Vec<Option<Tile>> {
        let mut generations = self.lock();
        tiles
            .map(|tile| generations.find((chrom_index, tile)))
            .collect()
    }

    /// Keeps a tile.
    pub(super) fn store(&self, chrom_index: usize, tile: u32, runs: Tile) {
        self.lock().store((chrom_index, tile), runs);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&mut self, key: Key) -> Option<Tile> {
        if let Some(tile) = self.young.get(&key) {
            return Some(Arc::clone(tile));
        }
        let tile = self.old.remove(&key)?;
        self.store(key, Arc::clone(&tile));
        Some(tile)
    }

    fn store(&mut self, key: Key, tile: Tile) {
        let n_runs = tile.len() + TILE_OVERHEAD;
        if self.n_young_runs + n_runs > MAX_RUNS / 2 {
            self.old = std::mem::take(&mut self.young);
            self.n_young_runs = 0;
        }
        if self.young.insert(key, tile).is_none() {
            self.n_young_runs += n_runs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(n_runs: usize, value: f32) -> Tile {
        let run = Run {
            start: 0,
            end: 1,
            value,
        };
        vec![run; n_runs].into()
    }

    #[test]
    fn find_returns_what_was_stored() {
        let cache = TileCache::default();
        cache.store(1, 7, tile(1, 2.5));
        let found = cache.find(1, 6..9);
        assert_eq!(found, [None, Some(tile(1, 2.5)), None]);
        assert_eq!(cache.find(0, 7..8), [None]);
    }

    #[test]
    fn store_keeps_memory_bounded_and_the_tiles_in_use() {
        let cache = TileCache::default();
        let n_runs = MAX_RUNS / 20;
        for number in 0..100 {
            cache.store(0, number, tile(n_runs, number as f32));
            assert!(cache.find(0, 0..1)[0].is_some(), "{number}");
            let generations = cache.lock();
            let held: usize = generations
                .young
                .values()
                .chain(generations.old.values())
                .map(|tile| tile.len())
                .sum();
            assert!(held <= MAX_RUNS, "{number}: {held}");
        }
        assert_eq!(cache.find(0, 50..51), [None]);
        assert_eq!(cache.find(0, 99..100), [Some(tile(n_runs, 99.0))]);
    }
}
