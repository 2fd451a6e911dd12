use proptest::prelude::*;

use super::*;

/// Runs of a sequence as pairs of start and length, 0-based.
type RunList = [(u32, u32)];

/// Writes the format by its description (UCSC, "2bit format"), with 32-bit offsets.
fn two_bit(is_big_endian: bool, sequences: &[(&str, &str, &RunList, &RunList)]) -> Vec<u8> {
    let number = |value: u32| match is_big_endian {
        true => value.to_be_bytes(),
        false => value.to_le_bytes(),
    };
    let mut file = Vec::new();
    for value in [SIGNATURE, 0, sequences.len() as u32, 0] {
        file.extend(number(value));
    }
    let index_bytes: usize = sequences.iter().map(|(name, ..)| 5 + name.len()).sum();
    let mut records: Vec<u8> = Vec::new();
    for (name, bases, n, lower) in sequences {
        let offset = 16 + index_bytes + records.len();
        file.push(name.len() as u8);
        file.extend(name.bytes());
        file.extend(number(offset as u32));
        records.extend(number(bases.len() as u32));
        for runs in [n, lower] {
            records.extend(number(runs.len() as u32));
            records.extend(runs.iter().flat_map(|(start, _)| number(*start)));
            records.extend(runs.iter().flat_map(|(_, length)| number(*length)));
        }
        records.extend(number(0));
        for four in bases.as_bytes().chunks(4) {
            let code = |base: &u8| match base {
                b'C' => 1,
                b'A' => 2,
                b'G' => 3,
                _ => 0,
            };
            let byte = four.iter().zip([6, 4, 2, 0]);
            records.push(byte.fold(0, |byte, (base, shift)| byte | code(base) << shift));
        }
    }
    file.extend(records);
    file
}

