//! The variants of one experiment that show what each of its parts contributes.

use std::path::Path;

use dataset::{CONTACT_TRACK, DataConfig, HiddenInput};
use model::NetworkConfig;
use model::config::{
    BackboneInput, CaduceusConfig, FixedMaskConfig, FixedMaskSource, InitializationConfig,
    OutProjLayers, PredictorWeights, Seq2ExpConfig,
};

use super::{Cell, CellWork, Plan};
use crate::config::ExperimentConfig;
use crate::error::RunError;

/// Window lengths of an ablation, in bases, as far as they are shorter than the experiment's own.
const LENGTHS: [u64; 9] = [
    500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
];

/// Name of the experiment as it is.
const FULL: &str = "full";

/// One variant: its name, its settings, and how it comes to its network.
struct Variant {
    name: String,
    config: ExperimentConfig,
    work: VariantWork,
}

/// As [`CellWork`], with the full model's cell of the same seed for the other cell.
#[derive(Clone, Copy)]
enum VariantWork {
    Train,
    TrainUnderRandom,
    EvaluateFull,
}

impl Plan {
    /// The ablations of an experiment, whose `path` is for messages: `full`, and what it is without a part each.
    ///
    /// `lengths` are the window lengths to train on and to test on; none for the built-in ones up to the experiment's
    /// own. `only` names variants to keep beside `full`; empty for all.
    ///
    /// # Errors
    /// [`RunError::ConfigInvalid`] for a length or variant that does not fit the experiment.
    pub fn ablate(
        config: &ExperimentConfig,
        path: &Path,
        lengths: Option<&[u64]>,
        only: &[String],
    ) -> Result<Self, RunError> {
        let mut notes = Vec::new();
        let built_in = match lengths {
            Some(_) => Vec::new(),
            None => lengths_of(config, &mut notes),
        };
        let mut variants = variants(config, lengths.unwrap_or(&built_in));
        let names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
        let mut problems: Vec<String> = only
            .iter()
            .filter(|name| !names.contains(&name.as_str()))
            .map(|name| {
                format!(
                    "no variant {name:?} of this experiment; there are {}",
                    names.join(", ")
                )
            })
            .collect();
        let is_second = |(index, name): &(usize, &&str)| names[..*index].contains(name);
        let twice = names.iter().enumerate().filter(is_second);
        problems.extend(
            twice.map(|(_, name)| format!("{name} is asked for twice; name each length once")),
        );
        variants.retain(|v| only.is_empty() || v.name == FULL || only.contains(&v.name));
        for variant in &variants {
            let found = variant.config.validate().into_iter();
            problems.extend(found.map(|problem| format!("{}: {problem}", variant.name)));
        }
        if !problems.is_empty() {
            return Err(RunError::ConfigInvalid {
                path: path.to_path_buf(),
                problems,
            });
        }
        let mut cells = Vec::new();
        for &seed in &config.seeds {
            let full = cells.len();
            for variant in &variants {
                cells.push(Cell {
                    dataset: config.name.clone(),
                    fold: None,
                    model: variant.name.clone(),
                    seed,
                    config: ExperimentConfig {
                        name: variant.name.clone(),
                        seeds: vec![seed],
                        ..variant.config.clone()
                    },
                    work: match variant.work {
                        VariantWork::Train => CellWork::Train,
                        VariantWork::TrainUnderRandom => CellWork::TrainUnderRandom { like: full },
                        VariantWork::EvaluateFull => CellWork::EvaluateNetworkOf(full),
                    },
                });
            }
        }
        Ok(Self {
            name: format!("{}_ablation", config.name),
            cells,
            models: variants.into_iter().map(|variant| variant.name).collect(),
            reference: Some(FULL.to_string()),
            datasets: vec![(config.name.clone(), None)],
            notes,
        })
    }
}

