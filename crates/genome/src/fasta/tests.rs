use std::io::Write;

use noodles::bgzf;
use proptest::prelude::*;

use super::*;

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/k562_chr22/genome.fa.gz"
);

/// Packs with the writer of noodles, in several blocks where the text is long enough.
fn bgzip(text: &[u8]) -> Vec<u8> {
    let mut writer = bgzf::io::Writer::new(Vec::new());
    for piece in text.chunks(1000) {
        writer.write_all(piece).unwrap();
        writer.flush().unwrap();
    }
    writer.finish().unwrap()
}

/// Writes sequences in lines of `width` bases.
fn fasta_text(sequences: &[(&str, &str)], width: usize, line_end: &str) -> String {
    let mut text = String::new();
    for (name, bases) in sequences {
        text += &format!(">{name} a description{line_end}");
        let bases: Vec<char> = bases.chars().collect();
        for line in bases.chunks(width) {
            text += &format!("{}{line_end}", line.iter().collect::<String>());
        }
    }
    text
}

/// Opens bytes written to a new file and reads each region; errors as text without the folder.
fn read(bytes: &[u8], regions: &[(&str, u64, u64)]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.fa");
    std::fs::write(&path, bytes).unwrap();
    let open_and_read = || {
        let fasta = Fasta::open(&path)?;
        // Once more with the index that the first call wrote.
        let again = Fasta::open(&path)?;
        assert_eq!(fasta.index_source(), IndexSource::Written);
        assert_eq!(again.index_source(), IndexSource::Found);
        assert_eq!(fasta.records, again.records);
        regions
            .iter()
            .map(|(chrom, start, end)| {
                let bases = fasta.read_bases(&Interval::try_new(*chrom, *start, *end)?)?;
                Ok(String::from_utf8(bases).unwrap())
            })
            .collect::<Result<Vec<String>, GenomeError>>()
    };
    open_and_read().map_err(|e| {
        e.to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    })
}

#[test]
fn read_bases_every_window_equals_the_slice() {
    let sequences = [
        ("chr1", "ACGTNacgtnRYKM*-ACGTTTGCA"),
        ("empty", ""),
        ("chr2", "G"),
        ("chr3", "TTTTTAAAAA"),
        ("last", ""),
    ];
    for width in [1, 5, 7, 100] {
        for line_end in ["\n", "\r\n"] {
            let text = fasta_text(&sequences, width, line_end);
            let no_last_end = text.trim_end().to_string();
            let blanks = format!("{text}{line_end}{line_end}");
            for text in [text, no_last_end, blanks] {
                for bytes in [text.as_bytes().to_vec(), bgzip(text.as_bytes())] {
                    let mut regions = Vec::new();
                    let mut expected = Vec::new();
                    for (name, bases) in sequences {
                        for start in 0..=bases.len() {
                            for end in start..=bases.len() {
                                regions.push((name, start as u64, end as u64));
                                expected.push(bases[start..end].to_string());
                            }
                        }
                    }
                    assert_eq!(
                        read(&bytes, &regions),
                        Ok(expected),
                        "{width} {line_end:?} {text}"
                    );
                }
            }
        }
    }
}

#[test]
fn read_bases_behind_a_byte_order_mark() {
    let regions = [("a", 0, 4), ("a", 5, 7), ("b", 0, 2)];
    for line_end in ["\n", "\r\n"] {
        let sequences = [("a", "ACGTNGG"), ("b", "TT")];
        let text = format!("\u{feff}{}", fasta_text(&sequences, 5, line_end));
        for bytes in [text.as_bytes().to_vec(), bgzip(text.as_bytes())] {
            let bases = read(&bytes, &regions).unwrap();
            assert_eq!(bases, ["ACGT", "GG", "TT"], "{line_end:?}");
        }
    }
    for text in [
        "\u{feff}",
        "\u{feff}\n",
        "\u{feff}\u{feff}>a\nA\n",
        "\u{feff}ACGT\n",
    ] {
        read(text.as_bytes(), &[]).unwrap_err();
    }
}

