//! A mask that nobody learns: the right amount of nothing in particular.

use std::io::Write;
use std::path::Path;

use genome::{GenomeError, Reference, write_atomic};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Length of the blocks that are selected or not, in bases: long enough for whole motifs, shorter than an element.
const BLOCK: u64 = 100;

/// Writes a BED in which each block of a genome is selected with probability `share`; the same seed gives the same
/// blocks, and a larger share all blocks of a smaller one.
///
/// # Errors
/// [`GenomeError`] when the genome cannot be read or the file not be written.
pub(super) fn write_blocks(
    path: &Path,
    genome: &Path,
    share: f64,
    seed: u64,
) -> Result<(), GenomeError> {
    let reference = Reference::open(genome)?;
    write_atomic(path, |out| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for (chrom, length) in reference.chrom_sizes().iter() {
            // Selected blocks that touch are one region.
            let mut open: Option<u64> = None;
            for start in (0..length).step_by(BLOCK as usize) {
                let is_selected = rng.random::<f64>() < share;
                match (is_selected, open) {
                    (true, None) => open = Some(start),
                    (false, Some(first)) => {
                        writeln!(out, "{chrom}\t{first}\t{start}")?;
                        open = None;
                    }
                    _ => {}
                }
            }
            if let Some(first) = open {
                writeln!(out, "{chrom}\t{first}\t{length}")?;
            }
        }
        Ok(())
    })
}

/// The share of positions outside the promoter that makes the mean of the whole mask `ratio`, promoter included.
///
/// # Units
/// - `promoter`, `length`: bases of the promoter and of the window
pub(super) fn share_outside(ratio: f64, promoter: u64, length: u64) -> f64 {
    let outside = length.saturating_sub(promoter) as f64;
    if outside == 0.0 {
        return 0.0;
    }
    ((ratio * length as f64 - promoter as f64) / outside).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_outside_leaves_room_for_the_promoter() {
        // 0.28 of 10,000 is 2,800; without the promoter's 2,000 they are 800 of 8,000.
        let cases = [
            (0.28, 2_000, 10_000, 0.1),
            (0.1, 2_000, 10_000, 0.0),
            (1.0, 2_000, 10_000, 1.0),
            (1.0, 500, 500, 0.0),
            (0.5, 600, 500, 0.0),
        ];
        for (ratio, promoter, length, expected) in cases {
            let found = share_outside(ratio, promoter, length);
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn random_mask_selects_its_share_and_is_fixed_by_its_seed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let genome = folder.path().join("g.fa");
        let fasta = format!(">a\n{}\n>b\nACGTACGT\n", "A".repeat(200_050));
        std::fs::write(&genome, fasta).expect("writable");
        let bed = |name: &str, share: f64, seed: u64| {
            let path = folder.path().join(name);
            write_blocks(&path, &genome, share, seed).expect("written");
            std::fs::read_to_string(path).expect("written")
        };
        let text = bed("a.bed", 0.3, 2);
        let selected: u64 = genome::read_regions(folder.path().join("a.bed"))
            .expect("BED")
            .iter()
            .map(|region| region.interval.end() - region.interval.start())
            .sum();
        // 2,001 blocks: the standard deviation of the share is sqrt(0.3 * 0.7 / 2001) = 0.0102; five of them.
        assert!(
            (selected as f64 / 200_058.0 - 0.3).abs() < 0.051,
            "{selected}"
        );
        assert_eq!(bed("b.bed", 0.3, 2), text);
        assert_ne!(bed("c.bed", 0.3, 3), text);
        assert_eq!(bed("d.bed", 0.0, 2), "");
        assert_eq!(bed("e.bed", 1.0, 2), "a\t0\t200050\nb\t0\t8\n");
    }
}
