//! The surroundings of one gene: tracks, mask and elements over genome coordinates.

use std::fmt::Write;
use std::ops::Range;

use genome::Strand;

use super::axis::{Axis, line};
use super::markup::{Markup, attr, pixels_text};
use super::number::{count_text, distance_text, fixed_text, value_text};
use super::scatter_chart::shortened;
use super::{GenePicture, Neighbour};
use crate::elements::{Element, ElementClass};

const WIDTH: f64 = 1060.0;
const LEFT: f64 = 132.0;
const RIGHT: f64 = 1020.0;

/// Columns that values are summarised in: the largest of each is drawn.
const N_COLUMNS: usize = 888;

const TOP_AXIS: f64 = 30.0;
const GENE_ROW: f64 = 40.0;
const TRACK_ROW: f64 = 50.0;
const MASK_ROW: f64 = 62.0;
const ELEMENT_ROW: f64 = 24.0;
const GAP: f64 = 15.0;

/// Windows at least this long are drawn twice: whole, and near the TSS.
const ZOOMED_FROM: u64 = 50_000;

/// Bases to either side of the TSS in the nearer picture.
const ZOOM_REACH: u64 = 10_000;

/// The pictures of a gene: its whole window and, for long windows, the part near the TSS.
pub(super) fn draw(picture: &GenePicture) -> Vec<String> {
    let length = picture.window.length();
    let mut drawn = vec![draw_part(picture, 0..length as usize)];
    if length >= ZOOMED_FROM
        && let Some(tss) = picture.window.offset_of(picture.window.tss())
    {
        let reach = ZOOM_REACH as usize;
        drawn.push(draw_part(
            picture,
            tss.saturating_sub(reach)..(tss + reach).min(length as usize),
        ));
    }
    drawn
}

/// The part of a window that one picture shows.
struct Part<'a> {
    picture: &'a GenePicture,
    offsets: Range<usize>,
}

impl Part<'_> {
    /// The pixel of an offset of the window.
    fn pixel(&self, offset: f64) -> f64 {
        let share = (offset - self.offsets.start as f64) / self.offsets.len().max(1) as f64;
        LEFT + share * (RIGHT - LEFT)
    }

    /// The pixels of a genome position, or nothing when the part does not show it.
    fn position_pixel(&self, position: u64) -> Option<f64> {
        let offset = self.picture.window.offset_of(position)?;
        self.offsets
            .contains(&offset)
            .then(|| self.pixel(offset as f64 + 0.5))
    }

    /// Left and right pixel of an element, at least 1.5 apart.
    fn element_pixels(&self, element: &Element) -> Option<(f64, f64)> {
        let offsets = self.picture.window.offsets_of(&element.interval);
        let start = offsets.start.max(self.offsets.start);
        let end = offsets.end.min(self.offsets.end);
        (start < end).then(|| {
            let (left, right) = (self.pixel(start as f64), self.pixel(end as f64));
            if right - left >= 1.5 {
                return (left, right);
            }
            let middle = (left + right) / 2.0;
            (middle - 0.75, middle + 0.75)
        })
    }
}

fn draw_part(picture: &GenePicture, offsets: Range<usize>) -> String {
    let part = Part { picture, offsets };
    let rows_top = TOP_AXIS + GENE_ROW;
    let tracks_height = picture.tracks.len() as f64 * (TRACK_ROW + GAP);
    let mask_top = rows_top + tracks_height;
    let elements_top = mask_top + MASK_ROW + GAP;
    let bottom = elements_top + ELEMENT_ROW;

    let mut svg = Markup::new();
    svg.open(
        "svg",
        &[
            attr("viewBox", format!("0 0 {WIDTH} {}", bottom + 42.0)),
            attr("role", "img"),
            attr(
                "aria-label",
                format!("tracks, mask and elements around {}", picture.symbol),
            ),
        ],
    );
    draw_outside(&mut svg, &part, rows_top, bottom);
    for element in &picture.elements {
        if let Some((left, right)) = part.element_pixels(element) {
            let class = format!("band {}", element.class);
            svg.empty("rect", &rectangle(&class, left, right, rows_top, bottom));
        }
    }
    draw_distances(&mut svg, &part);
    draw_starts(&mut svg, &part, bottom);
    for (index, track) in picture.tracks.iter().enumerate() {
        let top = rows_top + index as f64 * (TRACK_ROW + GAP);
        let columns = column_maxima(&part, &track.values);
        let highest = columns.iter().flatten().copied().fold(f32::NAN, f32::max);
        let row = Row {
            name: &track.name,
            class: format!("track{}", index % 4),
            top,
            height: TRACK_ROW,
            scale: f64::from(highest),
        };
        row.draw(&mut svg, &columns);
    }
    let row = Row {
        name: "mask",
        class: "mask".to_string(),
        top: mask_top,
        height: MASK_ROW,
        scale: 1.0,
    };
    row.draw(&mut svg, &column_maxima(&part, &picture.mask));
    if let Some(limit) = picture.limit.filter(|limit| (0.0..=1.0).contains(limit)) {
        let y = mask_top + MASK_ROW * (1.0 - f64::from(limit));
        svg.open("line", &line("limit", LEFT, y, RIGHT, y));
        let tip = format!(
            "bases with a mask of at least {} are selected",
            fixed_text(f64::from(limit), 3)
        );
        svg.leaf("title", &[], &tip).close();
    }
    row_name(&mut svg, "elements", elements_top, ELEMENT_ROW);
    for element in &picture.elements {
        draw_element(&mut svg, &part, element, elements_top);
    }
    draw_coordinates(&mut svg, &part, bottom);
    svg.finish()
}

