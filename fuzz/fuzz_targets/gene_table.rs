#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file("genes.tsv", bytes, |path| {
        fuzz::check(genome::read_gene_table(path));
    });
});
