//! Cooler files that are put together well but say something odd, and such whose parts contradict.

use std::path::Path;

use genome::{ContactMap, GenomeError, Interval, Normalization};
use hdf5_pure::{AttrValue, FileBuilder};

/// A `.cool` of three bins of 10 on `c`.
struct ThreeBins {
    bin_type: &'static str,
    storage_mode: &'static str,
    bin1_id: Vec<i64>,
    bin2_id: Vec<i64>,
    counts: Vec<f64>,
    bin1_offset: Vec<i64>,
    /// Name of the column of factors, which are all 2, and its attribute `divisive_weights`.
    factors: Option<(&'static str, Option<u8>)>,
}

impl ThreeBins {
    /// Counts of bin 0 with 0, 1 and 2, and of bin 1 with 2.
    fn new() -> Self {
        ThreeBins {
            bin_type: "fixed",
            storage_mode: "symmetric-upper",
            bin1_id: vec![0, 0, 0, 1],
            bin2_id: vec![0, 1, 2, 2],
            counts: vec![2.5, 3.0, 4.0, 5.0],
            bin1_offset: vec![0, 3, 4, 4],
            factors: None,
        }
    }

    fn write(&self, path: &Path) {
        let mut file = FileBuilder::new();
        // As h5py writes a str.
        for (name, value) in [
            ("format", "HDF5::Cooler"),
            ("bin-type", self.bin_type),
            ("storage-mode", self.storage_mode),
        ] {
            file.set_attr(name, AttrValue::VarLenString(value.to_string()));
        }
        for (name, value) in [("format-version", 3), ("bin-size", 10), ("nbins", 3)] {
            file.set_attr(name, AttrValue::I64(value));
        }
        let mut chroms = file.create_group("chroms");
        chroms
            .create_dataset("name")
            .with_ascii_strings(&["c"])
            .unwrap();
        chroms.create_dataset("length").with_i32_data(&[30]);
        file.add_group(chroms.finish());
        let mut bins = file.create_group("bins");
        bins.create_dataset("start").with_i32_data(&[0, 10, 20]);
        bins.create_dataset("end").with_i32_data(&[10, 20, 30]);
        if let Some((name, is_divisive)) = self.factors {
            let column = bins.create_dataset(name).with_f64_data(&[2.0; 3]);
            if let Some(is_divisive) = is_divisive {
                column.set_attr("divisive_weights", AttrValue::U8(is_divisive));
            }
        }
        file.add_group(bins.finish());
        let mut pixels = file.create_group("pixels");
        pixels
            .create_dataset("bin1_id")
            .with_i64_data(&self.bin1_id);
        pixels
            .create_dataset("bin2_id")
            .with_i64_data(&self.bin2_id);
        pixels.create_dataset("count").with_f64_data(&self.counts);
        file.add_group(pixels.finish());
        let mut indexes = file.create_group("indexes");
        indexes
            .create_dataset("chrom_offset")
            .with_i64_data(&[0, 3]);
        indexes
            .create_dataset("bin1_offset")
            .with_i64_data(&self.bin1_offset);
        file.add_group(indexes.finish());
        std::fs::write(path, file.finish().unwrap()).unwrap();
    }

    /// The contacts of a bin with all three.
    fn read(&self, bin: u64, normalization: Normalization) -> Result<Vec<f64>, GenomeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.cool");
        self.write(&path);
        let map = ContactMap::open(&path, 10, normalization)?;
        let window = Interval::try_new("c", 0, 30).unwrap();
        Ok(map.read_profile("c", bin * 10 + 3, &window)?.contacts)
    }
}

#[test]
fn three_bins_are_read_as_written() {
    for (bin, expected) in [
        (0, [2.5, 3.0, 4.0]),
        (1, [3.0, 0.0, 5.0]),
        (2, [4.0, 5.0, 0.0]),
    ] {
        let found = ThreeBins::new().read(bin, Normalization::None).unwrap();
        assert_eq!(found, expected);
    }
    let empty = ThreeBins {
        bin1_id: vec![],
        bin2_id: vec![],
        counts: vec![],
        bin1_offset: vec![0; 4],
        ..ThreeBins::new()
    };
    assert_eq!(empty.read(1, Normalization::None).unwrap(), [0.0; 3]);
}