/// One row of values.
struct Row<'a> {
    name: &'a str,
    class: String,
    top: f64,
    height: f64,
    scale: f64,
}

impl Row<'_> {
    fn draw(&self, svg: &mut Markup, columns: &[Option<f32>]) {
        let base = self.top + self.height;
        row_name(svg, self.name, self.top, self.height);
        svg.empty("line", &line("axis", LEFT, base, RIGHT, base));
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            let what = if self.scale == 0.0 {
                "0 everywhere"
            } else {
                "no data"
            };
            let (x, y) = (LEFT + 8.0, base - 8.0);
            svg.leaf(
                "text",
                &[attr("class", "tick"), attr("x", x), attr("y", y)],
                what,
            );
            return;
        }
        svg.empty("line", &line("axis", LEFT - 4.0, self.top, LEFT, self.top));
        let ticks = [
            (value_text(self.scale), self.top + 4.0),
            ("0".to_string(), base + 4.0),
        ];
        for (text, y) in ticks {
            let x = LEFT - 6.0;
            svg.leaf(
                "text",
                &[attr("class", "tick end"), attr("x", x), attr("y", y)],
                &text,
            );
        }
        let class = format!("area {}", self.class);
        svg.open(
            "path",
            &[attr("class", class), attr("d", area_path(columns, self))],
        );
        svg.leaf(
            "title",
            &[],
            &format!("{}: at most {}", self.name, value_text(self.scale)),
        );
        svg.close();
    }
}

/// The name of a row left of it; what follows a comma stands below, as its unit.
fn row_name(svg: &mut Markup, name: &str, top: f64, height: f64) {
    let (name, unit) = match name.split_once(',') {
        Some((name, unit)) => (name, unit.trim()),
        None => (name, ""),
    };
    let middle = top + height / 2.0 + if unit.is_empty() { 4.0 } else { -2.0 };
    svg.leaf(
        "text",
        &[attr("class", "row"), attr("x", 4.0), attr("y", middle)],
        &shortened(name, 15),
    );
    if !unit.is_empty() {
        svg.leaf(
            "text",
            &[
                attr("class", "tick"),
                attr("x", 4.0),
                attr("y", middle + 14.0),
            ],
            &shortened(unit, 17),
        );
    }
}

/// The largest value in each column of the picture; `None` where no value is finite or the column
/// lies outside the chromosome.
fn column_maxima(part: &Part, values: &[f32]) -> Vec<Option<f32>> {
    let window = &part.picture.window;
    let first_inside = window.left_padding() as usize;
    let inside = first_inside..first_inside + window.inside().len() as usize;
    let n_offsets = part.offsets.len();
    let n_columns = n_offsets.min(N_COLUMNS);
    (0..n_columns)
        .map(|column| {
            let start = part.offsets.start + column * n_offsets / n_columns;
            let end = part.offsets.start + (column + 1) * n_offsets / n_columns;
            let start = start.max(inside.start);
            let end = end.min(inside.end).min(values.len());
            values
                .get(start..end)?
                .iter()
                .copied()
                .filter(|value| value.is_finite())
                .reduce(f32::max)
        })
        .collect()
}

