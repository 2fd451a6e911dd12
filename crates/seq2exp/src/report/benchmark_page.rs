//! The page of a benchmark: one table and one chart for each data set.

use dataset::Split;

use super::markup::{Markup, attr};
use super::number::count_text;
use super::page::head;
use super::{MetricKind, MetricRow, interval_chart};
use crate::benchmark::{FoldLabel, ResultRow, ResultTable, Shown, problems};
use crate::metric::Estimate;

/// The whole page; `command` is the line that makes it again.
pub(super) fn render(table: &ResultTable, command: &str) -> String {
    let mut page = Markup::new();
    head(&mut page, &format!("{}: seq2exp benchmark", table.name));
    page.open("header", &[]).leaf("h1", &[], &table.name);
    page.leaf("p", &[attr("class", "lead")], &summary(table));
    let problems: Vec<&String> = problems(table).collect();
    if !problems.is_empty() {
        page.open("ul", &[attr("class", "notes")]);
        for problem in problems {
            page.leaf("li", &[], problem);
        }
        page.close();
    }
    page.close();
    for dataset in table.datasets() {
        page.open("section", &[]).leaf("h2", &[], dataset);
        let rows: Vec<&ResultRow> = table.of_dataset(dataset).collect();
        score_table(&mut page, &rows, table.reference.as_deref());
        chart(&mut page, &rows);
        page.close();
    }
    page.open("section", &[]).leaf("h2", &[], "How to read it");
    for sentence in table.explanation() {
        page.leaf("p", &[], &sentence);
    }
    page.open("p", &[attr("class", "command")]);
    page.leaf("code", &[], command).close().close();
    page.finish()
}

fn summary(table: &ResultTable) -> String {
    let own = || {
        table
            .rows
            .iter()
            .filter(|row| row.fold != FoldLabel::Pooled)
    };
    let n_cells: usize = own().map(|row| row.n_planned).sum();
    let n_finished: usize = own().map(|row| row.n_seeds).sum();
    let count = |n: usize| count_text(n as u64);
    let mut text = format!(
        "{} of {} cells are finished.",
        count(n_finished),
        count(n_cells)
    );
    for dataset in table.datasets() {
        let rows: Vec<&ResultRow> = table.of_dataset(dataset).collect();
        let error = |row: &&&ResultRow| row.mse.value.unwrap_or(f64::INFINITY);
        let best = whole(&rows).min_by(|a, b| error(a).total_cmp(&error(b)));
        if let Some(best) = best {
            text.push_str(&format!(
                " On {dataset}, {} test genes, {} has the lowest mean squared error; the intervals say whether that \
                 means anything.",
                count(best.n_genes),
                best.model
            ));
        }
    }
    text
}

/// The rows with a result that stand for the whole data set: the pooled ones, where there are folds.
fn whole<'a>(rows: &'a [&'a ResultRow]) -> impl Iterator<Item = &'a &'a ResultRow> {
    let is_pooled = rows.iter().any(|row| row.fold == FoldLabel::Pooled);
    rows.iter()
        .filter(move |row| row.n_seeds > 0 && (!is_pooled || row.fold == FoldLabel::Pooled))
}

fn score_table(page: &mut Markup, rows: &[&ResultRow], reference: Option<&str>) {
    let has = Shown::of(rows, reference.is_some());
    page.open("div", &[attr("class", "wide")])
        .open("table", &[])
        .open("thead", &[])
        .open("tr", &[]);
    for (index, name) in has.columns().into_iter().enumerate() {
        // Numbers stand to the right; the first column is the model's name.
        let class = (index > 0).then(|| attr("class", "n"));
        page.leaf("th", class.as_slice(), name);
    }
    page.close().close().open("tbody", &[]);
    for row in rows {
        page.open("tr", &[]);
        page.leaf("td", &[attr("class", "region")], &row.model);
        for field in has.fields(row).into_iter().skip(1) {
            // Spread and interval go below the value, each on a line of its own: the table is wide as it is.
            let (rest, interval) = match field.split_once(" [") {
                Some((rest, interval)) => (rest, Some(format!("[{interval}"))),
                None => (field.as_str(), None),
            };
            let (value, spread) = match rest.split_once(" ± ") {
                Some((value, spread)) => (value, Some(format!("± {spread}"))),
                None => (rest, None),
            };
            page.open("td", &[attr("class", "n")]).text(value);
            for line in spread.into_iter().chain(interval) {
                page.leaf("span", &[attr("class", "range")], &line);
            }
            page.close();
        }
        page.close();
    }
    page.close().close().close();
}

/// Errors and correlations of the rows that stand for the whole data set.
fn chart(page: &mut Markup, rows: &[&ResultRow]) {
    let undefined = Estimate {
        value: None,
        low: None,
        high: None,
    };
    let metric_rows: Vec<MetricRow> = whole(rows)
        .map(|row| MetricRow {
            label: row.model.clone(),
            kind: MetricKind::Network,
            split: Split::Test,
            n_genes: row.n_genes,
            mse: row.mse,
            mae: undefined,
            pearson: row.pearson,
            spearman: undefined,
        })
        .collect();
    let drawn: Vec<&MetricRow> = metric_rows.iter().collect();
    if let Some(chart) = interval_chart::draw(&drawn) {
        page.open("figure", &[]).raw(&chart);
        let text = "Mean over seeds with bootstrap intervals over test genes.";
        page.leaf("figcaption", &[attr("class", "muted")], text)
            .close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::markup::assert_well_formed;
    use super::*;
    use crate::ensemble::Spread;
    use crate::metric::BootstrapConfig;

    #[test]
    fn page_is_well_formed_and_escapes_what_it_is_told() {
        let undefined = Spread {
            mean: None,
            sd: None,
        };
        let score = |value| Estimate {
            value: Some(value),
            low: Some(value - 0.1),
            high: Some(value + 0.1),
        };
        let row = |model: &str, mse: f64| ResultRow {
            dataset: "K562 <1>".to_string(),
            fold: FoldLabel::Own,
            model: model.to_string(),
            n_seeds: 1,
            n_planned: 2,
            n_genes: 57,
            n_parameters: None,
            scores: [undefined; 4],
            mse: score(mse),
            pearson: score(0.5),
            mask_ratio: undefined,
            seed_test: None,
            gene_test: None,
            published: None,
            problems: vec!["a <b> failed".to_string()],
        };
        let table = ResultTable {
            name: "b & c".to_string(),
            reference: Some("soft".to_string()),
            rows: vec![row("soft", 0.5), row("other", 0.25)],
            bootstrap: BootstrapConfig::default(),
        };
        let html = render(&table, "seq2exp benchmark <x>");
        assert_well_formed(&html);
        assert!(html.contains(
            "2 of 4 cells are finished. On K562 &lt;1&gt;, 57 test genes, other has the lowest"
        ));
        assert!(html.contains("a &lt;b&gt; failed") && !html.contains("<b>"));
        assert!(html.contains("<svg"));
        let empty = ResultTable {
            rows: Vec::new(),
            ..table
        };
        assert_well_formed(&render(&empty, ""));
    }
}
