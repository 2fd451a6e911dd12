use std::io::{self, Read};
use std::path::PathBuf;

use noodles::tabix;
use proptest::prelude::*;

use super::*;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/k562_chr22")
        .join(name)
}

fn region(chrom: &str, start: u64, end: u64) -> Region {
    Region::new(Interval::try_new(chrom, start, end).unwrap())
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Vec<Region>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bed");
    std::fs::write(&path, bytes).unwrap();
    read_regions(&path).map_err(|e| {
        e.to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    })
}

#[test]
fn read_bed_comments_ends_at_the_first_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bed");
    for (text, expected) in [
        (
            "# a: 1\ntrack x\n# b\nc\t1\t2\n# after\n",
            &["# a: 1", "# b"][..],
        ),
        ("# only\n", &["# only"]),
        ("c\t1\t2\n", &[]),
        ("", &[]),
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(read_bed_comments(&path).unwrap(), expected, "{text:?}");
    }
    assert!(read_bed_comments(folder.path().join("none")).is_err());
}

#[test]
fn read_regions_columns_and_skipped_lines() {
    let full = Region {
        interval: Interval::try_new("chr1", 0, 5).unwrap(),
        name: Some("a b".into()),
        score: Some(1.5),
        strand: Some(Strand::Reverse),
        rest: vec!["7".into(), "".into()],
    };
    let cases = [
        ("", vec![]),
        ("\n# c\ntrack name=x\nbrowser position chr1:1-2\n", vec![]),
        ("chr1\t0\t5\n", vec![region("chr1", 0, 5)]),
        ("chr1\t5\t5", vec![region("chr1", 5, 5)]),
        ("chr1 0  5\r\n", vec![region("chr1", 0, 5)]),
        ("chr1\t0\t5\t.\t.\t.\r\n", vec![region("chr1", 0, 5)]),
        ("track\t0\t5\n", vec![region("track", 0, 5)]),
        ("chr1\t0\t5\ta b\t1.5\t-\t7\t\n", vec![full]),
        (
            "b\t9\t10\na\t0\t1\na\t0\t1\n",
            vec![region("b", 9, 10), region("a", 0, 1), region("a", 0, 1)],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn read_regions_bad_row_names_the_line() {
    let cases = [
        (
            "chr1\t0\n",
            "a.bed:1: 2 tab-separated fields where at least 3 (chromosome, start, end) are expected",
        ),
        (
            "a\t0\t1\nchrom\tstart\tend\n",
            "a.bed:2: start \"start\" is not a whole number (0-based position)",
        ),
        (
            "a\t0\t1.0\n",
            "a.bed:1: end \"1.0\" is not a whole number (0-based position)",
        ),
        (
            "a\t-1\t1\n",
            "a.bed:1: start \"-1\" is not a whole number (0-based position)",
        ),
        (
            "a\t2\t1\n",
            "a.bed:1: end \"1\" is not at or after the start of the row",
        ),
        (
            "\t0\t1\n",
            "a.bed:1: chromosome \"\" is not a chromosome's name",
        ),
        (
            "a\t0\t18446744073709551615\n",
            "a.bed:1: end \"18446744073709551615\" is not a position on a chromosome: it is too large",
        ),
        (
            "a\t0\t1\tx\tNaN\n",
            "a.bed:1: score \"NaN\" is not a finite number or \".\"",
        ),
        (
            "a\t0\t1\tx\t1\t*\n",
            "a.bed:1: strand \"*\" is not +, - or \".\"",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).unwrap_err(), expected);
    }
}

#[test]
fn read_regions_example_narrow_peak() {
    let regions = read_regions(example("dnase.narrowPeak.gz")).unwrap();
    // SOURCES.md: 2,288 rows. First row, by zcat: summit offset 74.
    assert_eq!(regions.len(), 2288);
    assert_eq!(
        regions[0].interval,
        Interval::try_new("chr22", 16_386_800, 16_386_950).unwrap()
    );
    assert_eq!(regions[0].name.as_deref(), Some("macs2_peak_207"));
    assert_eq!((regions[0].score, regions[0].strand), (Some(13.0), None));
    assert_eq!(regions[0].summit(), Some(16_386_874));
}

#[test]
fn summit_needs_ten_columns_and_lies_inside() {
    let with_rest = |rest: &[&str]| Region {
        rest: rest.iter().map(ToString::to_string).collect(),
        ..region("chr1", 10, 20)
    };
    let cases = [
        (with_rest(&["1", "1", "1", "0"]), Some(10), None),
        (with_rest(&["1", "1", "1", "9"]), Some(19), None),
        (with_rest(&["1", "1", "1", "10"]), None, Some("10")),
        (with_rest(&["1", "1", "1", "-2"]), None, Some("-2")),
        (with_rest(&["1", "1", "1", "-1"]), None, None),
        (with_rest(&["1", "1", "1", "."]), None, None),
        (with_rest(&["1", "1", "1"]), None, None),
        (region("chr1", 10, 20), None, None),
    ];
    for (region, summit, outside) in cases {
        let found = (region.summit(), region.summit_outside());
        assert_eq!(found, (summit, outside), "{region:?}");
    }
}

#[test]
fn read_regions_cut_off_bgzip_is_an_error() {
    let bytes = std::fs::read(example("dnase.narrowPeak.gz")).unwrap();
    for length in [20, 1000, bytes.len() - 28, bytes.len() - 1] {
        let message = read(&bytes[..length]).unwrap_err();
        assert!(message.starts_with("a.bed"), "{message}");
        assert!(message.contains("cut off"), "{message}");
    }
    let mut damaged = bytes.clone();
    damaged[5000] ^= 0xff;
    let message = read(&damaged).unwrap_err();
    assert!(message.starts_with("a.bed:"), "{message}");
}

/// Queries the written file with the tabix reader of noodles.
fn query(path: &Path, region: &str) -> Vec<String> {
    let mut reader = tabix::io::indexed_reader::Builder::default()
        .build_from_path(path)
        .unwrap();
    let region = region.parse().unwrap();
    let query = reader.query(&region).unwrap();
    query
        .map(|record| record.map(|r| r.as_ref().to_string()))
        .collect::<io::Result<_>>()
        .unwrap()
}

#[test]
fn write_bed_tabix_queries_equal_a_linear_search() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.bed.gz");
    // Enough rows for several BGZF blocks and several bins of the index.
    let mut rows = Vec::new();
    for chrom in ["chr2", "chr10"] {
        for i in 0..4000_u64 {
            let start = i * 137 + i % 5;
            rows.push(Region {
                name: Some(format!("element_{chrom}_{i}")),
                score: Some(i as f64 / 8.0),
                ..region(chrom, start, start + 1 + (i * 31) % 700)
            });
        }
    }
    let header = vec!["## made by a test".to_string(), "#chrom\tstart".to_string()];
    write_bed_tabix(&path, &header, &rows).unwrap();
    assert_eq!(read_regions(&path).unwrap(), rows);
    for (chrom, first, last) in [
        ("chr2", 1, 1),
        ("chr2", 5, 20_000),
        ("chr10", 300_000, 300_001),
        ("chr10", 548_000, 600_000),
        ("chr2", 600_000, 700_000),
    ] {
        let window = Interval::try_new(chrom, first - 1, last).unwrap();
        let expected: Vec<String> = rows
            .iter()
            .filter(|row| row.interval.overlaps(&window))
            .map(|row| row.name.clone().unwrap())
            .collect();
        let found: Vec<String> = query(&path, &format!("{chrom}:{first}-{last}"))
            .iter()
            .map(|line| line.split('\t').nth(3).unwrap().to_string())
            .collect();
        assert_eq!(found, expected, "{window}");
    }
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.starts_with("## made by a test\n#chrom\tstart\nchr2\t0\t1\telement_chr2_0\t0\n"));
}

