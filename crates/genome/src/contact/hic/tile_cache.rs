//! Squares of a `.hic` matrix that were decoded before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bins on a side of a tile: a window of 200 kb lies in one or two, and the blocks of a file, of
/// about as many bins, are decoded a few times rather than once a gene.
pub(super) const TILE_BINS: u64 = 256;

/// Tiles kept at most, 256 KiB each: 32 MiB a map.
const MAX_TILES: usize = 128;

/// The number of the chromosome, and of the tile's row and column, row not after column.
type Key = (usize, u64, u64);

/// Counts of the bins of a tile, row by row.
pub(super) type Tile = Arc<[f32]>;

/// Keeps the tiles that were used last.
#[derive(Debug, Default)]
pub(super) struct TileCache(Mutex<Tiles>);

#[derive(Debug, Default)]
struct Tiles {
    /// Tile and the time of its last use.
    by_key: HashMap<Key, (Tile, u64)>,
    time: u64,
}

impl TileCache {
    /// Returns a tile as it was read before, or reads it; an error is not kept.
    pub(super) fn find_or_read<E>(
        &self,
        key: Key,
        read: impl FnOnce() -> Result<Tile, E>,
    ) -> Result<Tile, E> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut tiles = lock();
            tiles.time += 1;
            let now = tiles.time;
            if let Some((tile, used)) = tiles.by_key.get_mut(&key) {
                *used = now;
                return Ok(Arc::clone(tile));
            }
        }
        // Other threads go on meanwhile; two may read the same tile, and both find the same.
        let tile = read()?;
        let mut tiles = lock();
        if tiles.by_key.len() >= MAX_TILES {
            let oldest = tiles.by_key.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                tiles.by_key.remove(&oldest);
            }
        }
        let now = tiles.time;
        tiles.by_key.insert(key, (Arc::clone(&tile), now));
        Ok(tile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_or_read_drops_the_tile_that_was_used_longest_ago() {
        let cache = TileCache::default();
        let mut n_reads = 0;
        let mut find = |row: u64| {
            let tile = cache.find_or_read((0, row, row), || {
                n_reads += 1;
                Ok::<Tile, ()>(Arc::from([row as f32]))
            });
            assert_eq!(tile.map(|tile| tile[0]), Ok(row as f32));
            n_reads
        };
        for row in 0..MAX_TILES as u64 {
            find(row);
        }
        assert_eq!(find(0), MAX_TILES); // 1 is the oldest now
        assert_eq!(find(1_000), MAX_TILES + 1);
        assert_eq!(find(0), MAX_TILES + 1);
        assert_eq!(find(1), MAX_TILES + 2);
        let error = cache.find_or_read((1, 0, 0), || Err::<Tile, _>("damaged"));
        assert_eq!(error, Err("damaged"));
    }
}
