#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file("t.bw", bytes, |path| {
        if let Some(track) = fuzz::check(genome::BigWig::open(path)) {
            for place in fuzz::places(track.chrom_sizes(), 1000) {
                if let Some(values) = fuzz::check(track.read_values(&place)) {
                    assert_eq!(values.len() as u64, place.len());
                }
            }
        }
    });
});
