//! One gene from the files to its arrays, each number worked out by hand.

use std::collections::BTreeMap;

use dataset::{
    DataDescription, DatasetError, ExampleReader, ExampleSource, NO_BASE, RegionCode, SkipReason,
    Split,
};

use genome::{ChromSizes, Interval, write_bigwig};

use crate::tiny_genome::{CHROMS, DNASE, GENES, H3K27AC, TinyGenome, letter};

/// Relative, of one f32 rounding.
const RTOL: f64 = 1e-6;

fn close(found: f32, expected: f64) -> bool {
    (f64::from(found) - expected).abs() <= RTOL * expected.abs()
}

/// Value of a track at a position of chr1, 0 where it has no data.
fn value_at(stretches: &[(u64, u64, f32)], position: i64) -> f32 {
    stretches
        .iter()
        .find(|(start, end, _)| (*start as i64..*end as i64).contains(&position))
        .map_or(0.0, |(_, _, value)| *value)
}

/// p(d) of the method.
fn power_law(distance: f64) -> f64 {
    (-4.80 + 11.63 * 0.87 - 0.87 * (distance.max(5000.0) + 1.0).ln()).exp()
}

#[test]
fn genes_without_expression_are_skipped_and_listed() {
    let reader = ExampleReader::open(&TinyGenome::write().config_with(&[])).unwrap();
    let symbols: Vec<&str> = reader
        .genes()
        .iter()
        .map(|gene| gene.symbol.as_str())
        .collect();
    assert_eq!(
        symbols,
        ["LEFT", "PLUS", "MINUS", "MIDDLE", "LINC", "RIGHT", "SHORT"]
    );
    let [skipped] = reader.skipped() else {
        panic!("{:?}", reader.skipped())
    };
    assert_eq!((skipped.symbol.as_str(), skipped.line), ("UNKNOWN", 9));
    assert_eq!(skipped.reason, SkipReason::NoExpression);
    let without: Vec<&str> = reader
        .genes_without_mrna()
        .map(|gene| gene.symbol.as_str())
        .collect();
    assert_eq!(without, ["MINUS", "LINC", "RIGHT", "SHORT"]);
    assert_eq!(reader.indices_of(Split::Valid), [2, 6]);
    assert_eq!((reader.length(), reader.n_tracks()), (40, 3));
}

#[test]
fn every_position_of_every_gene_is_what_the_files_hold() {
    let reader = ExampleReader::open(&TinyGenome::write().config_with(&[])).unwrap();
    // The last gene of the table has no expression.
    assert_eq!(reader.len(), GENES.len() - 1);
    for (index, (symbol, chrom, tss, ..)) in GENES.into_iter().enumerate().take(reader.len()) {
        let example = ExampleReader::read(&reader, index).unwrap();
        assert_eq!(example.gene().symbol, symbol);
        let chrom_index = CHROMS.iter().position(|(name, _)| *name == chrom).unwrap();
        let chrom_length = CHROMS[chrom_index].1 as i64;
        for offset in 0..40 {
            let position = tss as i64 - 20 + offset as i64;
            let inside = (0..chrom_length).contains(&position);
            let at = format!("{symbol} offset {offset} position {position}");

            let expected = match inside {
                true => match letter(chrom_index, position as u64).to_ascii_uppercase() {
                    b'N' => NO_BASE,
                    base => b"ACGT".iter().position(|b| *b == base).unwrap() as u8,
                },
                false => NO_BASE,
            };
            assert_eq!(example.base_codes()[offset], expected, "{at}");

            let row = &example.tracks()[3 * offset..3 * offset + 3];
            let on_chr1 = chrom == "chr1" && inside;
            let track = |stretches| {
                if on_chr1 {
                    value_at(stretches, position)
                } else {
                    0.0
                }
            };
            assert_eq!(row[..2], [track(&H3K27AC), track(&DNASE)], "{at}");
            let expected = match inside {
                // Every distance here is below 5,000, where the power law is flat.
                true => (power_law(0.0) + 1.0).log10(),
                false => 0.0,
            };
            assert!(
                close(row[2], expected),
                "{at}: {} against {expected}",
                row[2]
            );

            let expected = match position {
                _ if (18..22).contains(&offset) => RegionCode::One, // promoter
                95..97 if chrom == "chr1" => RegionCode::One,       // included
                92..99 | 2990..3000 if chrom == "chr1" => RegionCode::Zero,
                _ => RegionCode::Keep,
            };
            assert_eq!(example.regions()[offset], expected, "{at}");
        }
    }
}

