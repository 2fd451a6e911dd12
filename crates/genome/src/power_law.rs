//! How often two places of a chromosome touch when only their distance is known.

/// Slope of log contact frequency against log distance.
///
/// The default `--hic_gamma` of the ABC model (broadinstitute/ABC-Enhancer-Gene-Prediction):
/// the slope fitted to the average of its Hi-C maps.
const POWER_LAW_GAMMA: f64 = 0.87;

/// Natural logarithm of the expected contact frequency at a distance of one base.
///
/// The ABC model's line through the fitted slope: `-4.80 + 11.63 * gamma`.
const POWER_LAW_SCALE: f64 = -4.80 + 11.63 * POWER_LAW_GAMMA;

/// Below this many bases the line is flat: one bin of the ABC model's Hi-C maps.
const POWER_LAW_MIN_DISTANCE: u64 = 5_000;

/// Expected contact frequency of two places on one chromosome.
///
/// p(d) = exp(scale - gamma * ln(max(d, 5000) + 1))
///
/// # Units
/// - `distance`: bases between the two places
/// - the result has no unit; it is comparable with itself at another distance only
///
/// # Reference
/// Fulco et al. 2019 (ABC model), `get_powerlaw_at_distance` of its code with the default
/// minimum distance.
///
/// ```
/// use genome::power_law_contact;
/// assert_eq!(power_law_contact(0), power_law_contact(5_000));
/// assert!(power_law_contact(5_000) > power_law_contact(1_000_000));
/// ```
pub fn power_law_contact(distance: u64) -> f64 {
    let clipped = distance.max(POWER_LAW_MIN_DISTANCE) as f64;
    (POWER_LAW_SCALE - POWER_LAW_GAMMA * (clipped + 1.0).ln()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative; exp and ln of the two languages may differ in the last bits.
    const RTOL: f64 = 1e-14;

    #[test]
    fn power_law_contact_equals_formula_in_python() {
        // python3 -c 'from math import *; g=.87; s=-4.80+11.63*g
        //   print(*(exp(s-g*log(max(d,5000)+1)) for d in D))'
        let cases = [
            (0, 0.12343605143885546),
            (1, 0.12343605143885546),
            (5000, 0.12343605143885546),
            (5001, 0.12341458187460909),
            (100000, 0.009112083815811344),
            (1000000, 0.0012291959095727212),
            (248956422, 1.0115659037023187e-05),
            (u64::MAX, 3.5340389004909085e-15),
        ];
        for (distance, expected) in cases {
            let found = power_law_contact(distance);
            assert!(
                (found - expected).abs() <= RTOL * expected,
                "{distance}: {found} against {expected}"
            );
        }
    }
}
