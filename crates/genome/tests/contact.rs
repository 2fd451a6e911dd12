//! Contact maps: against cooler and hictk, each other, and damaged.

use std::path::{Path, PathBuf};

use genome::{ContactMap, ContactProfile, GenomeError, Interval, Normalization};
use proptest::prelude::*;

/// Relative; the table holds 9 digits and hictk divides in single precision.
const RTOL: f64 = 1e-6;

const CHR22: u64 = 50_818_468;

fn file(name: &str) -> PathBuf {
    let folder = match name.starts_with("small") || name == "contacts.tsv" {
        true => "tests/golden",
        false => "../../examples/k562_chr22",
    };
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

fn interval(chrom: &str, start: u64, end: u64) -> Interval {
    Interval::try_new(chrom, start, end).unwrap()
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= RTOL * expected.abs()
                || (found.is_nan() && expected.is_nan()),
            "{what}: bin {index} is {found}, not {expected}"
        );
    }
}

fn bits(profile: &ContactProfile) -> Vec<u64> {
    profile
        .contacts
        .iter()
        .map(|contact| contact.to_bits())
        .collect()
}

#[test]
fn read_profile_equals_cooler_and_hictk() {
    // Made by cooler and hictkpy: `oracle/genome_expected.py`, versions in the first line.
    let table = std::fs::read_to_string(file("contacts.tsv")).unwrap();
    let mut n_rows = 0;
    for line in table.lines().skip(2) {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |index: usize| fields[index].parse::<u64>().unwrap();
        let resolution = u32::try_from(number(2)).unwrap();
        let normalization: Normalization = fields[3].parse().unwrap();
        let map = ContactMap::open(file(fields[1]), resolution, normalization).unwrap();
        let window = interval(fields[4], number(6), number(7));
        let profile = map.read_profile(fields[4], number(5), &window).unwrap();
        let expected: Vec<f64> = fields[8]
            .split(',')
            .map(|value| value.parse().unwrap())
            .collect();
        assert_close(&profile.contacts, &expected, line);
        assert_eq!(profile.resolution, number(2));
        assert_eq!(profile.first_bin, number(6) / number(2));
        n_rows += 1;
    }
    assert_eq!(n_rows, 3 * 10 + 3 * 7 + 10 + 10 * 7);
}

#[test]
fn chrom_sizes_leave_out_the_whole_genome_view() {
    let small = [("chr1", 203_000), ("chr2", 57_500)];
    for name in ["small.cool", "small_v8.hic", "small_v9.hic"] {
        let map = ContactMap::open(file(name), 5_000, Normalization::None).unwrap();
        assert_eq!(
            map.chrom_sizes().iter().collect::<Vec<_>>(),
            small,
            "{name}"
        );
        assert_eq!(map.resolution(), 5_000);
    }
    for name in ["hic.hic", "hic.mcool"] {
        let map = ContactMap::open(file(name), 5_000, Normalization::None).unwrap();
        assert_eq!(
            map.chrom_sizes().iter().collect::<Vec<_>>(),
            [("chr22", CHR22)]
        );
    }
}

#[test]
fn read_profile_hic_equals_mcool() {
    let hic = ContactMap::open(file("hic.hic"), 5_000, Normalization::None).unwrap();
    let cool = ContactMap::open(file("hic.mcool"), 5_000, Normalization::None).unwrap();
    let table = std::fs::read_to_string(file("genes.tsv")).unwrap();
    let mut windows: Vec<(u64, u64, u64)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let number = |index: usize| fields[index].parse::<u64>().unwrap();
            (number(3), number(7), number(8))
        })
        .collect();
    assert_eq!(windows.len(), 75);
    // Far from the diagonal, both ends, the whole chromosome from three places.
    windows.extend([
        (17_000_000, 40_000_000, 41_000_000),
        (45_000_000, 17_000_000, 17_400_000),
        (0, 0, 200_000),
        (CHR22 - 1, CHR22 - 200_000, CHR22),
        (0, 0, CHR22),
        (CHR22 - 1, 0, CHR22),
        (23_291_000, 0, CHR22),
    ]);
    let mut total = 0.0;
    for (tss, start, end) in windows {
        let window = interval("chr22", start, end);
        let left = hic.read_profile("chr22", tss, &window).unwrap();
        let right = cool.read_profile("chr22", tss, &window).unwrap();
        assert_eq!(left, right, "{tss} {window}");
        total += left.contacts.iter().sum::<f64>();
    }
    assert!(total > 100_000.0, "{total}");
}