#[test]
fn strand_does_not_flip_the_window() {
    let reader = ExampleReader::open(&TinyGenome::write().config_with(&[])).unwrap();
    let (plus, minus) = (
        ExampleReader::read(&reader, 1).unwrap(),
        ExampleReader::read(&reader, 2).unwrap(),
    );
    assert_eq!(plus.base_codes(), minus.base_codes());
    assert_eq!(plus.tracks(), minus.tracks());
    assert_eq!(plus.window(), minus.window());
}

#[test]
fn features_and_targets_are_as_worked_out_by_hand() {
    let reader = ExampleReader::open(&TinyGenome::write().config_with(&[])).unwrap();
    let read = |index| ExampleReader::read(&reader, index).unwrap();
    // Training genes with mRNA: LEFT and PLUS (LINC has none).
    //   5'UTR: log10(10), log10(100) = 1, 2: mean 1.5, deviation 0.5; MIDDLE log10(1) = 0 → -3
    //   CDS: both 2: deviation 0 → 0.   Introns: both 0 → 0.
    //   3'UTR: 3, 1: mean 2, deviation 1; MIDDLE 1 → -1
    //   GC: 5'UTR mean 0.6 (MIDDLE has none), CDS 0.5, 3'UTR 0.5; density mean 2
    // Activity over [tss - 500, tss + 500), means over 1,000:
    //   LEFT (3): h3k27ac 40 * 2 / 1000 = 0.08, dnase (3 * 1.5 + 20 * 4) / 1000 = 0.0845
    //   MIDDLE (1500): h3k27ac 400 * 1 / 1000 = 0.4, dnase 200 * 9 / 1000 = 1.8
    let left: f64 = 0.08 * 0.0845;
    let middle: f64 = 0.4 * 1.8;
    let cases: [(usize, [f64; 9]); 3] = [
        (0, [-1.0, 0.0, 0.0, 1.0, 0.5, 0.25, 0.75, 0.0, left.sqrt()]),
        (3, [-3.0, 0.0, 0.0, -1.0, 0.6, 0.5, 0.5, 1.0, middle.sqrt()]),
        (6, [0.0, 0.0, 0.0, 0.0, 0.6, 0.5, 0.5, 2.0, 0.0]),
    ];
    for (index, expected) in cases {
        let example = read(index);
        for (found, expected) in example.features().iter().zip(expected) {
            assert!(close(*found, expected), "{index}: {:?}", example.features());
        }
    }
    // log10(0 + 1), log10(9 + 1), log10(99 + 1), …, log10(999 + 1)
    for (index, target) in [(0, 0.0), (1, 1.0), (2, 2.0), (5, 3.0)] {
        assert_eq!(read(index).target(), Some(target));
    }
}