#[test]
fn write_bed_tabix_takes_rows_with_one_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.bed.gz");
    // As elements of two genes whose windows overlap.
    let rows = [
        region("a", 5, 9),
        region("a", 5, 9),
        region("a", 5, 7),
        region("b", 0, 1),
    ];
    write_bed_tabix(&path, &[], &rows).unwrap();
    assert_eq!(read_regions(&path).unwrap(), rows);
    assert_eq!(query(&path, "a:8-8").len(), 2);
}

#[test]
fn write_bed_tabix_of_a_long_chromosome_has_a_csi_index() {
    /// Bases of the largest chromosome that a `.tbi` reaches; wheat's 3B is longer.
    const TBI_END: u64 = 536_870_912;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.bed.gz");
    let named = |name: &str, interval: Region| Region {
        name: Some(name.to_string()),
        ..interval
    };
    // Either side of the end of .tbi, and the last base that .csi reaches.
    let rows = [
        named("first", region("3B", 7, 9)),
        named("before", region("3B", TBI_END - 1, TBI_END)),
        named("behind", region("3B", TBI_END, TBI_END + 1)),
        named("last", region("3B", (1 << 32) - 1, 1 << 32)),
        named("other", region("4A", 7, 9)),
    ];
    let found = |region: &str| -> Vec<String> {
        let index = noodles::csi::fs::read(folder.path().join("e.bed.gz.csi")).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let mut reader = noodles::csi::io::IndexedReader::new(file, index);
        let region = region.parse().unwrap();
        let query = reader.query(&region).unwrap();
        query
            .map(|record| {
                record
                    .unwrap()
                    .as_ref()
                    .split('\t')
                    .nth(3)
                    .unwrap()
                    .to_string()
            })
            .collect()
    };
    let names = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    // No index of an older file is left beside the new one.
    for (rows, ending) in [(&rows[..2], "tbi"), (&rows[..], "csi"), (&rows[..1], "tbi")] {
        write_bed_tabix(&path, &["#made by a test".to_string()], rows).unwrap();
        assert_eq!(read_regions(&path).unwrap(), rows);
        assert_eq!(
            names(),
            ["e.bed.gz".to_string(), format!("e.bed.gz.{ending}")]
        );
        if ending == "csi" {
            for (region, expected) in [
                ("3B:8-8", "first"),
                ("3B:536870912-536870912", "before"),
                ("3B:536870913-536870913", "behind"),
                ("3B:4294967296-4294967296", "last"),
                ("4A:9-9", "other"),
            ] {
                assert_eq!(found(region), [expected], "{region}");
            }
            assert_eq!(found("3B:1-4294967296").len(), 4);
            assert_eq!(found("4A:10-20").len(), 0);
        }
    }
}