#[test]
fn read_profile_is_a_row_of_a_symmetric_matrix() {
    for (name, normalization) in [
        ("small.cool", Normalization::Weight),
        ("small_v8.hic", Normalization::Kr),
        ("small_v9.hic", Normalization::None),
    ] {
        let map = ContactMap::open(file(name), 5_000, normalization).unwrap();
        let whole = interval("chr1", 0, 203_000);
        let rows: Vec<Vec<f64>> = (0..41)
            .map(|bin| {
                map.read_profile("chr1", bin * 5_000, &whole)
                    .unwrap()
                    .contacts
            })
            .collect();
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row.len(), 41);
            for (j, &contact) in row.iter().enumerate() {
                let mirror = rows[j][i];
                let equal = (contact - mirror).abs() <= 1e-12 * mirror.abs();
                assert!(
                    equal || (contact.is_nan() && mirror.is_nan()),
                    "{name} {i} {j}"
                );
            }
        }
    }
}

#[test]
fn read_profile_window_edges() {
    let map = ContactMap::open(file("small.cool"), 5_000, Normalization::None).unwrap();
    // (tss, start, end) -> first bin, number of bins
    let cases = [
        (7, 0, 1, 0, 1),
        (7, 4_999, 5_000, 0, 1),
        (7, 4_999, 5_001, 0, 2),
        (7, 5_000, 5_000, 1, 0),
        (202_999, 202_999, 203_000, 40, 1),
        (0, 203_000, 203_000, 40, 0),
        (0, 0, 203_000, 0, 41),
    ];
    for (tss, start, end, first_bin, n_bins) in cases {
        let profile = map
            .read_profile("chr1", tss, &interval("chr1", start, end))
            .unwrap();
        assert_eq!(
            (profile.first_bin, profile.contacts.len()),
            (first_bin, n_bins),
            "{tss} {start} {end}"
        );
    }
}

#[test]
fn read_profile_outside_chromosome_is_an_error() {
    for name in ["small.cool", "small_v8.hic"] {
        let map = ContactMap::open(file(name), 5_000, Normalization::None).unwrap();
        let cases = [
            (
                "chr2",
                0,
                interval("chr2", 0, 57_501),
                "chr2:1-57501 is outside chr2 (57500 bp)",
            ),
            (
                "chr2",
                57_500,
                interval("chr2", 0, 10),
                "chr2:57501-57501 is outside chr2",
            ),
            (
                "chr2",
                5,
                interval("chr1", 0, 10),
                "window chr1:1-10 is not on chr2",
            ),
            (
                "2",
                5,
                interval("2", 0, 10),
                "no chromosome \"2\"; it is called \"chr2\" there",
            ),
            ("all", 5, interval("all", 0, 10), "no chromosome \"all\""),
        ];
        for (chrom, tss, window, expected) in cases {
            let message = map
                .read_profile(chrom, tss, &window)
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(expected) && message.contains(name),
                "{message}"
            );
        }
    }
}

