//! What `[data]` declares of the tracks, told to the network: a user says it once.

use dataset::DataConfig;
use model::NetworkConfig;

/// Sets the number of tracks and the mask's constants of a network from the data, where `written`,
/// the `[model]` table as the user wrote it, does not set them itself.
///
/// Returns every problem: a track without constants for a network whose mask has a prior from the
/// tracks, or constants that are declared in both places and differ.
pub(crate) fn connect_tracks(
    data: &DataConfig,
    network: &mut NetworkConfig,
    written: &toml::Table,
) -> Vec<String> {
    if !written.contains_key("n_tracks") {
        network.set_n_tracks(data.n_tracks());
    }
    let Some(mask) = network.mask_mut() else {
        return Vec::new();
    };
    let written_mask = written.get("mask").and_then(toml::Value::as_table);
    let is_written = |field| written_mask.is_some_and(|mask| mask.contains_key(field));
    let tracks = data.tracks.iter().map(|track| (track.beta, track.weight));
    let contact = data
        .contact
        .iter()
        .map(|contact| (contact.beta, contact.weight));
    let (declared_beta, declared_weight): (Vec<_>, Vec<_>) = tracks.chain(contact).unzip();
    let priors = data.mask_priors();
    let has_prior = mask.prior_scale_factor > 0.0;

    let mut problems = Vec::new();
    let constants = [
        (
            "track_beta",
            &mut mask.track_beta,
            declared_beta,
            priors
                .iter()
                .map(|prior| prior.map(|prior| prior.beta))
                .collect::<Vec<_>>(),
        ),
        (
            "track_weight",
            &mut mask.track_weight,
            declared_weight,
            priors
                .iter()
                .map(|prior| prior.map(|prior| prior.weight))
                .collect(),
        ),
    ];
    for (field, values, declared, known) in constants {
        let names = data.track_names();
        if is_written(field) {
            for ((name, declared), value) in names.iter().zip(declared).zip(values.iter()) {
                if let Some(declared) = declared.filter(|declared| declared != value) {
                    problems.push(format!(
                        "[data] says {declared} for track {name:?} and model.mask.{field} says {value}; \
                         remove model.mask.{field}"
                    ));
                }
            }
            continue;
        }
        // A track is known with both constants only; the one that is declared is not what it lacks.
        let lacking = known
            .iter()
            .zip(declared)
            .map(|(known, declared)| known.or(declared));
        for (name, _) in names
            .iter()
            .zip(lacking)
            .filter(|(_, value)| has_prior && value.is_none())
        {
            problems.push(format!(
                "[data] track {name:?} has no {}, which the mask needs (published: h3k27ac beta 1.5 \
                 weight 0.4, dnase beta 0.2 weight 0.4)",
                field.trim_start_matches("track_")
            ));
        }
        // A missing one is a problem above, or has no part in the mask; nothing is trained with the 0.
        *values = known.into_iter().map(Option::unwrap_or_default).collect();
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NetworkKind;

    /// A data section with these tracks and contact, and nothing else of interest.
    fn data(tracks: &str) -> DataConfig {
        toml::from_str(&format!(
            "genome = \"g\"\ngenes = \"t\"\nexpression = {{ path = \"e\", value = \"v\" }}\n\
             split = {{ by = \"column\" }}\n{tracks}"
        ))
        .expect("a data section")
    }

    const FOUR: &str = "contact = { fallback = \"power_law\", weight = 0.1 }\ntracks = [\
         { name = \"dnase\", path = \"d\" }, { name = \"h3k4me3\", path = \"m\", beta = 2, weight = 0.3 }, \
         { name = \"h3k27ac\", path = \"h\" }]";

    fn connected(data_text: &str, model: &str) -> (NetworkConfig, Vec<String>) {
        let written: toml::Table = model.parse().expect("TOML");
        let mut network: NetworkConfig = written.clone().try_into().expect("a network");
        let problems = connect_tracks(&data(data_text), &mut network, &written);
        (network, problems)
    }

    #[test]
    fn tracks_of_the_data_reach_the_mask_in_their_order() {
        let (mut network, problems) = connected(FOUR, "kind = \"seq2exp_soft\"");
        assert_eq!(problems, [""; 0]);
        assert_eq!(network.n_tracks(), 4);
        let mask = network.mask_mut().expect("Seq2Exp has one");
        assert_eq!(mask.track_beta, [0.2, 2.0, 1.5, 1.0]);
        assert_eq!(mask.track_weight, [0.4, 0.3, 0.4, 0.1]);
        assert_eq!(network.validate(), [""; 0]);
    }

    #[test]
    fn published_tracks_give_the_published_network() {
        let three = "contact = { path = \"c\" }\ntracks = [{ name = \"h3k27ac\", path = \"h\" }, \
                     { name = \"dnase\", path = \"d\" }]";
        for kind in NetworkKind::ALL {
            let (network, problems) = connected(three, &format!("kind = \"{}\"", kind.name()));
            assert_eq!((network, problems), (kind.preset(), Vec::new()));
        }
    }

    #[test]
    fn what_the_model_section_says_itself_stays_and_must_agree() {
        let model = "kind = \"seq2exp_soft\"\nn_tracks = 4\n\
                     mask = { track_beta = [0.2, 2.0, 9.0, 1.0], track_weight = [0.4, 0.5, 0.4, 0.1] }";
        let (mut network, problems) = connected(FOUR, model);
        // 9.0 differs only from a published value that nobody wrote; 0.5 from the declared 0.3.
        assert_eq!(
            problems,
            [
                "[data] says 0.3 for track \"h3k4me3\" and model.mask.track_weight says 0.5; \
              remove model.mask.track_weight"
            ]
        );
        let mask = network.mask_mut().expect("Seq2Exp has one");
        assert_eq!(mask.track_beta, [0.2, 2.0, 9.0, 1.0]);
    }

    #[test]
    fn track_without_constants_is_a_problem_only_for_a_mask() {
        let text = "tracks = [{ name = \"atac\", path = \"a\", beta = 1 }]";
        let (_, problems) = connected(text, "kind = \"seq2exp_soft\"");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains("track \"atac\" has no weight"),
            "{problems:?}"
        );
        for kind in ["caduceus_signals", "seq2exp_delta"] {
            let (network, problems) = connected(text, &format!("kind = \"{kind}\""));
            assert_eq!((network.n_tracks(), problems.len()), (1, 0), "{kind}");
            assert_eq!(network.validate(), [""; 0], "{kind}");
        }
    }
}