fn write(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.2bit");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read(two_bit: &TwoBit, chrom: &str, start: u64, end: u64) -> Result<String, String> {
    let interval = Interval::try_new(chrom, start, end).unwrap();
    match two_bit.read_bases(&interval) {
        Ok(bases) => Ok(String::from_utf8(bases).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

fn small(is_big_endian: bool) -> Vec<u8> {
    two_bit(
        is_big_endian,
        &[
            ("chr1", "ACGTTTTTACGT", &[(4, 3)], &[(0, 2), (6, 4)]),
            ("HLA-A*01:01", "G", &[], &[]),
            ("empty", "", &[], &[]),
        ],
    )
}

#[test]
fn read_bases_runs_and_both_ends() {
    // chr1 by hand: ACGTTTTTACGT, 4..7 are N, 0..2 and 6..10 are lower case.
    let cases = [
        ("chr1", 0, 12, "acGTNNntacGT"),
        ("chr1", 1, 2, "c"),
        ("chr1", 2, 4, "GT"),
        ("chr1", 3, 7, "TNNn"),
        ("chr1", 6, 7, "n"),
        ("chr1", 10, 12, "GT"),
        ("chr1", 12, 12, ""),
        ("HLA-A*01:01", 0, 1, "G"),
        ("empty", 0, 0, ""),
    ];
    for is_big_endian in [false, true] {
        let (_folder, path) = write(&small(is_big_endian));
        let file = TwoBit::open(&path).unwrap();
        let sizes: Vec<_> = file.chrom_sizes().iter().collect();
        assert_eq!(sizes, [("chr1", 12), ("HLA-A*01:01", 1), ("empty", 0)]);
        for (chrom, start, end, expected) in cases {
            assert_eq!(read(&file, chrom, start, end).unwrap(), expected);
        }
        let outside = read(&file, "chr1", 11, 13).unwrap_err();
        assert!(
            outside.ends_with("chr1:12-13 is outside chr1 (12 bp)"),
            "{outside}"
        );
        let unknown = read(&file, "1", 0, 1).unwrap_err();
        assert!(unknown.contains("it is called \"chr1\" there"), "{unknown}");
    }
}

#[test]
fn open_64_bit_offsets() {
    // One sequence `c` of 5 bases, ACGTA, at offset 16 + 1 + 1 + 8.
    let mut bytes = Vec::new();
    for value in [SIGNATURE, 1, 1, 0] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([1, b'c']);
    bytes.extend(26_u64.to_le_bytes());
    for value in [5_u32, 0, 0, 0] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0b10_01_11_00, 0b10_00_00_00]);
    let (_folder, path) = write(&bytes);
    let file = TwoBit::open(&path).unwrap();
    assert_eq!(read(&file, "c", 0, 5).unwrap(), "ACGTA");
}

#[test]
fn open_cut_file_names_the_sequence() {
    let whole = small(false);
    for length in 0..whole.len() {
        let (_folder, path) = write(&whole[..length]);
        let message = TwoBit::open(&path).unwrap_err().to_string();
        let expected = match length {
            0..16 => "byte 0: this is no 2bit file",
            _ => "the file ends",
        };
        assert!(message.contains(expected), "{length}: {message}");
    }
}

#[test]
fn open_bad_files_are_errors() {
    let run_past_end = two_bit(false, &[("c", "ACGT", &[(3, 2)], &[])]);
    let unsorted = two_bit(false, &[("c", "ACGT", &[], &[(2, 1), (0, 1)])]);
    let overflowing = two_bit(false, &[("c", "ACGT", &[(1, u32::MAX)], &[])]);
    for bytes in [run_past_end, unsorted, overflowing] {
        let (_folder, path) = write(&bytes);
        let message = read(&TwoBit::open(&path).unwrap(), "c", 0, 4).unwrap_err();
        assert!(
            message.contains("out of order or past the end"),
            "{message}"
        );
    }
    let mut version = small(false);
    version[4] = 2;
    let cases = [
        (b">chr1\nACGTACGTACGT\n".to_vec(), "this is no 2bit file"),
        (version, "byte 4: 2bit version 2"),
        (two_bit(false, &[]), "no sequence in the file"),
        (
            two_bit(false, &[("c", "A", &[], &[]), ("c", "A", &[], &[])]),
            "byte 22: the sequence \"c\" is listed already at byte 16",
        ),
        (
            two_bit(false, &[("c d", "A", &[], &[])]),
            "\"c d\" is no name of a sequence",
        ),
    ];
    for (bytes, expected) in cases {
        let (_folder, path) = write(&bytes);
        let message = TwoBit::open(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

proptest! {
    // Bases, runs and a window by chance; the expected text is made letter by letter.
    #[test]
    fn read_bases_agrees_with_letters(
        letters in "[ACGTNacgtn]{1,40}",
        start in 0_usize..40,
        length in 0_usize..40,
    ) {
        let runs = |is_in: fn(&u8) -> bool| {
            let bytes = letters.as_bytes();
            let mut runs: Vec<(u32, u32)> = Vec::new();
            for (index, letter) in bytes.iter().enumerate() {
                match runs.last_mut() {
                    _ if !is_in(letter) => {}
                    Some((start, length)) if *start + *length == index as u32 => *length += 1,
                    _ => runs.push((index as u32, 1)),
                }
            }
            runs
        };
        let upper = letters.to_ascii_uppercase();
        let bytes = two_bit(false, &[(
            "c",
            &upper,
            &runs(|letter| letter.eq_ignore_ascii_case(&b'N')),
            &runs(u8::is_ascii_lowercase),
        )]);
        let (_folder, path) = write(&bytes);
        let file = TwoBit::open(&path).unwrap();
        let start = start.min(letters.len());
        let end = (start + length).min(letters.len());
        let found = read(&file, "c", start as u64, end as u64).unwrap();
        prop_assert_eq!(found.as_str(), &letters[start..end]);
    }

    // Half of the cases are any bytes, half are a real file with a few bytes changed.
    #[test]
    fn open_any_bytes_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        changes in proptest::collection::vec((0_usize..120, any::<u8>()), 0..4),
        is_near in any::<bool>(),
    ) {
        let mut bytes = if is_near { small(false) } else { bytes };
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let (_folder, path) = write(&bytes);
        if let Ok(file) = TwoBit::open(&path) {
            for (name, length) in file.chrom_sizes().iter() {
                let interval = Interval::try_new(name, 0, length).unwrap();
                if let Ok(bases) = file.read_bases(&interval) {
                    prop_assert_eq!(bases.len() as u64, length);
                }
            }
        }
    }
}
