#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses the normalisation.
    use genome::Normalization::{Kr, None, Scale, Vc, VcSqrt, Weight};
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let normalization = [None, Weight, Vc, VcSqrt, Kr, Scale][usize::from(choice % 6)];
    fuzz::with_file("m", bytes, |path| {
        let Some(map) = fuzz::check(genome::ContactMap::open(path, 5_000, normalization)) else {
            return;
        };
        for place in fuzz::places(map.chrom_sizes(), 200_000) {
            if place.is_empty() {
                continue;
            }
            let tss = (place.start() + place.end()) / 2;
            fuzz::check(map.read_profile(place.chrom(), tss, &place));
        }
    });
});
