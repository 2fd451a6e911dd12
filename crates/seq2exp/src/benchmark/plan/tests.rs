use super::*;

const EXPERIMENT: &str = r#"
name = "base"
seeds = [5, 6]
[data]
genome = "genome.fa"
genes = "genes.tsv"
length = 4000
promoter = 200
expression = { path = "expression.tsv", value = "tpm" }
tracks = [{ name = "h3k27ac", path = "h.bw" }, { name = "dnase", path = "d.bw" }]
contact = { fallback = "power_law" }
split = { by = "fold", fold = 11 }
[model]
kind = "seq2exp_soft"
d_model = 16
promoter = 200
[train]
steps = 7
warmup_steps = 2
"#;

fn plan(benchmark: &str) -> Result<Plan, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    };
    write("experiment.toml", EXPERIMENT);
    let path = write("benchmark.toml", benchmark);
    Plan::read(&path).map_err(|error| error.to_string())
}

#[test]
fn cells_are_the_product_of_models_seeds_data_sets_and_folds() {
    let plan = plan(
        "name = 'b'\nbase = 'experiment.toml'\nseeds = [2, 22]\nfolds = [1, 11]\n\
         size = { d_model = 8, n_layer = 1 }\nset.train.steps = 9\n\
         [[dataset]]\nname = 'two tracks'\n\
         [[dataset]]\nname = 'one track'\n\
         data = { genome = '/g.fa', genes = 'other.tsv', expression = { path = 'e.tsv', value = 'tpm' }, \
         tracks = [{ name = 'dnase', path = 'd.bw' }], split = { by = 'blocks', n_blocks = 12, test_block = 0 } }\n\
         [[model]]\nname = 'as it is'\n\
         [[model]]\nkind = 'hyena'\nset = { train.lr = 0.125, model.n_layer = 3 }\n",
    )
    .expect("sound");
    assert_eq!(plan.cells.len(), 16);
    assert_eq!(plan.models, ["as it is", "hyena"]);
    assert_eq!(plan.reference, None);
    let first: Vec<_> = plan.cells[..4]
        .iter()
        .map(|cell| (cell.fold, cell.seed, cell.model.as_str()))
        .collect();
    // Both models of a fold and seed come before the next seed.
    let expected = [
        (2, "as it is"),
        (2, "hyena"),
        (22, "as it is"),
        (22, "hyena"),
    ];
    assert_eq!(first, expected.map(|(seed, model)| (Some(1), seed, model)));

    let soft = &plan.cells[0].config;
    assert_eq!((soft.seeds.as_slice(), soft.train.steps), (&[2][..], 9));
    assert_eq!((soft.model.d_model(), soft.model.n_tracks()), (16, 3));
    assert_eq!(soft.data.split, SplitConfig::Fold { fold: 1 });
    assert!(soft.data.genome.is_absolute());

    let hyena = &plan.cells.last().expect("cells").config;
    // size, then the model's own settings; the length and the promoter are the base's, the track the data set's.
    assert_eq!((hyena.model.d_model(), hyena.model.n_tracks()), (8, 1));
    assert_eq!((hyena.data.length, hyena.data.promoter), (4_000, 200));
    let model::NetworkConfig::Hyena(fields) = &hyena.model else {
        panic!("{:?}", hyena.model);
    };
    assert_eq!((fields.n_layer, fields.promoter), (3, 200));
    assert_eq!(hyena.train.lr, 0.125);
    assert_eq!(hyena.data.genome, Path::new("/g.fa"));
    assert!(hyena.data.genes.ends_with("other.tsv") && hyena.data.genes.is_absolute());
    // Fold 11 tests the eleventh block.
    let SplitConfig::Blocks { test_block, .. } = hyena.data.split else {
        panic!("{:?}", hyena.data.split);
    };
    assert_eq!(test_block, 10);
}

