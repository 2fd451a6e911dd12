use std::io::Write;

use proptest::prelude::*;

use super::*;

const HEADER: &str = "##fileformat=VCFv4.3\n##contig=<ID=chr1>\n\
    #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";

fn read_named(name: &str, bytes: &[u8]) -> Result<Vec<VariantRecord>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let read = || {
        let mut file = VariantFile::open(&path)?;
        let mut records = Vec::new();
        while let Some(record) = file.next_record()? {
            records.push(record);
        }
        Ok(records)
    };
    read().map_err(|error: GenomeError| {
        error
            .to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    })
}

fn read(rows: &str) -> Result<Vec<VariantRecord>, String> {
    read_named("v.vcf", format!("{HEADER}{rows}").as_bytes())
}

#[test]
fn next_record_positions_and_kinds_of_alleles() {
    let rows = "chr1\t1\trs1;x\tA\tC\t.\t.\t.\r\n\
        chr1\t3\t.\tgt\tG,GTT,*,<DEL>,<*>,G]chr2:5],.A\t9\tPASS\tEND=9\tGT\t0/1\n\
        chr1\t5\t.\tA\t.\t.\t.\t.\n";
    let records = read(rows).unwrap();
    let starts: Vec<_> = records.iter().map(|record| record.start).collect();
    assert_eq!(starts, [0, 2, 4]);
    assert_eq!(records[0].id.as_deref(), Some("rs1;x"));
    assert_eq!(records[0].place, VariantPlace::Line(4));
    assert_eq!(records[1].id, None);
    assert_eq!(records[1].interval().unwrap().to_string(), "chr1:3-4");
    let expected = [
        Allele::Bases("G".into()),
        Allele::Bases("GTT".into()),
        Allele::Deleted,
        Allele::Symbolic("<DEL>".into()),
        Allele::Symbolic("<*>".into()),
        Allele::Breakend("G]chr2:5]".into()),
        Allele::Breakend(".A".into()),
    ];
    assert_eq!(records[1].alternates, expected);
    assert_eq!(records[2].alternates, []);
    assert_eq!(read("").unwrap(), []);
}

#[test]
fn declared_sizes_are_those_of_contigs_with_a_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.vcf");
    let header = HEADER.replace(
        "#CHROM",
        "##contig=<ID=chr2,assembly=x,length=200,md5=a=b>\n##contig=<length=7,ID=HLA-A*01:01>\r\n\
         ##contig=<ID=chr3,length=many>\n##contig=<length=5>\n##contig\n##INFO=<ID=a,length=3>\n#CHROM",
    );
    std::fs::write(&path, header).unwrap();
    let file = VariantFile::open(&path).unwrap();
    let found: Vec<_> = file.declared_sizes().iter().collect();
    assert_eq!(found, [("chr2", 200), ("HLA-A*01:01", 7)]);
}

