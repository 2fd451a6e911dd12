//! The released data set's layout, from the folder to a trained network, by one key.

use std::path::Path;

use crate::run_in;

/// Writes an experiment on the committed miniature of the layout and returns its folder.
fn experiment(released: &str) -> tempfile::TempDir {
    let miniature = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dataset/tests/golden/released");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = format!(
        "name = \"miniature\"\nseeds = [2]\n\n\
         [data]\nreleased = {{ folder = {miniature:?}, {released} }}\nlength = 4000\npromoter = 100\n\n\
         [model]\nkind = \"seq2exp_soft\"\nd_model = 8\nn_layer_generator = 1\nn_layer_predictor = 1\n\
         promoter = 100\n\n\
         [train]\nsteps = 2\nbatch = 2\nwarmup_steps = 1\nvalidation_every = 1\n"
    );
    std::fs::write(folder.path().join("experiment.toml"), text).expect("a new file");
    folder
}

#[test]
fn released_folder_is_checked_prepared_and_trained_on() {
    let folder = experiment("cell = \"K562\", fold = 11");
    let (code, table, message) = run_in(folder.path(), &["check", "experiment.toml"]);
    assert_eq!(code, 0, "{message}");
    // Five genes of the fold table; GeneList.txt has one more, which it does not list.
    for part in [
        "genome         chr1 30000 bp, chr3 15000 bp, chr22 15000 bp",
        "track h3k27ac  chr1 30000 bp",
        "contact        chr1, chr22, chr3  ",
        "exclude        chr1",
        "genes    2 train, 1 valid, 2 test; 1 of the table left out",
        "left out: ENSG00000000009 (line 7): not listed in the table of the split",
    ] {
        assert!(table.contains(part), "no {part:?} in:\n{table}");
    }
    let arguments = ["prepare", "experiment.toml", "-o", "result"];
    let (code, _, message) = run_in(folder.path(), &arguments);
    assert_eq!(code, 0, "{message}");
    let arguments = ["train", "experiment.toml", "-o", "result"];
    let (code, _, message) = run_in(folder.path(), &arguments);
    assert_eq!(code, 0, "{message}");
    let (code, _, message) = run_in(folder.path(), &["evaluate", "result"]);
    assert_eq!(code, 0, "{message}");
    let predictions = std::fs::read_to_string(folder.path().join("result/predictions.tsv"))
        .expect("predictions of every gene");
    let rows = predictions.lines().filter(|line| line.contains("ENSG"));
    assert_eq!(rows.count(), 5, "{predictions}");
}

#[test]
fn epinformer_trains_on_the_released_links() {
    let folder = experiment("cell = \"K562\"");
    let path = folder.path().join("experiment.toml");
    let text = std::fs::read_to_string(&path).expect("just written");
    let (data, rest) = text.split_once("[model]").expect("a model");
    let (_, train) = rest.split_once("[train]").expect("settings");
    // The one line that EPInformer needs beside those of the other networks.
    let text = format!(
        "{data}candidates = {{ element_length = 400 }}\n\n\
         [model]\nkind = \"epinformer\"\nd_model = 32\nn_layer = 1\nd_head = 8\npromoter = 100\n\
         element_length = 400\n\n[train]{train}"
    );
    std::fs::write(&path, text).expect("writable");
    let (code, _, message) = run_in(folder.path(), &["train", "experiment.toml", "-o", "result"]);
    assert_eq!(code, 0, "{message}");
    let prepared =
        dataset::PreparedReader::open(folder.path().join("result/data")).expect("prepared");
    let first = prepared.read(0).expect("an example");
    assert_eq!(first.gene().gene_id, "ENSG00000000001");
    // Of its three links one lies in the window of 4,000 bases: 1,050 bases from the start site, contact 2.5.
    let candidates = first.candidates().expect("the released links");
    let [candidate] = candidates.list.as_slice() else {
        panic!("{candidates:?}");
    };
    assert_eq!(candidate.distance_kb, 1.05);
    assert_eq!(candidate.contact_log10p1, 3.5_f64.log10() as f32);
    assert_eq!(candidate.activity, 5.874_905_100_375_109_f64 as f32);
}

#[test]
fn released_folder_with_other_keys_or_cells_is_refused_by_name() {
    for (released, parts) in [
        (
            "cell = \"HeLa\"",
            &["experiment.toml", "HeLa", "K562"] as &[&str],
        ),
        ("cell = \"K562\", fold = 13", &["fold 13 must be 1 to 12"]),
        (
            "cell = \"K562\"}\ngenome = { a = \"x\"",
            &["genome is given beside released"],
        ),
        (
            "cell = \"GM12878\"",
            &["GM12878_DNase_ENCFF020WZB", "GeneList.txt"],
        ),
    ] {
        let folder = experiment(released);
        let (code, _, message) = run_in(folder.path(), &["check", "experiment.toml"]);
        assert_eq!(code, 1, "{message}");
        for part in parts {
            assert!(message.contains(part), "no {part:?} in:\n{message}");
        }
    }
}