#[test]
fn write_bed_has_the_columns_that_a_row_needs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.bed");
    let plain = region("a", 5, 9);
    let rows = [
        Region {
            name: Some("n".to_string()),
            ..plain.clone()
        },
        Region {
            score: Some(2.5),
            ..plain.clone()
        },
        Region {
            strand: Some(Strand::Reverse),
            ..plain.clone()
        },
        Region {
            rest: vec!["x".to_string(), "y".to_string()],
            ..plain.clone()
        },
        // Any order and position.
        region("a", 0, (1 << 29) + 1),
        plain,
    ];
    write_bed(&path, &rows).unwrap();
    let expected = "a\t5\t9\tn\na\t5\t9\t.\t2.5\na\t5\t9\t.\t.\t-\na\t5\t9\t.\t.\t.\tx\ty\n\
                    a\t0\t536870913\na\t5\t9\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    let named = Region {
        name: Some("x\ty".to_string()),
        ..region("a", 0, 1)
    };
    let message = write_bed(&path, [region("a", 0, 1), named])
        .unwrap_err()
        .to_string();
    assert!(message.contains("row 2: name"), "{message}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn write_bed_tabix_no_row_is_a_valid_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.bed.gz");
    write_bed_tabix(&path, &[], Vec::<Region>::new()).unwrap();
    assert_eq!(read_regions(&path).unwrap(), []);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn write_bed_tabix_refused_rows_leave_the_old_files() {
    let named = |name: &str| Region {
        name: Some(name.to_string()),
        ..region("a", 0, 1)
    };
    let cases = [
        (
            vec![region("a", 5, 6), region("a", 4, 9)],
            "row 2 (a:5-9) comes before the row above it",
        ),
        (
            vec![region("a", 5, 6), region("b", 4, 9), region("a", 7, 9)],
            "row 3 (a:8-9) comes before the row above it",
        ),
        (
            vec![named("x\ty")],
            "row 1: name \"x\\ty\" cannot be written: it has a tab",
        ),
        (vec![named(".")], "row 1: name \".\" cannot be written"),
        (
            vec![region("#a", 0, 1)],
            "row 1: chromosome \"#a\" cannot be written",
        ),
        (
            vec![Region {
                score: Some(f64::NAN),
                ..region("a", 0, 1)
            }],
            "row 1: score \"NaN\" cannot be written: it is not finite",
        ),
        (
            vec![region("a", 0, (1 << 32) + 1)],
            "row 1: end \"4294967297\" cannot be written",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.bed.gz");
    write_bed_tabix(&path, &[], [region("old", 0, 1 << 29)]).unwrap();
    for (rows, expected) in cases {
        let message = write_bed_tabix(&path, &[], rows).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert_eq!(read_regions(&path).unwrap(), [region("old", 0, 1 << 29)]);
        assert_eq!(query(&path, "old:1-1").len(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
    for header in ["no mark", "#two\nlines"] {
        assert!(write_bed_tabix(&path, &[header.to_string()], [region("a", 0, 1)]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // Half of the cases are near a real file, half are any bytes.
    #[test]
    fn read_regions_any_bytes_never_panics(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "(chr[0-9]{1,2}[\t ][0-9]{1,21}[\t ][0-9]{1,21}(\t[a.]{0,2}(\t[0-9.e-]{0,4}(\t[+.-])?)?)?\r?\n){0,5}"
                .prop_map(String::into_bytes),
        ],
    ) {
        let _ = read(bytes);
    }

    #[test]
    fn write_then_read_is_identity(
        rows in proptest::collection::vec(
            (
                (0_u64..3, 0_u64..(1 << 28), 0_u64..10_000),
                proptest::option::of("[A-Za-z0-9_: ä.]{1,12}"),
                proptest::option::of(proptest::num::f64::NORMAL | proptest::num::f64::ZERO),
                proptest::option::of(any::<bool>()),
                proptest::collection::vec("[A-Za-z0-9,.]{0,5}", 0..5),
            ),
            0..40,
        ),
    ) {
        let mut regions: Vec<Region> = rows
            .into_iter()
            .map(|((chrom, start, length), name, score, strand, rest)| Region {
                interval: Interval::try_new(format!("chr{chrom}"), start, start + length).unwrap(),
                name: name.filter(|name| name != "."),
                score,
                strand: strand.map(|reverse| if reverse { Strand::Reverse } else { Strand::Forward }),
                rest,
            })
            .collect();
        regions.sort_by(|a, b| a.interval.cmp(&b.interval));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.bed.gz");
        write_bed_tabix(&path, &["#x".to_string()], &regions).unwrap();
        prop_assert_eq!(read_regions(&path).unwrap(), regions);
    }
}