#[test]
fn folders_are_apart_and_data_is_shared_between_models_and_seeds() {
    let plan = plan(
        "name = 'b'\nbase = 'experiment.toml'\nfolds = 'all'\n\
         [[model]]\nkind = 'mamba'\n[[model]]\nkind = 'caduceus'\n",
    )
    .expect("sound");
    assert_eq!(plan.cells.len(), 12 * 2 * 2);
    let out = Path::new("/out");
    let folders: HashSet<_> = plan.cells.iter().map(|cell| cell.folder(out)).collect();
    assert_eq!(folders.len(), plan.cells.len());
    let expected = out.join("cells/data/fold_1/mamba/seed_5");
    assert!(folders.contains(&expected), "{folders:?}");
    // One prepared data set a fold: features are standardised over its training genes.
    let data: HashSet<_> = plan
        .cells
        .iter()
        .map(|cell| cell.data_folder(out))
        .collect();
    assert_eq!(data.len(), 12);
}

#[test]
fn released_data_set_takes_the_place_of_the_files() {
    let plan = plan(
        "name = 'b'\nbase = 'experiment.toml'\nfolds = [3]\n\
         [[dataset]]\nname = 'GM12878'\npublished = 'GM12878'\n\
         data.released = { folder = 'GeneExp', cell = 'GM12878' }\n\
         [[model]]\nkind = 'seq2exp_soft'\n[[model]]\nkind = 'seq2exp_hard'\n",
    )
    .expect("sound");
    assert_eq!(plan.reference.as_deref(), Some("seq2exp_soft"));
    assert_eq!(
        plan.datasets,
        [("GM12878".to_string(), Some(PublishedData::GM12878))]
    );
    let config = &plan.cells[0].config;
    let SplitConfig::Table { column, path, .. } = &config.data.split else {
        panic!("{:?}", config.data.split);
    };
    assert_eq!(column, "fold_3");
    assert!(path.is_absolute() && config.data.genome.ends_with("GeneExp/hg38/hg38.ml.fa"));
    // The base's window, which the released files say nothing of.
    assert_eq!(config.data.length, 4_000);
    let hard = plan.cells.iter().find(|cell| cell.model == "seq2exp_hard");
    let model::NetworkConfig::Seq2Exp(fields) = &hard.expect("a model").config.model else {
        panic!("not Seq2Exp");
    };
    // The published settings, fitted to the window.
    assert_eq!((fields.n_positions, fields.d_model), (4_000, 128));
}

#[test]
fn retrained_model_waits_for_the_generator_of_its_seed() {
    let plan = plan(
        "name = 'b'\nbase = 'experiment.toml'\n\
         [[model]]\nkind = 'seq2exp_retrain'\n[[model]]\nkind = 'seq2exp_soft'\n",
    )
    .expect("sound");
    for (index, cell) in plan.cells.iter().enumerate() {
        let Some(needed) = cell.needs() else { continue };
        assert_eq!(plan.cells[needed].model, "seq2exp_soft");
        assert_eq!(plan.cells[needed].seed, cell.seed);
        assert_ne!(needed, index);
        let NetworkConfig::Retrained(fields) = cell.config_in(Path::new("/out")).model else {
            panic!("not retrained");
        };
        let expected = format!("/out/cells/data/seq2exp_soft/seed_{}", cell.seed);
        assert_eq!(fields.generator, Path::new(&expected));
    }
    assert_eq!(
        plan.cells
            .iter()
            .filter(|cell| cell.needs().is_some())
            .count(),
        2
    );
}

