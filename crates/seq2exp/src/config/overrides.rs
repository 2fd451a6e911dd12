//! Settings that the command line changes: `--set a.b=value`.

use crate::error::RunError;

/// Names the one override of a [`RunError::Override`] about all of them, where it can be told: without it there is no
/// error, or alone it causes the same one. `error_of` is the error of some of the overrides.
pub(crate) fn name_override(
    error: RunError,
    overrides: &[String],
    error_of: impl Fn(&[String]) -> Option<RunError>,
) -> RunError {
    let RunError::Override { item, message } = error else {
        return error;
    };
    let is_needed = |index: &usize| {
        let mut others = overrides.to_vec();
        others.remove(*index);
        error_of(&others).is_none()
    };
    let is_same = |index: &usize| {
        let alone = error_of(&overrides[*index..=*index]);
        matches!(alone, Some(RunError::Override { message: alone, .. }) if alone == message)
    };
    let indices = || 0..overrides.len();
    let only = |found: Vec<usize>| (found.len() == 1).then(|| found[0]);
    let culprit = only(indices().filter(is_needed).collect())
        .or_else(|| only(indices().filter(is_same).collect()));
    RunError::Override {
        item: culprit.map_or(item, |index| overrides[index].clone()),
        message,
    }
}

/// Sets `a.b.0.c=value` in `table`; list items are addressed by index, and a value that is not TOML is a string.
pub(crate) fn apply_override(table: &mut toml::Table, item: &str) -> Result<(), RunError> {
    let fail = |message: String| RunError::Override {
        item: item.to_string(),
        message,
    };
    let (key, text) = item
        .split_once('=')
        .ok_or_else(|| fail("expected key=value, for example train.steps=100".to_string()))?;
    let value = format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_string()));
    let parts: Vec<&str> = key.trim().split('.').collect();
    let (last, folders) = parts
        .split_last()
        .ok_or_else(|| fail("the key is empty".to_string()))?;
    if parts.iter().any(|part| part.is_empty()) {
        return Err(fail(format!("\"{key}\" has an empty part")));
    }
    // The key is walked from the root: each step enters a table (made when absent) or a list item.
    let mut root = toml::Value::Table(std::mem::take(table));
    let result = set_value(&mut root, folders, last, value).map_err(fail);
    if let toml::Value::Table(back) = root {
        *table = back;
    }
    result
}

fn set_value(
    root: &mut toml::Value,
    folders: &[&str],
    last: &str,
    value: toml::Value,
) -> Result<(), String> {
    let mut place = root;
    for part in folders {
        place = match place {
            toml::Value::Table(inner) => inner
                .entry(part.to_string())
                .or_insert_with(|| toml::Value::Table(toml::Table::new())),
            toml::Value::Array(items) => list_item(items, part)?,
            _ => return Err(format!("\"{part}\" is inside a plain value")),
        };
    }
    match place {
        toml::Value::Table(inner) => {
            inner.insert(last.to_string(), value);
        }
        toml::Value::Array(items) => *list_item(items, last)? = value,
        _ => return Err(format!("\"{last}\" is inside a plain value")),
    }
    Ok(())
}

fn list_item<'a>(items: &'a mut [toml::Value], part: &str) -> Result<&'a mut toml::Value, String> {
    let n_items = items.len();
    part.parse::<usize>()
        .ok()
        .and_then(|index| items.get_mut(index))
        .ok_or_else(|| format!("\"{part}\" is not an index below {n_items}"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ExperimentConfig;

    pub(in crate::config) fn overridden(text: &str, item: &str) -> Result<toml::Table, RunError> {
        let mut table: toml::Table = toml::from_str(text).expect("the literal is TOML");
        apply_override(&mut table, item)?;
        Ok(table)
    }

    #[test]
    fn override_sets_values_of_every_kind() {
        let text = "name = 'x'\n[train]\nsteps = 5\n[[track]]\npath = 'a'\n[[track]]\npath = 'b'\n";
        let cases = [
            ("name=k562", "name = \"k562\""),
            ("train.steps=7", "steps = 7"),
            ("train.lr=1e-3", "lr = 0.001"),
            ("train.fresh.deep=true", "deep = true"),
            ("track.1.path=c.bw", "path = \"c.bw\""),
            ("seeds=[1, 2]", "seeds = [1, 2]"),
        ];
        for (item, expected) in cases {
            let table = overridden(text, item).expect(item);
            let written = toml::to_string(&table).expect("a table is TOML");
            assert!(written.contains(expected), "{item}: {written}");
        }
    }

    #[test]
    fn override_that_does_not_fit_names_the_item() {
        for item in [
            "train.steps",
            "=3",
            "a..b=1",
            "name.deeper=1",
            "track.9.path=c",
        ] {
            let text = "name = 'x'\n[[track]]\npath = 'a'\n";
            let error = overridden(text, item).expect_err(item).to_string();
            assert!(error.contains(item), "{error}");
        }
    }

    #[test]
    fn override_that_does_not_fit_is_named_among_others() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../configs/seq2exp_soft_k562.toml"
        );
        // overrides → what is named, and what is not
        let cases: [(&[&str], &str, &str); 4] = [
            (
                &["train.steps=100", "train.stepz=4", "seeds=[3]"],
                "--set train.stepz=4: ",
                "seeds=[3]",
            ),
            (
                &["train.steps=many", "train.batch=2"],
                "--set train.steps=many: ",
                "batch=2",
            ),
            (&["train.batchz=1"], "--set train.batchz=1: ", "steps=1"),
            // Two are wrong: the message is about one of them.
            (
                &["train.steps=100", "data.lengthz=2", "train.stepz=4"],
                "z=",
                "steps=100",
            ),
        ];
        for (items, named, unnamed) in cases {
            let overrides: Vec<String> = items.iter().map(|item| item.to_string()).collect();
            let error = ExperimentConfig::read(Path::new(path), &overrides)
                .expect_err("it does not fit")
                .to_string();
            assert!(
                error.contains(named) && !error.contains(unnamed),
                "{items:?}: {error}"
            );
        }
    }
}
