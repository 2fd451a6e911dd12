#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses tabs or commas.
    let (name, bytes) = match bytes.split_first() {
        Some((b',', rest)) => ("t.csv", rest),
        _ => ("t.tsv", bytes),
    };
    fuzz::with_file(name, bytes, |path| {
        fuzz::check(genome::read_expression(path, "gene", "tpm"));
        fuzz::check(genome::read_transformed_expression(
            path,
            "ENSID",
            "Actual_K562",
        ));
        fuzz::check(genome::read_mrna_table(path));
        fuzz::check(genome::read_standardised_mrna(path));
        fuzz::check(genome::read_text_column(path, "ENSID", "fold_1"));
        fuzz::check(genome::read_chrom_sizes(path));
    });
});
