//! How a sequence is cut into tiles and the order in which the two directions visit them.

use std::ops::Range;

pub(super) use super::layout::TILE;
use super::mask_taps::MaskTaps;

/// Workers among which the sums over tiles are divided, fixed so that the order of additions is.
pub(super) const N_SLOT: usize = 32;

/// The tiles of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Tiles {
    pub(super) length: usize,
    pub(super) n_tile: usize,
    /// Tiles in which an output is wanted.
    pub(super) outputs: Range<usize>,
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

    /// The panel's part of a sequence's mask.
    pub(super) fn mask<'a>(&self, taps: &MaskTaps<'a>) -> &'a [f32] {
        &taps.mask[self.positions.clone()]
    }
}

/// Who else visits a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// Nobody: no output is wanted here, the chain only passes.
    Alone,
    /// The other chain comes later.
    First,
    /// The other chain was here before.
    Second,
}

/// One step of a sweep: a panel for each of the two chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Panel of the chain that walks to the right, then of the chain that walks to the left.
    pub(super) panels: [Panel; 2],
    /// Who else visits these panels.
    pub(super) visit: Visit,
}

impl Tiles {
    /// Cuts `length` positions into tiles, of which those that hold one of `outputs` (not empty) are read.
    pub(super) fn new(length: usize, outputs: &Range<usize>) -> Self {
        Self {
            length,
            n_tile: length.div_ceil(TILE),
            outputs: outputs.start / TILE..outputs.end.div_ceil(TILE),
        }
    }

    /// Positions of the tiles in which an output is wanted.
    pub(super) fn output_positions(&self) -> Range<usize> {
        self.outputs.start * TILE..(self.outputs.end * TILE).min(self.length)
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

    /// Lists the steps of the scans: each chain comes from its end of the sequence and stops behind the last output.
    ///
    /// Among the outputs, each chain first visits its own half, so every tile is visited first by the chain that
    /// starts nearer to it, whatever the width of a panel.
    pub(super) fn scan_steps(&self, tiles_per_panel: usize) -> Vec<Step> {
        let (outputs, middle) = (&self.outputs, self.middle());
        let phases = [
            (Visit::Alone, 0..outputs.start, outputs.end..self.n_tile),
            (Visit::First, outputs.start..middle, middle..outputs.end),
            (Visit::Second, middle..outputs.end, outputs.start..middle),
        ];
        self.steps(phases, tiles_per_panel)
    }

    /// Lists the steps of the scans' adjoints: each chain starts at an end of the outputs and walks over them to the
    /// sequence's end.
    pub(super) fn adjoint_steps(&self, tiles_per_panel: usize) -> Vec<Step> {
        let (outputs, middle) = (&self.outputs, self.middle());
        let phases = [
            (Visit::First, outputs.start..middle, middle..outputs.end),
            (Visit::Second, middle..outputs.end, outputs.start..middle),
            (Visit::Alone, outputs.end..self.n_tile, 0..outputs.start),
        ];
        self.steps(phases, tiles_per_panel)
    }

    fn middle(&self) -> usize {
        self.outputs.start + self.outputs.len().div_ceil(2)
    }

    fn steps(
        &self,
        phases: [(Visit, Range<usize>, Range<usize>); 3],
        tiles_per_panel: usize,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        for (visit, right_walk, left_walk) in phases {
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
                    visit,
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

/// Sequences of a batch to run at the same time, so that short ones keep the threads busy too; each has its own buffers.
pub(super) fn sequences_at_once(n_tile: usize, n_block: usize) -> usize {
    // What one sequence offers: tiles, and in the scans two directions of blocks of channels.
    let n_task = n_tile.min(2 * n_block);
    rayon::current_num_threads().div_ceil(n_task)
}

/// Borrows the panels' parts of an array with `width` floats per position from position `origin` on.
pub(super) fn panel_parts<'a>(
    values: &'a mut [f32],
    panels: &[Panel; 2],
    origin: usize,
    width: usize,
) -> [&'a mut [f32]; 2] {
    // An empty panel is at position 0, which may lie before the origin.
    let [right, left] = panels.each_ref().map(|panel| {
        panel.positions.start.saturating_sub(origin) * width
            ..panel.positions.end.saturating_sub(origin) * width
    });
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

    /// Tiles that each chain visits, in order, after checking that every visit is what it says it is.
    fn visits(tiles: &Tiles, steps: &[Step]) -> [Vec<usize>; 2] {
        let mut visits = [Vec::new(), Vec::new()];
        let mut visited = vec![[false; 2]; tiles.n_tile];
        for step in steps {
            for (chain, panel) in step.panels.iter().enumerate() {
                assert!(panel.positions.end <= tiles.length);
                for tile in panel.tiles.clone() {
                    assert_eq!(step.visit == Visit::Alone, !tiles.outputs.contains(&tile));
                    assert_eq!(visited[tile][1 - chain], step.visit == Visit::Second);
                }
                let run = panel.tiles.clone();
                if chain == 0 {
                    visits[0].extend(run);
                } else {
                    visits[1].extend(run.rev());
                }
            }
            for (chain, panel) in step.panels.iter().enumerate() {
                for tile in panel.tiles.clone() {
                    visited[tile][chain] = true;
                }
            }
        }
        visits
    }

    #[test]
    fn steps_visit_every_tile_once_in_each_direction_whatever_the_panel() {
        for length in [1usize, 2, 255, 256, 257, 511, 512, 513, 1000, 2561] {
            let n = length.div_ceil(TILE);
            let ranges = (0..n).flat_map(|start| (start + 1..=n).map(move |end| start..end));
            for outputs in ranges {
                let positions = outputs.start * TILE..(outputs.end * TILE).min(length);
                let tiles = Tiles::new(length, &positions);
                assert_eq!(
                    (&tiles.outputs, tiles.output_positions()),
                    (&outputs, positions)
                );
                let (start, end) = (outputs.start, outputs.end);
                for tiles_per_panel in 1..7 {
                    let scans = visits(&tiles, &tiles.scan_steps(tiles_per_panel));
                    assert_eq!(scans[0], (0..end).collect::<Vec<_>>());
                    assert_eq!(scans[1], (start..n).rev().collect::<Vec<_>>());
                    let adjoints = visits(&tiles, &tiles.adjoint_steps(tiles_per_panel));
                    assert_eq!(adjoints[0], (start..n).collect::<Vec<_>>());
                    assert_eq!(adjoints[1], (0..end).rev().collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn tiles_hold_their_outputs_at_boundaries() {
        for (outputs, expected) in [
            (0..1, 0..1),
            (255..256, 0..1),
            (255..257, 0..2),
            (256..257, 1..2),
            (511..700, 1..3),
            (699..700, 2..3),
        ] {
            assert_eq!(Tiles::new(700, &outputs).outputs, expected);
        }
    }
}
