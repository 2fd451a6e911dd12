//! In which fields two configurations differ.

use serde_json::Value;

/// The fields in which `found` differs from `expected`, one line each: `train.steps is 5, this run has 6`.
///
/// Fields are dotted paths, list items by index. Fields named in `ignored`, and all below them, are not compared.
pub fn differing_fields(found: &Value, expected: &Value, ignored: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", Some(found), Some(expected), ignored, &mut lines);
    lines
}

fn compare(
    field: &str,
    found: Option<&Value>,
    expected: Option<&Value>,
    ignored: &[&str],
    lines: &mut Vec<String>,
) {
    if found == expected || ignored.contains(&field) {
        return;
    }
    let below = |key: &str| {
        if field.is_empty() {
            key.to_string()
        } else {
            format!("{field}.{key}")
        }
    };
    match (found, expected) {
        (Some(Value::Object(found)), Some(Value::Object(expected))) => {
            let added = expected.keys().filter(|key| !found.contains_key(*key));
            for key in found.keys().chain(added) {
                compare(
                    &below(key),
                    found.get(key),
                    expected.get(key),
                    ignored,
                    lines,
                );
            }
        }
        (Some(Value::Array(found)), Some(Value::Array(expected)))
            if found.len() == expected.len() =>
        {
            for (index, pair) in found.iter().zip(expected).enumerate() {
                compare(
                    &below(&index.to_string()),
                    Some(pair.0),
                    Some(pair.1),
                    ignored,
                    lines,
                );
            }
        }
        _ => {
            let show = |value: Option<&Value>| value.map_or("absent".to_string(), Value::to_string);
            lines.push(format!(
                "{field} is {}, this run has {}",
                show(found),
                show(expected)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_name_each_field_once() {
        let cases = [
            (json!({}), json!({}), vec![]),
            (json!({"a": 1}), json!({"a": 1}), vec![]),
            (
                json!({"a": 1}),
                json!({"a": 2}),
                vec!["a is 1, this run has 2"],
            ),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 1, "c": 3}}),
                vec!["a.c is 2, this run has 3"],
            ),
            (
                json!({"a": 1}),
                json!({"b": 1}),
                vec!["a is 1, this run has absent", "b is absent, this run has 1"],
            ),
            (
                json!({"l": [1, 2]}),
                json!({"l": [1, 5]}),
                vec!["l.1 is 2, this run has 5"],
            ),
            (
                json!({"l": [1]}),
                json!({"l": [1, 5]}),
                vec!["l is [1], this run has [1,5]"],
            ),
            (json!({"skip": {"x": 1}}), json!({"skip": {"x": 2}}), vec![]),
        ];
        for (found, expected, lines) in cases {
            assert_eq!(differing_fields(&found, &expected, &["skip"]), lines);
        }
    }
}
