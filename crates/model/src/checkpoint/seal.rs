//! A digest that tells damaged weights from those that were written.

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};

/// What comes before the digest, at the end of the JSON object that describes a file's tensors.
const BEFORE: &str = ",\"sha256\":\"";
/// What comes after it.
const AFTER: &str = "\"}";

/// A JSON object that describes tensors, with the digest of itself and of them as its last field, `sha256`.
pub fn seal(description: &str, tensors: &[(&str, TensorView<'_>)]) -> String {
    let tensors = tensors.iter().map(|(name, tensor)| (*name, tensor));
    let digest = digest(description, tensors.collect());
    let open = description.strip_suffix('}').unwrap_or(description);
    format!("{open}{BEFORE}{digest}{AFTER}")
}

/// Whether a description and its tensors are those that were sealed; those without a digest, of an earlier version, may
/// be.
pub fn is_sealed(description: &str, file: &SafeTensors<'_>) -> bool {
    let sealed = description
        .strip_suffix(AFTER)
        .and_then(|text| text.rsplit_once(BEFORE));
    let Some((open, expected)) = sealed else {
        return true;
    };
    let tensors: Vec<(&str, TensorView<'_>)> = file.iter().collect();
    let tensors = tensors.iter().map(|(name, tensor)| (*name, tensor));
    digest(&format!("{open}}}"), tensors.collect()) == expected
}

/// SHA-256 of the description, and of name, type, shape and bytes of every tensor in the order of the names.
fn digest(description: &str, mut tensors: Vec<(&str, &TensorView<'_>)>) -> String {
    tensors.sort_unstable_by_key(|(name, _)| *name);
    let mut hasher = Sha256::new();
    hasher.update(description);
    for (name, tensor) in tensors {
        hasher.update(format!(
            "\n{name} {} {:?}\n",
            tensor.dtype(),
            tensor.shape()
        ));
        hasher.update(tensor.data());
    }
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;

    use super::*;

    fn file(description: &str) -> (Vec<u8>, String) {
        let data = [1_u8, 2, 3, 4, 5, 6, 7, 8];
        let view = |bytes| TensorView::new(Dtype::F32, vec![1], bytes).unwrap();
        let tensors = [("b", view(&data[..4])), ("a", view(&data[4..]))];
        let sealed = seal(description, &tensors);
        (safetensors::serialize(tensors, None).unwrap(), sealed)
    }

    fn is_sealed_in(bytes: &[u8], description: &str) -> bool {
        is_sealed(description, &SafeTensors::deserialize(bytes).unwrap())
    }

    #[test]
    fn digest_is_sha256_of_text_and_tensors_by_name() {
        // printf '{"x":1}\na F32 [1]\n\5\6\7\10\nb F32 [1]\n\1\2\3\4' | sha256sum
        let expected = "6a417cf92b49e38d51c4c3ebe08f2892c6866e8bc80fae9707cea4cd4932f6b6";
        let (_, sealed) = file("{\"x\":1}");
        assert_eq!(sealed, format!("{{\"x\":1,\"sha256\":\"{expected}\"}}"));
    }

    #[test]
    fn is_sealed_sees_every_changed_byte() {
        let (bytes, sealed) = file("{\"x\":1}");
        assert!(is_sealed_in(&bytes, &sealed));
        assert!(is_sealed_in(&bytes, "{\"x\":1}"), "of an earlier version");
        assert!(!is_sealed_in(&bytes, &sealed.replace("\"x\":1", "\"x\":2")));
        for place in bytes.len() - 8..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(!is_sealed_in(&damaged, &sealed), "byte {place}");
        }
    }
}
