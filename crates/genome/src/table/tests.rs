use super::*;

#[test]
fn missing_column_says_what_may_be_wrong_with_the_header() {
    let folder = tempfile::tempdir().unwrap();
    for (name, header, part) in [
        (
            "t.tsv",
            "gene tpm",
            "(only one: are the columns separated by tabs?)",
        ),
        (
            "t.tsv",
            "gene,tpm",
            "(only one, with commas: let the name end in .csv,",
        ),
        ("t.tsv", "gene;tpm", "(only one, with semicolons:"),
        ("t.csv", "gene;tpm", "(only one, with semicolons:"),
        (
            "t.csv",
            "gene tpm",
            "(only one: are the columns separated by commas?)",
        ),
        ("t.tsv", "\"gene\"\t\"tpm\"", "quote = FALSE"),
        ("t.tsv", "Gene\ttpm", "the columns are Gene, tpm"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{header}\n")).unwrap();
        let table = Table::open(&path).ok().unwrap();
        let message = table.require("gene").unwrap_err().to_string();
        assert!(message.contains(part), "{header}: {message}");
    }
    // Quotes belong to a .csv, whose ending may be in upper case.
    let path = folder.path().join("T.CSV");
    std::fs::write(&path, "\"gene\",\"tpm\"\n").unwrap();
    let table = Table::open(&path).ok().unwrap();
    assert_eq!(table.require("tpm").unwrap(), 1);
}

#[test]
fn names_that_a_spreadsheet_made_dates_of() {
    for (name, expected) in [
        ("1-Mar", true),
        ("02-Sep", true),
        ("2023-03-01", true),
        ("2023-03-01 00:00:00", true),
        ("dec-1", false),
        ("1-mar", false),
        ("MARCHF1", false),
        ("HLA-A", false),
        ("1-2", false),
        ("100-Mar", false),
        ("-Mar", false),
        ("12345-03-01", false),
    ] {
        assert_eq!(is_spreadsheet_date(name), expected, "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.tsv");
    std::fs::write(&path, "gene\ttpm\nA\t1\n1-Mar\t2\n").unwrap();
    let message = crate::read_expression(&path, "gene", "tpm")
        .unwrap_err()
        .to_string();
    let part = "t.tsv:3: gene \"1-Mar\" is not a name but a date, which a spreadsheet makes of";
    assert!(message.contains(part), "{message}");
}

#[test]
fn commas_to_tabs_quotes() {
    let cases = [
        ("", Ok("")),
        ("a,b,,c", Ok("a\tb\t\tc")),
        (r#""a,b",c"#, Ok("a,b\tc")),
        (r#""say ""x""",1"#, Ok("say \"x\"\t1")),
        (r#""a,b"#, Err("a quoted field does not end on this line")),
        ("a,b\tc", Err("there is a tab in a comma-separated table")),
    ];
    for (text, expected) in cases {
        assert_eq!(commas_to_tabs(text), expected.map(str::to_string), "{text}");
    }
}
