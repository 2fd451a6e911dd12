//! The Polars example of docs/data-format.md, run as it is printed there.

use std::path::Path;
use std::process::Command;

use dataset::{ExampleReader, ExampleSource, write_prepared};

use crate::tiny_genome::TinyGenome;

/// The only Python block of the document that uses Polars.
fn documented_example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/data-format.md");
    let text = std::fs::read_to_string(path).unwrap();
    let block = text
        .split("```python\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("polars"));
    block.unwrap().to_string()
}

#[test]
fn polars_example_reads_what_was_written() {
    // Which Python to ask, for one that lives in a virtual environment.
    let python = std::env::var("SEQ2EXP_TEST_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let has_polars = Command::new(&python)
        .args(["-c", "import polars"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_polars {
        println!("skipped: {python} has no polars; name one that has it in SEQ2EXP_TEST_PYTHON");
        return;
    }
    let tiny = TinyGenome::write();
    let reader = ExampleReader::open(&tiny.config_with(&[])).unwrap();
    let mut silent = |_, _| std::ops::ControlFlow::Continue(());
    write_prepared(&reader, tiny.path("prepared"), &mut silent).unwrap();
    let example = documented_example();
    assert_eq!(example.lines().count(), 5, "five lines:\n{example}");
    let output = Command::new(&python)
        .current_dir(tiny.folder())
        .args(["-c", &example])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut lines = text.lines().filter(|line| !line.is_empty());
    assert_eq!(lines.next(), Some("symbol\ttarget\tdnase"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), reader.len(), "{text}");
    for (index, row) in rows.iter().enumerate() {
        let example = ExampleReader::read(&reader, index).unwrap();
        let column = example.tracks().iter().skip(1).step_by(3);
        let mean = column.map(|value| f64::from(*value)).sum::<f64>() / 40.0;
        assert_eq!(row[0], example.gene().symbol);
        let close = |text: &str, expected: f64| {
            let found: f64 = text.parse().unwrap();
            (found - expected).abs() <= 1e-6 * expected.abs()
        };
        assert!(
            close(row[1], f64::from(example.target().unwrap())),
            "{text}"
        );
        assert!(close(row[2], mean), "{}: {} against {mean}", row[0], row[2]);
    }
}
