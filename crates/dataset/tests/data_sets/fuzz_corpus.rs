//! Every reader answers every file of the committed fuzz corpus with a value or an error: no panic, no endless loop.

use std::collections::BTreeSet;
use std::path::Path;

#[path = "../../../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn committed_corpus_never_panics_a_reader() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let folders: BTreeSet<String> = (std::fs::read_dir(&corpus).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names: BTreeSet<String> = targets::TARGETS
        .iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(folders, names, "one folder a target");
    for (name, target) in targets::TARGETS {
        let mut n_files = 0;
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            if let Err(panic) = std::panic::catch_unwind(|| target(&bytes)) {
                println!("{}", path.display());
                std::panic::resume_unwind(panic);
            }
            n_files += 1;
        }
        assert!(n_files > 0, "{name}");
    }
}
