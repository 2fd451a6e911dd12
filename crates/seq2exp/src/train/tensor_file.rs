//! Tensors of different types and a line of JSON in one safetensors file.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use model::checkpoint::seal;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError};

use crate::error::RunError;

/// A tensor on its way to a file.
pub(super) struct StoredTensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl StoredTensor {
    /// Single-precision `values`, row-major.
    pub(super) fn f32(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Self {
        Self {
            name: name.into(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }

    /// A vector of whole numbers.
    pub(super) fn u64(name: impl Into<String>, values: &[u64]) -> Self {
        Self {
            name: name.into(),
            dtype: Dtype::U64,
            shape: vec![values.len()],
            bytes: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }
}

/// Writes `tensors`, and `text`, a sealed JSON object, under `key` of the file's metadata; the file there before survives a failure.
///
/// # Errors
/// [`RunError::Genome`] when the file cannot be written; [`RunError::BadState`] when a shape does not fit its values.
pub(super) fn write_tensors(
    path: &Path,
    tensors: &[StoredTensor],
    key: &str,
    text: &str,
) -> Result<(), RunError> {
    let damaged = |error: SafeTensorError| RunError::BadState {
        path: path.to_path_buf(),
        message: error.to_string(),
    };
    let views = tensors
        .iter()
        .map(|tensor| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)?;
            Ok((tensor.name.as_str(), view))
        })
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(damaged)?;
    let metadata = HashMap::from([(key.to_string(), seal(text, &views))]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(damaged)?;
    Ok(genome::write_atomic(path, |file| file.write_all(&bytes))?)
}
