#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file("hic_feat_chr1.h5", bytes, |path| {
        let folder = path.parent().unwrap_or(path);
        if let Some(contacts) = fuzz::check(genome::StoredContacts::open(folder)) {
            for tss in [700, 12_345] {
                if let Some(values) = fuzz::check(contacts.read("chr1", tss)) {
                    assert!(values.len().is_multiple_of(2));
                }
            }
        }
    });
});
