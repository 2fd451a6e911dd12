#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file("a.gtf", bytes, |path| {
        if let Some(annotation) = fuzz::check(genome::read_annotation(path)) {
            for gene in annotation.genes() {
                if let Some((transcript, _)) = annotation.representative(gene) {
                    assert!(transcript.cds_len() <= transcript.mrna_len());
                }
            }
        }
    });
});
