//! The same data set from other kinds of files.

use dataset::{ExampleReader, ExampleSource, FileTable};
use genome::{ChromSizes, ConversionPlace, Interval, write_bigwig};

use crate::tiny_genome::{CHROMS, DNASE, TinyGenome};

#[test]
fn bed_graph_track_gives_the_examples_of_the_bigwig() {
    let tiny = TinyGenome::write();
    let expected = ExampleReader::open(&tiny.config_with(&[])).unwrap();
    let mut text = String::from("track type=bedGraph\r\n");
    for (start, end, value) in DNASE {
        text += &format!("1\t{start}\t{end}\t{value}\r\n");
    }
    // The chromosome's own name is "1" here; chr2 has one measured zero.
    std::fs::write(tiny.path("dnase.bedGraph"), text + "chr2\t0\t1\t0\r\n").unwrap();
    let config = tiny.config_with(&[
        ("dnase.bw", "dnase.bedGraph"),
        (
            "promoter = 4",
            "promoter = 4\nchrom_alias = { \"1\" = \"chr1\" }",
        ),
    ]);
    for place in [ConversionPlace::Written, ConversionPlace::Found] {
        let reader = ExampleReader::open(&config).unwrap();
        let places: Vec<_> = reader.conversions().map(|made| made.place).collect();
        assert_eq!(places, [place]);
        for index in 0..expected.len() {
            let (found, expected) = (
                ExampleReader::read(&reader, index).unwrap(),
                ExampleReader::read(&expected, index).unwrap(),
            );
            assert_eq!(found.tracks(), expected.tracks(), "{}", found.gene().symbol);
        }
    }
}

#[test]
fn expression_from_tracks_is_the_sum_at_the_start_site() {
    let tiny = TinyGenome::write();
    let sizes = ChromSizes::new(CHROMS.map(|(name, n)| (name.to_string(), n)).into());
    let row =
        |chrom: &str, start, end, value| (Interval::try_new(chrom, start, end).unwrap(), value);
    let plus = [row("chr1", 0, 200, 0.5), row("chr2", 390, 400, 2.0)];
    write_bigwig(tiny.path("plus.bw"), &sizes, plus).unwrap();
    write_bigwig(tiny.path("minus.bw"), &sizes, [row("chr1", 0, 50, -1.0)]).unwrap();
    let table = "{ path = \"expression.tsv\", value = \"tpm\" }";
    let tracks = "{ path = \"plus.bw\", minus = \"minus.bw\", value = \"cage\" }";
    let reader = ExampleReader::open(&tiny.config_with(&[(table, tracks)])).unwrap();
    // Each gene's sum over [tss - 192, tss + 192) of its strand's file.
    let expected = [
        ("LEFT", 97.5),  // [0, 195): 195 * 0.5
        ("PLUS", 100.0), // [0, 292): 200 * 0.5
        ("MINUS", 50.0), // [0, 292) of the minus strand: 50 * 1
        ("MIDDLE", 0.0),
        ("LINC", 0.0),
        ("RIGHT", 0.0),
        ("SHORT", 20.0),  // [207, 400): 10 * 2
        ("UNKNOWN", 4.0), // [8, 392): 2 * 2
    ];
    assert_eq!(reader.len(), expected.len());
    for (index, (symbol, sum)) in expected.into_iter().enumerate() {
        let example = ExampleReader::read(&reader, index).unwrap();
        assert_eq!(example.gene().symbol, symbol);
        let target = (f64::log10(sum + 1.0)) as f32;
        assert_eq!(example.target(), Some(target), "{symbol}");
    }

    let files = FileTable::read(&tiny.config_with(&[(table, tracks)]));
    assert_eq!(files.problems, [""; 0]);
    for role in ["expression", "expression minus"] {
        let chroms = files.row(role).unwrap().chroms.as_ref().unwrap();
        let chroms: Vec<_> = chroms
            .iter()
            .map(|chrom| (chrom.name.as_str(), chrom.length))
            .collect();
        assert_eq!(chroms, CHROMS.map(|(name, n)| (name, Some(n))), "{role}");
    }

    // Moved sites: the sums are around the peaks, not around the annotated sites.
    let peaks = "chr1\t300\t301\tp\t9\t+\nchr1\t240\t241\tm\t9\t-\nchr2\t350\t351\ts\t9\t.\n";
    std::fs::write(tiny.path("peaks.bed"), peaks).unwrap();
    let moved = "tss_peaks = { path = \"peaks.bed\", max_distance = 200 }\nlength = 40";
    let config = tiny.config_with(&[(table, tracks), ("length = 40", moved)]);
    assert_eq!(FileTable::read(&config).problems, [""; 0]);
    let reader = ExampleReader::open(&config).unwrap();
    let expected = [
        ("LEFT", 3, 97.5),     // no peak in [0, 204)
        ("PLUS", 300, 46.0),   // [108, 492): 92 * 0.5
        ("MINUS", 240, 2.0),   // [48, 432) of the minus strand: 2 * 1
        ("MIDDLE", 1500, 0.0), // no peak, as the next two
        ("LINC", 2000, 0.0),
        ("RIGHT", 2999, 0.0),
        ("SHORT", 350, 20.0), // [158, 400): 10 * 2
        ("UNKNOWN", 350, 20.0),
    ];
    assert_eq!(reader.len(), expected.len());
    for (index, (symbol, tss, sum)) in expected.into_iter().enumerate() {
        let example = ExampleReader::read(&reader, index).unwrap();
        let found = (example.gene().symbol.as_str(), example.window().tss());
        assert_eq!(found, (symbol, tss));
        let target = (f64::log10(sum + 1.0)) as f32;
        assert_eq!(example.target(), Some(target), "{symbol}");
    }

    let odd = tracks.replace("value", "tss_bases = 3, value");
    let mixed = table.replace("value", "minus = \"minus.bw\", value");
    for (expression, part) in [
        (odd.as_str(), "tss_bases 3 must be even"),
        (mixed.as_str(), "its path is a table"),
    ] {
        let error = ExampleReader::open(&tiny.config_with(&[(table, expression)])).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn expression_from_a_track_does_not_mix_genes_that_share_an_identifier() {
    let tiny = TinyGenome::write();
    let sizes = ChromSizes::new(CHROMS.map(|(name, n)| (name.to_string(), n)).into());
    let row =
        |chrom: &str, start, end, value| (Interval::try_new(chrom, start, end).unwrap(), value);
    let cage = [row("chr1", 0, 200, 0.5), row("chr2", 390, 400, 2.0)];
    write_bigwig(tiny.path("cage.bw"), &sizes, cage).unwrap();
    // As pseudoautosomal genes do on X and Y.
    tiny.edit("genes.tsv", "ID_SHORT", "ID_LEFT");
    let table = "{ path = \"expression.tsv\", value = \"tpm\" }";
    let track = "{ path = \"cage.bw\", value = \"cage\", key_holds = \"gene_id\" }";
    let reader = ExampleReader::open(&tiny.config_with(&[(table, track)])).unwrap();
    // LEFT: [0, 195) of chr1, 195 * 0.5; SHORT: [207, 400) of chr2, 10 * 2.
    for (index, symbol, sum) in [(0, "LEFT", 97.5), (6, "SHORT", 20.0)] {
        let example = ExampleReader::read(&reader, index).unwrap();
        assert_eq!(example.gene().symbol, symbol);
        let target = (f64::log10(sum + 1.0)) as f32;
        assert_eq!(example.target(), Some(target), "{symbol}");
    }
}
