//! Bases as codes and as one-hot rows.

/// Code of everything that is not A, C, G or T: N, other letters, padding.
pub const NO_BASE: u8 = 4;

/// Code of one letter: 0 = A, 1 = C, 2 = G, 3 = T, [`NO_BASE`] for anything else.
///
/// Lower case counts as upper case.
pub fn base_code(letter: u8) -> u8 {
    match letter {
        b'A' | b'a' => 0,
        b'C' | b'c' => 1,
        b'G' | b'g' => 2,
        b'T' | b't' => 3,
        _ => NO_BASE,
    }
}

/// Turns base codes into rows of A, C, G, T; a code of [`NO_BASE`] or more is a row of zeros.
///
/// # Shapes
/// - `base_codes`: `[length]`; output: `[length, 4]`, row-major
///
/// ```
/// assert_eq!(dataset::one_hot(&[2, 4]), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
/// ```
pub fn one_hot(base_codes: &[u8]) -> Vec<f32> {
    let mut rows = vec![0.0; base_codes.len() * 4];
    for (row, &code) in rows.chunks_exact_mut(4).zip(base_codes) {
        if let Some(cell) = row.get_mut(code as usize) {
            *cell = 1.0;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hot_of_letters_ignores_case_and_zeroes_the_rest() {
        let cases: [(&[u8], &[f32]); 5] = [
            (b"", &[]),
            (b"A", &[1., 0., 0., 0.]),
            (b"gT", &[0., 0., 1., 0., 0., 0., 0., 1.]),
            (b"cN", &[0., 1., 0., 0., 0., 0., 0., 0.]),
            (b"Rn-", &[0.; 12]),
        ];
        for (letters, expected) in cases {
            let codes: Vec<u8> = letters.iter().map(|&letter| base_code(letter)).collect();
            assert_eq!(one_hot(&codes), expected);
        }
    }

    #[test]
    fn base_code_of_every_byte_is_at_most_four() {
        for byte in 0..=u8::MAX {
            assert_eq!(base_code(byte) < NO_BASE, b"ACGTacgt".contains(&byte));
            assert!(base_code(byte) <= NO_BASE);
        }
    }
}