#[test]
fn read_bases_outside_the_sequence_is_an_error() {
    // A reader that only seeks would return bases of b here.
    let text = b">a\nACGT\n>b\nGGGG\n";
    let cases = [
        (("a", 0, 5), "g.fa: a:1-5 is outside a (4 bp)"),
        (("a", 4, 5), "g.fa: a:5-5 is outside a (4 bp)"),
        (("b", 9, 9), "g.fa: b:10-9 is outside b (4 bp)"),
        (
            ("chra", 0, 1),
            "g.fa: no chromosome \"chra\"; it is called \"a\" there; use the same names in all files",
        ),
        (("c", 0, 1), "g.fa: no chromosome \"c\"; there are a, b"),
    ];
    for (region, expected) in cases {
        assert_eq!(read(text, &[region]).unwrap_err(), expected);
        assert_eq!(read(&bgzip(text), &[region]).unwrap_err(), expected);
    }
}

#[test]
fn open_bad_text_names_the_line() {
    let cases: [(&[u8], &str); 17] = [
        (
            b"",
            "g.fa: no sequence in the file; is it the right one, and whole?",
        ),
        (
            b"\n\n",
            "g.fa: no sequence in the file; is it the right one, and whole?",
        ),
        (
            b"ACGT\n",
            "g.fa:1: bases before the first header line; is this a FASTA file?",
        ),
        (
            b">\nACGT\n",
            "g.fa:1: the header line names no sequence; write >chr1",
        ),
        (
            b"> a\nACGT\n",
            "g.fa:1: the header line names no sequence; write >chr1",
        ),
        (
            b">a\xff\nACGT\n",
            "g.fa:1: the header line names no sequence; write >chr1",
        ),
        (
            b">a\nAC\n>b\nA\n>a\nA\n",
            "g.fa:5: sequence \"a\" occurs already on line 1; keep one of the two",
        ),
        (
            b">a\nAC\nACG\n",
            "g.fa:3: a line of 3 bases after lines of 2; all lines of a sequence but the last must be equally long",
        ),
        (
            b">a\nACG\nAC\nACG\n",
            "g.fa:4: a goes on after line 3, which is blank or shorter than the lines above it; all lines of a sequence but the last must be equally long",
        ),
        (
            b">a\nACG\n\nACG\n",
            "g.fa:4: a goes on after line 3, which is blank or shorter than the lines above it; all lines of a sequence but the last must be equally long",
        ),
        (
            b">a\n\nACG\n",
            "g.fa:3: a goes on after line 2, which is blank or shorter than the lines above it; all lines of a sequence but the last must be equally long",
        ),
        // 2 bases and \r\n are as many bytes as 3 bases and \n.
        (
            b">a\nACG\nAC\r\nACG\n",
            "g.fa:4: a goes on after line 3, which is blank or shorter than the lines above it; all lines of a sequence but the last must be equally long",
        ),
        (
            b">a\nAC GT\n",
            "g.fa:2: white space among the bases; remove it",
        ),
        (
            b">a\nAC>b\n",
            "g.fa:2: a > inside a line of bases; a header line must start its own line",
        ),
        (
            b">a\nACG7\n",
            "g.fa:2: '7' is no base; is this a FASTA file?",
        ),
        (
            b">a\rACGT\r>b\rACGT\r",
            "g.fa:1: a carriage return inside the line; write line ends as \\n or \\r\\n",
        ),
        (
            b">a\nAC\rGT\n",
            "g.fa:2: '\\r' is no base; is this a FASTA file?",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text, &[]).unwrap_err(), expected);
        if !text.is_empty() {
            assert_eq!(read(&bgzip(text), &[]).unwrap_err(), expected);
        }
    }
}

#[test]
fn open_gzip_without_blocks_says_what_to_do() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b">a\nACGT\n").unwrap();
    let message = read(&gzip.finish().unwrap(), &[]).unwrap_err();
    assert!(
        message.contains("g.fa: byte 0: compressed with gzip"),
        "{message}"
    );
}

#[test]
fn open_example_builds_the_index_that_samtools_built() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genome.fa.gz");
    std::fs::copy(EXAMPLE, &path).unwrap();
    assert_eq!(
        Fasta::open(&path).unwrap().index_source(),
        IndexSource::Written
    );
    for suffix in [".fai", ".gzi"] {
        let ours = std::fs::read(beside(&path, suffix)).unwrap();
        let theirs = std::fs::read(beside(Path::new(EXAMPLE), suffix)).unwrap();
        assert_eq!(ours, theirs, "{suffix}");
    }
}