#[test]
fn options_change_what_they_say() {
    let tiny = TinyGenome::write();
    let open = |replace: &[(&str, &str)]| ExampleReader::open(&tiny.config_with(replace)).unwrap();

    let kept = open(&[("length = 40", "length = 40\nmissing_expression = \"keep\"")]);
    assert_eq!(kept.len(), 8);
    assert_eq!(ExampleReader::read(&kept, 7).unwrap().target(), None);

    let coding = open(&[(
        "length = 40",
        "length = 40\ngene_types = [\"protein_coding\"]",
    )]);
    assert_eq!(coding.len(), 6);
    assert_eq!(
        coding.skipped()[0].reason.to_string(),
        "gene type lincRNA is not kept"
    );

    let plain = open(&[("value = \"tpm\"", "value = \"tpm\", transform = \"none\"")]);
    assert_eq!(
        ExampleReader::read(&plain, 5).unwrap().target(),
        Some(999.0)
    );

    let no_contact = open(&[("contact =", "# contact =")]);
    assert_eq!(no_contact.n_tracks(), 2);

    let all = open(&[("by = \"column\"", "by = \"all\"")]);
    assert_eq!(all.indices_of(Split::Test).len(), 7);
    let scaling = *open(&[]).feature_scaling();
    let config = tiny.config_with(&[("by = \"column\"", "by = \"all\"")]);
    let scaled = ExampleReader::open_with_scaling(&config, &scaling).unwrap();
    assert_eq!(
        ExampleReader::read(&scaled, 0).unwrap().features(),
        ExampleReader::read(&open(&[]), 0).unwrap().features()
    );

    // Genes that a scaling is brought for may all be without a coding transcript.
    let linc = [
        ("by = \"column\"", "by = \"all\""),
        ("length = 40", "length = 40\ngene_types = [\"lincRNA\"]"),
    ];
    let scaled = ExampleReader::open_with_scaling(&tiny.config_with(&linc), &scaling).unwrap();
    assert_eq!(
        ExampleReader::read(&scaled, 0).unwrap().features(),
        ExampleReader::read(&open(&[]), 4).unwrap().features()
    );
    let notes = DataDescription::without_sources(&scaled).notes();
    let note = "1 genes have no coding transcript, so their mRNA features are the mean";
    assert!(notes.iter().any(|text| text.starts_with(note)), "{notes:?}");
    let error = ExampleReader::open(&tiny.config_with(&linc)).unwrap_err();
    assert!(matches!(error, DatasetError::NoMrna { .. }), "{error}");

    // Windows of 40. Training: LEFT (3), PLUS (100), LINC (2000); validation: MINUS (100), SHORT on
    // chr2; test: MIDDLE (1500), RIGHT (2999). Only MINUS shares bases, with PLUS.
    let overlaps: Vec<(Split, Split, usize, usize)> = open(&[])
        .split_overlaps()
        .iter()
        .map(|row| (row.split, row.with, row.n_windows, row.of))
        .collect();
    use Split::{Test, Train, Valid};
    assert_eq!(
        overlaps,
        [
            (Valid, Train, 1, 2),
            (Test, Train, 0, 2),
            (Test, Valid, 0, 2)
        ]
    );
}