/// The outline of the columns from the base line up; gaps where there is no value.
fn area_path(columns: &[Option<f32>], row: &Row) -> String {
    let base = pixels_text(row.top + row.height);
    let height = |value: f32| {
        let share = (f64::from(value) / row.scale).clamp(0.0, 1.0);
        pixels_text(row.top + row.height * (1.0 - share))
    };
    let heights: Vec<Option<String>> = columns.iter().map(|value| value.map(height)).collect();
    let edge = |column: usize| {
        pixels_text(LEFT + column as f64 * (RIGHT - LEFT) / columns.len().max(1) as f64)
    };
    // Columns on the base line are no area, and neither are those without values.
    let is_drawn = |height: &Option<String>| height.as_ref().is_some_and(|y| *y != base);
    let mut path = String::new();
    let mut column = 0;
    for area in heights.chunk_by(|a, b| is_drawn(a) == is_drawn(b)) {
        if !area.first().is_some_and(is_drawn) {
            column += area.len();
            continue;
        }
        let _ = write!(path, "M{} {base}", edge(column));
        for run in area.chunk_by(|a, b| a == b) {
            column += run.len();
            if let Some(Some(y)) = run.first() {
                let _ = write!(path, "V{y}H{}", edge(column));
            }
        }
        let _ = write!(path, "V{base}Z");
    }
    path
}

fn rectangle(
    class: &str,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
) -> [super::markup::Attribute; 5] {
    [
        attr("class", class),
        attr("x", left),
        attr("y", top),
        attr("width", right - left),
        attr("height", bottom - top),
    ]
}

fn draw_element(svg: &mut Markup, part: &Part, element: &Element, top: f64) {
    let Some((left, right)) = part.element_pixels(element) else {
        return;
    };
    let class = format!("box {}", element.class);
    let bottom = top + ELEMENT_ROW - 6.0;
    svg.open("rect", &rectangle(&class, left, right, top + 4.0, bottom));
    let what = match element.class {
        ElementClass::Element => "element",
        ElementClass::Promoter => "promoter, mask fixed to 1",
        ElementClass::Included => "included region, mask fixed to 1",
    };
    let tip = format!(
        "{what}: {}, {} bp, mean mask {}, max {}, {} from the TSS",
        element.interval,
        count_text(element.interval.len()),
        fixed_text(element.mean, 3),
        fixed_text(element.max, 3),
        distance_text(element.distance),
    );
    svg.leaf("title", &[], &tip).close();
}

/// Hatches what lies outside the chromosome.
fn draw_outside(svg: &mut Markup, part: &Part, top: f64, bottom: f64) {
    let window = &part.picture.window;
    let first = window.left_padding() as usize;
    let end = first + window.inside().len() as usize;
    for outside in [0..first, end..window.length() as usize] {
        let start = outside.start.max(part.offsets.start);
        let end = outside.end.min(part.offsets.end);
        if start < end {
            let (left, right) = (part.pixel(start as f64), part.pixel(end as f64));
            svg.open("rect", &rectangle("outside", left, right, top, bottom));
            let text = format!("outside {}", window.chrom());
            svg.leaf("title", &[], &text).close();
            if right - left > 8.0 * text.chars().count() as f64 {
                let (x, y) = ((left + right) / 2.0, (top + bottom) / 2.0);
                svg.leaf(
                    "text",
                    &[attr("class", "tick middle"), attr("x", x), attr("y", y)],
                    &text,
                );
            }
        }
    }
}

/// Arrows at the start sites: the gene's own large, others small.
fn draw_starts(svg: &mut Markup, part: &Part, bottom: f64) {
    let picture = part.picture;
    let mut taken: Vec<(f64, f64)> = Vec::new();
    if let Some(x) = part.position_pixel(picture.window.tss()) {
        let base = TOP_AXIS + GENE_ROW;
        svg.empty("line", &line("tss", x, base - 24.0, x, bottom));
        taken.push(draw_start(
            svg,
            "start",
            &picture.symbol,
            picture.strand,
            x,
            base - 24.0,
        ));
    }
    let mut neighbours: Vec<(&Neighbour, f64)> = picture
        .neighbours
        .iter()
        .filter_map(|neighbour| Some((neighbour, part.position_pixel(neighbour.tss)?)))
        .collect();
    neighbours.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (neighbour, x) in neighbours {
        let wide = 14.0 + 6.2 * neighbour.symbol.chars().count().min(14) as f64;
        let (left, right) = match neighbour.strand {
            Strand::Forward => (x, x + wide),
            Strand::Reverse => (x - wide, x),
        };
        let is_free = left >= LEFT
            && right <= RIGHT
            && taken.iter().all(|(from, to)| right < *from || *to < left);
        let y = TOP_AXIS + GENE_ROW - 14.0;
        svg.empty("line", &line("other", x, y, x, y + 12.0));
        if is_free {
            taken.push(draw_start(
                svg,
                "other",
                &neighbour.symbol,
                neighbour.strand,
                x,
                y,
            ));
        }
    }
}