#[test]
fn read_bases_example_equals_the_unpacked_file_from_many_threads() {
    let fasta = Fasta::open(EXAMPLE).unwrap();
    assert_eq!(fasta.index_source(), IndexSource::Found);
    let length = fasta.chrom_sizes().get("chr22").unwrap();
    // samtools wrote the .fai of the example: 50,818,468 bases.
    assert_eq!(length, 50_818_468);
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::MultiGzDecoder::new(std::fs::File::open(EXAMPLE).unwrap()),
        &mut text,
    )
    .unwrap();
    let bases: String = text.lines().skip(1).collect();
    assert_eq!(bases.len() as u64, length);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (fasta, bases) = (&fasta, &bases);
            scope.spawn(move || {
                for step in 0..25 {
                    // Steps of a prime number of bases, so that all phases of a line occur.
                    let start = (16_367_188 + thread * 1_319_631 + step * 52_901).min(length);
                    let end = (start + 200_003).min(length);
                    let interval = Interval::try_new("chr22", start, end).unwrap();
                    let found = fasta.read_bases(&interval).unwrap();
                    assert!(found == bases.as_bytes()[start as usize..end as usize]);
                }
            });
        }
    });
    for (start, end) in [(0, 1), (length - 1, length), (length, length), (0, 200_000)] {
        let found = fasta
            .read_bases(&Interval::try_new("chr22", start, end).unwrap())
            .unwrap();
        assert!(found == bases.as_bytes()[start as usize..end as usize]);
    }
}

/// Three sequences whose bgzip file has several blocks.
fn blocks_example() -> (String, Vec<u8>, String) {
    let bases: String = (0..4000)
        .map(|i: usize| ['A', 'C', 'G', 'T'][(i * i / 7) % 4])
        .collect();
    let text = fasta_text(
        &[("a", &bases), ("b", "ACGT"), ("c", &bases[..900])],
        60,
        "\n",
    );
    let packed = bgzip(text.as_bytes());
    (bases, packed, text)
}

/// Opens a file that has its index and reads all of it; `Ok` holds the bases of all sequences.
fn read_all(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let open_and_read = || {
        let fasta = Fasta::open(path)?;
        fasta
            .chrom_sizes()
            .iter()
            .map(|(name, length)| fasta.read_bases(&Interval::try_new(name, 0, length)?))
            .collect::<Result<Vec<_>, GenomeError>>()
    };
    open_and_read().map_err(|error| error.to_string())
}

#[test]
fn read_bases_cut_off_file_is_an_error_at_every_length() {
    let (_, packed, text) = blocks_example();
    for (bytes, with_index) in [
        (&packed[..], true),
        (&packed[..], false),
        (text.as_bytes(), true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.fa");
        std::fs::write(&path, bytes).unwrap();
        Fasta::open(&path).unwrap();
        for length in (1..bytes.len()).step_by(37).chain([bytes.len() - 2]) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            if !with_index {
                for suffix in [".fai", ".gzi"] {
                    let _ = std::fs::remove_file(beside(&path, suffix));
                }
            }
            let message = read_all(&path).unwrap_err();
            assert!(message.contains("g.fa"), "{length}: {message}");
        }
    }
}

#[test]
fn read_bases_damaged_block_is_an_error_or_harmless() {
    let (_, packed, _) = blocks_example();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.fa");
    std::fs::write(&path, &packed).unwrap();
    let whole = read_all(&path).unwrap();
    let mut n_errors = 0;
    for at in 0..packed.len() {
        let mut damaged = packed.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        match read_all(&path) {
            // Time stamp and operating system in a block's header mean nothing.
            Ok(found) => assert_eq!(found, whole, "byte {at}"),
            Err(message) => {
                assert!(message.contains("g.fa"), "{message}");
                n_errors += 1;
            }
        }
    }
    assert!(n_errors > packed.len() * 9 / 10);
}

