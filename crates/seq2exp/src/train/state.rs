//! `resume.safetensors`: everything an interrupted run needs to go on as if nothing had happened.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use model::checkpoint::is_sealed;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tensor_file::{StoredTensor, write_tensors};
use crate::difference::differing_fields;
use crate::error::RunError;
use crate::optimizer::Moments;

/// The state of a run between two steps.
///
/// One file holds all of it, so no kill at any moment can mix the weights of one step with the moments of another.
/// The order of genes and the samples are functions of the seed and the step, so no random state is part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainState {
    /// Progress of the run.
    pub progress: RunProgress,
    /// Every parameter, in the network's order.
    pub parameters: Vec<SavedParameter>,
    /// The optimiser's state, in the same order.
    pub moments: Vec<Moments>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RunProgress {
    /// Completed updates.
    pub step: u64,
    /// Whether the validation due after this step is still to be done.
    pub is_validation_pending: bool,
    /// The validation with the lowest error so far.
    pub best: Option<Best>,
}

/// The validation with the lowest error of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Completed updates at that moment.
    pub step: u64,
    /// Its mean squared error.
    #[serde(with = "exact")]
    pub mse: f64,
}

impl Best {
    /// Whether a validation takes its place: the error is lower, or it is the first from `settled_step` on, since when masks
    /// cost their full weights and the predictor sees them. What was learned before is another network, however well it
    /// predicts.
    pub fn gives_way_to(&self, validated: Self, settled_step: u64) -> bool {
        validated.mse < self.mse || (self.step < settled_step && settled_step <= validated.step)
    }
}

/// Keeps every bit of a number, which JSON numbers as read by serde_json may lose.
mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// The values of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedParameter {
    /// Its name in the network.
    pub name: String,
    /// Its shape, outermost axis first.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

/// Describes the tensors of the file; stored as JSON in its metadata.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    progress: RunProgress,
    parameters: Vec<HeaderParameter>,
    /// Settings that a continued run must share.
    identity: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeaderParameter {
    name: String,
    is_decayed: bool,
    n_updates: u64,
}

const FORMAT: u32 = 1;
const HEADER_KEY: &str = "seq2exp.resume";

/// The three tensors of a parameter are stored under these names and its own.
const PARTS: [&str; 3] = ["parameter", "first", "second"];

impl TrainState {
    /// Writes the state to `path`; the file there before survives a failure.
    ///
    /// `identity` holds the settings that the continuing run must share.
    ///
    /// # Errors
    /// [`RunError::Genome`] when the file cannot be written, for example on a full disk.
    pub fn write(&self, path: &Path, identity: &Value) -> Result<(), RunError> {
        let described = self.parameters.iter().zip(&self.moments);
        let header = Header {
            format: FORMAT,
            progress: self.progress,
            parameters: described
                .map(|(parameter, moments)| HeaderParameter {
                    name: parameter.name.clone(),
                    is_decayed: moments.is_decayed,
                    n_updates: moments.n_updates,
                })
                .collect(),
            identity: identity.clone(),
        };
        let damaged = |message: String| damaged(path, message);
        let header = serde_json::to_string(&header).map_err(|error| damaged(error.to_string()))?;
        let mut tensors = Vec::new();
        for (parameter, moments) in self.parameters.iter().zip(&self.moments) {
            let parts = [&parameter.values, &moments.first, &moments.second];
            for (part, values) in PARTS.into_iter().zip(parts) {
                let name = format!("{part}.{}", parameter.name);
                tensors.push(StoredTensor::f32(name, &parameter.shape, values));
            }
        }
        write_tensors(path, &tensors, HEADER_KEY, &header)
    }

