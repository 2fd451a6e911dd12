//! Candidate enhancers of a gene, measured from the tracks and the contact map.

use dataset::ExampleReader;
use genome::{ChromSizes, ContactPixel, write_cool};

use crate::tiny_genome::{CHROMS, TinyGenome};

#[test]
fn elements_have_the_contact_of_their_middle_and_the_mean_of_their_tracks() {
    let tiny = TinyGenome::write();
    let sizes = ChromSizes::new(CHROMS.map(|(name, n)| (name.to_string(), n)).into());
    let pixel = |bin1, bin2, count| ContactPixel { bin1, bin2, count };
    // Bins of 10: MIDDLE starts at base 1500, in bin 150.
    let pixels = [pixel(147, 150, 9), pixel(150, 150, 1), pixel(150, 152, 99)];
    write_cool(tiny.path("a.cool"), &sizes, 10, &pixels).unwrap();
    // Middles 1522, in bin 152, and 1474, in bin 147; the second is longer than what is read.
    std::fs::write(
        tiny.path("elements.bed"),
        "chr1\t1520\t1524\nchr1\t1470\t1478\n",
    )
    .unwrap();
    let config = tiny.config_with(&[
        (
            "contact = { fallback = \"power_law\", resolution = 10 }",
            "contact = { path = \"a.cool\", resolution = 10 }",
        ),
        (
            "length = 40",
            "length = 90\ncandidates = { elements = \"elements.bed\", element_length = 4 }",
        ),
    ]);
    let reader = ExampleReader::open(&config).unwrap();
    let example = ExampleReader::read(&reader, 3).unwrap();
    assert_eq!(example.gene().symbol, "MIDDLE");
    let candidates = example.candidates().expect("elements are configured");
    let places: Vec<(u64, u64)> = candidates.list.iter().map(|c| (c.start, c.end)).collect();
    assert_eq!(places, [(1520, 1524), (1472, 1476)]);
    // The pseudocount, p(1 Mb), as in contact_track.rs; h3k27ac is 1 and dnase 9 at both: sqrt(1 * 9).
    const P_1MB: f64 = 0.0012291959095727212;
    for (candidate, (distance_kb, contact)) in
        candidates.list.iter().zip([(0.022, 99.0), (0.026, 9.0)])
    {
        let expected = [distance_kb, (contact + P_1MB + 1.0_f64).log10(), 3.0];
        let found = [
            candidate.distance_kb,
            candidate.contact_log10p1,
            candidate.activity,
        ];
        for (found, expected) in found.into_iter().zip(expected) {
            // One f32 rounding.
            let error = (f64::from(found) - expected).abs();
            assert!(error <= 1e-6 * expected, "{found}, expected {expected}");
        }
    }
}
