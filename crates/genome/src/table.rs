//! Tab- and comma-separated tables with a header.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{GenomeError, shorten};
use crate::lines::Lines;

/// A table whose first line names the columns: separated by tabs, or by commas when the name of the
/// file ends in `.csv` or `.csv.gz`, in any case.
///
/// A field of a comma-separated table may stand in double quotes, in which `""` is a quote. A tab or
/// a line end inside a field is not read.
///
/// Empty lines are skipped, and so are lines before the header that start with `##` or with
/// `#` and a blank. A single `#` before the first column's name is dropped.
pub(crate) struct Table {
    lines: Lines,
    columns: Vec<String>,
    header_line: u64,
    is_csv: bool,
    /// The row of a comma-separated table, separated by tabs.
    tabbed: String,
}

impl Table {
    pub(crate) fn open(path: &Path) -> Result<Self, GenomeError> {
        let mut lines = Lines::open(path)?;
        let is_csv = {
            let name = path.to_string_lossy().to_lowercase();
            name.strip_suffix(".gz").unwrap_or(&name).ends_with(".csv")
        };
        loop {
            let Some((header_line, text)) = lines.next_line()? else {
                return Err(GenomeError::Empty {
                    path: path.to_path_buf(),
                    what: "header line",
                });
            };
            if text.trim().is_empty() || text.starts_with("##") || text.starts_with("# ") {
                continue;
            }
            let tabbed = match is_csv {
                true => commas_to_tabs(text).map_err(|reason| GenomeError::InvalidLine {
                    path: path.to_path_buf(),
                    line: header_line,
                    reason: reason.to_string(),
                })?,
                false => String::new(),
            };
            let text = if is_csv { &tabbed } else { text };
            let header = text.strip_prefix('#').unwrap_or(text);
            let columns: Vec<String> = header.split('\t').map(|c| c.trim().to_string()).collect();
            let mut first: HashMap<&str, usize> = HashMap::new();
            for (index, column) in columns.iter().enumerate() {
                if !column.is_empty() && first.insert(column, index).is_some() {
                    return Err(GenomeError::InvalidLine {
                        path: path.to_path_buf(),
                        line: header_line,
                        reason: format!("two columns are called {:?}", shorten(column)),
                    });
                }
            }
            return Ok(Table {
                lines,
                columns,
                header_line,
                is_csv,
                tabbed: String::new(),
            });
        }
    }

    /// Index of a column, if the table has it.
    pub(crate) fn find(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| name == column)
    }

    /// Index of a column that must be there.
    pub(crate) fn require(&self, column: &str) -> Result<usize, GenomeError> {
        self.find(column)
            .ok_or_else(|| self.missing(format!("{column:?}")))
    }

    /// The error for a column that is not there; `wanted` is printed as it is.
    pub(crate) fn missing(&self, wanted: String) -> GenomeError {
        let mut found = shorten_list(&self.columns);
        if let Some(hint) = self.header_hint() {
            found = format!("{found} ({hint})");
        }
        GenomeError::MissingColumn {
            path: self.lines.path().to_path_buf(),
            line: self.header_line,
            wanted,
            found,
        }
    }

    /// Why the columns of a table may not be found.
    fn header_hint(&self) -> Option<&'static str> {
        let is_quoted =
            |name: &String| name.len() > 1 && name.starts_with('"') && name.ends_with('"');
        match (self.columns.as_slice(), self.is_csv) {
            ([only], _) if only.contains(';') => {
                Some("only one, with semicolons: save the table with tabs, or as .csv with commas")
            }
            ([only], false) if only.contains(',') => {
                Some("only one, with commas: let the name end in .csv, or save the table with tabs")
            }
            ([_], true) => Some("only one: are the columns separated by commas?"),
            ([_], false) => Some("only one: are the columns separated by tabs?"),
            (columns, false) if columns.iter().any(is_quoted) => Some(
                "in double quotes, which only a .csv may have: write the table without them, in R with \
                 quote = FALSE",
            ),
            _ => None,
        }
    }

    /// The next row that is not blank. It has as many fields as the header has columns.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row<'_>>, GenomeError> {
        // Two steps, because a borrow of the line would otherwise outlive the loop's turn.
        let mut fields: Vec<std::ops::Range<usize>> = Vec::with_capacity(self.columns.len());
        let line = loop {
            let Some((line, text)) = self.lines.next_line()? else {
                return Ok(None);
            };
            if text.trim().is_empty() {
                continue;
            }
            if self.is_csv {
                self.tabbed = match commas_to_tabs(text) {
                    Ok(tabbed) => tabbed,
                    Err(reason) => {
                        return Err(GenomeError::InvalidLine {
                            path: self.lines.path().to_path_buf(),
                            line,
                            reason: reason.to_string(),
                        });
                    }
                };
            }
            let text = if self.is_csv { &self.tabbed } else { text };
            let mut start = 0;
            for field in text.split('\t') {
                fields.push(start..start + field.len());
                start += field.len() + 1;
            }
            break line;
        };
        if fields.len() != self.columns.len() && self.is_csv {
            return Err(GenomeError::InvalidLine {
                path: self.lines.path().to_path_buf(),
                line,
                reason: format!(
                    "{} comma-separated fields where {} (as in the header) are expected",
                    fields.len(),
                    self.columns.len()
                ),
            });
        }
        if fields.len() != self.columns.len() {
            return Err(GenomeError::FieldCount {
                path: self.lines.path().to_path_buf(),
                line,
                expected: format!("{} (as in the header)", self.columns.len()),
                found: fields.len(),
            });
        }
        let text = match self.is_csv {
            true => self.tabbed.as_str(),
            false => self.lines.last_line(),
        };
        Ok(Some(Row {
            table: self,
            line,
            text,
            fields,
        }))
    }
}

