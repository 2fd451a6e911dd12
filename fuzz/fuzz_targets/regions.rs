#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file("r.bed", bytes, |path| {
        if let Some(regions) = fuzz::check(genome::read_regions(path)) {
            for region in &regions {
                assert!(region.summit().is_none_or(|s| region.interval.contains(s)));
            }
        }
    });
});