#[test]
fn open_missing_resolution_or_normalization_names_what_there_is() {
    use Normalization::{Kr, None, Vc, Weight};
    let cases = [
        (
            "hic.mcool",
            1_000,
            None,
            "no contacts in bins of 1000 bp; the file has 5000, 10000, choose one of these as resolution",
        ),
        (
            "hic.mcool",
            0,
            None,
            "no contacts in bins of 0 bp; the file has 5000, 10000, choose one of these as resolution",
        ),
        (
            "small.cool",
            10_000,
            None,
            "no contacts in bins of 10000 bp; the file has 5000, choose one of these as resolution",
        ),
        (
            "hic.hic",
            10_000,
            None,
            "no contacts in bins of 10000 bp; the file has 5000, choose one of these as resolution",
        ),
        (
            "hic.hic",
            0,
            None,
            "no contacts in bins of 0 bp; the file has 5000, choose one of these as resolution",
        ),
        (
            "hic.hic",
            5_000,
            Kr,
            "no kr normalisation of the file in bins of 5000 bp; normalization can be none",
        ),
        (
            "small_v8.hic",
            5_000,
            Weight,
            "no weight normalisation of the file in bins of 5000 bp; normalization can be none, kr, scale, vc, vc_sqrt",
        ),
        (
            "small.cool",
            5_000,
            Vc,
            "no vc normalisation of the file in bins of 5000 bp; normalization can be kr, none, weight",
        ),
    ];
    for (name, resolution, normalization, expected) in cases {
        let error = ContactMap::open(file(name), resolution, normalization).unwrap_err();
        let message = error.to_string();
        assert!(
            message.ends_with(expected) && message.contains(name),
            "{message}"
        );
    }
}

#[test]
fn read_profile_many_threads_agree() {
    for (name, normalization) in [
        ("hic.mcool", Normalization::Weight),
        ("hic.hic", Normalization::None),
    ] {
        let map = ContactMap::open(file(name), 5_000, normalization).unwrap();
        let starts: Vec<u64> = (0..20).map(|i| 17_000_000 + i * 170_003).collect();
        let read = |start: u64| {
            let window = interval("chr22", start, start + 200_000);
            bits(&map.read_profile("chr22", start + 100_000, &window).unwrap())
        };
        let expected: Vec<Vec<u64>> = starts.iter().map(|&start| read(start)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (starts, expected, read) = (&starts, &expected, &read);
                scope.spawn(move || {
                    for index in 0..starts.len() {
                        let index = (index * 7 + thread * 5) % starts.len();
                        assert_eq!(read(starts[index]), expected[index]);
                    }
                });
            }
        });
    }
}

/// Opens a damaged map and reads rows of every chromosome it claims to have.
fn read_damaged(path: &Path, normalization: Normalization) -> Result<Vec<f64>, GenomeError> {
    let map = ContactMap::open(path, 5_000, normalization)?;
    let mut contacts = Vec::new();
    let sizes: Vec<(String, u64)> = map
        .chrom_sizes()
        .iter()
        .map(|(name, length)| (name.to_string(), length))
        .collect();
    for (name, length) in sizes {
        let Ok(window) = Interval::try_new(name.as_str(), 0, length.min(300_000)) else {
            continue;
        };
        if length > 0 {
            for tss in [0, length / 2, length - 1] {
                contacts.extend(map.read_profile(&name, tss, &window)?.contacts);
            }
        }
    }
    Ok(contacts)
}

#[test]
fn read_profile_cut_file_is_an_error_or_right() {
    for (name, normalization) in [
        ("small.cool", Normalization::Weight),
        ("small_v8.hic", Normalization::Scale),
        ("small_v9.hic", Normalization::Vc),
    ] {
        let whole = std::fs::read(file(name)).unwrap();
        let expected = read_damaged(&file(name), normalization).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut");
        let mut n_errors = 0;
        for length in (0..whole.len()).step_by(whole.len() / 97) {
            std::fs::write(&path, &whole[..length]).unwrap();
            match read_damaged(&path, normalization) {
                Ok(contacts) => assert_close(&contacts, &expected, name),
                Err(error) => {
                    assert!(error.to_string().contains("cut"), "{error}");
                    n_errors += 1;
                }
            }
        }
        // The vectors of other normalisations are at the end, and are not read.
        assert!(n_errors > 75, "{name}: {n_errors}");
    }
}

