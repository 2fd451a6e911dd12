//! Input that is odd but right, and values that no instrument measures.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use dataset::{
    DataDescription, ExampleReader, ExampleSource, FileTable, PreparedReader, RegionCode,
    RegionsLeftOut, describe_data, write_prepared,
};

use genome::{ChromSizes, ContactPixel, write_cool};

use crate::foreign_bigwig::{ForeignChrom, write_foreign_bigwig};
use crate::tiny_genome::{CHROMS, TinyGenome};

#[test]
fn infinite_track_values_are_named_wherever_an_example_reads_them() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let wide = [(
        "length = 40",
        "length = 1400\ncandidates = { elements = \"elements.bed\", element_length = 4 }",
    )];
    // MIDDLE: start site 1500, window [1480, 1520), activity over [1000, 2000). With `wide`, window
    // [800, 2200) and an element [2100, 2299), whose middle 2199 lies in the window.
    type Replace<'a> = &'a [(&'a str, &'a str)];
    let cases: [(u32, f32, Replace, Option<&str>); 8] = [
        (1500, inf, &[], Some("chr1:1501-1501 has the value inf")),
        (1999, -inf, &[], Some("chr1:2000-2000 has the value -inf")),
        (1000, inf, &[], Some("chr1:1001-1001 has the value inf")),
        (2000, inf, &[], None),
        (999, inf, &[], None),
        (1500, nan, &[], None),
        (2250, inf, &wide, Some("chr1:2251-2251 has the value inf")),
        (2250, nan, &wide, None),
    ];
    for (base, value, replace, expected) in cases {
        let tiny = TinyGenome::write();
        std::fs::write(tiny.path("elements.bed"), "chr1\t2100\t2299\n").unwrap();
        let write = |items: &[(u32, u32, f32)]| {
            let chroms: [ForeignChrom; 2] = [("chr1", 3000, items), ("chr2", 400, &[])];
            write_foreign_bigwig(&tiny.path("dnase.bw"), &chroms);
        };
        let read = || {
            let reader = ExampleReader::open(&tiny.config_with(replace)).unwrap();
            ExampleReader::read(&reader, 3)
        };
        write(&[(1400, 1450, 8.0)]);
        let without = read().unwrap();
        // Sorted, as every reader asks of the items of a section.
        match base < 1400 {
            true => write(&[(base, base + 1, value), (1400, 1450, 8.0)]),
            false => write(&[(1400, 1450, 8.0), (base, base + 1, value)]),
        }
        match (read(), expected) {
            (Ok(example), None) => assert_eq!(example, without, "{base} {value}"),
            (Err(error), Some(part)) => {
                let message = error.to_string();
                let part = format!("dnase.bw: {part}: a track value must be finite; write");
                assert!(message.contains(&part), "{message}");
            }
            (found, _) => panic!("{base} {value}: {found:?}"),
        }
    }
}

#[test]
fn negative_contacts_are_named_by_their_bin() {
    let tiny = TinyGenome::write();
    let sizes = ChromSizes::new(CHROMS.map(|(name, n)| (name.to_string(), n)).into());
    // Bins of 100: MIDDLE starts in bin 15, and bin 16 lies within 500 bases of it, outside its window.
    let pixel = |bin2, count| ContactPixel {
        bin1: 15,
        bin2,
        count,
    };
    let marked = 0x0102_0304;
    write_cool(
        tiny.path("a.cool"),
        &sizes,
        100,
        &[pixel(15, 5), pixel(16, marked)],
    )
    .unwrap();
    let contact = (
        "contact = { fallback = \"power_law\", resolution = 10 }",
        "contact = { path = \"a.cool\", resolution = 100 }",
    );
    let read = || {
        let reader = ExampleReader::open(&tiny.config_with(&[contact])).unwrap();
        ExampleReader::read(&reader, 3).map_err(|error| error.to_string())
    };
    assert_eq!(read().unwrap().gene().symbol, "MIDDLE");
    // The count's four bytes, once in the file, become those of -1.
    let mut bytes = std::fs::read(tiny.path("a.cool")).unwrap();
    let places: Vec<usize> = (0..bytes.len() - 4)
        .filter(|&at| bytes[at..at + 4] == marked.to_le_bytes())
        .collect();
    let [place] = places[..] else {
        panic!("{places:?}")
    };
    bytes[place..place + 4].copy_from_slice(&(-1_i32).to_le_bytes());
    std::fs::write(tiny.path("a.cool"), bytes).unwrap();
    let message = read().unwrap_err();
    let part = "a.cool: chr1:1601-1700: the contact of this bin is -1; a contact must be finite";
    assert!(message.contains(part), "{message}");
}

