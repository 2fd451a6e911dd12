//! The table as files: TSV for programs, Markdown for people.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use super::{Cell, CellOutcome, CellState, FoldLabel, Plan, ResultRow, ResultTable};
use crate::ensemble::Spread;
use crate::error::RunError;
use crate::metric::{Estimate, Metric};

/// The rows of a [`ResultTable`], one a line.
pub const TABLE_FILE: &str = "table.tsv";
/// The same for people.
pub const MARKDOWN_FILE: &str = "table.md";
/// One cell a line, with its folder, scores, seconds and error.
pub const CELLS_FILE: &str = "cells.tsv";

/// Writes [`TABLE_FILE`], [`MARKDOWN_FILE`] and [`CELLS_FILE`] into the benchmark's folder.
///
/// # Errors
/// [`RunError::Genome`] when one cannot be written; an older one then survives.
pub fn write_tables(
    folder: &Path,
    table: &ResultTable,
    plan: &Plan,
    states: &[CellState],
    outcomes: &[Option<CellOutcome>],
) -> Result<(), RunError> {
    let write = |name: &str, text: String| {
        genome::write_atomic(folder.join(name), |out| out.write_all(text.as_bytes()))
    };
    write(TABLE_FILE, tsv(table))?;
    write(MARKDOWN_FILE, markdown(table))?;
    let cells = plan.cells.iter().zip(states).zip(outcomes);
    let rows = cells.map(|((cell, state), outcome)| cell_row(cell, state, outcome.as_ref()));
    write(
        CELLS_FILE,
        CELL_COLUMNS.to_string() + &rows.collect::<String>(),
    )?;
    Ok(())
}

const COLUMNS: &str = "dataset\tfold\tmodel\tn_seeds\tn_planned\tn_genes\tn_parameters\
    \tmse\tmse_sd\tmse_low\tmse_high\tmae\tmae_sd\tpearson\tpearson_sd\tpearson_low\tpearson_high\
    \tspearman\tspearman_sd\tmask_ratio\tmask_ratio_sd\
    \tmse_difference\tmse_difference_low\tmse_difference_high\tp_genes\tp_seeds\
    \tpublished_mse\tpublished_mse_sd\tpublished_mae\tpublished_pearson\tpublished_pearson_sd\
    \tpublished_mask_ratio\tproblems\n";

fn tsv(table: &ResultTable) -> String {
    let mut text = format!("# version={}\n", env!("CARGO_PKG_VERSION"));
    for sentence in table.explanation() {
        let _ = writeln!(text, "# {sentence}");
    }
    text.push_str(COLUMNS);
    for row in &table.rows {
        let mut fields = vec![
            row.dataset.clone(),
            row.fold.to_string(),
            row.model.clone(),
            row.n_seeds.to_string(),
            row.n_planned.to_string(),
            row.n_genes.to_string(),
            row.n_parameters.map_or("NA".to_string(), |n| n.to_string()),
        ];
        let [mse, mae, pearson, spearman] = row.scores;
        let mut numbers = vec![
            mse.mean,
            mse.sd,
            row.mse.low,
            row.mse.high,
            mae.mean,
            mae.sd,
        ];
        numbers.extend([pearson.mean, pearson.sd, row.pearson.low, row.pearson.high]);
        numbers.extend([
            spearman.mean,
            spearman.sd,
            row.mask_ratio.mean,
            row.mask_ratio.sd,
        ]);
        let genes = row.gene_test;
        let difference = genes.map(|test| test.difference);
        numbers.extend([
            difference.and_then(|d| d.value),
            difference.and_then(|d| d.low),
            difference.and_then(|d| d.high),
            genes.and_then(|test| test.p),
            row.seed_test.and_then(|test| test.p),
        ]);
        let published = row.published;
        numbers.extend([
            published.and_then(|p| p.mse),
            published.and_then(|p| p.mse_sd),
            published.and_then(|p| p.mae),
            published.and_then(|p| p.pearson),
            published.and_then(|p| p.pearson_sd),
            published.and_then(|p| p.mask_ratio),
        ]);
        fields.extend(numbers.into_iter().map(number));
        fields.push(one_line(&row.problems.join("; ")));
        let _ = writeln!(text, "{}", fields.join("\t"));
    }
    text
}