#[test]
fn open_stale_index_is_an_error() {
    let (bases, packed, text) = blocks_example();
    let other = fasta_text(
        &[("a", &bases[1..]), ("b", "ACGT"), ("c", &bases[..900])],
        60,
        "\n",
    );
    let renamed = text.replace(">b", ">d");
    let appended = format!("{text}>d\nACGT\n");
    let rewrapped = fasta_text(
        &[("a", &bases), ("b", "ACGT"), ("c", &bases[..900])],
        50,
        "\n",
    );
    for new in [other, renamed, appended, rewrapped] {
        for bytes in [new.as_bytes().to_vec(), bgzip(new.as_bytes())] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("g.fa");
            let old = if bytes.starts_with(b">") {
                text.as_bytes()
            } else {
                &packed[..]
            };
            std::fs::write(&path, old).unwrap();
            read_all(&path).unwrap();
            std::fs::write(&path, &bytes).unwrap();
            let message = read_all(&path).unwrap_err();
            assert!(message.contains("built again"), "{message}");
            // The remedy that the message names helps.
            for suffix in [".fai", ".gzi"] {
                let _ = std::fs::remove_file(beside(&path, suffix));
            }
            read_all(&path).unwrap();
        }
    }
}

#[test]
fn open_index_of_samtools_without_empty_sequences() {
    // `samtools faidx` 1.24 writes this index; it leaves out the empty sequences.
    let text = ">none\n>a desc\nACGTN\nacgt\n>empty\n>b\nG\n";
    let fai = "a\t9\t14\t5\t6\nb\t1\t35\t1\t2\n";
    for (text, expected) in [
        (
            text.to_string(),
            Ok(vec![b"ACGTNacgt".to_vec(), b"G".to_vec()]),
        ),
        (
            text.replace(">empty", "Acgtgt"),
            Err("no header line b before byte 35"),
        ),
        (
            format!("{text}>last\nA\n"),
            Err("bytes follow the last sequence"),
        ),
        (format!("{text}A\n"), Err("bytes follow the last sequence")),
    ] {
        for bytes in [text.as_bytes().to_vec(), bgzip(text.as_bytes())] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("g.fa");
            std::fs::write(&path, bytes).unwrap();
            std::fs::write(beside(&path, ".fai"), fai).unwrap();
            match (read_all(&path), &expected) {
                (Ok(found), Ok(expected)) => assert_eq!(&found, expected),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (found, expected) => panic!("{found:?}, expected {expected:?}"),
            }
        }
    }
}

#[test]
fn zeros_behind_the_last_block_are_passed_over() {
    let text = fasta_text(&[("a", &"ACGTTGCA".repeat(400))], 50, "\n");
    let regions = [("a", 0, 5), ("a", 3_195, 3_200)];
    for n_zeros in [1, 512, 100_000] {
        let packed = [bgzip(text.as_bytes()), vec![0; n_zeros]].concat();
        assert_eq!(read(&packed, &regions).unwrap(), ["ACGTT", "TTGCA"]);
    }
    let garbage = [bgzip(text.as_bytes()), b"\0x".to_vec()].concat();
    let message = read(&garbage, &regions).unwrap_err();
    assert!(message.contains("cut off"), "{message}");
}

#[test]
fn open_gzi_with_few_entries_is_completed() {
    let bases: String = "ACGTTGCA".repeat(40_000);
    let text = fasta_text(&[("a", &bases)], 50, "\n");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.fa");
    let mut writer = bgzf::io::Writer::new(Vec::new());
    writer.write_all(text.as_bytes()).unwrap();
    std::fs::write(&path, writer.finish().unwrap()).unwrap();
    assert_eq!(read_all(&path).unwrap(), [bases.as_bytes()]);
    let gzi = std::fs::read(beside(&path, ".gzi")).unwrap();
    // 326,408 bytes in blocks of at most 65,280: more than four entries after the first block.
    for kept in [vec![], vec![1], vec![0, 3], vec![2, 3]] {
        let mut few = (kept.len() as u64).to_le_bytes().to_vec();
        for entry in kept {
            few.extend_from_slice(&gzi[8 + 16 * entry..][..16]);
        }
        std::fs::write(beside(&path, ".gzi"), few).unwrap();
        assert!(read_all(&path).unwrap() == [bases.as_bytes()]);
    }
}

