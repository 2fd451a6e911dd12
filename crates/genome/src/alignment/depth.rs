//! The number of reads over each base, from reads in order of position.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reads::AlignedRead;
use crate::error::GenomeError;
use crate::interval::Interval;

/// Turns reads into runs of equal depth, chromosome by chromosome, gaps of depth 0 included.
///
/// It holds the ends of blocks that later reads may still overlap, nothing else.
pub(super) struct DepthSweep<F> {
    /// Names and lengths, in the order of the reads.
    chroms: Vec<(Arc<str>, u64)>,
    chrom_index: usize,
    /// Positions where blocks start (+1) or end (-1), 0-based.
    changes: BTreeMap<u64, i64>,
    run_start: u64,
    depth: i64,
    emit: F,
}

impl<F: FnMut(Interval, u64) -> Result<(), GenomeError>> DepthSweep<F> {
    /// Starts at the first chromosome; `emit` gets each run and its depth.
    pub(super) fn new(chroms: Vec<(Arc<str>, u64)>, emit: F) -> Self {
        DepthSweep {
            chroms,
            chrom_index: 0,
            changes: BTreeMap::new(),
            run_start: 0,
            depth: 0,
            emit,
        }
    }

    /// Adds a read that does not start before the one added last.
    pub(super) fn add(&mut self, read: &AlignedRead) -> Result<(), GenomeError> {
        while self.chrom_index < read.chrom_index {
            self.finish_chrom()?;
        }
        self.pass(read.start)?;
        for (start, end) in &read.blocks {
            *self.changes.entry(*start).or_default() += 1;
            *self.changes.entry(*end).or_default() -= 1;
        }
        Ok(())
    }

    /// Emits what is left, chromosomes without a read included.
    pub(super) fn finish(mut self) -> Result<(), GenomeError> {
        while self.chrom_index < self.chroms.len() {
            self.finish_chrom()?;
        }
        Ok(())
    }

    /// Emits the runs that end before `limit`, which no later read can change.
    fn pass(&mut self, limit: u64) -> Result<(), GenomeError> {
        while let Some(change) = self.changes.first_entry()
            && *change.key() < limit
        {
            let (position, difference) = change.remove_entry();
            // Where one block ends and the next starts, the run goes on.
            if difference != 0 {
                self.emit_run(position)?;
                self.depth += difference;
            }
        }
        Ok(())
    }

    fn emit_run(&mut self, end: u64) -> Result<(), GenomeError> {
        if let Some((chrom, _)) = self.chroms.get(self.chrom_index)
            && self.run_start < end
        {
            let run = Interval::try_new(Arc::clone(chrom), self.run_start, end)?;
            (self.emit)(run, self.depth.unsigned_abs())?;
        }
        self.run_start = end;
        Ok(())
    }

    fn finish_chrom(&mut self) -> Result<(), GenomeError> {
        self.pass(u64::MAX)?;
        let length = self.chroms.get(self.chrom_index).map_or(0, |chrom| chrom.1);
        self.emit_run(length)?;
        self.run_start = 0;
        self.depth = 0;
        self.chrom_index += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sweep(lengths: &[u64], reads: &[(usize, &[(u64, u64)])]) -> Vec<(String, u64)> {
        let chroms = lengths
            .iter()
            .enumerate()
            .map(|(index, length)| (Arc::from(format!("c{index}")), *length))
            .collect();
        let mut runs = Vec::new();
        let mut sweep = DepthSweep::new(chroms, |interval, depth| {
            runs.push((interval.to_string(), depth));
            Ok(())
        });
        for (chrom_index, blocks) in reads {
            let read = AlignedRead {
                chrom_index: *chrom_index,
                start: blocks[0].0,
                blocks: blocks.to_vec(),
            };
            sweep.add(&read).unwrap();
        }
        sweep.finish().unwrap();
        runs
    }

    #[test]
    fn sweep_by_hand() {
        // c1 has no read and c2 is one base; a read over an intron, and one that starts where
        // another ends.
        let runs = sweep(
            &[10, 4, 1],
            &[
                (0, &[(0, 3), (6, 8)]),
                (0, &[(1, 4)]),
                (0, &[(4, 5)]),
                (2, &[(0, 1)]),
            ],
        );
        let expected = [
            ("c0:1-1", 1),
            ("c0:2-3", 2),
            ("c0:4-5", 1),
            ("c0:6-6", 0),
            ("c0:7-8", 1),
            ("c0:9-10", 0),
            ("c1:1-4", 0),
            ("c2:1-1", 1),
        ];
        let expected: Vec<_> = expected
            .iter()
            .map(|(run, depth)| (run.to_string(), *depth))
            .collect();
        assert_eq!(runs, expected);
        assert_eq!(sweep(&[3], &[]), [("c0:1-3".to_string(), 0)]);
        assert_eq!(sweep(&[], &[]), []);
    }

    proptest! {
        #[test]
        fn sweep_agrees_with_counting(
            mut reads in proptest::collection::vec((0_u64..50, 1_u64..12, 0_u64..6, 0_u64..9), 0..30),
        ) {
            reads.sort_unstable();
            let mut expected = [0_u64; 100];
            let mut blocks: Vec<Vec<(u64, u64)>> = Vec::new();
            for (start, first, gap, second) in reads {
                let mut read = vec![(start, start + first)];
                if second > 0 {
                    read.push((start + first + gap, start + first + gap + second));
                }
                for (from, to) in &read {
                    (*from..*to).for_each(|at| expected[at as usize] += 1);
                }
                blocks.push(read);
            }
            let reads: Vec<(usize, &[(u64, u64)])> =
                blocks.iter().map(|read| (0, read.as_slice())).collect();
            let mut found = Vec::new();
            let mut last = None;
            for (run, depth) in sweep(&[100], &reads) {
                let run = Interval::parse_region(&run).unwrap();
                prop_assert_eq!(run.start(), found.len() as u64);
                prop_assert_ne!(last, Some(depth), "neighbouring runs of one depth");
                last = Some(depth);
                found.resize(run.end() as usize, depth);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