const CELL_COLUMNS: &str = "dataset\tfold\tmodel\tseed\tstate\tseconds\tn_genes\tmse\tmae\tpearson\tspearman\
    \tmask_ratio\tfolder\terror\n";

fn cell_row(cell: &Cell, state: &CellState, outcome: Option<&CellOutcome>) -> String {
    let (word, seconds, error) = match state {
        CellState::Finished { seconds } => ("finished", *seconds, ""),
        CellState::Failed(reason) => ("failed", None, reason.as_str()),
        CellState::Unfinished => ("unfinished", None, ""),
    };
    let mut fields = vec![
        cell.dataset.clone(),
        cell.fold.map_or("-".to_string(), |fold| fold.to_string()),
        cell.model.clone(),
        cell.seed.to_string(),
        word.to_string(),
        seconds.map_or("NA".to_string(), |seconds| format!("{seconds:.1}")),
        outcome.map_or("NA".to_string(), |o| o.genes.len().to_string()),
    ];
    let scores = Metric::ALL.map(|metric| outcome.and_then(|o| o.score(metric)));
    fields.extend(scores.into_iter().map(number));
    fields.push(number(outcome.and_then(|o| o.mask_ratio)));
    fields.push(cell.folder(Path::new("")).display().to_string());
    fields.push(one_line(error));
    fields.join("\t") + "\n"
}

/// Tables for people, one for each data set, with what stands below them.
pub fn markdown(table: &ResultTable) -> String {
    let mut text = String::new();
    let names = table.datasets();
    for dataset in &names {
        if names.len() > 1 {
            let _ = writeln!(text, "**{dataset}**\n");
        }
        let rows: Vec<&ResultRow> = table.of_dataset(dataset).collect();
        let has = Shown::of(&rows, table.reference.is_some());
        markdown_table(&mut text, &rows, has);
    }
    for sentence in table.explanation() {
        let _ = writeln!(text, "{sentence}\n");
    }
    let problems: Vec<&String> = problems(table).collect();
    if !problems.is_empty() {
        text.push_str("Cells without a result:\n\n");
        for problem in problems {
            let _ = writeln!(text, "- {}", one_line(problem));
        }
    }
    text.trim_end().to_string() + "\n"
}

/// Every problem once; a pooled row repeats those of its folds.
pub(crate) fn problems(table: &ResultTable) -> impl Iterator<Item = &String> {
    let rows = table
        .rows
        .iter()
        .filter(|row| row.fold != FoldLabel::Pooled);
    rows.flat_map(|row| &row.problems)
}

/// What a table for people has columns for.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    folds: bool,
    reference: bool,
    published: bool,
}

impl Shown {
    /// What these rows need; `reference`: whether they are compared with one of them.
    pub(crate) fn of(rows: &[&ResultRow], reference: bool) -> Self {
        Self {
            folds: rows.iter().any(|row| row.fold != FoldLabel::Own),
            reference,
            published: rows.iter().any(|row| row.published.is_some()),
        }
    }

    /// Names of the columns, `model` first.
    pub(crate) fn columns(self) -> Vec<&'static str> {
        let mut columns = vec!["model"];
        columns.extend(self.folds.then_some("fold"));
        columns.extend([
            "parameters",
            "seeds",
            "genes",
            "MSE",
            "MAE",
            "Pearson",
            "Spearman",
            "mask",
        ]);
        if self.reference {
            columns.extend(["MSE difference", "p (genes)", "p (seeds)"]);
        }
        if self.published {
            columns.extend(["published MSE", "MAE", "Pearson", "mask"]);
        }
        columns
    }

    /// A row's text under each of the columns.
    pub(crate) fn fields(self, row: &ResultRow) -> Vec<String> {
        let mut fields = vec![row.model.clone()];
        fields.extend(self.folds.then(|| row.fold.to_string()));
        fields.extend(row_fields(row, self.reference));
        if self.published {
            fields.extend(published_fields(row));
        }
        fields
    }
}

fn markdown_table(text: &mut String, rows: &[&ResultRow], has: Shown) {
    let head = has.columns();
    let _ = writeln!(text, "| {} |", head.join(" | "));
    let _ = writeln!(text, "|---{}|", "|---:".repeat(head.len() - 1));
    for row in rows {
        let _ = writeln!(text, "| {} |", has.fields(row).join(" | "));
    }
    text.push('\n');
}

