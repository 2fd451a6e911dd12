use std::path::Path;

use proptest::prelude::*;

use crate::bed::read_regions;
use crate::error::GenomeError;

fn golden(protocol: u8) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/golden/mask_protocol_{protocol}.pkl"));
    std::fs::read(path).unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<(String, u64, u64)>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.pkl");
    std::fs::write(&path, bytes).unwrap();
    let regions = read_regions(&path).map_err(|e: GenomeError| {
        e.to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    })?;
    Ok(regions
        .iter()
        .map(|r| {
            let interval = &r.interval;
            (
                interval.chrom().to_string(),
                interval.start(),
                interval.end(),
            )
        })
        .collect())
}

#[test]
fn read_mask_pickle_every_protocol_gives_the_runs() {
    // oracle/released_layout.py: "a" is 0 1 1 0 1; "b" is bases 11,000 to 13,000 of a mask that is
    // true from 11,900 to 12,000.
    let expected = [("a", 1, 3), ("a", 4, 5), ("b", 900, 1000)]
        .map(|(chrom, start, end)| (chrom.to_string(), start, end));
    for protocol in 2..=5 {
        assert_eq!(read(&golden(protocol)).unwrap(), expected, "{protocol}");
    }
}

#[test]
fn read_mask_pickle_refuses_what_is_no_mask() {
    // Written by hand after the operations of Python's pickletools.
    let cases: [(&[u8], &str); 9] = [
        (b"\x80\x02}.", ""),
        (
            b"\x80\x07}.",
            "m.pkl: byte 2: pickle protocol 7 is none of 2 to 5",
        ),
        (b"\x80\x02", "m.pkl: byte 2: the pickle was cut off here"),
        (
            b"\x80\x02N.",
            "m.pkl: byte 4: this is no pickled dictionary",
        ),
        (b"\x80\x02.", "m.pkl: byte 3: this is no pickled dictionary"),
        (
            b"\x80\x02cos\nsystem\n(U\x04exitR.",
            "m.pkl: byte 13: the pickle asks for \"os.system\", which is not needed for a mask and is not run",
        ),
        (
            b"\x80\x02}U\x01aN s.",
            "m.pkl: byte 8: this is no pickled dictionary",
        ),
        (
            b"\x80\x02}B\xff\xff\xff\x7f",
            "m.pkl: byte 8: the pickle was cut off here",
        ),
        (
            b"\x80\x02cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R.",
            "m.pkl: byte 25: an array of type \"f8\" is no mask; it must be of booleans",
        ),
    ];
    for (bytes, expected) in cases {
        match read(bytes) {
            Ok(regions) => assert!(expected.is_empty() && regions.is_empty(), "{bytes:?}"),
            Err(message) => assert!(
                !expected.is_empty() && message.starts_with(expected),
                "{message}"
            ),
        }
    }
}

#[test]
fn read_mask_pickle_cut_off_or_other_values_is_an_error() {
    for protocol in 2..=5 {
        let whole = golden(protocol);
        for length in (1..whole.len()).step_by(7) {
            let message = read(&whole[..length]).unwrap_err();
            assert!(message.starts_with("m.pkl: byte "), "{message}");
        }
        // A byte in the middle of the 2,000 of the second array.
        let mut other = whole.clone();
        let at = whole.len() - 500;
        other[at] = 7;
        let expected =
            format!("m.pkl: byte {at}: a mask holds zeros and ones, and here is something else");
        assert_eq!(read(&other).unwrap_err(), expected);
    }
}

proptest! {
    // Two thirds of the cases are near a real file, one third are any bytes.
    #[test]
    fn read_mask_pickle_any_bytes_never_panics(
        protocol in 2_u8..6,
        flips in prop::collection::vec((0_usize..400, any::<u8>()), 1..6),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        which in 0..3,
    ) {
        let mut file = golden(protocol);
        match which {
            0 => file = [&[0x80, 2][..], &bytes].concat(),
            _ => {
                for (index, value) in flips {
                    if let Some(byte) = file.get_mut(index + 1) {
                        *byte = value;
                    }
                }
            }
        }
        if let Ok(regions) = read(&file) {
            prop_assert!(regions.iter().all(|(_, start, end)| start < end));
        }
    }
}
