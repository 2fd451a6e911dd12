use dataset::{RegionCode, Window};
use genome::{BigWig, read_regions};

use super::*;

fn provenance() -> Provenance {
    Provenance {
        version: "0.1.0".to_string(),
        model_digest: "ab12".to_string(),
        genome_digest: "cd34".to_string(),
        seeds: vec![2, 22],
        ..Provenance::default()
    }
}

fn writer(folder: &Path) -> DiscoveryWriter {
    let sizes = vec![("chr2".to_string(), 100), ("chr10".to_string(), 50)];
    let config = DiscoverConfig {
        select: Selection::Threshold(0.5),
        merge_within: 0,
        min_length: 2,
        promoter: PromoterElements::Report,
    };
    let tracks = vec!["h3k27ac".to_string()];
    DiscoveryWriter::create(folder, ChromSizes::new(sizes), config, tracks, provenance())
        .expect("the folder can be made")
}

fn add(writer: &mut DiscoveryWriter, symbol: &str, place: &Window, mask: &[f32]) {
    let regions = vec![RegionCode::Keep; mask.len()];
    let track: Vec<f32> = (0..mask.len()).map(|offset| offset as f32).collect();
    let gene = MaskedWindow::try_new(symbol, place, Strand::Reverse, 2, &regions, mask)
        .and_then(|gene| gene.with_tracks(&track, 1))
        .expect("mask and tracks fit");
    writer.add(&gene).expect("the mask can be written");
}

#[test]
fn discovery_writes_sorted_elements_and_masks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut writer = writer(folder.path());
    let later = Window::centered_on("chr10", 2, 10, 50).expect("a window");
    let first = Window::centered_on("chr2", 50, 10, 100).expect("a window");
    let mask = [0.9, 0.9, 0.0, 0.0, 1.0, 1.0, 0.0, 0.75, 0.85, 0.0];
    add(&mut writer, "LATER", &later, &mask);
    add(&mut writer, "FIRST", &first, &mask);
    let found = writer.finish().expect("the elements can be written");

    let path = folder.path().join(ELEMENTS_FILE);
    let rows = read_regions(&path).expect("a BED file");
    let places: Vec<String> = rows.iter().map(|row| row.interval.to_string()).collect();
    // chr2 stands before chr10 in the chromosome sizes. LATER's window begins at base -3, so
    // its first element (offsets 0 and 1) lies before the chromosome.
    assert_eq!(
        places,
        [
            "chr2:46-47",
            "chr2:50-51",
            "chr2:53-54",
            "chr10:2-3",
            "chr10:5-6"
        ]
    );
    assert_eq!(found.elements.len(), 5);
    assert_eq!(rows[0].name.as_deref(), Some("FIRST|e1"));
    assert_eq!((rows[0].score, rows[0].strand), (Some(900.0), None));
    assert_eq!(rows[1].name.as_deref(), Some("FIRST|promoter"));
    assert_eq!(rows[1].strand, Some(Strand::Reverse));
    // Offsets 7 and 8: mean 0.8, sum 1.6, summit base 53, 2 left-to-right from the TSS (50),
    // so 2 upstream of a reverse gene; the track is the offset.
    assert_eq!(
        rows[2].rest,
        [
            "52", "54", "213,94,0", "FIRST", "-", "element", "0.8000", "0.8500", "1.6", "53", "-2",
            "1.0000", "7.5000"
        ]
    );
    assert!(path.with_extension("gz.tbi").exists());

    let mask_file = BigWig::open(folder.path().join("masks/LATER.bw")).expect("a bigWig");
    let inside = Interval::try_new("chr10", 0, 8).expect("0 <= 8");
    let values = mask_file.read_values(&inside).expect("values");
    let expected = [0.0, 1.0, 1.0, 0.0, 0.75, 0.85, 0.0];
    assert_eq!(values[..7], expected);
    assert!(values[7].is_nan(), "no data after the window");
    assert_eq!(mask_file.chrom_sizes().len(), 2);
}

#[test]
fn masks_are_rounded_to_the_nearest_thousandth() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut writer = writer(folder.path());
    let place = Window::centered_on("chr2", 50, 6, 100).expect("a window");
    let mask = [0.0004, 0.0006, 1.0, 1.0, 0.9996, 0.4994];
    add(&mut writer, "G", &place, &mask);
    let file = BigWig::open(folder.path().join("masks/G.bw")).expect("a bigWig");
    let window = Interval::try_new("chr2", 47, 53).expect("47 <= 53");
    let found = file.read_values(&window).expect("values");
    assert_eq!(found, [0.0, 0.001, 1.0, 1.0, 1.0, 0.499]);
}

#[test]
fn discovery_without_genes_writes_an_empty_list_with_its_header() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    writer(folder.path()).finish().expect("no rows are fine");
    let rows = read_regions(folder.path().join(ELEMENTS_FILE)).expect("a BED file");
    assert!(rows.is_empty());
}

