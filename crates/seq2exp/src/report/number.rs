//! Numbers as people read them.

/// What stands where a value is not known.
pub(super) const UNKNOWN: &str = "–";

/// A count with commas: `18,377`.
pub(super) fn count_text(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value with a fixed number of decimals and a true minus sign; a dash when not finite.
pub(super) fn fixed_text(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return UNKNOWN.to_string();
    }
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    if value < 0.0 && !is_zero {
        format!("−{text}")
    } else {
        text
    }
}

/// A value with three significant digits; powers of ten below 0.001 and from a million up.
pub(super) fn value_text(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || !value.is_finite() {
        return fixed_text(value, 0);
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}").replace('-', "−");
    }
    if size >= 100.0 {
        let text = count_text(size.round() as u64);
        return if value < 0.0 {
            format!("−{text}")
        } else {
            text
        };
    }
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 5) as usize;
    fixed_text(value, decimals)
}

/// A value that may be unknown, with a fixed number of decimals.
pub(super) fn optional_text(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| UNKNOWN.to_string(), |value| fixed_text(value, decimals))
}

/// A share in percent: `6.9 %`.
pub(super) fn percent_text(share: f64) -> String {
    if share.is_finite() {
        format!("{} %", fixed_text(100.0 * share, 1))
    } else {
        UNKNOWN.to_string()
    }
}

/// A length in bases: `850 bp`, `12.4 kb`, `1.20 Mb`.
pub(super) fn bases_text(bases: u64) -> String {
    match bases {
        0..1_000 => format!("{bases} bp"),
        1_000..100_000 => format!("{} kb", fixed_text(bases as f64 / 1e3, 1)),
        100_000..1_000_000 => format!("{} kb", fixed_text(bases as f64 / 1e3, 0)),
        _ => format!("{} Mb", fixed_text(bases as f64 / 1e6, 2)),
    }
}

/// A signed distance in bases: `−12.4 kb`, `+850 bp`, `0 bp`.
pub(super) fn distance_text(distance: i64) -> String {
    let sign = match distance {
        0 => "",
        1.. => "+",
        _ => "−",
    };
    format!("{sign}{}", bases_text(distance.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let cases = [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1.00"),
            (0.123456, "0.123"),
            (0.0123456, "0.0123"),
            (-0.5, "−0.500"),
            (12.345, "12.3"),
            (123.6, "124"),
            (-12345.6, "−12,346"),
            (0.00012, "1.20e−4"),
            (2.5e9, "2.50e9"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ];
        for (value, expected) in cases {
            assert_eq!(value_text(value), expected, "{value}");
        }
        let counts = [(0, "0"), (999, "999"), (1000, "1,000"), (18_377, "18,377")];
        for (count, expected) in counts {
            assert_eq!(count_text(count), expected);
        }
        assert_eq!(count_text(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(fixed_text(-0.0001, 2), "0.00");
        assert_eq!(percent_text(0.0689), "6.9 %");
        assert_eq!(percent_text(f64::NAN), "–");
        assert_eq!(optional_text(None, 2), "–");
    }

    #[test]
    fn lengths_choose_their_unit() {
        let cases = [
            (0, "0 bp"),
            (850, "+850 bp"),
            (-999, "−999 bp"),
            (1_000, "+1.0 kb"),
            (-12_449, "−12.4 kb"),
            (100_000, "+100 kb"),
            (1_204_000, "+1.20 Mb"),
            (i64::MIN, "−9223372036854.78 Mb"),
        ];
        for (distance, expected) in cases {
            assert_eq!(distance_text(distance), expected);
        }
    }
}