#[test]
fn open_bad_index_names_it() {
    let cases = [
        (
            "a\t4\t3\t4\n",
            "g.fa.fai:1: 4 tab-separated fields where 5 (name, length, offset, bases and bytes of a line) are expected",
        ),
        (
            "a\tx\t3\t4\t5\n",
            "g.fa.fai:1: length \"x\" is not a whole number",
        ),
        (
            "a\t4\t3\t0\t1\n",
            "g.fa.fai:1: bytes of a line \"1\" is not the bases of a line and one or two bytes of line end",
        ),
        (
            "a\t4\t3\t4\t9\n",
            "g.fa.fai:1: bytes of a line \"9\" is not the bases of a line and one or two bytes of line end",
        ),
        (
            "a\t4\t18446744073709551615\t4\t5\n",
            "g.fa.fai:1: offset \"18446744073709551615\" is not a byte of any file",
        ),
        (
            "a\t4\t3\t4\t5\na\t4\t3\t4\t5\n",
            "g.fa.fai:2: sequence \"a\" occurs already on line 1; keep one of the two",
        ),
        (
            "",
            "g.fa.fai: no sequence in the file; is it the right one, and whole?",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.fa");
    std::fs::write(&path, ">a\nACGT\n").unwrap();
    for (fai, expected) in cases {
        std::fs::write(beside(&path, ".fai"), fai).unwrap();
        let message = Fasta::open(&path).unwrap_err().to_string();
        assert_eq!(
            message.replace(&format!("{}/", folder.path().display()), ""),
            expected
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn open_folder_without_room_keeps_the_index_in_memory() {
    use std::os::fd::AsRawFd;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bgzip(b">a\nACGT\n")).unwrap();
    // Nobody, not even root, can create a file in this folder.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let fasta = Fasta::open(path).unwrap();
    assert_eq!(fasta.index_source(), IndexSource::InMemory);
    let interval = Interval::try_new("a", 1, 3).unwrap();
    assert_eq!(fasta.read_bases(&interval).unwrap(), b"CG");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // A third each: any bytes, text near a FASTA file, the same as BGZF.
    #[test]
    fn open_any_bytes_never_panics(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "(>[ab]?( x)?\r?\n([ACGTNacgt*-]{0,5}\r?\n){0,3}){0,4}".prop_map(String::into_bytes),
            "(>[ab]?\n([ACGTN]{0,5}\n){0,3}){0,4}".prop_map(|text| bgzip(text.as_bytes())),
        ],
        fai in proptest::option::of(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            "([ab]\t[0-9]{1,2}\t[0-9]{1,2}\t[0-9]\t[0-9]\n){1,2}".prop_map(String::into_bytes),
        ]),
        gzi in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.fa");
        std::fs::write(&path, bytes).unwrap();
        if let Some(fai) = fai {
            std::fs::write(beside(&path, ".fai"), fai).unwrap();
        }
        if let Some(gzi) = gzi {
            std::fs::write(beside(&path, ".gzi"), gzi).unwrap();
        }
        let _ = read_all(&path);
    }
}

#[test]
fn read_bases_beyond_4_gb() {
    use std::io::{Seek, SeekFrom};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.fa");
    // One line of 4.4 billion bases, a hole in the file, then a short sequence.
    let length = 4_400_000_000_u64;
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b">chr1\n").unwrap();
    file.seek(SeekFrom::Start(6 + length)).unwrap();
    file.write_all(b"\n>chr2\nACGTacgtN\nAC\n").unwrap();
    let second = 6 + length + 7;
    let index = format!(
        "chr1\t{length}\t6\t{length}\t{}\nchr2\t11\t{second}\t9\t10\n",
        length + 1
    );
    std::fs::write(folder.path().join("g.fa.fai"), index).unwrap();
    let fasta = Fasta::open(&path).unwrap();
    assert_eq!(fasta.index_source(), IndexSource::Found);
    let bases = fasta.read_bases(&Interval::try_new("chr2", 3, 11).unwrap());
    assert_eq!(bases.unwrap(), b"TacgtNAC");
}