#[test]
fn what_does_not_fit_is_named_with_its_lines() {
    let head = "name = 'b'\nbase = 'experiment.toml'\n";
    let cases = [
        (
            "[[model]]\nkind = 'mamba'\n[[model]]\nkind = 'mamba'\n",
            "line 5: two models are called \"mamba\"",
        ),
        (
            "reference = 'x'\n[[model]]\nkind = 'mamba'\n",
            "reference \"x\" is no model; there are mamba",
        ),
        (
            "folds = [13]\n[[model]]\nkind = 'mamba'\n",
            "folds names 13; it must be 1 to 12",
        ),
        (
            "[[model]]\nkind = 'mamba'\nset.train.step = 3\n",
            "line 3: model \"mamba\" on data set \"data\" (line 1): unknown field `step`",
        ),
        (
            "[[model]]\nkind = 'mamba'\nset.data.promoter = 300\nset.model.promoter = 100\n",
            "data.promoter is 300 and model.promoter 100",
        ),
        (
            "set.data.split = { by = 'column' }\nfolds = 'all'\n[[model]]\nkind = 'mamba'\n",
            "the split has none",
        ),
        (
            "[[dataset]]\nname = 'x'\ndata = { genom = 'g' }\n[[model]]\nkind = 'mamba'\n",
            "line 3: data set \"x\": [data] unknown field `genom`",
        ),
        ("[[model]]\nconfig = 'absent.toml'\n", "absent.toml"),
        (
            "[[model]]\nkind = 'seq2exp_retrain'\n",
            "line 3: model \"seq2exp_retrain\" takes the generator of a trained seq2exp_soft, and none is named",
        ),
    ];
    for (text, part) in cases {
        let error = plan(&format!("{head}{text}")).expect_err(part);
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn files_that_a_network_does_not_read_are_not_in_its_cells() {
    let plan = plan(
        "name = 'b'\nbase = 'experiment.toml'\nseeds = [2]\n\
         set.data.peaks = '/p.narrowPeak'\n\
         set.data.candidates = { links = '/l.txt', most = 60, element_length = 2000 }\n\
         [[model]]\nkind = 'seq2exp_soft'\n[[model]]\nkind = 'macs3'\n[[model]]\nkind = 'epinformer'\n\
         [[model]]\nkind = 'caduceus'\n",
    )
    .expect("sound");
    let reads: Vec<_> = plan
        .cells
        .iter()
        .map(|cell| {
            let data = &cell.config.data;
            (
                cell.model.as_str(),
                data.peaks.len(),
                data.candidates.is_some(),
            )
        })
        .collect();
    assert_eq!(
        reads,
        [
            ("seq2exp_soft", 0, false),
            ("macs3", 1, false),
            ("epinformer", 0, true),
            ("caduceus", 0, false)
        ]
    );
    // Those that read neither share one prepared data set.
    let folders: Vec<_> = plan
        .cells
        .iter()
        .map(|cell| cell.data_folder(Path::new("/out")))
        .collect();
    assert_eq!(folders[0], folders[3]);
    assert_ne!(folders[0], folders[1]);
    assert_ne!(folders[0], folders[2]);
}

#[test]
fn paths_in_a_models_file_belong_to_that_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(&path, text).expect("writable");
        path
    };
    let caduceus = EXPERIMENT.replace(
        "kind = \"seq2exp_soft\"",
        "kind = \"caduceus\"\npretrained = \"w\"",
    );
    write("models/caduceus.toml", &caduceus);
    let retrain = EXPERIMENT.replace(
        "kind = \"seq2exp_soft\"",
        "kind = \"seq2exp_retrain\"\ngenerator = \"../soft\"",
    );
    write("models/retrain.toml", &retrain);
    let path = write(
        "benchmark.toml",
        "name = 'b'\n[[model]]\nconfig = 'models/caduceus.toml'\nname = 'a'\n\
         [[model]]\nconfig = 'models/retrain.toml'\nname = 'b'\n\
         [[model]]\nconfig = 'models/caduceus.toml'\nname = 'c'\nset.model.pretrained = 'own'\n",
    );
    let plan = Plan::read(&path).expect("sound");
    let of = |name: &str| {
        let cell = plan.cells.iter().find(|cell| cell.model == name);
        match &cell.expect("planned").config.model {
            NetworkConfig::Caduceus(fields) => fields.pretrained.clone(),
            NetworkConfig::Retrained(fields) => Some(fields.generator.clone()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of("a"), Some(folder.path().join("models/w")));
    assert_eq!(of("b"), Some(folder.path().join("models/../soft")));
    // What the benchmark sets belongs to the benchmark file.
    assert_eq!(of("c"), Some(folder.path().join("own")));
}
