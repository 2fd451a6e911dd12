//! Blanked input: only what is hidden changes.

use dataset::{DataConfig, Example, ExampleReader, HiddenInput, NO_BASE};

use crate::tiny_genome::TinyGenome;

fn examples(config: &DataConfig, hidden: Option<HiddenInput>) -> Vec<Example> {
    let config = DataConfig {
        hidden,
        ..config.clone()
    };
    let reader = ExampleReader::open(&config).expect("the tiny genome");
    (0..reader.genes().len())
        .map(|index| reader.read(index).expect("an example"))
        .collect()
}

#[test]
fn hidden_input_is_blank_and_the_rest_stays() {
    let files = TinyGenome::write();
    let candidates = "length = 90\ncandidates = { elements = \"exclude.bed\", element_length = 4 }";
    let config = files.config_with(&[("length = 40", candidates)]);
    let whole = examples(&config, None);
    assert!(whole.iter().any(|example| example.features()[8] != 0.0));
    let without_sequence = examples(&config, Some(HiddenInput::Sequence));
    let without_tracks = examples(&config, Some(HiddenInput::Tracks));
    let mut n_candidates = 0;
    for (index, example) in whole.iter().enumerate() {
        let (blind, silent) = (&without_sequence[index], &without_tracks[index]);
        assert!(blind.base_codes().iter().all(|code| *code == NO_BASE));
        assert_eq!(blind.tracks(), example.tracks());
        assert_eq!(blind.features(), example.features());
        assert!(silent.tracks().iter().all(|value| *value == 0.0));
        assert_eq!(silent.base_codes(), example.base_codes());
        // The last feature is the promoter activity, which is made of tracks.
        assert_eq!(silent.features()[..8], example.features()[..8]);
        assert_eq!(silent.features()[8], 0.0);
        let candidates = silent
            .candidates()
            .map_or(&[][..], |found| found.list.as_slice());
        n_candidates += candidates.len();
        assert!(
            candidates
                .iter()
                .all(|c| c.activity == 0.0 && c.contact_log10p1 == 0.0)
        );
        assert_eq!(
            (blind.target(), silent.target()),
            (example.target(), example.target())
        );
    }
    assert!(n_candidates > 0);
}