/// The built-in lengths that an experiment can be shortened to; notes those that hold no candidate enhancer.
fn lengths_of(config: &ExperimentConfig, notes: &mut Vec<String>) -> Vec<u64> {
    let own = config.data.length;
    let mut lengths = LENGTHS.to_vec();
    lengths.retain(|length| *length < own);
    let candidates = config.data.candidates.as_ref();
    if let Some(candidates) = candidates.filter(|_| config.model.needs_candidates()) {
        let n_lengths = lengths.len();
        lengths.retain(|length| *length > candidates.element_length);
        if lengths.len() < n_lengths {
            notes.push(format!(
                "windows of {} bases (data.candidates.element_length) and less hold no candidate enhancer: no train_ \
                 and test_ variants of those lengths",
                candidates.element_length
            ));
        }
    }
    lengths
}

/// The experiment and its ablations, in the order of the table.
fn variants(config: &ExperimentConfig, lengths: &[u64]) -> Vec<Variant> {
    let mut variants = Variants {
        full: config,
        list: Vec::new(),
    };
    variants.add(FULL, VariantWork::Train, |_| {});
    if let NetworkConfig::Seq2Exp(fields) = &config.model {
        let under =
            |source| NetworkConfig::FixedMask(FixedMaskConfig::of_predictor(fields, source));
        let train = config.train.clone().without_learned_mask();
        variants.add("no_generator", VariantWork::Train, |config| {
            (config.model, config.train) = (under(FixedMaskSource::All), train.clone());
        });
        variants.add("random_mask", VariantWork::TrainUnderRandom, |config| {
            (config.model, config.train) = (under(FixedMaskSource::Peaks), train.clone());
            config.data.peaks = vec![Cell::MASK_FILE.into()];
        });
        if config.train.kl_weight > 0.0 {
            variants.add("no_kl", VariantWork::Train, |config| {
                config.train.kl_weight = 0.0
            });
        }
        if config.train.mask_weight > 0.0 {
            variants.add("no_mask_weight", VariantWork::Train, |config| {
                config.train.mask_weight = 0.0
            });
        }
        if config.train.random_mask_steps > 0 {
            variants.add("no_random_masks", VariantWork::Train, |config| {
                config.train.random_mask_steps = 0
            });
        }
        variants.add("one_backbone", VariantWork::Train, |config| {
            config.model = NetworkConfig::Caduceus(one_backbone(fields));
            config.train = train.clone();
        });
    }
    for (name, input) in [
        ("sequence_only", HiddenInput::Tracks),
        ("tracks_only", HiddenInput::Sequence),
    ] {
        variants.add(name, VariantWork::Train, |config| {
            config.data.hidden = Some(input)
        });
    }
    let tracks = config.data.track_names();
    if tracks.len() > 1 {
        for (index, track) in tracks.iter().enumerate() {
            variants.add(&format!("without_{track}"), VariantWork::Train, |config| {
                remove_track(config, index, track);
            });
        }
    }
    for &length in lengths {
        variants.add(&format!("train_{length}"), VariantWork::Train, |config| {
            set_length(config, length)
        });
    }
    if has_window_of_any_length(&config.model) {
        for &length in lengths {
            let name = format!("test_{length}");
            variants.add(&name, VariantWork::EvaluateFull, |config| {
                set_length(config, length)
            });
        }
    }
    variants.list
}

/// A list of variants under construction.
struct Variants<'a> {
    full: &'a ExperimentConfig,
    list: Vec<Variant>,
}

impl Variants<'_> {
    /// Adds the full experiment after a change.
    fn add(&mut self, name: &str, work: VariantWork, change: impl FnOnce(&mut ExperimentConfig)) {
        let mut config = self.full.clone();
        change(&mut config);
        self.list.push(Variant {
            name: name.to_string(),
            config,
            work,
        });
    }
}

/// Whether a network trained on windows of one length can run on those of another.
fn has_window_of_any_length(model: &NetworkConfig) -> bool {
    // A positional embedding has one vector for each position of the window.
    model.n_positions() == 0
}