/// Parameters, seeds, genes, scores and tests of a row, as people read them.
fn row_fields(row: &ResultRow, has_reference: bool) -> Vec<String> {
    let [mse, mae, pearson, spearman] = row.scores;
    let with_interval = |spread, estimate: Estimate| match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{} [{low:.3}, {high:.3}]", spread_text(spread)),
        _ => spread_text(spread),
    };
    let seeds = match row.n_seeds == row.n_planned {
        true => row.n_seeds.to_string(),
        false => format!("{} of {}", row.n_seeds, row.n_planned),
    };
    let mut fields = vec![
        row.n_parameters.map_or(DASH.to_string(), |n| n.to_string()),
        seeds,
        row.n_genes.to_string(),
        with_interval(mse, row.mse),
        spread_text(mae),
        with_interval(pearson, row.pearson),
        spread_text(spearman),
        percent(row.mask_ratio.mean),
    ];
    if has_reference {
        let difference = row.gene_test.map(|test| test.difference);
        fields.push(match difference.map(|d| (d.value, d.low, d.high)) {
            Some((Some(value), Some(low), Some(high))) => {
                format!("{value:+.3} [{low:+.3}, {high:+.3}]")
            }
            _ => DASH.to_string(),
        });
        fields.push(p_text(row.gene_test.and_then(|test| test.p)));
        fields.push(p_text(row.seed_test.and_then(|test| test.p)));
    }
    fields
}

/// The published error, absolute error and correlation, with their spread, and the share that the mask selects.
fn published_fields(row: &ResultRow) -> [String; 4] {
    let published = row.published;
    let with_sd = |value: Option<f64>, sd: Option<f64>| match (value, sd) {
        (Some(value), Some(sd)) => format!("{value:.4} ± {sd:.4}"),
        (Some(value), None) => format!("{value:.4}"),
        (None, _) => DASH.to_string(),
    };
    [
        with_sd(
            published.and_then(|p| p.mse),
            published.and_then(|p| p.mse_sd),
        ),
        with_sd(published.and_then(|p| p.mae), None),
        with_sd(
            published.and_then(|p| p.pearson),
            published.and_then(|p| p.pearson_sd),
        ),
        percent(published.and_then(|p| p.mask_ratio)),
    ]
}

fn percent(share: Option<f64>) -> String {
    share.map_or(DASH.to_string(), |share| format!("{:.1} %", 100.0 * share))
}

/// What stands where there is no value.
const DASH: &str = "–";

fn spread_text(spread: Spread) -> String {
    match (spread.mean, spread.sd) {
        (Some(mean), Some(sd)) => format!("{mean:.3} ± {sd:.3}"),
        (Some(mean), None) => format!("{mean:.3}"),
        (None, _) => DASH.to_string(),
    }
}

