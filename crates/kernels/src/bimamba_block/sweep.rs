//! How a sequence is cut into tiles and the order in which the two directions visit them.

use std::ops::Range;

/// Positions of a tile: a tile's activations fit the processor's second-level cache.
///
/// Results depend on this constant (it fixes the places where sums are cut), never on the number of threads.
pub(super) const TILE: usize = 256;

/// Workers among which the sums over tiles are divided, fixed so that the order of additions is.
pub(super) const N_SLOT: usize = 32;

/// The tiles of one sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiles {
    pub(super) length: usize,
    pub(super) n_tile: usize,
}

/// A run of tiles that one direction visits together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panel {
    pub(super) tiles: Range<usize>,
    /// The same run in positions.
    pub(super) positions: Range<usize>,
}

impl Panel {
    /// Rows of a tile of this panel, counted from the panel's first position.
    pub(super) fn rows(&self, tile: usize) -> Range<usize> {
        let start = (tile - self.tiles.start) * TILE;
        start..(start + TILE).min(self.positions.len())
    }
}

/// One step of a sweep: a panel for each of the two chains, and whether the other chain was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Panel of the chain that walks to the right, then of the chain that walks to the left.
    pub(super) panels: [Panel; 2],
    /// Whether these panels are visited for the second time.
    pub(super) second: bool,
}

impl Tiles {
    pub(super) fn new(length: usize) -> Self {
        Self {
            length,
            n_tile: length.div_ceil(TILE),
        }
    }

    fn panel(&self, tiles: Range<usize>) -> Panel {
        if tiles.is_empty() {
            return Panel {
                tiles: 0..0,
                positions: 0..0,
            };
        }
        let positions = tiles.start * TILE..(tiles.end * TILE).min(self.length);
        Panel { tiles, positions }
    }

    /// Lists the steps in which one chain visits all tiles from the left and the other from the right.
    ///
    /// Each chain first visits its own half, so every tile is visited first by the chain that starts nearer to
    /// it, whatever the width of a panel.
    pub(super) fn steps(&self, tiles_per_panel: usize) -> Vec<Step> {
        let middle = self.n_tile.div_ceil(2);
        let mut steps = Vec::new();
        for (second, right_walk, left_walk) in [
            (false, 0..middle, middle..self.n_tile),
            (true, middle..self.n_tile, 0..middle),
        ] {
            let n_step = right_walk
                .len()
                .max(left_walk.len())
                .div_ceil(tiles_per_panel);
            for step in 0..n_step {
                let right = (right_walk.start + step * tiles_per_panel).min(right_walk.end)
                    ..(right_walk.start + (step + 1) * tiles_per_panel).min(right_walk.end);
                let left = left_walk
                    .end
                    .saturating_sub((step + 1) * tiles_per_panel)
                    .max(left_walk.start)
                    ..left_walk
                        .end
                        .saturating_sub(step * tiles_per_panel)
                        .max(left_walk.start);
                steps.push(Step {
                    panels: [self.panel(right), self.panel(left)],
                    second,
                });
            }
        }
        steps
    }

    /// Tiles of each slot of a sweep in which tiles do not depend on each other.
    pub(super) fn tiles_per_slot(&self) -> usize {
        self.n_tile.div_ceil(N_SLOT)
    }
}

/// Tiles in a panel: enough to keep the threads busy, few enough to stay in the shared cache.
pub(super) fn tiles_per_panel() -> usize {
    rayon::current_num_threads().clamp(4, N_SLOT)
}

/// Borrows the panels' parts of an array with `width` floats per position.
pub(super) fn panel_parts<'a>(
    values: &'a mut [f32],
    panels: &[Panel; 2],
    width: usize,
) -> [&'a mut [f32]; 2] {
    let [right, left] = panels
        .each_ref()
        .map(|panel| panel.positions.start * width..panel.positions.end * width);
    if right.is_empty() || left.is_empty() {
        let whole = if right.is_empty() {
            left.clone()
        } else {
            right.clone()
        };
        let part = &mut values[whole];
        return if right.is_empty() {
            [&mut [], part]
        } else {
            [part, &mut []]
        };
    }
    values
        .get_disjoint_mut([right, left])
        .expect("the two chains are never on the same tile in one step")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_visit_every_tile_once_in_each_direction_whatever_the_panel() {
        for length in [1, 2, 255, 256, 257, 511, 512, 513, 1000, 2561] {
            let tiles = Tiles::new(length);
            for tiles_per_panel in 1..7 {
                let steps = tiles.steps(tiles_per_panel);
                let mut visits = [Vec::new(), Vec::new()];
                let mut visited = vec![[false; 2]; tiles.n_tile];
                for step in &steps {
                    for (chain, panel) in step.panels.iter().enumerate() {
                        for tile in panel.tiles.clone() {
                            assert_eq!(visited[tile][1 - chain], step.second);
                        }
                        let run = panel.tiles.clone();
                        if chain == 0 {
                            visits[0].extend(run);
                        } else {
                            visits[1].extend(run.rev());
                        }
                        assert!(panel.positions.end <= length);
                    }
                    for (chain, panel) in step.panels.iter().enumerate() {
                        for tile in panel.tiles.clone() {
                            visited[tile][chain] = true;
                        }
                    }
                }
                assert_eq!(visits[0], (0..tiles.n_tile).collect::<Vec<_>>());
                assert_eq!(visits[1], (0..tiles.n_tile).rev().collect::<Vec<_>>());
            }
        }
    }
}