/// A bent arrow in the direction of the strand with the gene's name behind it; returns the pixels
/// that it takes.
fn draw_start(
    svg: &mut Markup,
    class: &str,
    symbol: &str,
    strand: Strand,
    x: f64,
    y: f64,
) -> (f64, f64) {
    let way = match strand {
        Strand::Forward => 1.0,
        Strand::Reverse => -1.0,
    };
    let symbol_text = shortened(symbol, 14);
    let reach = if class == "start" { 26.0 } else { 12.0 };
    let tip = x + way * reach;
    let arrow = format!(
        "M{x0} {y0}H{tip}M{barb} {up}L{tip} {y0}L{barb} {down}",
        x0 = pixels_text(x),
        y0 = pixels_text(y),
        tip = pixels_text(tip),
        barb = pixels_text(tip - way * 5.0),
        up = pixels_text(y - 4.0),
        down = pixels_text(y + 4.0),
    );
    svg.open("g", &[attr("class", class)]);
    svg.leaf("title", &[], &format!("{symbol}, strand {strand}"));
    svg.empty("path", &[attr("class", "arrow"), attr("d", arrow)]);
    let class = if way > 0.0 { "gene" } else { "gene end" };
    let name_x = tip + way * 5.0;
    svg.leaf(
        "text",
        &[attr("class", class), attr("x", name_x), attr("y", y + 4.0)],
        &symbol_text,
    );
    svg.close();
    let far = name_x + way * 8.0 * symbol_text.chars().count() as f64;
    (x.min(far) - 4.0, x.max(far) + 4.0)
}

/// The axis above: distance from the TSS, negative upstream.
fn draw_distances(svg: &mut Markup, part: &Part) {
    let window = &part.picture.window;
    let way = match part.picture.strand {
        Strand::Forward => 1,
        Strand::Reverse => -1,
    };
    let start = window.start() + part.offsets.start as i64;
    let end = window.start() + part.offsets.end as i64;
    let tss = window.tss() as i64;
    svg.leaf(
        "text",
        &[attr("class", "tick"), attr("x", 4.0), attr("y", 12.0)],
        "from the TSS",
    );
    let Some(axis) = Axis::exact((start - tss) as f64, (end - tss) as f64) else {
        return;
    };
    for tick in axis.ticks(8) {
        let x = part.pixel(tick + (tss - window.start()) as f64);
        svg.empty("line", &line("axis", x, 18.0, x, 22.0));
        let text = distance_text(way * tick.round() as i64).replace(".0 kb", " kb");
        svg.leaf(
            "text",
            &[attr("class", "tick middle"), attr("x", x), attr("y", 13.0)],
            &text,
        );
    }
}

/// The axis below: positions on the chromosome.
fn draw_coordinates(svg: &mut Markup, part: &Part, bottom: f64) {
    let window = &part.picture.window;
    let y = bottom + 4.0;
    svg.empty("line", &line("axis", LEFT, y, RIGHT, y));
    let inside = window.inside();
    let start = (window.start() + part.offsets.start as i64).max(inside.start() as i64);
    let end = (window.start() + part.offsets.end as i64).min(inside.end() as i64);
    if let Some(axis) = Axis::exact(start as f64, end as f64) {
        for tick in axis.ticks(6) {
            // Labels are 1-based, as region strings are; the middle of the base is half a base on.
            let x = part.pixel(tick - 0.5 - window.start() as f64);
            if !(LEFT..=RIGHT).contains(&x) {
                continue;
            }
            svg.empty("line", &line("axis", x, y, x, y + 4.0));
            let text = count_text(tick.max(0.0).round() as u64);
            svg.leaf(
                "text",
                &[
                    attr("class", "tick middle"),
                    attr("x", x),
                    attr("y", y + 17.0),
                ],
                &text,
            );
        }
    }
    svg.leaf(
        "text",
        &[attr("class", "row"), attr("x", 4.0), attr("y", y + 17.0)],
        &shortened(window.chrom(), 16),
    );
}

#[cfg(test)]
mod tests;