#[test]
fn header_holds_provenance_and_column_names() {
    let config = DiscoverConfig::default();
    let lines = header_lines(&config, &["DNase seq".to_string()], &provenance());
    assert_eq!(lines[0], "# seq2exp: 0.1.0");
    assert!(lines.contains(&"# model_sha256: ab12".to_string()));
    assert!(lines.contains(&"# seeds: 2,22".to_string()));
    assert!(!lines.iter().any(|line| line.contains("data_sha256")));
    let columns = lines.last().expect("column names come last");
    assert!(columns.starts_with("#chrom\tstart\tend\tname\tscore\tstrand\t"));
    assert!(columns.ends_with("\tdistance\tselected\tmean_DNase_seq"));
    assert!(lines.iter().all(|line| line.starts_with('#')));
}

#[test]
fn file_stem_is_safe_and_keeps_symbols_apart() {
    for plain in ["MYC", "HLA-A", "AC004471.1", "ANKRD62P1-PARP4P3", "a_b"] {
        assert_eq!(file_stem(plain), plain);
    }
    for odd in [
        "../../etc/passwd",
        "a b",
        "a/b",
        "a:b",
        ".hidden",
        "",
        "é",
        "a\0b",
    ] {
        let stem = file_stem(odd);
        assert_ne!(stem, odd);
        assert!(!stem.starts_with('.') && !stem.is_empty());
        assert!(
            stem.chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        );
    }
    assert_ne!(file_stem("a b"), file_stem("a:b"));
    assert!(file_stem(&"x".repeat(5000)).len() < 120);
}

#[test]
fn symbols_that_differ_in_case_get_two_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut writer = writer(folder.path());
    let place = Window::centered_on("chr2", 50, 4, 100).expect("a window");
    add(&mut writer, "C1orf1", &place, &[0.0; 4]);
    add(&mut writer, "C1ORF1", &place, &[0.0; 4]);
    let files: HashSet<String> = writer
        .found
        .genes
        .iter()
        .map(|gene| gene.mask_file.display().to_string().to_lowercase())
        .collect();
    assert_eq!(files.len(), 2);
}

#[test]
fn config_reads_both_selections_and_rejects_unknown_keys() {
    let read = |text: &str| toml::from_str::<DiscoverConfig>(text);
    assert_eq!(read("").expect("all defaults"), DiscoverConfig::default());
    let config = read("select = { threshold = 0.4 }\npromoter = 'leave_out'").expect("valid");
    assert_eq!(config.select, Selection::Threshold(0.4));
    assert_eq!(config.promoter, PromoterElements::LeaveOut);
    assert_eq!(
        read("select.top_fraction = 0.2").expect("valid").select,
        Selection::TopFraction(0.2)
    );
    for bad in [
        "treshold = 0.4",
        "select = { top = 0.4 }",
        "min_length = -1",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    let written = toml::to_string(&config).expect("a config is TOML");
    assert_eq!(read(&written).expect("what was written is read"), config);
}

#[test]
fn config_validate_names_values_out_of_range() {
    let with = |select| DiscoverConfig {
        select,
        ..DiscoverConfig::default()
    };
    for sound in [0.1, 1.0] {
        assert!(with(Selection::Threshold(sound)).validate().is_empty());
        assert!(with(Selection::TopFraction(sound)).validate().is_empty());
    }
    assert!(with(Selection::Threshold(0.0)).validate().is_empty());
    for bad in [-0.1, 1.1, f64::NAN] {
        assert_eq!(with(Selection::Threshold(bad)).validate().len(), 1);
        assert_eq!(with(Selection::TopFraction(bad)).validate().len(), 1);
    }
    assert_eq!(with(Selection::TopFraction(0.0)).validate().len(), 1);
}

#[test]
fn genes_with_a_nearly_flat_mask_are_counted() {
    let gene = |symbol: &str, element_ratio| GeneMaskSummary {
        symbol: symbol.to_string(),
        mask_ratio: 0.2,
        chosen_ratio: 0.1,
        limit: Some(0.1),
        element_ratio,
        n_elements: 1,
        mask_file: PathBuf::from("masks/x.bw"),
    };
    let discovery = |genes| Discovery {
        elements: Vec::new(),
        genes,
    };
    let top_tenth = DiscoverConfig::default();
    let found = discovery(vec![
        gene("SHARP", 0.125),
        gene("FLAT", 0.875),
        gene("NOTHING", f64::NAN),
        gene("HALF", 0.5),
        gene("WHOLE", 1.0),
    ]);
    // (0.125 + 0.875 + 0.5 + 1) / 4
    assert_eq!(found.mean_element_ratio(), Some(0.625));
    let note = found.note_flat_masks(&top_tenth).expect("two are flat");
    assert!(
        note.starts_with("in 2 of 5 genes, the first is FLAT, elements cover over half"),
        "{note}"
    );
    // Who asks for most of the window, or for all above a value, gets it.
    for select in [Selection::TopFraction(0.6), Selection::Threshold(0.1)] {
        let config = DiscoverConfig {
            select,
            ..top_tenth
        };
        assert_eq!(found.note_flat_masks(&config), None);
    }
    let sharp = discovery(vec![gene("SHARP", 0.125), gene("HALF", 0.5)]);
    assert_eq!(sharp.note_flat_masks(&top_tenth), None);
    assert_eq!(discovery(Vec::new()).mean_element_ratio(), None);
}
