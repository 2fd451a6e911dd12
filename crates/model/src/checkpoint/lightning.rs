//! PyTorch and PyTorch-Lightning checkpoints.

use std::collections::BTreeSet;
use std::path::Path;

use half::{bf16, f16};
use pytorch_reader::{DType, PytorchReader, Tensor};

use super::state_dict::{NamedTensor, StateDict, words};
use crate::error::ModelError;

/// What Lightning, and many a training script, call the weights inside their checkpoints.
const STATE_DICTS: [&str; 2] = ["state_dict", "model_state_dict"];

/// How the entry of an optimiser begins, whose tensors are no weights of the network.
const OPTIMIZER: &str = "optim";

/// Reads the weights of a `.ckpt`, `.pt` or `.pth` file: those under `state_dict` or `model_state_dict`, which may lie
/// inside another dictionary (`{"model": {"state_dict": …}}`); all, when the file has neither.
///
/// Other entries (hyper-parameters, optimiser state, callbacks), whatever Python classes they name, are passed over;
/// nothing is executed.
pub(super) fn read_torch(path: &Path) -> Result<StateDict, ModelError> {
    let format_error = |message: String| ModelError::Format {
        path: path.to_owned(),
        message,
    };
    let reader = PytorchReader::new(path)
        .map_err(|error| format_error(format!("not a readable PyTorch checkpoint ({error})")))?;
    let is_weight = |name: &&String| !name.starts_with(OPTIMIZER);
    let names = || reader.tensors().keys().filter(is_weight);
    let folder = weights_folder(names().map(String::as_str)).map_err(format_error)?;
    let mut state = StateDict::new();
    for path in names() {
        let (Some(name), Some(tensor)) = (path.strip_prefix(&folder), reader.get(path)) else {
            continue;
        };
        let values = read_values(tensor)
            .map_err(|error| format_error(format!("tensor `{name}`: {error}")))?;
        state.insert(
            name.to_owned(),
            NamedTensor {
                shape: tensor.shape().to_vec(),
                values,
            },
        );
    }
    if state.is_empty() {
        return Err(format_error("the checkpoint holds no weights".to_owned()));
    }
    Ok(state)
}

/// What stands before the names of the weights, given the names of all tensors with the dictionaries that each lies in:
/// `model.state_dict.`, or nothing when no dictionary has such a name.
///
/// Of a name in several places, the one in the fewest dictionaries counts.
///
/// # Errors
/// The places, when several are equal.
fn weights_folder<'a>(names: impl Iterator<Item = &'a str>) -> Result<String, String> {
    let mut folders: BTreeSet<(usize, &str)> = BTreeSet::new();
    for name in names {
        let mut end = 0;
        for (depth, part) in name.split('.').enumerate() {
            end += part.len() + 1;
            if STATE_DICTS.contains(&part) && end < name.len() {
                folders.insert((depth, &name[..end]));
                break;
            }
        }
    }
    let Some(&(least, first)) = folders.first() else {
        return Ok(String::new());
    };
    let equal: Vec<&str> = folders
        .iter()
        .filter(|(depth, _)| *depth == least)
        .map(|(_, folder)| folder.trim_end_matches('.'))
        .collect();
    match (equal.as_slice(), least) {
        ([_], _) => Ok(first.to_owned()),
        // At the top the two names are two words for one thing, and the first is Lightning's.
        (_, 0) => Ok(format!("{}.", STATE_DICTS[0])),
        _ => Err(format!(
            "weights lie in several places: {}; save those of one network alone",
            equal.join(", ")
        )),
    }
}