#[test]
fn hic_chromosomes_without_contacts_are_not_there() {
    // The index follows two numbers (8 and 4 bytes) at the footer, whose place is at byte 8: for each
    // matrix its name, `1_1` for the first chromosome with itself, and 12 bytes.
    let whole = std::fs::read(file("small_v9.hic")).unwrap();
    let map = ContactMap::open(file("small_v9.hic"), 5_000, Normalization::None).unwrap();
    let names: Vec<String> = map.chrom_sizes().names().map(str::to_string).collect();
    let footer = u64::from_le_bytes(whole[8..16].try_into().unwrap()) as usize;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.hic");

    let mut bytes = whole.clone();
    let at = footer
        + 12
        + whole[footer + 12..]
            .windows(4)
            .position(|window| window == b"1_1\0")
            .unwrap();
    bytes[at..at + 3].copy_from_slice(b"9_9");
    std::fs::write(&path, bytes).unwrap();
    let map = ContactMap::open(&path, 5_000, Normalization::None).unwrap();
    assert_eq!(map.chrom_sizes().names().collect::<Vec<_>>(), names[1..]);

    let mut bytes = whole;
    bytes[footer + 8..].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let error = ContactMap::open(&path, 5_000, Normalization::None).unwrap_err();
    let part = "a.hic: index: it lists no contacts; the .hic file is cut off or damaged";
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn chunk_beyond_the_end_of_the_file_is_refused_before_memory_is_asked_for_it() {
    let mut bytes = std::fs::read(file("small.cool")).unwrap();
    // An index of chunks: "TREE", node type 1, and behind 24 bytes the stored size of the first chunk.
    let starts: Vec<usize> = (0..bytes.len() - 28)
        .filter(|&at| bytes[at..].starts_with(b"TREE\x01"))
        .collect();
    assert!(!starts.is_empty());
    for at in starts {
        bytes[at + 24..at + 28].copy_from_slice(&0x6874_676e_u32.to_le_bytes());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.cool");
    std::fs::write(&path, bytes).unwrap();
    let error = ContactMap::open(&path, 5_000, Normalization::None).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("long.cool"), "{message}");
    assert!(message.contains("1752459118 bytes at byte"), "{message}");
}

#[test]
fn open_absurd_size_is_refused_before_memory_is_asked_for() {
    // Byte 1867 is in the number of chromosome names: 127 << 24 of 4 bytes each.
    let mut bytes = std::fs::read(file("small.cool")).unwrap();
    bytes[1867] = 127;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.cool");
    std::fs::write(&path, bytes).unwrap();
    let error = read_damaged(&path, Normalization::None).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("large.cool: /chroms/name: "), "{message}");
    assert!(
        message.contains("bytes do not fit in a file of 44048"),
        "{message}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn damaged_bytes_never_panic(
        which in 0_usize..3,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (name, normalization) = [
            ("small.cool", Normalization::Kr),
            ("small_v8.hic", Normalization::Scale),
            ("small_v9.hic", Normalization::VcSqrt),
        ][which];
        let mut bytes = std::fs::read(file(name)).unwrap();
        for (index, value) in flips {
            let length = bytes.len();
            bytes[index.index(length)] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged");
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = read_damaged(&path, normalization) {
            let message = error.to_string();
            prop_assert!(!message.is_empty());
        }
    }

    #[test]
    fn any_bytes_never_panic(
        magic in prop::sample::select(vec![&b"\x89HDF\r\n\x1a\n"[..], b"HIC\0\x08\0\0\0", b"HIC\0\x09\0\0\0"]),
        bytes in prop::collection::vec(any::<u8>(), 0..1000),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any");
        std::fs::write(&path, [magic, &bytes].concat()).unwrap();
        let _ = read_damaged(&path, Normalization::None);
    }
}