#[test]
fn regions_on_chromosomes_that_the_genome_lacks_are_counted() {
    let tiny = TinyGenome::write();
    let plain = describe_data(&ExampleReader::open(&tiny.config_with(&[])).unwrap()).unwrap();
    assert_eq!(plain.regions_left_out, []);
    let exclude = std::fs::read_to_string(tiny.path("exclude.bed")).unwrap();
    let more = exclude + "chrUn\t0\t5\nHG1\t3\t9\nchrUn\t7\t9\n";
    std::fs::write(tiny.path("exclude.bed"), more).unwrap();
    let sites = "chr1\t110\t111\nchrUn\t1\t2\n";
    std::fs::write(tiny.path("sites.bed"), sites).unwrap();
    let peaks = [(
        "length = 40",
        "length = 40\ntss_peaks = { path = \"sites.bed\" }",
    )];
    let config = tiny.config_with(&peaks);
    assert_eq!(FileTable::read(&config).problems, [""; 0]);
    let reader = ExampleReader::open(&config).unwrap();
    let row = |role: &str, file, n_regions, n_chroms| RegionsLeftOut {
        role: role.to_string(),
        path: tiny.path(file),
        n_regions,
        n_chroms,
        first_chrom: "chrUn".to_string(),
        named_otherwise: BTreeMap::new(),
    };
    let expected = [
        row("tss_peaks", "sites.bed", 1, 1),
        row("exclude", "exclude.bed", 3, 2),
    ];
    assert_eq!(reader.regions_left_out(), expected);
    let notes = DataDescription::without_sources(&reader).notes();
    let part = "exclude.bed: 3 regions left out, on 2 chromosomes that the genome does not have; \
                the first is \"chrUn\"";
    assert!(notes.iter().any(|note| note.contains(part)), "{notes:?}");

    let folder = tiny.path("prepared");
    write_prepared(&reader, &folder, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let prepared = PreparedReader::open(&folder).unwrap();
    assert_eq!(
        prepared.manifest().description.regions_left_out,
        expected,
        "the manifest tells it"
    );
    assert_eq!(prepared.len(), reader.len());
}

#[test]
fn regions_under_another_name_of_a_chromosome_are_said_to_be() {
    let tiny = TinyGenome::write();
    let exclude = std::fs::read_to_string(tiny.path("exclude.bed")).unwrap();
    let note = |more: &str| {
        std::fs::write(tiny.path("exclude.bed"), format!("{exclude}{more}")).unwrap();
        let reader = ExampleReader::open(&tiny.config_with(&[])).unwrap();
        reader.regions_left_out()[0].to_string()
    };
    let cases = [
        (
            "chrUn\t0\t5\n2\t3\t9\n",
            "the first is \"chrUn\"; \"2\" is called \"chr2\" in the genome: rename the regions, or \
             give --chrom-alias 2=chr2",
        ),
        (
            "2\t0\t5\n1\t3\t9\n",
            "the first is \"2\"; \"1\" is called \"chr1\" in the genome (and so for 1 more): rename \
             the regions, or give --chrom-alias 1=chr1",
        ),
    ];
    for (more, expected) in cases {
        let found = note(more);
        assert!(found.ends_with(expected), "{found}");
    }
}

/// Code of a letter by hand: 0 A, 1 C, 2 G, 3 T, else 4, lower case as upper case.
fn code(letter: u8) -> u8 {
    match letter {
        b'A' | b'a' => 0,
        b'C' | b'c' => 1,
        b'G' | b'g' => 2,
        b'T' | b't' => 3,
        _ => 4,
    }
}

#[test]
fn odd_contigs_are_read_prepared_and_read_back() {
    let tiny = TinyGenome::write();
    let contigs: Vec<(&str, String)> = vec![
        ("HLA-A*01:01", "r".to_string()),
        ("c|x", "acgtRYKMBDHVswNnACGTuUACGTACgtaa".to_string()),
        ("chr1", "ACGTTGCAN".repeat(20)),
    ];
    let fasta: String = contigs
        .iter()
        .map(|(name, bases)| format!(">{name} a comment\n{bases}\n"))
        .collect();
    std::fs::write(tiny.path("genome.fa"), fasta).unwrap();
    // symbol, contig, tss, strand, split: every base of the short contigs' ends is a start site.
    let genes = [
        ("ONE+", 0, 0, "+", "train"),
        ("ONE-", 0, 0, "-", "test"),
        ("FIRST", 1, 0, "-", "valid"),
        ("LAST", 1, 31, "-", "train"),
        ("MIDDLE", 1, 16, "+", "test"),
        ("CHR1", 2, 90, "-", "train"),
    ];
    let mut table = "symbol\tgene_id\tchrom\ttss\tstrand\tgene_type\tsplit\n".to_string();
    let mut expression = "gene\ttpm\n".to_string();
    for (symbol, contig, tss, strand, split) in genes {
        let chrom = contigs[contig].0;
        table += &format!("{symbol}\tID_{symbol}\t{chrom}\t{tss}\t{strand}\tx\t{split}\n");
        expression += &format!("{symbol}\t9\n");
    }
    std::fs::write(tiny.path("genes.tsv"), table).unwrap();
    std::fs::write(tiny.path("expression.tsv"), expression).unwrap();
    let dnase: [ForeignChrom; 3] = [
        ("HLA-A*01:01", 1, &[(0, 1, 2.0)]),
        ("c|x", 32, &[(0, 1, 3.0), (31, 32, 4.0)]),
        ("chr1", 180, &[(90, 90, 9.0), (100, 101, 5.0)]),
    ];
    write_foreign_bigwig(&tiny.path("dnase.bw"), &dnase);
    write_foreign_bigwig(&tiny.path("h3k27ac.bw"), &dnase);
    let bed = "HLA-A*01:01\t0\t1\nc|x\t0\t0\nc|x\t31\t32\n";
    std::fs::write(tiny.path("exclude.bed"), bed).unwrap();
    std::fs::write(tiny.path("include.bed"), "chr1\t80\t80\n").unwrap();

    let config = tiny.config_with(&[("mrna_features = \"mrna.tsv\"\n", "")]);
    assert_eq!(FileTable::read(&config).problems, [""; 0]);
    let reader = ExampleReader::open(&config).unwrap();
    assert_eq!(reader.len(), genes.len());
    for (index, (symbol, contig, tss, ..)) in genes.into_iter().enumerate() {
        let example = ExampleReader::read(&reader, index).unwrap();
        let bases = contigs[contig].1.as_bytes();
        for offset in 0..40 {
            let position = tss as i64 - 20 + offset as i64;
            let letter = usize::try_from(position).ok().and_then(|at| bases.get(at));
            let found = example.base_codes()[offset];
            assert_eq!(
                found,
                letter.map_or(4, |letter| code(*letter)),
                "{symbol} {position}"
            );
            let value = dnase[contig]
                .2
                .iter()
                .find(|(start, end, _)| (i64::from(*start)..i64::from(*end)).contains(&position))
                .map_or(0.0, |(.., value)| *value);
            let row = &example.tracks()[3 * offset..3 * offset + 2];
            assert_eq!(row, [value, value], "{symbol} {position}");
            let expected = match (contig, position) {
                _ if (18..22).contains(&offset) => RegionCode::One, // the promoter, 4 bases
                (0, 0) | (1, 31) => RegionCode::Zero,
                _ => RegionCode::Keep,
            };
            assert_eq!(example.regions()[offset], expected, "{symbol} {position}");
        }
        assert_eq!(example.target(), Some(1.0)); // log10(9 + 1)
    }

    let folder = tiny.path("prepared");
    write_prepared(&reader, &folder, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let prepared = PreparedReader::open(&folder).unwrap();
    for index in 0..reader.len() {
        let read = ExampleReader::read(&reader, index).unwrap();
        assert_eq!(prepared.read(index).unwrap(), read);
    }
}
