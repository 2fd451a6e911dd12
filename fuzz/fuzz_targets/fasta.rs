#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file("g.fa", bytes, |path| {
        if let Some(fasta) = fuzz::check(genome::Fasta::open(path)) {
            for place in fuzz::places(fasta.chrom_sizes(), 100) {
                if let Some(bases) = fuzz::check(fasta.read_bases(&place)) {
                    assert_eq!(bases.len() as u64, place.len());
                }
            }
        }
    });
});
