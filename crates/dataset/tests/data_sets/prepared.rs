//! Prepared data sets: what is read is what was written, whoever wrote it.

use std::ops::ControlFlow;
use std::sync::Arc;

use dataset::{
    ContactSource, DATA_FILE_NAME, DatasetError, ExampleReader, ExampleSource, Loader,
    MANIFEST_FILE_NAME, PreparedReader, SplitCounts, describe_data, estimate, write_prepared,
};

use crate::tiny_genome::TinyGenome;

fn silent(_: usize, _: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn prepared_examples_are_bit_identical() {
    let tiny = TinyGenome::write();
    for (replace, name) in [
        (&[][..], "as it is"),
        (&[("contact =", "# contact =")], "without contact"),
        (
            &[("length = 40", "length = 40\npeaks = \"exclude.bed\"")],
            "with peaks",
        ),
        (
            &[
                ("contact =", "# contact ="),
                (
                    "length = 40",
                    "length = 90\npeaks = [\"exclude.bed\", \"include.bed\"]",
                ),
            ],
            "with peaks of two files, without contact",
        ),
        (
            &[(
                "length = 40",
                "length = 90\ncandidates = { elements = \"exclude.bed\", element_length = 4 }",
            )],
            "with candidates",
        ),
        (
            &[(
                "length = 40",
                "length = 90\npeaks = \"include.bed\"\n\
                 candidates = { elements = \"exclude.bed\", element_length = 4, most = 1 }",
            )],
            "with peaks and candidates",
        ),
        (
            &[("length = 40", "length = 4\nmissing_expression = \"keep\"")],
            "short",
        ),
        (
            &[("length = 40", "length = 7000")],
            "longer than the chromosomes",
        ),
    ] {
        let reader = ExampleReader::open(&tiny.config_with(replace)).unwrap();
        let folder = tiny.path("prepared");
        let manifest = write_prepared(&reader, &folder, &mut silent).unwrap();
        let prepared = PreparedReader::open(&folder).unwrap();
        assert_eq!(prepared.manifest(), &manifest, "{name}");
        assert_eq!(prepared.len(), reader.len(), "{name}");
        assert_eq!(prepared.genes(), reader.genes(), "{name}");
        assert_eq!(
            (prepared.length(), prepared.n_tracks()),
            (reader.length(), reader.n_tracks())
        );
        // Backwards, so that nothing depends on the order of reading.
        for index in (0..reader.len()).rev() {
            let (a, b) = (prepared.read(index).unwrap(), reader.read(index).unwrap());
            assert_eq!(a, b, "{name} {index}");
            let bits = |tracks: &[f32]| tracks.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            assert_eq!(bits(a.tracks()), bits(b.tracks()), "{name} {index}");
            assert_eq!(prepared.split(index), reader.split(index));
        }
        assert!(prepared.read(reader.len()).is_err());
    }
}

#[test]
fn prepared_bytes_do_not_depend_on_threads() {
    let tiny = TinyGenome::write();
    let config = tiny.config_with(&[("length = 40", "length = 3000")]);
    let reader = ExampleReader::open(&config).unwrap();
    let bytes: Vec<_> = [1, 2, 5]
        .into_iter()
        .map(|n_threads| {
            let folder = tiny.path(&format!("prepared{n_threads}"));
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            pool.install(|| write_prepared(&reader, &folder, &mut silent))
                .unwrap();
            [DATA_FILE_NAME, MANIFEST_FILE_NAME]
                .map(|name| std::fs::read(folder.join(name)).unwrap())
        })
        .collect();
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn manifest_describes_sources_settings_and_skipped_genes() {
    let tiny = TinyGenome::write();
    let reader = ExampleReader::open(&tiny.config_with(&[])).unwrap();
    let manifest = write_prepared(&reader, tiny.path("prepared"), &mut silent).unwrap();
    let description = &manifest.description;
    assert_eq!(description.tracks, ["h3k27ac", "dnase", "contact"]);
    assert_eq!(description.contact, ContactSource::PowerLaw);
    assert_eq!(
        description.examples,
        SplitCounts {
            train: 3,
            valid: 2,
            test: 2
        }
    );
    assert_eq!(description.skipped, reader.skipped());
    assert_eq!(description.genes_without_mrna.len(), 4);
    assert_eq!(description.sources.len(), 8);
    for source in &description.sources {
        assert_eq!(
            source.size_bytes,
            std::fs::metadata(&source.path).unwrap().len()
        );
        assert_eq!(source.sha256.len(), 64);
    }
    assert_eq!(description, &describe_data(&reader).unwrap());
    let counts = &description.left_out;
    assert_eq!(
        (counts.no_expression, counts.overlaps, counts.gene_type),
        (1, 0, 0)
    );
    assert_eq!(
        description.notes(),
        [
            "genes left out: 1 without measured expression",
            "1 of 2 valid windows share bases with a train window: scores may flatter",
            "4 genes have no coding transcript, so their mRNA features are the mean; the first is MINUS",
            "no contact map: the contact is a power law of distance, the same for every gene",
        ]
    );

    // The digest follows content and settings, not places.
    let moved = TinyGenome::write();
    let digest = |tiny: &TinyGenome, replace: &[(&str, &str)]| {
        let reader = ExampleReader::open(&tiny.config_with(replace)).unwrap();
        describe_data(&reader).unwrap().digest()
    };
    assert_eq!(digest(&moved, &[]), description.digest());
    assert_ne!(
        digest(&moved, &[("promoter = 4", "promoter = 6")]),
        description.digest()
    );
    moved.edit("expression.tsv", "MIDDLE\t3", "MIDDLE\t4");
    assert_ne!(digest(&moved, &[]), description.digest());
}

#[test]
fn open_incomplete_or_changed_data_set_is_an_error() {
    let tiny = TinyGenome::write();
    let reader = ExampleReader::open(&tiny.config_with(&[])).unwrap();
    let folder = tiny.path("prepared");
    let data = folder.join(DATA_FILE_NAME);
    let manifest = folder.join(MANIFEST_FILE_NAME);
    let message = || PreparedReader::open(&folder).unwrap_err().to_string();

    assert!(message().contains("there is no manifest"), "{}", message());
    write_prepared(&reader, &folder, &mut silent).unwrap();
    let good_data = std::fs::read(&data).unwrap();
    let good_manifest = std::fs::read_to_string(&manifest).unwrap();
    let remedy = format!(
        "delete {} and run seq2exp prepare again",
        manifest.display()
    );

    let mut flipped = good_data.clone();
    flipped[good_data.len() / 2] ^= 1;
    for (bytes, part) in [
        (&flipped[..], "sha256"),
        (&good_data[1..], "size"),
        (&[], "size"),
    ] {
        std::fs::write(&data, bytes).unwrap();
        assert!(message().contains(part), "{}", message());
        assert!(message().ends_with(&remedy), "{}", message());
    }
    std::fs::remove_file(&data).unwrap();
    let missing = format!("the data file is missing; {remedy}");
    assert!(message().ends_with(&missing), "{}", message());
    std::fs::write(&data, &good_data).unwrap();

    for (from, to, part) in [
        (
            "\"format_version\": 2",
            "\"format_version\": 1",
            "written in format version 1",
        ),
        (
            "\"length\": 40",
            "\"length\": 42",
            "the columns are not those",
        ),
        ("{", "", "no manifest"),
    ] {
        std::fs::write(&manifest, good_manifest.replacen(from, to, 1)).unwrap();
        assert!(message().contains(part), "{}", message());
        assert!(message().ends_with(&remedy), "{}", message());
    }
    std::fs::write(&manifest, &good_manifest).unwrap();
    assert!(PreparedReader::open(&folder).is_ok());
}

#[test]
fn damaged_data_file_with_a_fitting_digest_never_panics() {
    use sha2::{Digest, Sha256};
    let tiny = TinyGenome::write();
    let reader = ExampleReader::open(&tiny.config_with(&[])).unwrap();
    let folder = tiny.path("prepared");
    let manifest = write_prepared(&reader, &folder, &mut silent).unwrap();
    let good_data = std::fs::read(folder.join(DATA_FILE_NAME)).unwrap();
    let good_manifest = std::fs::read_to_string(folder.join(MANIFEST_FILE_NAME)).unwrap();
    // A prime step visits metadata, offsets and values of every kind of column.
    for position in (0..good_data.len()).step_by(61) {
        let mut data = good_data.clone();
        data[position] ^= 0x55;
        let sha256: String = Sha256::digest(&data)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        std::fs::write(folder.join(DATA_FILE_NAME), &data).unwrap();
        let text = good_manifest.replace(&manifest.data.sha256, &sha256);
        std::fs::write(folder.join(MANIFEST_FILE_NAME), text).unwrap();
        if let Ok(prepared) = PreparedReader::open(&folder) {
            for index in 0..prepared.len() {
                let _ = prepared.read(index);
            }
        }
    }
}

#[test]
fn failed_preparation_keeps_the_older_data_set() {
    let tiny = TinyGenome::write();
    let config = tiny.config_with(&[]);
    let reader = ExampleReader::open(&config).unwrap();
    let folder = tiny.path("prepared");
    write_prepared(&reader, &folder, &mut silent).unwrap();
    let before = std::fs::read(folder.join(DATA_FILE_NAME)).unwrap();

    // A track with an infinite value: found only when its example is read.
    let sizes = genome::ChromSizes::new(vec![("chr1".into(), 3000), ("chr2".into(), 400)]);
    let value = (genome::Interval::try_new("chr1", 2990, 2995).unwrap(), -7.0);
    genome::write_bigwig(tiny.path("dnase.bw"), &sizes, [value]).unwrap();
    let broken = ExampleReader::open(&tiny.config_with(&[(
        "path = \"dnase.bw\"",
        "path = \"dnase.bw\"\ntransform = \"log10p1\"",
    )]))
    .unwrap();
    let error = write_prepared(&broken, &folder, &mut silent)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("dnase.bw: chr1:2991-2991 has the value -7: log10(value + 1) needs"),
        "{error}"
    );
    assert_eq!(std::fs::read(folder.join(DATA_FILE_NAME)).unwrap(), before);
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        2,
        "no temporary file is left"
    );
    assert!(PreparedReader::open(&folder).is_ok());
}

