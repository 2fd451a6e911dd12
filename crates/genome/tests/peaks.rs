//! Peaks against those of macs3.

use std::path::{Path, PathBuf};

use genome::{BigWig, PeakCaller, read_regions};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn peaks_of_the_example_are_those_of_macs3_bdgpeakcall() {
    // Track, cutoff, shortest length, longest gap, as in oracle/peaks_expected.py.
    for (track, cutoff, min_length, max_gap) in [
        ("dnase", 5.0, 200, 30),
        ("dnase", 20.0, 500, 3000),
        ("h3k27ac", 12.5, 700, 0),
    ] {
        let name = format!("{track}_c{cutoff}_l{min_length}_g{max_gap}.narrowPeak");
        let expected =
            read_regions(root().join("crates/genome/tests/golden/peaks").join(&name)).unwrap();
        let caller = PeakCaller {
            cutoff,
            min_length,
            max_gap,
        };
        let track = BigWig::open(root().join(format!("examples/k562_chr22/{track}.bw"))).unwrap();
        let found = caller.call(&track).unwrap();
        assert!(expected.len() > 50, "{name}: {} peaks", expected.len());
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.interval, expected.interval, "{name}");
            assert_eq!(
                (found.score, found.summit(), &found.rest),
                (expected.score, expected.summit(), &expected.rest),
                "{name} {}",
                found.interval
            );
        }
    }
}
