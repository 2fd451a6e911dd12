#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file("p.bedpe", bytes, |path| {
        fuzz::check(genome::read_pairs(path));
    });
});