/// Windows as long as the chromosome: one example a record batch, so that there is much to stop in.
const MANY_BATCHES: [(&str, &str); 1] = [("length = 40", "length = 120000")];

#[test]
fn stopped_preparation_continues_to_the_same_bytes() {
    let tiny = TinyGenome::write();
    let reader = ExampleReader::open(&tiny.config_with(&MANY_BATCHES)).unwrap();
    let folder = tiny.path("prepared");
    let files = |folder: &std::path::Path| {
        [DATA_FILE_NAME, MANIFEST_FILE_NAME].map(|name| std::fs::read(folder.join(name)).unwrap())
    };
    write_prepared(&reader, &folder, &mut silent).unwrap();
    let expected = files(&folder);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    // One thread writes two batches between two calls of `progress`: it is told 0, 2, 4, 6, 7.
    for stop_at in [0, 2, 4, 6, 7] {
        let folder = tiny.path(&format!("stopped{stop_at}"));
        let mut stop = |done, _| match done == stop_at {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let error = pool.install(|| write_prepared(&reader, &folder, &mut stop));
        assert!(matches!(error, Err(DatasetError::Stopped)));
        assert!(PreparedReader::open(&folder).is_err());
        let mut first_told = None;
        let mut remember = |done, _| {
            first_told.get_or_insert(done);
            ControlFlow::Continue(())
        };
        write_prepared(&reader, &folder, &mut remember).unwrap();
        assert_eq!(first_told, Some(stop_at), "it continues, not begins anew");
        assert!(files(&folder) == expected, "stopped at {stop_at}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    }
}

#[test]
fn damaged_unfinished_preparation_is_begun_anew() {
    let tiny = TinyGenome::write();
    let reader = ExampleReader::open(&tiny.config_with(&MANY_BATCHES)).unwrap();
    let other = ExampleReader::open(
        &tiny.config_with(&[MANY_BATCHES[0], ("promoter = 4", "promoter = 6")]),
    )
    .unwrap();
    let bytes = |folder: &std::path::Path| std::fs::read(folder.join(DATA_FILE_NAME)).unwrap();
    write_prepared(&reader, tiny.path("whole"), &mut silent).unwrap();
    let expected = bytes(&tiny.path("whole"));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    type Damage = fn(&mut Vec<u8>);
    // what becomes of the bytes written so far, whose preparation continues, and from where
    let cases: [(&str, Damage, bool, usize); 6] = [
        ("untouched", |_| {}, true, 4),
        ("torn batch behind", |data| data.extend([7; 1000]), true, 4),
        ("cut off", |data| data.truncate(data.len() - 1), true, 0),
        ("one bit", |data| data[3000] ^= 1, true, 0),
        ("empty", Vec::clear, true, 0),
        ("of other settings", |_| {}, false, 0),
    ];
    for (name, damage, is_ours, expected_start) in cases {
        let folder = tiny.path(name);
        let mut stop = |done, _| match done {
            4 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let begun = if is_ours { &reader } else { &other };
        let error = pool.install(|| write_prepared(begun, &folder, &mut stop));
        assert!(matches!(error, Err(DatasetError::Stopped)), "{name}");
        let partial = folder.join(format!("{DATA_FILE_NAME}.partial"));
        let mut data = std::fs::read(&partial).unwrap();
        damage(&mut data);
        std::fs::write(&partial, data).unwrap();
        let mut first_told = None;
        let mut remember = |done, _| {
            first_told.get_or_insert(done);
            ControlFlow::Continue(())
        };
        write_prepared(&reader, &folder, &mut remember).unwrap();
        assert_eq!(first_told, Some(expected_start), "{name}");
        assert!(bytes(&folder) == expected, "{name}");
    }
}

#[test]
fn progress_ends_with_all_examples() {
    let tiny = TinyGenome::write();
    let reader = ExampleReader::open(&tiny.config_with(&[])).unwrap();
    let mut seen = Vec::new();
    let mut progress = |done, total| {
        seen.push((done, total));
        ControlFlow::Continue(())
    };
    write_prepared(&reader, tiny.path("prepared"), &mut progress).unwrap();
    assert_eq!(seen, [(0, 7), (7, 7)]);
}

#[test]
fn estimate_is_near_the_written_size() {
    let tiny = TinyGenome::write();
    let config = tiny.config_with(&[("length = 40", "length = 3000")]);
    let reader = ExampleReader::open(&config).unwrap();
    let estimate = estimate(&reader).unwrap();
    let written = write_prepared(&reader, tiny.path("prepared"), &mut silent)
        .unwrap()
        .data
        .size_bytes;
    // All seven examples are in the sample; what remains is the columns' description and the footer.
    let rest = written as i64 - estimate.prepared_bytes() as i64;
    assert!((0..8_000).contains(&rest), "{estimate:?} against {written}");
    // 3,000 bases of 1 byte, as many regions of 1 byte, 3 tracks of 4 bytes.
    let arrays = 3000 * (1 + 1 + 3 * 4);
    assert!((arrays..arrays + 1000).contains(&estimate.memory_bytes_per_example));
}

#[test]
fn loader_reads_the_same_from_files_and_from_the_prepared_data_set() {
    let tiny = TinyGenome::write();
    let reader = ExampleReader::open(&tiny.config_with(&[])).unwrap();
    write_prepared(&reader, tiny.path("prepared"), &mut silent).unwrap();
    let prepared = PreparedReader::open(tiny.path("prepared")).unwrap();
    let order = vec![6, 0, 3, 3, 1, 5, 2, 4];
    let read = |source: Arc<dyn ExampleSource>, n_threads| -> Vec<_> {
        Loader::start(source, order.clone(), n_threads, 3)
            .unwrap()
            .map(|example| example.unwrap())
            .collect()
    };
    let (reader, prepared): (Arc<dyn ExampleSource>, Arc<dyn ExampleSource>) =
        (Arc::new(reader), Arc::new(prepared));
    let expected = read(Arc::clone(&reader), 1);
    for n_threads in [1, 2, 4] {
        assert_eq!(read(Arc::clone(&reader), n_threads), expected);
        assert_eq!(read(Arc::clone(&prepared), n_threads), expected);
    }
}
