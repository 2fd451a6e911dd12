use super::*;
use crate::expression_config::ExpressionTransform;

const MINIMAL: &str = r#"
genome = "genome.fa"
genes = "/data/genes.tsv"
expression = { path = "expression.tsv", value = "tpm" }
split = { by = "fold", fold = 11 }
"#;

fn parse(more: &str) -> DataConfig {
    toml::from_str(&format!("{more}\n{MINIMAL}")).unwrap()
}

#[test]
fn minimal_config_takes_the_published_values() {
    let config = parse("contact = { path = \"a.hic\" }");
    assert_eq!((config.length, config.promoter), (200_000, 2_000));
    assert_eq!(config.expression.key, "gene");
    assert_eq!(config.expression.transform, ExpressionTransform::Log10p1);
    assert_eq!(config.missing_expression, MissingExpression::Skip);
    assert_eq!(
        config.contact.as_ref().map(|contact| contact.resolution),
        Some(5_000)
    );
    assert_eq!(config.track_names(), ["contact"]);
    assert_eq!(config.validate(), [""; 0]);
}

#[test]
fn resolve_leaves_absolute_paths_alone() {
    let config = parse("tracks = [{ name = \"a\", path = \"a.bw\" }]").resolve(Path::new("/x"));
    let paths: Vec<_> = config
        .source_files()
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    let expected = [
        "/x/genome.fa",
        "/data/genes.tsv",
        "/x/expression.tsv",
        "/x/a.bw",
    ];
    assert_eq!(paths, expected.map(Path::new));
}

#[cfg(unix)]
#[test]
fn validate_names_a_path_that_is_no_text() {
    use std::os::unix::ffi::OsStrExt;
    // The folder n\u{e9} in Latin-1; the absolute path of the genes does not have it.
    let folder = Path::new(std::ffi::OsStr::from_bytes(b"/n\xe9"));
    let problems = parse("").resolve(folder).validate();
    assert_eq!(problems.len(), 2, "{problems:?}");
    for (problem, role) in problems.iter().zip(["genome", "expression"]) {
        assert!(
            problem.starts_with(&format!("{role}: the path /n")),
            "{problem}"
        );
        assert!(problem.contains("rename"), "{problem}");
    }
}

#[test]
fn resolve_joins_every_path_with_the_folder() {
    let text = "
        genome = 'file'
        genes = 'file'
        annotation = 'file'
        mrna_features = 'file'
        include = 'file'
        exclude = 'file'
        peaks = ['file', 'file']
        promoter_activity = { path = 'file', columns = ['v'] }
        tss_peaks = { path = 'file' }
        expression = { path = 'file', minus = 'file', value = 'v' }
        split = { by = 'table', path = 'file', key = 'ENSID', column = 'fold_1' }
        contact = { path = 'file' }
        candidates = { elements = 'file', links = 'file' }
        tracks = [{ name = 'a', path = 'file' }, { name = 'b', path = 'file' }]
    ";
    let config: DataConfig = toml::from_str(text).unwrap();
    let resolved = config.resolve(Path::new("/x"));
    let files = resolved.source_files();
    assert_eq!(files.len(), text.matches("'file'").count());
    for (role, path) in files {
        assert_eq!(path, Path::new("/x/file"), "{role}");
    }
    assert_eq!(
        resolved.tss_peaks.map(|peaks| peaks.max_distance),
        Some(500)
    );
}

#[test]
fn peaks_are_one_file_or_a_list() {
    for (text, expected) in [
        ("", &[][..]),
        ("peaks = \"a.bed\"", &["/x/a.bed"]),
        (
            "peaks = [\"a.bed\", \"/y/b.bed\"]",
            &["/x/a.bed", "/y/b.bed"],
        ),
    ] {
        let config = parse(text).resolve(Path::new("/x"));
        assert_eq!(
            config.peaks,
            expected.iter().map(PathBuf::from).collect::<Vec<_>>()
        );
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<DataConfig>(&json).unwrap(), config);
        // Data sets without peaks keep the digest that they had before there were any.
        assert_eq!(json.contains("\"peaks\":"), json.contains(".bed"), "{json}");
    }
}

#[test]
fn config_survives_json() {
    let config = parse(
        "contact = { fallback = \"power_law\" }\nchrom_alias = { 22 = \"chr22\" }\n\
         tracks = [{ name = \"a\", path = \"a.bw\", transform = \"log10p1\" }]",
    );
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<DataConfig>(&json).unwrap(), config);
}

#[test]
fn mask_priors_keep_the_order_of_the_tracks_and_end_with_the_contact() {
    let config = parse(
        "tracks = [{ name = \"dnase\", path = \"d\" }, { name = \"x\", path = \"x\" }, \
         { name = \"y\", path = \"y\", beta = 3, weight = 0.5 }]\n\
         contact = { path = \"c\", weight = 0.1 }",
    );
    let found: Vec<Option<(f32, f32)>> = config
        .mask_priors()
        .iter()
        .map(|prior| prior.map(|prior| (prior.beta, prior.weight)))
        .collect();
    let expected = [Some((0.2, 0.4)), None, Some((3.0, 0.5)), Some((1.0, 0.1))];
    assert_eq!(found, expected);
}

#[test]
fn activity_tracks_default_to_the_published_pair_in_its_order() {
    let tracks = "tracks = [{ name = \"dnase\", path = \"d\" }, { name = \"x\", path = \"x\" }, \
                  { name = \"h3k27ac\", path = \"h\" }]";
    assert_eq!(parse(tracks).activity_track_indices(), [2, 0]);
    let named = parse(&format!("{tracks}\nactivity_tracks = [\"x\"]"));
    assert_eq!(named.activity_track_indices(), [1]);
}

#[test]
fn validate_names_each_problem() {
    let cases = [
        ("length = 199999", "length 199999 must be even"),
        ("length = 268435458", "is longer than"),
        ("promoter = 0", "promoter 0 must be even"),
        ("promoter = 200002", "at most length (200000)"),
        ("gene_types = []", "gene_types is empty"),
        ("contact = {}", "contact has no path"),
        (
            "contact = { path = \"a\", fallback = \"power_law\" }",
            "a path and a fallback",
        ),
        (
            "contact = { path = \"a\", resolution = 0 }",
            "at least 1 bp",
        ),
        (
            "contact = { fallback = \"power_law\", absent = \"no_data\" }",
            "no file that could lack",
        ),
        (
            "tracks = [{ name = \"contact\", path = \"a\" }]",
            "is kept for the contact",
        ),
        (
            "tracks = [{ name = \"a b\", path = \"a\" }]",
            "must be letters",
        ),
        (
            "tracks = [{ name = \"a\", path = \"a\" }, { name = \"a\", path = \"b\" }]",
            "is used twice",
        ),
        ("candidates = {}", "needs one of elements and links"),
        (
            "candidates = { links = \"a\", element_length = 3 }",
            "element_length 3 must be even",
        ),
        ("activity_tracks = [\"a\"]", "which is no track"),
        (
            "chrom_alias = { a = \"b\", b = \"c\" }",
            "is itself an alias",
        ),
    ];
    for (text, part) in cases {
        let problems = parse(text).validate();
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{text}: {problems:?}"
        );
    }
}