#[test]
fn counts_that_are_no_counts() {
    // An infinite or negative one is refused by the data set, which knows the normalised value.
    for odd in [f64::INFINITY, -1.0] {
        let mut map = ThreeBins::new();
        map.counts[1] = odd;
        assert_eq!(map.read(0, Normalization::None).unwrap(), [2.5, odd, 4.0]);
    }
    let mut map = ThreeBins::new();
    map.counts[1] = f64::NAN;
    let message = map.read(0, Normalization::None).unwrap_err().to_string();
    let part = "a.cool: /pixels/count: the count of the bins at c:1 and c:11 is NaN; leave out";
    assert!(message.contains(part), "{message}");
    // It is no business of a bin without that pixel.
    assert_eq!(map.read(2, Normalization::None).unwrap(), [4.0, 5.0, 0.0]);
}

#[test]
fn index_that_contradicts_the_pixels_is_an_error() {
    let part = "/indexes/bin1_offset: ";
    for (bin1_offset, reason) in [
        ([0, 0, 0, 0], "row 3 starts at pixel 0, not at pixel 4"),
        ([4, 4, 4, 4], "row 0 starts at pixel 4, not at pixel 0"),
        ([0, 3, 4, 3], "row 3 starts at pixel 3, not at pixel 4"),
        ([0, 2, 4, 4], "pixel 2 is of row 0, but of row 1"),
        ([0, 4, 4, 4], "pixel 3 is of row 1, but of row 0"),
        ([0, 0, 0, 4], "pixel 0 is of row 0, but of row 2"),
        ([0, 3, 2, 4], "its rows are not in order"),
        ([0, 3, 5, 4], "its rows are not in order"),
    ] {
        let map = ThreeBins {
            bin1_offset: bin1_offset.to_vec(),
            ..ThreeBins::new()
        };
        for bin in 0..3 {
            let message = map.read(bin, Normalization::None).unwrap_err().to_string();
            assert!(message.contains(part), "{bin1_offset:?} {bin}: {message}");
            if bin == 2 {
                assert!(message.contains(reason), "{bin1_offset:?}: {message}");
            }
        }
    }
}

#[test]
fn columns_that_contradict_each_other_are_errors() {
    let mut short = ThreeBins::new();
    short.counts.pop();
    let mut below = ThreeBins::new();
    below.bin2_id[3] = 0;
    let mut beyond = ThreeBins::new();
    beyond.bin2_id[3] = 3;
    for (map, part) in [
        (
            short,
            "/pixels/count: it has 3 values, but pixels/bin1_id has 4",
        ),
        (
            below,
            "/pixels/bin2_id: column 0 of row 1 is below the diagonal or past",
        ),
        (
            beyond,
            "/pixels/bin2_id: column 3 of row 1 is below the diagonal or past",
        ),
    ] {
        let message = map.read(1, Normalization::None).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn kinds_of_cooler_that_mean_something_else_are_named() {
    let square = ThreeBins {
        storage_mode: "square",
        ..ThreeBins::new()
    };
    let variable = ThreeBins {
        bin_type: "variable",
        ..ThreeBins::new()
    };
    for (map, part) in [
        (
            square,
            "storage-mode is \"square\", only \"symmetric-upper\"",
        ),
        (variable, "bin-type is \"variable\", only \"fixed\""),
    ] {
        let message = map.read(0, Normalization::None).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn factors_are_of_the_kind_that_the_file_states() {
    // Of a count of 2.5 with two factors of 2; what hictk 2.2 reads of such files.
    let (multiplied, divided) = (10.0, 0.625);
    for (name, normalization, is_divisive, expected) in [
        ("weight", Normalization::Weight, None, multiplied),
        ("weight", Normalization::Weight, Some(0), multiplied),
        ("weight", Normalization::Weight, Some(1), divided),
        ("KR", Normalization::Kr, None, divided),
        ("KR", Normalization::Kr, Some(0), multiplied),
        ("KR", Normalization::Kr, Some(1), divided),
    ] {
        let map = ThreeBins {
            factors: Some((name, is_divisive)),
            ..ThreeBins::new()
        };
        let found = map.read(0, normalization).unwrap();
        assert_eq!(found[0], expected, "{name} {is_divisive:?}");
    }
}
