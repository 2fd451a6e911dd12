use std::io::Write;

use super::*;

fn lines(bytes: &[u8]) -> Result<Vec<(u64, String)>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.txt");
    std::fs::write(&path, bytes).unwrap();
    let all = || {
        let mut lines = Lines::open(&path)?;
        let mut found = Vec::new();
        while let Some((line, text)) = lines.next_line()? {
            found.push((line, text.to_string()));
        }
        Ok(found)
    };
    all().map_err(|e: GenomeError| {
        e.to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    })
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn next_line_line_ends_and_packing() {
    let cases: [(&[u8], &[&str]); 6] = [
        (b"", &[]),
        (b"a", &["a"]),
        (b"a\nb\n", &["a", "b"]),
        (b"a\r\n\r\nb\r", &["a", "", "b\r"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbf", &["a", "\u{feff}"]),
        (b"\n\n", &["", ""]),
    ];
    for (text, expected) in cases {
        let expected: Vec<_> = (1..)
            .zip(expected.iter().map(ToString::to_string))
            .collect();
        assert_eq!(lines(text).unwrap(), expected);
        assert_eq!(lines(&gzip(text)).unwrap(), expected);
        // Two gzip files one after the other are one file.
        assert_eq!(lines(&[gzip(text), gzip(b"")].concat()).unwrap(), expected);
        // Zeros behind it, as a tape leaves them.
        assert_eq!(
            lines(&[gzip(text), vec![0; 512]].concat()).unwrap(),
            expected
        );
    }
}

#[test]
fn next_line_old_line_ends_are_an_error() {
    let table = b"gene\ttpm\rA\t1\rB\t2\r";
    let bytes = [table.to_vec(), table[..14].to_vec(), gzip(table)];
    for bytes in bytes {
        let message = lines(&bytes).unwrap_err();
        let part = "t.txt:1: the lines end in a carriage return alone";
        assert!(message.starts_with(part), "{message}");
        assert!(message.contains(r"tr '\r' '\n' <"), "{message}");
    }
    let one_line = b"chr22\t5\r".to_vec();
    assert_eq!(
        lines(&one_line).unwrap(),
        [(1, "chr22\t5\r".to_string())],
        "one line does not tell"
    );
}

#[test]
fn next_line_damaged_gzip_names_the_line() {
    let text: Vec<u8> = (0..50_000_u32)
        .flat_map(|i| format!("{}\n", i * i % 977).into_bytes())
        .collect();
    let packed = gzip(&text);
    for length in [12, packed.len() / 2, packed.len() - 1] {
        let message = lines(&packed[..length]).unwrap_err();
        assert!(
            message.starts_with("t.txt:") && message.contains("cut off"),
            "{message}"
        );
    }
    let mut damaged = packed;
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    let message = lines(&damaged).unwrap_err();
    assert!(message.contains("damaged"), "{message}");
    let garbage = [gzip(b"a\n"), b"\0\0x".to_vec()].concat();
    let message = lines(&garbage).unwrap_err();
    let part = "t.txt:2: the compressed data is cut off or damaged here (more than zeros";
    assert!(message.starts_with(part), "{message}");
}

#[test]
fn or_damage_tells_damage_from_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.txt");
    let packed = gzip(b"gene\ttpm\nA\t1\n");
    let mut damaged = packed.clone();
    // The checksum stands before the last 4 bytes.
    let at = packed.len() - 5;
    damaged[at] ^= 1;
    let mistake = || GenomeError::InvalidField {
        path: path.clone(),
        line: 1,
        column: "tpm".to_string(),
        value: "x".to_string(),
        expected: "a number",
    };
    for (bytes, is_damaged) in [
        (b"gene\n".to_vec(), false),
        (packed, false),
        (damaged, true),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let message = mistake().or_damage().to_string();
        let expected = match is_damaged {
            true => format!("{}:3: the compressed data is cut off", path.display()),
            false => mistake().to_string(),
        };
        assert!(message.starts_with(&expected), "{message}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        mistake().or_damage().to_string(),
        mistake().to_string(),
        "a file that went away says nothing"
    );
}

#[test]
fn open_of_what_is_no_text_says_what_it_is() {
    let utf_16: Vec<u8> = "gene\ttpm\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let cases: [(Vec<u8>, &str); 5] = [
        (b"PK\x03\x04\x14\0".to_vec(), "Excel workbook (.xlsx)"),
        (gzip(b"BAM\x01\0\0\0\0"), "a BAM file"),
        (utf_16.clone(), "text in UTF-16"),
        (gzip(&utf_16), "text in UTF-16"),
        (b"<html><body>404".to_vec(), "a web page"),
    ];
    for (bytes, part) in cases {
        let message = lines(&bytes).unwrap_err();
        assert!(message.starts_with("t.txt: byte 0: this is "), "{message}");
        assert!(message.contains(part), "{message}");
    }
    let message = lines(b"gene\ttpm\nA\0\t1\n").unwrap_err();
    let part = "t.txt:2: byte 1 of the line is 0, which no text has";
    assert!(message.starts_with(part), "{message}");
}

#[test]
fn open_folder_or_nothing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("none")] {
        let error = Lines::open(&path).err().unwrap().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