    /// How far the run of a state has come; its tensors, which may be large, are not read.
    ///
    /// # Errors
    /// [`RunError::Io`] and [`RunError::BadState`], as [`read`](Self::read).
    pub fn read_progress(path: &Path) -> Result<RunProgress, RunError> {
        #[derive(Deserialize)]
        struct Described {
            #[serde(rename = "__metadata__")]
            metadata: HashMap<String, String>,
        }
        let io = |source| RunError::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        // A safetensors file begins with the length of its header, which is JSON.
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let mut text = Vec::new();
        let mut header = file.take(u64::from_le_bytes(length));
        header.read_to_end(&mut text).map_err(io)?;
        let described: Described =
            serde_json::from_slice(&text).map_err(|error| damaged(path, error.to_string()))?;
        Ok(parse_header(path, described.metadata.get(HEADER_KEY))?.progress)
    }

    /// Reads the state of a run with the same `identity`; fields named in `free` may differ.
    ///
    /// # Errors
    /// [`RunError::Io`] when the file cannot be read, [`RunError::BadState`] when it is damaged or of another version,
    /// [`RunError::OtherConfig`] with the differing fields when it belongs to a run with other settings.
    pub fn read(path: &Path, identity: &Value, free: &[&str]) -> Result<Self, RunError> {
        let bytes = read(path)?;
        let (file, header) = parse(path, &bytes)?;
        let damaged = |message: String| damaged(path, message);
        let differences = differing_fields(&header.identity, identity, free);
        if !differences.is_empty() {
            return Err(RunError::OtherConfig {
                path: path.to_path_buf(),
                differences,
            });
        }
        let tensor = |part: &str, name: &str| -> Result<(Vec<usize>, Vec<f32>), RunError> {
            let view = file
                .tensor(&format!("{part}.{name}"))
                .map_err(|error| damaged(error.to_string()))?;
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!(
                    "{part}.{name} is {}, not F32",
                    view.dtype()
                )));
            }
            let (words, _) = view.data().as_chunks::<4>();
            Ok((
                view.shape().to_vec(),
                words.iter().map(|word| f32::from_le_bytes(*word)).collect(),
            ))
        };
        let (mut parameters, mut moments) = (Vec::new(), Vec::new());
        for HeaderParameter {
            name,
            is_decayed,
            n_updates,
        } in header.parameters
        {
            let [
                (shape, values),
                (first_shape, first),
                (second_shape, second),
            ] = [
                tensor(PARTS[0], &name)?,
                tensor(PARTS[1], &name)?,
                tensor(PARTS[2], &name)?,
            ];
            if first_shape != shape || second_shape != shape {
                return Err(damaged(format!("the moments of {name} have another shape")));
            }
            parameters.push(SavedParameter {
                name: name.clone(),
                shape,
                values,
            });
            moments.push(Moments {
                name,
                is_decayed,
                n_updates,
                first,
                second,
            });
        }
        Ok(Self {
            progress: header.progress,
            parameters,
            moments,
        })
    }
}