fn read_values(tensor: &Tensor) -> std::io::Result<Vec<f64>> {
    let data = tensor.read()?;
    Ok(match tensor.dtype() {
        DType::F64 => words(&data, f64::from_ne_bytes),
        DType::F32 => words(&data, |word| f64::from(f32::from_ne_bytes(word))),
        DType::F16 => words(&data, |word| f64::from(f16::from_ne_bytes(word))),
        DType::BF16 => words(&data, |word| f64::from(bf16::from_ne_bytes(word))),
        DType::I64 => words(&data, |word| i64::from_ne_bytes(word) as f64),
        DType::U64 => words(&data, |word| u64::from_ne_bytes(word) as f64),
        DType::I32 => words(&data, |word| f64::from(i32::from_ne_bytes(word))),
        DType::U32 => words(&data, |word| f64::from(u32::from_ne_bytes(word))),
        DType::I16 => words(&data, |word| f64::from(i16::from_ne_bytes(word))),
        DType::U16 => words(&data, |word| f64::from(u16::from_ne_bytes(word))),
        DType::I8 => words(&data, |word| f64::from(i8::from_ne_bytes(word))),
        DType::U8 | DType::Bool => data.into_iter().map(f64::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::state_dict::read_state_dict;
    use super::*;
    use std::path::PathBuf;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/seq2exp_soft/ckpt")
            .join(name)
    }

    #[test]
    fn read_torch_every_container_holds_the_same_weights() {
        // `steps_final.safetensors` was written from the same training run as the checkpoints; the legacy and
        // omegaconf files hold the same state_dict.
        let plain = read_torch(&golden("plain.ckpt")).unwrap();
        assert_eq!(plain.len(), 54);
        for name in ["omegaconf.ckpt", "omegaconf_legacy_nonzip.ckpt"] {
            let other = read_state_dict(&golden(name)).unwrap();
            assert_eq!(other, plain, "{name}");
        }
        let reference = read_state_dict(&golden("steps_final.safetensors")).unwrap();
        for (name, tensor) in &reference {
            assert_eq!(plain.get(&format!("model.{name}")), Some(tensor), "{name}");
        }
    }

    #[test]
    fn weights_folder_is_the_one_in_the_fewest_dictionaries() {
        let cases: [(&[&str], Result<&str, &str>); 9] = [
            (&[], Ok("")),
            (&["a.weight", "b.bias"], Ok("")),
            (&["model.a.weight"], Ok("")),
            (&["state_dict.a.weight", "epoch"], Ok("state_dict.")),
            (&["model.state_dict.a", "ema.b"], Ok("model.state_dict.")),
            (&["x.y.model_state_dict.a"], Ok("x.y.model_state_dict.")),
            (
                &["ema.state_dict.a", "model_state_dict.a"],
                Ok("model_state_dict."),
            ),
            (&["state_dict.a", "model_state_dict.a"], Ok("state_dict.")),
            (
                &["one.state_dict.a", "two.state_dict.a", "two.state_dict.b"],
                Err("one.state_dict, two.state_dict"),
            ),
        ];
        for (names, expected) in cases {
            match (weights_folder(names.iter().copied()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{names:?}"),
                (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
                (found, _) => panic!("{names:?}: {found:?}"),
            }
        }
        // A tensor of that name is no dictionary.
        assert_eq!(weights_folder(["a.state_dict"].into_iter()).unwrap(), "");
    }

    #[test]
    fn read_torch_finds_weights_in_an_inner_dictionary() {
        let state = read_torch(&torch_file("nested.pt")).unwrap();
        let found: Vec<_> = state
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.values.clone()))
            .collect();
        let expected = [("a.bias", vec![3.0]), ("a.weight", vec![1.0, 2.0])];
        assert_eq!(found, expected);
        let message = read_torch(&torch_file("two_networks.pt"))
            .unwrap_err()
            .to_string();
        let part =
            "two_networks.pt: weights lie in several places: one.state_dict, two.state_dict;";
        assert!(message.contains(part), "{message}");
    }

    fn torch_file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/torch_files")
            .join(name)
    }

    fn settings(path: &str) -> crate::config::NetworkConfig {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(path);
        let text = std::fs::read_to_string(path).unwrap();
        let settings = serde_json::from_str(&text).unwrap();
        crate::checkpoint::released_config(&settings).unwrap()
    }

    #[test]
    fn import_prism_lightning_checkpoint_has_every_weight() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/prism");
        let config = settings("prism/L1000_pert/config.json");
        let device = burn::tensor::Device::flex();
        let import = |path: &Path| {
            let network = crate::checkpoint::import(path, &config, &device).unwrap();
            network.read_parameters().unwrap()
        };
        let found = import(&folder.join("../torch_files/prism.ckpt"));
        let expected = import(&folder.join("L1000_pert/weights.safetensors"));
        // The checkpoint is in half precision.
        let half = |value: &f32| f16::from_f32(*value).to_f32();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, &expected.iter().map(half).collect::<Vec<_>>());
        }
        assert_eq!(found.len(), expected.len());
    }

    #[test]
    fn import_epinformer_script_checkpoint_puts_each_tensor_in_its_place() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch_files");
        let path = folder.join("epinformer.pt");
        let config = settings("epinformer/n8_pert/config.json");
        let network =
            crate::checkpoint::import(&path, &config, &burn::tensor::Device::flex()).unwrap();
        let values = network.read_parameters().unwrap();
        // Every tensor holds its number among the sorted names.
        let state = read_torch(&path).unwrap();
        let number = |name: &str| state.keys().position(|known| known == name).unwrap() as f32;
        for (name, values) in crate::checkpoint::released_names(&network)
            .iter()
            .zip(&values)
        {
            let expected = number(&name.released[0]);
            assert!(
                values.iter().all(|value| *value == expected),
                "{}",
                name.name
            );
        }
        // Strict: a tensor less, one more, one of another shape.
        let mut state = state;
        let (bias, _) = state.remove_entry("pToExpr.4.bias").unwrap();
        let weight = state.get_mut("conv_out.12.weight").unwrap();
        weight.shape.reverse();
        let surprise = weight.clone();
        state.insert("surprise".to_owned(), surprise);
        let problems = crate::checkpoint::import_values(&network, &state).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for part in [bias.as_str(), "conv_out.12.weight", "surprise"] {
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn read_torch_truncated_at_many_points_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.ckpt");
        for name in ["plain.ckpt", "omegaconf_legacy_nonzip.ckpt"] {
            let bytes = std::fs::read(golden(name)).unwrap();
            for cut in (2..bytes.len()).step_by(bytes.len() / 23) {
                std::fs::write(&path, &bytes[..cut]).unwrap();
                assert!(read_state_dict(&path).is_err(), "{name} cut at {cut}");
            }
        }
    }
}