/// Gives the windows another length; a promoter that is longer shrinks to it.
fn set_length(config: &mut ExperimentConfig, length: u64) {
    let DataConfig { promoter, .. } = config.data;
    config.data.length = length;
    config.data.promoter = promoter.min(length);
    let model = config.model.clone().with_length(length as usize);
    config.model = model.with_promoter(config.data.promoter as usize);
}

/// Takes one track away from the data, the promoter activity and the mask.
fn remove_track(config: &mut ExperimentConfig, index: usize, track: &str) {
    let data = &mut config.data;
    if track == CONTACT_TRACK {
        data.contact = None;
    } else {
        data.tracks.remove(index);
        if let Some(names) = &mut data.activity_tracks {
            names.retain(|name| name != track);
        }
        // A table's activity was made of all tracks; what is left of them makes another.
        data.promoter_activity = None;
    }
    config.model.set_n_tracks(data.n_tracks());
    if let Some(mask) = config.model.mask_mut() {
        mask.track_beta.remove(index);
        mask.track_weight.remove(index);
    }
}

/// One backbone on sequence and tracks with as many blocks as generator and predictor have together.
fn one_backbone(fields: &Seq2ExpConfig) -> CaduceusConfig {
    CaduceusConfig {
        d_model: fields.d_model,
        n_layer: match fields.predictor_weights {
            PredictorWeights::Own => fields.n_layer_generator + fields.n_layer_predictor,
            PredictorWeights::Shared => fields.n_layer_generator,
        },
        promoter: fields.promoter,
        n_tracks: fields.n_tracks,
        n_features: fields.n_features,
        mamba: fields.mamba.clone(),
        initialization: InitializationConfig {
            out_proj_layers: OutProjLayers::Own,
            ..fields.initialization.clone()
        },
        ..CaduceusConfig::published(BackboneInput::SequenceAndTracks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(model: &str) -> ExperimentConfig {
        let text = format!(
            "name = 'e'\nseeds = [2, 3]\n[data]\ngenome = '/g.fa'\ngenes = '/g.tsv'\nlength = 3000\npromoter = 2000\n\
             expression = {{ path = '/e.tsv', value = 'v' }}\nsplit = {{ by = 'fold', fold = 11 }}\n\
             exclude = '/x.bed'\nactivity_tracks = ['h3k27ac', 'dnase']\ncontact = {{ fallback = 'power_law' }}\n\
             tracks = [{{ name = 'h3k27ac', path = '/h.bw' }}, {{ name = 'dnase', path = '/d.bw' }}]\n\
             [model]\nkind = '{model}'\n"
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("e.toml");
        std::fs::write(&path, text).expect("writable");
        ExperimentConfig::read(&path, &[]).expect("sound")
    }

    fn plan(
        config: &ExperimentConfig,
        lengths: Option<&[u64]>,
        only: &[&str],
    ) -> Result<Plan, String> {
        let only: Vec<String> = only.iter().map(|name| name.to_string()).collect();
        Plan::ablate(config, Path::new("e.toml"), lengths, &only).map_err(|error| error.to_string())
    }

    #[test]
    fn every_variant_differs_from_the_full_model_in_its_part() {
        let config = experiment("seq2exp_soft");
        let plan = plan(&config, None, &[]).expect("sound");
        let expected = [
            "full",
            "no_generator",
            "random_mask",
            "no_kl",
            "one_backbone",
            "sequence_only",
            "tracks_only",
            "without_h3k27ac",
            "without_dnase",
            "without_contact",
            "train_500",
            "train_1000",
            "train_2000",
            "test_500",
            "test_1000",
            "test_2000",
        ];
        assert_eq!(plan.models, expected);
        assert_eq!(plan.cells.len(), 2 * expected.len());
        let cell = |name: &str, seed| {
            let of = |cell: &&Cell| cell.model == name && cell.seed == seed;
            plan.cells.iter().find(of).expect(name)
        };
        let full = plan
            .cells
            .iter()
            .position(|cell| cell.model == FULL && cell.seed == 3);
        let full = full.expect("the full model");
        assert_eq!(cell("test_500", 3).needs(), Some(full));
        assert_eq!(cell("random_mask", 3).needs(), Some(full));
        assert_eq!(cell("no_generator", 3).needs(), None);

        let without = &cell("without_h3k27ac", 2).config;
        assert_eq!(without.data.track_names(), ["dnase", "contact"]);
        assert_eq!(
            without.data.activity_tracks,
            Some(vec!["dnase".to_string()])
        );
        let mut model = without.model.clone();
        // The published constants of DNase and contact.
        let mask = model.mask_mut().expect("Seq2Exp has one");
        assert_eq!(
            (&mask.track_beta, &mask.track_weight),
            (&vec![0.2, 1.0], &vec![0.4, 0.2])
        );

        let short = &cell("train_500", 2).config;
        assert_eq!(
            (
                short.data.length,
                short.data.promoter,
                short.model.promoter()
            ),
            (500, 500, 500)
        );
        assert_eq!(cell("train_2000", 2).config.data.promoter, 2_000);

        let NetworkConfig::Caduceus(one) = &cell("one_backbone", 2).config.model else {
            panic!("not Caduceus");
        };
        assert_eq!(
            (one.n_layer, one.input),
            (8, BackboneInput::SequenceAndTracks)
        );

        // Both are the predictor alone; the regions of the data stay, and only the random mask needs data of its own.
        let output = Path::new("/out");
        let fixed = |name: &str| {
            let NetworkConfig::FixedMask(fields) = &cell(name, 2).config.model else {
                panic!("{name} has a generator");
            };
            (fields.mask_source, fields.n_layer)
        };
        assert_eq!(fixed("no_generator"), (FixedMaskSource::All, 4));
        assert_eq!(fixed("random_mask"), (FixedMaskSource::Peaks, 4));
        let data_folder = |name: &str, seed| cell(name, seed).data_folder(output);
        assert_eq!(data_folder("no_generator", 2), data_folder("full", 2));
        assert_eq!(data_folder("no_generator", 3), data_folder("full", 2));
        assert_ne!(data_folder("random_mask", 2), data_folder("full", 2));
        assert_ne!(data_folder("random_mask", 3), data_folder("random_mask", 2));
        let random = cell("random_mask", 2).config_in(output).data;
        let folder = Path::new("/out/cells/e/random_mask/seed_2");
        assert_eq!(random.peaks, [folder.join("mask.bed")]);
        assert_eq!(random.exclude, Some("/x.bed".into()));
        assert_eq!(random.genome, Path::new("/g.fa"));
    }

    #[test]
    fn what_the_mask_costs_is_taken_away_where_it_is_and_where_no_mask_is_learned() {
        let mut config = experiment("seq2exp_delta");
        config.train.kl_weight = 0.0;
        (config.train.mask_weight, config.train.mask_start_step) = (0.2, 5);
        config.train.random_mask_steps = 9;
        let plan = plan(&config, Some(&[]), &[]).expect("sound");
        assert!(!plan.models.contains(&"no_kl".to_string()));
        let train = |name: &str| {
            let cell = plan.cells.iter().find(|cell| cell.model == name);
            let train = &cell.expect(name).config.train;
            (
                train.mask_weight,
                train.mask_start_step,
                train.random_mask_steps,
            )
        };
        assert_eq!(train("full"), (0.2, 5, 9));
        assert_eq!(train("no_mask_weight"), (0.0, 5, 9));
        assert_eq!(train("no_random_masks"), (0.2, 5, 0));
        for name in ["no_generator", "random_mask", "one_backbone"] {
            assert_eq!(train(name), (0.0, 0, 0), "{name}");
        }
    }

    #[test]
    fn capacity_of_one_backbone_is_that_of_both() {
        // One block more or less would be an eighth of it; the rest are embeddings, logits and norms.
        let config = experiment("seq2exp_soft");
        let NetworkConfig::Seq2Exp(fields) = &config.model else {
            panic!("not Seq2Exp");
        };
        let count = |model: &NetworkConfig| {
            let device = burn::tensor::Device::flex();
            let network = model::Network::init(model, 2, &device).expect("sound");
            network.n_parameters() as f64
        };
        let one = count(&NetworkConfig::Caduceus(one_backbone(fields)));
        let ratio = one / count(&config.model);
        assert!((ratio - 1.0).abs() < 0.01, "{ratio}");
    }

    #[test]
    fn parts_that_a_network_has_not_are_not_taken_away() {
        let caduceus = plan(&experiment("caduceus_signals"), Some(&[2_500]), &[]).expect("sound");
        let expected = [
            "full",
            "sequence_only",
            "tracks_only",
            "without_h3k27ac",
            "without_dnase",
            "without_contact",
            "train_2500",
            "test_2500",
        ];
        assert_eq!(caduceus.models, expected);
        // A positional embedding has as many vectors as the window positions.
        let mut hard = experiment("seq2exp_soft");
        hard.model = model::NetworkKind::Seq2ExpHard.preset().with_length(3_000);
        let hard = plan(&hard, Some(&[2_500]), &[]).expect("sound");
        assert!(hard.models.iter().all(|name| !name.starts_with("test_")));
        assert!(hard.models.contains(&"train_2500".to_string()));
    }

    #[test]
    fn windows_without_room_for_a_candidate_are_left_out_with_a_note() {
        let mut config = experiment("caduceus");
        config.model = model::NetworkKind::Epinformer.preset();
        let candidates = "links = '/links.txt'\nelement_length = 1008\n";
        config.data.candidates = Some(toml::from_str(candidates).expect("sound"));
        let NetworkConfig::Epinformer(fields) = &mut config.model else {
            panic!("not EPInformer");
        };
        fields.element_length = 1_008;
        assert_eq!(config.validate(), [] as [String; 0]);
        // The built-in lengths below 3,000 are 500, 1,000 and 2,000.
        let short = plan(&config, None, &[]).expect("sound");
        let of_length = |name: &&String| name.starts_with("train_") || name.starts_with("test_");
        let found: Vec<&String> = short.models.iter().filter(of_length).collect();
        assert_eq!(found, ["train_2000", "test_2000"]);
        assert!(
            short.notes[0].contains("windows of 1008 bases"),
            "{:?}",
            short.notes
        );
        // A length that is asked for is a mistake.
        let error = plan(&config, Some(&[1_000]), &[]).expect_err("no candidate");
        assert!(
            error.contains("train_1000") && error.contains("no candidate fits"),
            "{error}"
        );
        let whole = plan(&experiment("caduceus"), None, &[]).expect("sound");
        assert_eq!(whole.notes, [""; 0]);
    }

    #[test]
    fn only_keeps_the_named_variants_and_the_full_model() {
        let config = experiment("seq2exp_soft");
        let found = plan(&config, None, &["no_kl"]).expect("sound");
        assert_eq!(found.models, ["full", "no_kl"]);
        let error = plan(&config, None, &["no_such"]).expect_err("unknown");
        assert!(
            error.contains("\"no_such\"") && error.contains("no_generator"),
            "{error}"
        );
        let error = plan(&config, Some(&[501]), &[]).expect_err("odd");
        assert!(
            error.contains("train_501") && error.contains("even"),
            "{error}"
        );
        let error =
            plan(&config, Some(&[500, 502, 500]), &[]).expect_err("two cells in one folder");
        assert!(
            error.contains("train_500 is asked for twice") && !error.contains("502"),
            "{error}"
        );
    }
}