fn damaged(path: &Path, message: String) -> RunError {
    RunError::BadState {
        path: path.to_path_buf(),
        message,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    std::fs::read(path).map_err(|source| RunError::Io {
        path: path.to_path_buf(),
        source,
    })
}

/// The tensors of a state and what it says of them, once they are as they were written.
fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<(SafeTensors<'a>, Header), RunError> {
    let damaged = |message: String| damaged(path, message);
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
    let entries = metadata.metadata().as_ref();
    let text = entries.and_then(|entries| entries.get(HEADER_KEY));
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    if text.is_some_and(|text| !is_sealed(text, &file)) {
        let message = "damaged or changed since it was written (its SHA-256 is another)";
        return Err(damaged(message.to_string()));
    }
    Ok((file, parse_header(path, text)?))
}

fn parse_header(path: &Path, text: Option<&String>) -> Result<Header, RunError> {
    let damaged = |message: String| damaged(path, message);
    let text = text.ok_or_else(|| damaged(format!("it has no {HEADER_KEY} entry")))?;
    let header: Header = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    match header.format {
        FORMAT => Ok(header),
        found => Err(damaged(format!(
            "it has format {found}, this version reads {FORMAT}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn state() -> TrainState {
        let parameter = |name: &str, shape: &[usize], start: f32| SavedParameter {
            name: name.to_string(),
            shape: shape.to_vec(),
            values: (0..shape.iter().product::<usize>())
                .map(|i| start + i as f32 / 3.0)
                .collect(),
        };
        let parameters = vec![
            parameter("a.weight", &[2, 3], 0.1),
            parameter("a.bias", &[3], -7.0),
        ];
        let moments = parameters
            .iter()
            .map(|parameter| Moments {
                name: parameter.name.clone(),
                is_decayed: parameter.name.ends_with("weight"),
                n_updates: 41,
                first: parameter.values.iter().map(|v| v * 0.5).collect(),
                second: parameter.values.iter().map(|v| v * v).collect(),
            })
            .collect();
        let best = Some(Best {
            step: 40,
            mse: 0.1 + 0.2,
        });
        TrainState {
            progress: RunProgress {
                step: 42,
                is_validation_pending: true,
                best,
            },
            parameters,
            moments,
        }
    }

    #[test]
    fn best_gives_way_to_a_lower_error_or_to_the_first_of_the_settled_mask() {
        let at = |step, mse| Best { step, mse };
        for (best, validated, settled_step, expected) in [
            (at(10, 0.5), at(20, 0.4), 0, true),
            (at(10, 0.5), at(20, 0.5), 0, false),
            (at(10, 0.5), at(20, 0.9), 0, false),
            (at(10, 0.5), at(20, 0.9), 30, false),
            (at(10, 0.5), at(20, 0.9), 20, true),
            (at(10, 0.5), at(20, 0.9), 10, false),
            (at(20, 0.5), at(30, 0.4), 20, true),
        ] {
            assert_eq!(
                best.gives_way_to(validated, settled_step),
                expected,
                "{best:?} {validated:?} {settled_step}"
            );
        }
    }

    #[test]
    fn write_then_read_is_identity() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("resume.safetensors");
        let identity = json!({"train": {"lr": 1e-4}, "seed": 2});
        state().write(&path, &identity).expect("written");
        assert_eq!(
            TrainState::read(&path, &identity, &[]).expect("just written"),
            state()
        );
    }

    #[test]
    fn read_of_another_run_names_the_fields() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("resume.safetensors");
        state()
            .write(&path, &json!({"train": {"lr": 1, "loader_threads": 1}}))
            .expect("written");
        let other = json!({"train": {"lr": 2, "loader_threads": 3}});
        let error = TrainState::read(&path, &other, &["train.loader_threads"])
            .expect_err("other lr")
            .to_string();
        assert!(
            error.contains("train.lr is 1, this run has 2") && !error.contains("loader"),
            "{error}"
        );
    }

    #[test]
    fn read_of_damaged_file_is_an_error_at_every_cut() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("resume.safetensors");
        state().write(&path, &Value::Null).expect("written");
        let whole = fs::read(&path).expect("readable");
        for n_bytes in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..n_bytes]).expect("writable");
            let error = TrainState::read(&path, &Value::Null, &[])
                .expect_err("cut short")
                .to_string();
            // Of the progress a part may be enough.
            let progress = TrainState::read_progress(&path);
            assert!(progress.map_or(true, |progress| progress == state().progress));
            assert!(error.contains("resume.safetensors"), "{error}");
        }
    }

    #[test]
    fn read_of_overwritten_values_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("resume.safetensors");
        state().write(&path, &Value::Null).expect("written");
        let mut bytes = fs::read(&path).expect("readable");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).expect("writable");
        let error = TrainState::read(&path, &Value::Null, &[])
            .expect_err("overwritten")
            .to_string();
        assert!(
            error.contains("resume.safetensors") && error.contains("damaged or changed"),
            "{error}"
        );
    }

    #[test]
    fn failed_write_keeps_the_file_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("resume.safetensors");
        state().write(&path, &Value::Null).expect("written");
        let mut broken = state();
        // Values that do not fill their shape cannot be written.
        broken.parameters[0].values.pop();
        assert!(broken.write(&path, &Value::Null).is_err());
        assert_eq!(
            TrainState::read(&path, &Value::Null, &[]).expect("kept"),
            state()
        );
    }
}