#[test]
fn next_record_bad_rows_name_line_and_column() {
    let cases = [
        (
            "chr1\t0\t.\tA\tC\t.\t.\t.\n",
            "v.vcf:4: POS \"0\" is not a position: a whole number from 1",
        ),
        ("chr1\t-1\t.\tA\tC\t.\t.\t.\n", "v.vcf:4: POS \"-1\""),
        (
            "chr1\t1\t.\t\tC\t.\t.\t.\n",
            "v.vcf:4: REF \"\" is not one or more bases",
        ),
        ("chr1\t1\t.\tA-\tC\t.\t.\t.\n", "v.vcf:4: REF \"A-\""),
        (
            "chr1\t1\t.\tA\tC,\t.\t.\t.\n",
            "v.vcf:4: ALT \"\" is not bases, *, a <name>",
        ),
        ("chr1\t1\t.\tA\tC;G\t.\t.\t.\n", "v.vcf:4: ALT \"C;G\""),
        ("chr1\t1\t.\tA\t<>\t.\t.\t.\n", "v.vcf:4: ALT \"<>\""),
        (
            "chr1\t1\t.\tA\tC\n",
            "v.vcf:4: 5 tab-separated fields where at least 8",
        ),
        ("chr1 1 . A C . . .\n", "v.vcf:4: 1 tab-separated fields"),
        ("\t1\t.\tA\tC\t.\t.\t.\n", "v.vcf:4: \"\" from 0 to 1"),
        (
            "chr1\t18446744073709551615\t.\tA\tC\t.\t.\t.\n",
            "no chromosome is that long",
        ),
    ];
    for (row, expected) in cases {
        let message = read(row).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn open_other_files_is_an_error() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let rows: String = (1..500)
        .map(|at| format!("chr1\t{at}\t.\tA\tC\t.\t.\t.\n"))
        .collect();
    gzip.write_all(format!("{HEADER}{rows}").as_bytes())
        .unwrap();
    let packed = gzip.finish().unwrap();
    let cases: [(&str, &[u8], &str); 5] = [
        ("v.vcf", b"", "v.vcf: no header line"),
        (
            "v.vcf",
            b"chr1\t1\t.\tA\tC\t.\t.\t.\n",
            "v.vcf:1: this is no BCF, and a VCF starts with ##fileformat=VCF",
        ),
        (
            "v.vcf",
            b"##fileformat=VCFv4.2\nchr1\t1\t.\tA\tC\t.\t.\t.\n",
            "v.vcf:2: the header line with the columns",
        ),
        (
            "v.vcf.gz",
            &packed[..packed.len() / 2],
            "the compressed data is cut off or damaged here",
        ),
        ("v.bcf", b"", "v.bcf: no header line"),
    ];
    for (name, bytes, expected) in cases {
        let message = read_named(name, bytes).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(read_named("v.vcf.gz", &packed).unwrap().len(), 499);
    // The content tells the kind, not the name.
    assert_eq!(read_named("v.bcf", &packed).unwrap().len(), 499);
    let bcf = std::fs::read(golden("variants.bcf")).unwrap();
    let named_so = read_named("v.bcf", &bcf).unwrap();
    // Zeros behind it, as a tape leaves them.
    let padded = [bcf.clone(), vec![0; 512]].concat();
    assert_eq!(read_named("v.bcf", &padded).unwrap(), named_so);
    assert!(!named_so.is_empty());
    assert_eq!(read_named("v.vcf.gz", &bcf).unwrap(), named_so);
}

#[test]
fn check_reference_cases_per_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.fa");
    std::fs::write(&path, ">chr1\nACgtRN\n").unwrap();
    let genome = Reference::open(&path).unwrap();
    use ReferenceCheck::{Differs, NotThere, Same};
    let cases = [
        ("chr1", 0, "A", Same),
        ("chr1", 2, "GT", Same),
        ("chr1", 1, "cgt", Same),
        ("chr1", 4, "A", Same), // R stands for A or G; a VCF writes A
        ("chr1", 5, "N", Same),
        ("chr1", 4, "G", Differs { genome: "R".into() }),
        (
            "chr1",
            3,
            "TG",
            Differs {
                genome: "tR".into(),
            },
        ),
        ("chr1", 5, "A", Differs { genome: "N".into() }),
        (
            "chr1",
            5,
            "NA",
            NotThere {
                reason: "chr1:6-7 is past the end of chr1 (6 bp)".into(),
            },
        ),
        (
            "1",
            0,
            "A",
            NotThere {
                reason: "no chromosome \"1\"; it is called \"chr1\" there; use the same names in \
                         all files"
                    .into(),
            },
        ),
    ];
    for (chrom, start, reference, expected) in cases {
        let record = VariantRecord {
            chrom: chrom.into(),
            start,
            id: None,
            reference: reference.into(),
            alternates: Vec::new(),
            place: VariantPlace::Line(1),
        };
        assert_eq!(
            record.check_reference(&genome).unwrap(),
            expected,
            "{chrom} {start}"
        );
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/sources")
        .join(name)
}

proptest! {
    // Half of the cases are near a real file, half are any bytes.
    #[test]
    fn vcf_any_bytes_never_panics(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "(chr1|x)\t[0-9]{0,3}\t[.a;]{1,2}\t[ACN*]{0,2}\t[ACGT,.*<>]{0,5}\t[.]\t[.]\t[.]\n"
                .prop_map(|row| format!("{HEADER}{row}").into_bytes()),
        ],
    ) {
        if let Ok(records) = read_named("v.vcf", &bytes) {
            prop_assert!(records.iter().all(|record| !record.reference.is_empty()));
        }
    }

    // A real BCF with a few bytes changed; the end marker stays.
    #[test]
    fn bcf_any_bytes_never_panics(
        changes in proptest::collection::vec((0_usize..2_000, any::<u8>()), 1..5),
    ) {
        let mut bytes = std::fs::read(golden("variants.bcf")).unwrap();
        let n_kept = bytes.len() - 28;
        for (at, value) in changes {
            bytes[at % n_kept] = value;
        }
        let _ = read_named("v.bcf", &bytes);
    }
}