#[test]
fn tracks_that_are_0_in_every_window_are_noted() {
    let tiny = TinyGenome::write();
    let notes = || {
        let reader = ExampleReader::open(&tiny.config_with(&[])).unwrap();
        DataDescription::without_sources(&reader).notes()
    };
    let is_empty = |text: &String| text.contains("is 0 at every base");
    assert!(!notes().iter().any(is_empty), "{:?}", notes());
    // No window of 40 around a gene reaches this place.
    let sizes = ChromSizes::new(CHROMS.map(|(name, n)| (name.to_string(), n)).into());
    let row = (Interval::try_new("chr1", 700, 710).unwrap(), 5.0);
    write_bigwig(tiny.path("dnase.bw"), &sizes, [row]).unwrap();
    let expected = "track dnase is 0 at every base of the 7 windows";
    let found: Vec<String> = notes().into_iter().filter(is_empty).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[test]
fn start_sites_move_to_peaks_and_are_counted() {
    let tiny = TinyGenome::write();
    // PLUS and MINUS are at 100, LEFT at 3; the others have no peak within 50 bp.
    let peaks = "chr1\t110\t111\tp\t9\t+\nchr1\t100\t101\tm\t9\t-\nchr1\t53\t54\tl\t9\t+\n";
    std::fs::write(tiny.path("peaks.bed"), peaks).unwrap();
    let declared = "tss_peaks = { path = \"peaks.bed\", max_distance = 50 }\nlength = 40";
    let reader = ExampleReader::open(&tiny.config_with(&[("length = 40", declared)])).unwrap();
    let sites: Vec<u64> = reader.genes().iter().map(|gene| gene.tss).collect();
    assert_eq!(sites, [53, 110, 100, 1500, 2000, 2999, 399]);
    let counts = reader.tss_counts().unwrap();
    // UNKNOWN has no peak either, and is counted before it is left out.
    assert_eq!(
        (counts.moved, counts.confirmed, counts.without_peak),
        (2, 1, 5)
    );
    let window = ExampleReader::read(&reader, 1).unwrap().window().clone();
    assert_eq!((window.start(), window.tss()), (90, 110));
    let notes = DataDescription::without_sources(&reader).notes();
    let note = "2 moved to a peak of ";
    assert!(notes.iter().any(|text| text.contains(note)), "{notes:?}");
}

#[test]
fn aliased_files_are_read_under_their_own_names() {
    let tiny = TinyGenome::write();
    let expected = ExampleReader::open(&tiny.config_with(&[])).unwrap();
    tiny.edit("genes.tsv", "chr1", "1");
    tiny.edit("exclude.bed", "chr1", "1");
    let aliased = ExampleReader::open(
        &tiny.config_with(&[("length = 40", "length = 40\nchrom_alias = { 1 = \"chr1\" }")]),
    )
    .unwrap();
    for index in 0..expected.len() {
        assert_eq!(
            ExampleReader::read(&aliased, index).unwrap(),
            ExampleReader::read(&expected, index).unwrap()
        );
    }
}

#[test]
fn track_that_lacks_a_chromosome_is_zero_there_and_counted_when_declared() {
    let tiny = TinyGenome::write();
    // dnase.bw without chr2, where SHORT lies (UNKNOWN has no expression).
    let sizes = ChromSizes::new(vec![("chr1".to_string(), CHROMS[0].1)]);
    let rows =
        DNASE.map(|(start, end, value)| (Interval::try_new("chr1", start, end).unwrap(), value));
    write_bigwig(tiny.path("dnase.bw"), &sizes, rows).unwrap();
    let undeclared = ExampleReader::open(&tiny.config_with(&[])).unwrap_err();
    let message = undeclared.to_string();
    assert!(
        message.contains("dnase.bw: no chromosome \"chr2\" (1 genes); there are chr1;"),
        "{message}"
    );

    let declared = "path = \"dnase.bw\"\nabsent = \"no_data\"";
    let config = tiny.config_with(&[("path = \"dnase.bw\"", declared)]);
    let reader = ExampleReader::open(&config).unwrap();
    let counts = BTreeMap::from([("chr2".to_string(), 1)]);
    assert_eq!(
        reader.absent_chroms(),
        BTreeMap::from([("dnase".to_string(), counts)])
    );
    let short = ExampleReader::read(&reader, 6).unwrap();
    assert_eq!(short.gene().symbol, "SHORT");
    assert!(short.tracks().chunks_exact(3).all(|row| row[1] == 0.0));
    assert_eq!(short.features()[8], 0.0);
    // Elsewhere the track is what it was.
    let left = ExampleReader::read(&reader, 0).unwrap();
    assert_eq!(left.tracks()[3 * 17 + 1], 1.5); // offset 17 of [-17, 23) is position 0
}

#[test]
fn declared_transforms_apply_in_their_order() {
    // MIDDLE has dnase 9 at its start site: 9 * 2 = 18, clipped to 9, log10(10) = 1.
    let declared = "path = \"dnase.bw\"\nscale = 2\nclip = [0, 9]\ntransform = \"log10p1\"";
    let tiny = TinyGenome::write();
    let config = tiny.config_with(&[("path = \"dnase.bw\"", declared)]);
    let reader = ExampleReader::open(&config).unwrap();
    let middle = ExampleReader::read(&reader, 3).unwrap();
    assert_eq!(middle.tracks()[3 * 20 + 1], 1.0);
}

#[test]
fn activity_takes_the_logarithm_where_it_is_asked_for() {
    let files = TinyGenome::write();
    let last_feature = |more: &str| {
        let config = files.config_with(&[("length = 40", &format!("length = 40\n{more}"))]);
        let reader = ExampleReader::open(&config).unwrap();
        let example = reader.read(3).unwrap();
        assert_eq!(example.gene().symbol, "MIDDLE");
        *example.features().last().unwrap()
    };
    // [1000, 2000): h3k27ac is 1 on 400 bases, dnase 9 on 200: sqrt(0.4 * 1.8).
    let activity = 0.72_f64.sqrt();
    let raw = last_feature("activity_transform = \"raw\"");
    assert!(close(raw, activity), "{raw}");
    let logarithm = last_feature("activity_transform = \"log10p1\"");
    assert!(close(logarithm, (activity + 1.0).log10()), "{logarithm}");
}
