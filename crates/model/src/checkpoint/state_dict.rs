//! Named tensors in a file, whatever wrote it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::lightning::read_torch;
use crate::error::ModelError;

/// A tensor's shape and its values, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Row-major values; every stored type fits, 64-bit integers beyond 2^53 excepted.
    pub values: Vec<f64>,
}

impl NamedTensor {
    /// The values in single precision.
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.iter().map(|&value| value as f32).collect()
    }
}

/// Tensors by name.
pub type StateDict = BTreeMap<String, NamedTensor>;

/// Reads the tensors of a safetensors file or of a PyTorch checkpoint (`.ckpt`, `.pt`, `.pth`: zip and legacy),
/// told apart by their content. Nothing in the file is executed.
///
/// # Errors
/// [`ModelError::Io`] when the file cannot be read, [`ModelError::Format`] when it is neither or is damaged.
pub fn read_state_dict(path: &Path) -> Result<StateDict, ModelError> {
    let io_error = |source| ModelError::Io {
        path: path.to_owned(),
        action: "reading",
        source,
    };
    let bytes = fs::read(path).map_err(io_error)?;
    if is_torch(&bytes) {
        drop(bytes);
        return read_torch(path);
    }
    let parsed = match bytes.get(8) {
        Some(byte) if *byte != b'{' => {
            Err("neither safetensors nor a PyTorch checkpoint; give one of these".to_owned())
        }
        _ => parse_safetensors(&bytes),
    };
    parsed.map_err(|message| ModelError::Format {
        path: path.to_owned(),
        message,
    })
}

/// Zip archives start with `PK`, pickles with their protocol; a safetensors header is JSON after 8 bytes.
fn is_torch(bytes: &[u8]) -> bool {
    bytes.get(8) != Some(&b'{') && (bytes.starts_with(b"PK") || bytes.first() == Some(&0x80))
}

pub(crate) fn parse_safetensors(bytes: &[u8]) -> Result<StateDict, String> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("not a whole safetensors file ({error}); was it truncated?"))?;
    let mut state = StateDict::new();
    for (name, view) in file.iter() {
        let values = decode(view.dtype(), view.data()).ok_or_else(|| {
            format!(
                "tensor `{name}` has type {:?}; only real numbers and booleans are read",
                view.dtype()
            )
        })?;
        state.insert(
            name.to_owned(),
            NamedTensor {
                shape: view.shape().to_vec(),
                values,
            },
        );
    }
    Ok(state)
}

fn decode(dtype: Dtype, data: &[u8]) -> Option<Vec<f64>> {
    Some(match dtype {
        Dtype::F64 => words(data, f64::from_le_bytes),
        Dtype::F32 => words(data, |word| f64::from(f32::from_le_bytes(word))),
        Dtype::F16 => words(data, |word| f64::from(f16::from_le_bytes(word))),
        Dtype::BF16 => words(data, |word| f64::from(bf16::from_le_bytes(word))),
        Dtype::I64 => words(data, |word| i64::from_le_bytes(word) as f64),
        Dtype::U64 => words(data, |word| u64::from_le_bytes(word) as f64),
        Dtype::I32 => words(data, |word| f64::from(i32::from_le_bytes(word))),
        Dtype::U32 => words(data, |word| f64::from(u32::from_le_bytes(word))),
        Dtype::I16 => words(data, |word| f64::from(i16::from_le_bytes(word))),
        Dtype::U16 => words(data, |word| f64::from(u16::from_le_bytes(word))),
        Dtype::I8 => words(data, |word| f64::from(i8::from_le_bytes(word))),
        Dtype::U8 | Dtype::BOOL => data.iter().map(|&byte| f64::from(byte)).collect(),
        _ => return None,
    })
}

/// Reads little-endian words; a partial word at the end is left out, which the callers' length checks exclude.
pub(super) fn words<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>()
        .0
        .iter()
        .map(|&word| value(word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    fn file(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            (
                name.to_string(),
                TensorView::new(*dtype, shape.clone(), data).unwrap(),
            )
        });
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn parse_safetensors_each_type_becomes_f64() {
        let bytes = file(&[
            (
                "a",
                Dtype::F32,
                vec![2],
                [1.5_f32, -2.0]
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect(),
            ),
            ("b", Dtype::BF16, vec![1], vec![0xc0, 0x3f]), // 1.5: sign 0, exponent 127, mantissa 0.1
            ("c", Dtype::F16, vec![1], vec![0x00, 0x3e]),  // 1.5: exponent 15, mantissa 0.1
            ("d", Dtype::I64, vec![], (-7_i64).to_le_bytes().to_vec()),
            ("e", Dtype::U8, vec![3], vec![0, 1, 255]),
            ("f", Dtype::I16, vec![1], (-3_i16).to_le_bytes().to_vec()),
        ]);
        let state = parse_safetensors(&bytes).unwrap();
        let values: Vec<_> = state.values().map(|tensor| tensor.values.clone()).collect();
        assert_eq!(
            values,
            [
                vec![1.5, -2.0],
                vec![1.5],
                vec![1.5],
                vec![-7.0],
                vec![0.0, 1.0, 255.0],
                vec![-3.0]
            ]
        );
        assert_eq!(state["d"].shape, Vec::<usize>::new());
    }

    #[test]
    fn safetensors_whose_length_begins_like_a_pickle_or_a_zip_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let bytes = file(&[("a", Dtype::U8, vec![1], vec![7])]);
        let header = &bytes[8..bytes.len() - 1];
        // A header of 0x80 bytes, and one of "PK" (0x4b50) bytes; spaces may fill it.
        for length in [0x80_usize, 0x4b50] {
            let mut padded = (length as u64).to_le_bytes().to_vec();
            padded.extend(header);
            padded.resize(8 + length, b' ');
            padded.push(7);
            fs::write(&path, &padded).unwrap();
            assert_eq!(read_state_dict(&path).unwrap()["a"].values, [7.0]);
        }
    }

    #[test]
    fn read_state_dict_missing_file_names_it() {
        let error = read_state_dict(Path::new("absent.safetensors"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("absent.safetensors: reading failed"),
            "{error}"
        );
    }

    proptest! {
        // Cut and flipped bytes of a real file reach deeper than noise alone.
        #[test]
        fn read_state_dict_never_panics(cut in 0_usize..200, at in 0_usize..200, byte: u8, noise in prop::collection::vec(any::<u8>(), 0..64)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x");
            let mut bytes = file(&[("a", Dtype::F32, vec![2], vec![0; 8]), ("b", Dtype::F64, vec![1], vec![1; 8])]);
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut);
            fs::write(&path, &bytes).unwrap();
            let _ = read_state_dict(&path);
            fs::write(&path, [b"PK\x03\x04".as_slice(), &noise].concat()).unwrap();
            prop_assert!(read_state_dict(&path).is_err());
            fs::write(&path, [b"\x80\x02".as_slice(), &noise].concat()).unwrap();
            let _ = read_state_dict(&path);
        }
    }
}
