//! What the masks selected: how much, how long, how far, and the strongest elements.

use super::ReportInput;
use super::histogram;
use super::markup::{Markup, attr};
use super::number::{
    UNKNOWN, bases_text, count_text, distance_text, fixed_text, percent_text, value_text,
};
use crate::discover::{DiscoverConfig, GeneElement, PromoterElements, Selection};
use crate::elements::ElementClass;

/// Rows of the table of elements.
const N_ROWS: usize = 25;

/// Means of a list, leaving out what is not finite; `None` when nothing is left.
pub(super) fn finite_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values
        .filter(|value| value.is_finite())
        .fold((0.0, 0_u64), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// The elements that the network chose.
pub(super) fn chosen(input: &ReportInput) -> impl Iterator<Item = &GeneElement> {
    input
        .elements
        .iter()
        .filter(|row| row.element.class == ElementClass::Element)
}

/// The content of the section.
pub(super) fn draw(markup: &mut Markup, input: &ReportInput) {
    if let Some(config) = &input.discover {
        markup.leaf("p", &[], &rule_text(config));
    }
    if input.masks.is_empty() && input.elements.is_empty() {
        markup.leaf(
            "p",
            &[attr("class", "absent")],
            "No elements: no mask was read.",
        );
        return;
    }
    draw_ratio(markup, input);
    let ratios: Vec<f64> = input
        .masks
        .iter()
        .map(|gene| 100.0 * gene.mask_ratio)
        .collect();
    let lengths: Vec<f64> = chosen(input)
        .map(|row| row.element.interval.len() as f64 / 1e3)
        .collect();
    let distances: Vec<f64> = chosen(input)
        .map(|row| row.element.distance as f64 / 1e3)
        .collect();
    let charts = [
        histogram::draw(&ratios, "Mask ratio", "mean mask of the window, %", "genes"),
        histogram::draw(&lengths, "Length of elements", "length, kb", "elements"),
        histogram::draw(
            &distances,
            "Distance from the TSS",
            "distance, kb (negative: upstream)",
            "elements",
        ),
    ];
    markup.open("div", &[attr("class", "panels")]);
    for chart in charts.into_iter().flatten() {
        markup.raw(&chart);
    }
    markup.close();
    draw_table(markup, input);
}

/// How elements were made, in a sentence.
fn rule_text(config: &DiscoverConfig) -> String {
    let select = match config.select {
        Selection::Threshold(threshold) => {
            format!("with a mask of at least {}", value_text(threshold))
        }
        Selection::TopFraction(fraction) => format!(
            "among the {} with the largest mask of the positions that the network decides in its window",
            percent_text(fraction)
        ),
    };
    let promoter = match config.promoter {
        PromoterElements::Report => "The promoter, whose mask is always 1, has its own class.",
        PromoterElements::LeaveOut => "The promoter, whose mask is always 1, is left out.",
    };
    format!(
        "An element is a run of positions {select}. Runs closer than {} are merged with what lies between them, then \
         runs shorter than {} dropped. {promoter}",
        bases_text(config.merge_within),
        bases_text(config.min_length),
    )
}

fn draw_ratio(markup: &mut Markup, input: &ReportInput) {
    let whole = finite_mean(input.masks.iter().map(|gene| gene.mask_ratio));
    let decided = finite_mean(input.masks.iter().map(|gene| gene.chosen_ratio));
    let text = |value: Option<f64>| value.map_or_else(|| UNKNOWN.to_string(), percent_text);
    let n_chosen = chosen(input).count() as u64;
    let mut sentence = format!(
        "The mean mask is {} of the window, promoter included, and {} of the positions the network decides, over {} \
         genes. It made {} elements",
        text(whole),
        text(decided),
        count_text(input.masks.len() as u64),
        count_text(n_chosen),
    );
    let mut lengths: Vec<u64> = chosen(input)
        .map(|row| row.element.interval.len())
        .collect();
    lengths.sort_unstable();
    let covered = finite_mean(input.masks.iter().map(|gene| gene.element_ratio));
    match lengths.get(lengths.len() / 2) {
        Some(median) => {
            sentence.push_str(&format!(
                ", half of them {} or longer; together they cover {} of these positions.",
                bases_text(*median),
                text(covered),
            ));
        }
        None => sentence.push('.'),
    }
    markup.leaf("p", &[], &sentence);
}

/// The name of a track without its unit.
fn short_name(name: &str) -> &str {
    name.split(',').next().unwrap_or(name)
}

/// The elements with the largest mean mask.
fn draw_table(markup: &mut Markup, input: &ReportInput) {
    let mut rows: Vec<&GeneElement> = chosen(input).collect();
    if rows.is_empty() {
        let text = "No elements: no run of the masks is strong and long enough.";
        markup.leaf("p", &[attr("class", "absent")], text);
        return;
    }
    let n_elements = rows.len() as u64;
    let by_strength = |a: &&GeneElement, b: &&GeneElement| {
        let (a, b) = (&a.element, &b.element);
        b.mean
            .total_cmp(&a.mean)
            .then(b.area.total_cmp(&a.area))
            .then_with(|| a.interval.cmp(&b.interval))
    };
    rows.sort_by(by_strength);
    rows.truncate(N_ROWS);
    let caption = format!(
        "The {} elements with the largest mean mask, of {}; all are in elements.bed.gz. Regions are 1-based, both \
         ends included, as a browser takes them. Selected: the share that does not lie between merged runs. Tracks: means.",
        count_text(rows.len() as u64),
        count_text(n_elements),
    );
    markup
        .open("div", &[attr("class", "wide")])
        .open("table", &[]);
    markup.leaf("caption", &[], &caption);
    markup.open("thead", &[]).open("tr", &[]);
    for name in ["gene", "region"] {
        markup.leaf("th", &[], name);
    }
    for name in [
        "length, bp",
        "from the TSS",
        "mean mask",
        "max mask",
        "selected",
    ] {
        markup.leaf("th", &[attr("class", "n")], name);
    }
    for name in &input.track_names {
        markup.leaf("th", &[attr("class", "n")], short_name(name));
    }
    markup.close().close().open("tbody", &[]);
    for row in rows {
        let element = &row.element;
        markup.open("tr", &[]);
        markup.leaf("td", &[attr("class", "gene")], &row.symbol);
        markup.leaf(
            "td",
            &[attr("class", "region")],
            &element.interval.to_string(),
        );
        let mut cells = vec![
            count_text(element.interval.len()),
            distance_text(element.distance),
            fixed_text(element.mean, 3),
            fixed_text(element.max, 3),
            percent_text(element.selected),
        ];
        cells.extend((0..input.track_names.len()).map(|index| {
            element
                .track_means
                .get(index)
                .map_or_else(|| UNKNOWN.to_string(), |mean| value_text(*mean))
        }));
        for cell in cells {
            markup.leaf("td", &[attr("class", "n")], &cell);
        }
        markup.close();
    }
    markup.close().close().close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_names_the_selection_and_the_promoter() {
        let config = DiscoverConfig::default();
        let text = rule_text(&config);
        assert!(text.contains("10.0 %") && text.contains("150 bp") && text.contains("own class"));
        let text = rule_text(&DiscoverConfig {
            select: Selection::Threshold(0.5),
            promoter: PromoterElements::LeaveOut,
            ..config
        });
        assert!(text.contains("at least 0.500") && text.contains("left out"));
    }

    #[test]
    fn finite_mean_leaves_out_what_is_not_finite() {
        assert_eq!(finite_mean([1.0, f64::NAN, 3.0].into_iter()), Some(2.0));
        assert_eq!(finite_mean([f64::NAN].into_iter()), None);
        assert_eq!(finite_mean(std::iter::empty()), None);
    }
}
