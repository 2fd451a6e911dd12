//! Upper bounds of the settings that say how large a network is, far above what anybody trains, so that a slip of the pen
//! is a message and not a failed allocation.

use model::NetworkConfig;
use serde_json::Value;

/// Largest width, and largest of the settings that are not named below.
const WIDTH: u64 = 8_192;

/// Most layers of a stack.
const LAYERS: u64 = 256;

/// Longest window in bases, as `data.length` has it.
const BASES: u64 = 1 << 28;

/// Most values of the weights of all layers, or of a positional embedding.
const WEIGHTS: u64 = 1 << 32;

/// Every setting of a network that is larger than anything can be trained with; empty when there is none.
pub(crate) fn size_problems(model: &NetworkConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let Ok(value) = serde_json::to_value(model) else {
        return problems;
    };
    walk("", &value, &mut problems);
    if !problems.is_empty() {
        return problems;
    }
    let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    let d_model = number("d_model");
    let n_layers = ["n_layer", "n_layer_generator", "n_layer_predictor"]
        .map(number)
        .iter()
        .sum::<u64>();
    // Each factor is bounded above, so that the products fit.
    if n_layers * d_model * d_model > WEIGHTS {
        problems.push(format!(
            "d_model {d_model} with {n_layers} layers is more than {WEIGHTS} weights; lower one of the two"
        ));
    }
    let n_positions = number("n_positions");
    if n_positions * d_model > WEIGHTS {
        problems.push(format!(
            "n_positions {n_positions} with d_model {d_model} is more than {WEIGHTS} weights; lower one of the two"
        ));
    }
    problems
}

/// The largest value of a setting.
fn limit(key: &str) -> u64 {
    match key {
        "n_layer" | "n_layer_generator" | "n_layer_predictor" => LAYERS,
        "promoter" | "n_positions" | "filter_length" | "crop" | "n_bins" | "element_length"
        | "resolution" => BASES,
        "expand" => 64,
        "n_halvings" => 32,
        _ => WIDTH,
    }
}

fn walk(path: &str, value: &Value, problems: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = match path.is_empty() {
                    true => key.clone(),
                    false => format!("{path}.{key}"),
                };
                walk(&path, value, problems);
            }
        }
        Value::Number(number) => {
            let key = path.rsplit('.').next().unwrap_or(path);
            let most = limit(key);
            if number.as_u64().is_some_and(|number| number > most) {
                problems.push(format!("{path} is {number}; it must be at most {most}"));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::NetworkKind;

    #[test]
    fn published_networks_are_far_below_the_bounds() {
        for kind in NetworkKind::ALL {
            assert_eq!(size_problems(&kind.preset()), [""; 0], "{}", kind.name());
        }
    }

    #[test]
    fn size_problems_names_setting_and_bound() {
        let with = |key: &str, number: u64| {
            let mut value = serde_json::to_value(NetworkKind::Seq2ExpSoft.preset()).expect("JSON");
            let place = key
                .split('.')
                .fold(&mut value, |place, key| &mut place[key]);
            *place = number.into();
            size_problems(&serde_json::from_value(value).expect("settings"))
        };
        let most = i64::MAX as u64;
        for (key, number, expected) in [
            (
                "d_model",
                1_000_000,
                "d_model is 1000000; it must be at most 8192",
            ),
            ("d_model", most, "it must be at most 8192"),
            ("n_layer_generator", 1_000_000_000, "it must be at most 256"),
            ("mamba.expand", most, "mamba.expand is"),
            ("mamba.d_state", most, "mamba.d_state is"),
            (
                "n_positions",
                1 << 27,
                "n_positions 134217728 with d_model 128",
            ),
        ] {
            let problems = with(key, number);
            assert!(
                problems.len() == 1 && problems[0].contains(expected),
                "{key}: {problems:?}"
            );
        }
        assert_eq!(with("d_model", 4096), [""; 0]);
        assert_eq!(with("mamba.expand", 64), [""; 0]);
        let problems = with("mamba.expand", 65);
        assert_eq!(
            problems,
            ["mamba.expand is 65; it must be at most 64"],
            "{problems:?}"
        );
        let enformer = |n_halvings| {
            let mut config = model::config::EnformerConfig::published();
            config.n_halvings = n_halvings;
            size_problems(&model::NetworkConfig::Enformer(config))
        };
        assert_eq!(enformer(32), [""; 0]);
        assert_eq!(enformer(33), ["n_halvings is 33; it must be at most 32"]);
    }

    #[test]
    fn weights_of_all_layers_are_bounded_together() {
        let with = |d_model, n_layers| {
            let mut config = model::config::Seq2ExpConfig::soft();
            config.d_model = d_model;
            (config.n_layer_generator, config.n_layer_predictor) = (n_layers, n_layers);
            size_problems(&model::NetworkConfig::Seq2Exp(config))
        };
        // WEIGHTS = 2^32: 2 * 32 layers of 8192^2 = 2^26 are as many, 2 * 33 more.
        assert_eq!(with(8192, 32), [""; 0]);
        let problems = with(8192, 33);
        assert!(
            problems.len() == 1 && problems[0].contains("d_model 8192 with 66 layers"),
            "{problems:?}"
        );
    }
}