fn p_text(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.001 => "< 0.001".to_string(),
        Some(p) => format!("{p:.3}"),
        None => DASH.to_string(),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("NA".to_string(), |value| value.to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{GeneTest, SeedTest};
    use crate::metric::BootstrapConfig;

    fn row() -> ResultRow {
        let spread = |mean| Spread {
            mean: Some(mean),
            sd: Some(0.0125),
        };
        let estimate = |value| Estimate {
            value: Some(value),
            low: Some(value - 0.1),
            high: Some(value + 0.1),
        };
        ResultRow {
            dataset: "K562".to_string(),
            fold: FoldLabel::Own,
            model: "caduceus".to_string(),
            n_seeds: 4,
            n_planned: 5,
            n_genes: 57,
            n_parameters: Some(1234),
            scores: [0.5, 0.4, 0.8, 0.7].map(spread),
            mse: estimate(0.5),
            pearson: estimate(0.8),
            mask_ratio: Spread {
                mean: None,
                sd: None,
            },
            seed_test: Some(SeedTest {
                n_seeds: 4,
                difference: 0.2,
                p: Some(0.0004),
            }),
            gene_test: Some(GeneTest {
                n_genes: 57,
                difference: estimate(0.05),
                p: Some(0.25),
            }),
            published: None,
            problems: vec!["K562 caduceus seed 2: bad\nfile".to_string()],
        }
    }

    #[test]
    fn markdown_is_one_line_a_row_with_every_problem_below() {
        let table = ResultTable {
            name: "b".to_string(),
            reference: Some("seq2exp_soft".to_string()),
            rows: vec![row()],
            bootstrap: BootstrapConfig::default(),
        };
        let text = markdown(&table);
        let expected = "| caduceus | 1234 | 4 of 5 | 57 | 0.500 ± 0.013 [0.400, 0.600] | 0.400 ± 0.013 \
                        | 0.800 ± 0.013 [0.700, 0.900] | 0.700 ± 0.013 | – | +0.050 [-0.050, +0.150] | 0.250 | < 0.001 |\n";
        assert!(text.contains(expected), "{text}");
        assert!(
            text.contains("- K562 caduceus seed 2: bad file\n"),
            "{text}"
        );
        let widths: Vec<usize> = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.matches('|').count())
            .collect();
        assert_eq!(widths, [13; 3]);
    }

    #[test]
    fn markdown_shows_the_published_numbers_that_there_are() {
        let data = crate::benchmark::PublishedData::GM12878;
        let rows = ["prism", "seq2exp_hard", "mine"].map(|model| ResultRow {
            model: model.to_string(),
            published: crate::benchmark::published_row(data, model),
            ..row()
        });
        let table = ResultTable {
            name: "b".to_string(),
            reference: None,
            rows: rows.to_vec(),
            bootstrap: BootstrapConfig::default(),
        };
        let text = markdown(&table);
        for end in [
            "| published MSE | MAE | Pearson | mask |\n",
            "| 0.1759 | – | 0.9016 ± 0.0024 | – |\n",
            "| 0.1890 ± 0.0045 | 0.3199 | 0.8916 | 6.3 % |\n",
            "| – | – | – | – |\n",
        ] {
            assert!(text.contains(end), "no {end:?} in:\n{text}");
        }
    }

    #[test]
    fn tsv_has_a_field_for_each_column() {
        let table = ResultTable {
            name: "b".to_string(),
            reference: None,
            rows: vec![row()],
            bootstrap: BootstrapConfig::default(),
        };
        let text = tsv(&table);
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        let widths: Vec<usize> = rows.map(|line| line.split('\t').count()).collect();
        assert_eq!(widths, [33; 2]);
        // Numbers in full, and NA where there is none: without a mask, and without published scores.
        let spread = |mean: &str| format!("{mean}\t0.0125");
        let expected = [
            "K562\t-\tcaduceus\t4\t5\t57\t1234",
            &spread("0.5"),
            "0.4\t0.6",
            &spread("0.4"),
            &spread("0.8"),
            &format!("{}\t{}", 0.8 - 0.1, 0.8 + 0.1),
            &spread("0.7"),
            "NA\tNA",
            "0.05\t-0.05\t0.15000000000000002\t0.25\t0.0004",
            "NA\tNA\tNA\tNA\tNA\tNA",
            "K562 caduceus seed 2: bad file",
        ]
        .join("\t");
        assert_eq!(text.lines().last(), Some(expected.as_str()));
    }

    #[test]
    fn markdown_names_data_sets_and_folds_where_there_are_several() {
        let of = |dataset: &str| ResultRow {
            dataset: dataset.to_string(),
            ..row()
        };
        let text = |rows: Vec<ResultRow>| {
            markdown(&ResultTable {
                name: "b".to_string(),
                reference: None,
                rows,
                bootstrap: BootstrapConfig::default(),
            })
        };
        let both = text(vec![of("K562"), of("H1"), of("K562")]);
        assert_eq!(both.matches("**K562**\n").count(), 1, "{both}");
        assert_eq!(both.matches("**H1**\n").count(), 1, "{both}");
        assert!(!text(vec![of("K562"), of("K562")]).contains("**"));
        for (fold, expected) in [
            (FoldLabel::Own, "-"),
            (FoldLabel::One(11), "11"),
            (FoldLabel::Pooled, "pooled"),
        ] {
            assert_eq!(fold.to_string(), expected);
        }
    }

    #[test]
    fn p_is_given_to_three_digits() {
        for (p, expected) in [
            (Some(0.25), "0.250"),
            (Some(0.001), "0.001"),
            (Some(0.0009), "< 0.001"),
            (None, "–"),
        ] {
            assert_eq!(p_text(p), expected);
        }
    }
}
