//! How a run read its data, in the words of the report.

use std::path::Path;

use dataset::{ContactConfig, DataConfig, SplitConfig, TrackConfig, TrackTransform};

/// What is predicted, how genes were split, and how tracks and contact were read; name and value each.
pub(super) fn data_facts(data: &DataConfig) -> Vec<(String, String)> {
    let mut facts = vec![
        ("target".to_string(), data.expression.target_name()),
        ("split".to_string(), split_text(&data.split)),
    ];
    facts.extend(
        data.tracks
            .iter()
            .map(|track| (format!("values of {}", track.name), track_text(track))),
    );
    let contact = data.contact.as_ref().map(contact_text);
    facts.extend(contact.map(|text| ("values of contact".to_string(), text)));
    facts
}

fn split_text(split: &SplitConfig) -> String {
    match split {
        SplitConfig::Column {} => "column split of the genes".to_string(),
        SplitConfig::Chromosomes { valid, test } => {
            let (valid, test) = (valid.join(", "), test.join(", "));
            format!("by chromosomes: validation {valid}; test {test}")
        }
        SplitConfig::Fold { fold } => format!("fold {fold} of the published twelve"),
        SplitConfig::Blocks {
            n_blocks,
            test_block,
            exclusion_zone,
            ..
        } => {
            let overlaps = match exclusion_zone {
                true => "left out",
                false => "kept",
            };
            format!("block {test_block} (from 0) of {n_blocks} for the test; overlaps {overlaps}")
        }
        SplitConfig::Table { path, column, .. } => {
            format!("column {column} of {}", file_name(path))
        }
        SplitConfig::All {} => "every gene for the test".to_string(),
    }
}

/// `x 0.013, clipped to 0 to 3, log10(x + 1)`.
fn track_text(track: &TrackConfig) -> String {
    let mut steps = Vec::new();
    if track.scale != 1.0 {
        steps.push(format!("x {}", track.scale));
    }
    if let Some([lowest, highest]) = track.clip {
        steps.push(format!("clipped to {lowest} to {highest}"));
    }
    if track.transform == TrackTransform::Log10p1 {
        steps.push("log10(x + 1)".to_string());
    }
    match steps.is_empty() {
        true => "as in the file".to_string(),
        false => steps.join(", "),
    }
}

fn contact_text(contact: &ContactConfig) -> String {
    let source = match contact.path {
        Some(_) => format!("normalization {}", contact.normalization.name()),
        None => "power law of distance".to_string(),
    };
    format!("log10(x + 1), bins of {} bp, {source}", contact.resolution)
}

/// The last part of a path.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_state_what_was_done_to_each_input() {
        let data: DataConfig = toml::from_str(
            r#"
            genome = "g.fa"
            genes = "g.tsv"
            expression = { path = "e.tsv", value = "tpm" }
            contact = { path = "a/m.mcool", resolution = 10000, normalization = "weight" }
            split = { by = "table", path = "a/folds.csv", column = "fold_11" }
            [[tracks]]
            name = "dnase"
            path = "d.bw"
            scale = 0.5
            clip = [0, 3]
            transform = "log10p1"
            [[tracks]]
            name = "h3k27ac"
            path = "h.bw"
            "#,
        )
        .unwrap();
        let facts = data_facts(&data);
        let facts: Vec<(&str, &str)> = facts
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(
            facts,
            [
                ("target", "log10(TPM + 1)"),
                ("split", "column fold_11 of folds.csv"),
                ("values of dnase", "x 0.5, clipped to 0 to 3, log10(x + 1)"),
                ("values of h3k27ac", "as in the file"),
                (
                    "values of contact",
                    "log10(x + 1), bins of 10000 bp, normalization weight"
                ),
            ]
        );
        let cases = [
            ("by = \"column\"", "column split of the genes"),
            (
                "by = \"fold\"\nfold = 11",
                "fold 11 of the published twelve",
            ),
            (
                "by = \"chromosomes\"\nvalid = [\"chr3\", \"chr21\"]\ntest = [\"chrX\"]",
                "by chromosomes: validation chr3, chr21; test chrX",
            ),
            (
                "by = \"blocks\"\nn_blocks = 5\ntest_block = 0",
                "block 0 (from 0) of 5 for the test; overlaps left out",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(split_text(&toml::from_str(text).unwrap()), expected);
        }
        let law: ContactConfig = toml::from_str("fallback = \"power_law\"").unwrap();
        assert_eq!(
            contact_text(&law),
            "log10(x + 1), bins of 5000 bp, power law of distance"
        );
    }
}