/// Separates the fields of a comma-separated line by tabs, and takes the quotes off.
fn commas_to_tabs(text: &str) -> Result<String, &'static str> {
    if text.contains('\t') {
        return Err("there is a tab in a comma-separated table");
    }
    let mut tabbed = String::with_capacity(text.len());
    let mut is_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                tabbed.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => tabbed.push('\t'),
            _ => tabbed.push(character),
        }
    }
    match is_quoted {
        true => Err("a quoted field does not end on this line"),
        false => Ok(tabbed),
    }
}

/// Joins column names for a message, the first few only.
fn shorten_list(names: &[String]) -> String {
    const MAX_NAMES: usize = 30;
    let mut joined: Vec<String> = names.iter().take(MAX_NAMES).map(|n| shorten(n)).collect();
    if names.len() > MAX_NAMES {
        joined.push(format!("… ({} in all)", names.len()));
    }
    joined.join(", ")
}

/// What is expected where there is a number with commas in it.
const WITHOUT_COMMAS: &str =
    "a number as it is read; write a decimal point, and nothing between the thousands";

/// Whether a name is a date as a spreadsheet shows or saves it: `1-Mar`, or `2023-03-01` and what may
/// follow it. The gene `dec-1` is none.
fn is_spreadsheet_date(name: &str) -> bool {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let is_number = |text: &str, n_digits: std::ops::RangeInclusive<usize>| {
        n_digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let day = name.split(' ').next().unwrap_or_default();
    match *day.split('-').collect::<Vec<_>>().as_slice() {
        [day, month] => is_number(day, 1..=2) && MONTHS.contains(&month),
        [year, month, day] => {
            is_number(year, 4..=4) && is_number(month, 2..=2) && is_number(day, 2..=2)
        }
        _ => false,
    }
}

/// One row of a [`Table`].
pub(crate) struct Row<'a> {
    table: &'a Table,
    line: u64,
    text: &'a str,
    fields: Vec<std::ops::Range<usize>>,
}

impl<'a> Row<'a> {
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The text of a column without surrounding blanks.
    pub(crate) fn get(&self, index: usize) -> &'a str {
        self.fields
            .get(index)
            .and_then(|range| self.text.get(range.clone()))
            .unwrap_or_default()
            .trim()
    }

    /// The name in a column; it must not be empty, nor a date that a spreadsheet made of a gene's.
    pub(crate) fn text(&self, index: usize) -> Result<&'a str, GenomeError> {
        match self.get(index) {
            "" => Err(self.invalid(index, "a name: it is empty")),
            text if is_spreadsheet_date(text) => Err(self.invalid(
                index,
                "a name but a date, which a spreadsheet makes of MARCHF1, SEPTIN2 or DELEC1; write the \
                 gene's name, or remove the line",
            )),
            text => Ok(text),
        }
    }

    /// The value of a column, read by its `FromStr`.
    pub(crate) fn parse<T: std::str::FromStr>(
        &self,
        index: usize,
        expected: &'static str,
    ) -> Result<T, GenomeError> {
        let text = self.get(index);
        text.parse().map_err(|_| {
            let without_commas = text.replace(',', "");
            let is_number = without_commas != text && without_commas.parse::<f64>().is_ok();
            self.invalid(index, if is_number { WITHOUT_COMMAS } else { expected })
        })
    }

    /// The value of a column as a finite number.
    pub(crate) fn finite(&self, index: usize, expected: &'static str) -> Result<f64, GenomeError> {
        let value: f64 = self.parse(index, expected)?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(self.invalid(index, expected))
        }
    }

    /// The error for a value of this row that is not what its column promises.
    pub(crate) fn invalid(&self, index: usize, expected: &'static str) -> GenomeError {
        GenomeError::InvalidField {
            path: self.table.lines.path().to_path_buf(),
            line: self.line,
            column: self.table.columns.get(index).cloned().unwrap_or_default(),
            value: shorten(self.get(index)),
            expected,
        }
    }

    /// The error for a key of this row that `first_line` holds already.
    pub(crate) fn duplicate(&self, index: usize, first_line: u64) -> GenomeError {
        GenomeError::Duplicate {
            path: self.table.lines.path().to_path_buf(),
            line: self.line,
            column: self.table.columns.get(index).cloned().unwrap_or_default(),
            value: shorten(self.get(index)),
            first_line,
        }
    }
}

#[cfg(test)]
mod tests;
