use super::*;

/// p(1 Mb), from `python3 -c 'from math import *; g=.87; s=-4.80+11.63*g;
/// print(exp(s-g*log(1e6+1)))'`.
const P_1MB: f64 = 0.0012291959095727212;

/// Relative, of one f32 rounding.
const RTOL: f64 = 1e-6;

fn window(tss: u64, length: u64, chrom_length: u64) -> Window {
    Window::centered_on("c", tss, length, chrom_length).unwrap()
}

fn near(window: &Window) -> Interval {
    let (start, end) = near_tss(window);
    Interval::try_new("c", start, end).unwrap()
}

fn assert_close(found: f32, expected: f64) {
    let error = (f64::from(found) - expected).abs();
    assert!(error <= RTOL * expected.abs(), "{found} against {expected}");
}

#[test]
fn measured_bins_add_the_pseudocount_and_leave_masked_bins_at_zero() {
    // Bins of 1,000; start site in bin 10, window [8000, 13000): bins 8 to 12.
    let window = window(10_500, 5_000, 100_000);
    let contacts = [7.0, 0.0, 9.0, f64::NAN, 99.0, 5.0];
    let bins = measured_bins(&window, &near(&window), 1_000, 8, &contacts);
    assert_eq!((bins.resolution, bins.first_bin), (1_000, 8));
    let expected = [7.0_f64, 0.0, 9.0, f64::NAN, 99.0];
    assert_eq!(bins.log10p1.len(), expected.len());
    for (found, contact) in bins.log10p1.iter().zip(expected) {
        match contact.is_nan() {
            true => assert_eq!(*found, 0.0),
            false => assert_close(*found, (contact + P_1MB + 1.0).log10()),
        }
    }
}

#[test]
fn measured_bins_without_contacts_at_the_start_site_are_all_zero() {
    // The 1,000 bases around the start site lie in bin 10 alone (tss 10,500).
    // Sum over bases: 1000 * contact, against 0.01.
    let window = window(10_500, 3_000, 100_000);
    let cases = [
        (0.0, false),
        (f64::NAN, false),
        (0.000_009, false), // 0.009
        (0.000_01, true),   // 0.01, which is not less
        (0.000_011, true),  // 0.011
        (1.0, true),
    ];
    for (own, usable) in cases {
        let contacts = [50.0, own, 50.0];
        let bins = measured_bins(&window, &near(&window), 1_000, 9, &contacts);
        assert_eq!(bins.log10p1[0] > 1.0, usable, "{own}");
        assert_eq!(
            bins.log10p1.iter().any(|value| *value > 0.0),
            usable,
            "{own}"
        );
    }
}

#[test]
fn measured_bins_counts_neighbouring_bins_of_the_start_site() {
    // tss 10,100: 400 bases of [9600, 10600) lie in bin 9, 600 in bin 10.
    let window = window(10_100, 2_000, 100_000);
    let usable = |left: f64, own: f64| {
        let bins = measured_bins(&window, &near(&window), 1_000, 9, &[left, own, 3.0]);
        bins.log10p1[2] > 0.0
    };
    assert!(!usable(0.000_02, 0.0)); // 400 * 0.00002 = 0.008
    assert!(usable(0.000_03, 0.0)); // 0.012
    assert!(!usable(0.0, 0.000_015)); // 600 * 0.000015 = 0.009
    assert!(usable(0.0, 0.000_017)); // 0.0102
}

#[test]
fn pseudocount_beyond_a_megabase_falls_with_distance() {
    let window = window(2_000_000, 4_000_000, 4_000_000);
    let bins = measured_bins(&window, &near(&window), 100_000, 0, &[1e-9; 40]);
    // tss 2,000,000 is in bin 20; the middle of bin 0 is 1,950,000 away.
    // p(1950000) by the formula of the method.
    let p_far = (-4.80 + 11.63 * 0.87 - 0.87 * 1_950_001_f64.ln()).exp();
    assert!(p_far < P_1MB);
    let usable_sum = 1000.0 * 1e-9;
    assert!(usable_sum < MIN_CONTACT_NEAR_TSS);
    assert_eq!(bins.log10p1, [0.0; 40]); // not usable
    let bins = measured_bins(&window, &near(&window), 100_000, 0, &[1.0; 40]);
    assert_close(bins.log10p1[0], (2.0 + p_far).log10());
    assert_close(bins.log10p1[20], (2.0 + P_1MB).log10());
}

#[test]
fn check_contacts_names_the_first_bin_that_is_no_count() {
    let nan = f64::NAN;
    // Bins of 1,000 from bin 8 on, so the third is chr9:10001-11000.
    let cases = [
        (vec![], None),
        (vec![0.0, nan, 7.5], None),
        (vec![0.0, nan, f64::INFINITY, -1.0], Some("inf")),
        (vec![0.0, nan, -0.5], Some("-0.5")),
        (vec![0.0, nan, f64::NEG_INFINITY], Some("-inf")),
    ];
    for (contacts, bad) in cases {
        let profile = ContactProfile {
            resolution: 1_000,
            first_bin: 8,
            contacts,
        };
        let checked = check_contacts(Path::new("a.cool"), "chr9", &profile);
        let message = checked.map_err(|error| error.to_string());
        match bad {
            None => assert_eq!(message, Ok(())),
            Some(value) => {
                let message = message.unwrap_err();
                let part = format!("a.cool: chr9:10001-11000: the contact of this bin is {value};");
                assert!(message.starts_with(&part), "{message}");
            }
        }
    }
}

#[test]
fn stored_bins_are_aligned_by_coordinate() {
    // Bins of 10 on a chromosome of 50; the profile covers 20 bases before and after the start
    // site 13: [-7, 33), so base b is value b + 7. Bins 0 to 3 have 0.5, 9, NaN, 99.
    let mut values = vec![0.0; 40];
    values[7..17].fill(0.5);
    values[17..27].fill(9.0);
    values[27..37].fill(f64::NAN);
    values[37..].fill(99.0);
    let near_end = window(13, 36, 50); // [-5, 31)
    let bins = stored_bins(&near_end, 10, &values).unwrap();
    assert_eq!((bins.first_bin, bins.resolution), (0, 10));
    assert_close(bins.log10p1[0], 1.5_f64.log10());
    assert_eq!(&bins.log10p1[1..], [1.0, 0.0, 2.0]); // log10(10), no data, log10(100)
    let near_end_bins = bins.log10p1;
    let inner = stored_bins(&window(13, 4, 50), 10, &values).unwrap(); // [11, 15)
    assert_eq!((inner.first_bin, inner.log10p1), (1, vec![1.0]));
    // [-8, 34) needs base 33, which is not stored.
    let wide = stored_bins(&window(13, 42, 50), 10, &values).unwrap_err();
    assert!(wide.contains("wider than the stored profile"), "{wide}");
    // [-7, 33) is all that is stored.
    let whole = stored_bins(&window(13, 40, 50), 10, &values).unwrap();
    assert_eq!(whole.log10p1, near_end_bins);
    for (value, part) in [
        (8.0, "different contacts"),
        (f64::INFINITY, "different"),
        (f64::NAN, "different"),
    ] {
        values[20] = value;
        let error = stored_bins(&near_end, 10, &values).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    for bad in [-1.0, f64::INFINITY] {
        values[17..27].fill(bad);
        let error = stored_bins(&near_end, 10, &values).unwrap_err();
        assert!(error.contains("not negative"), "{error}");
    }
    // No contact is a contact of 0.
    values[17..27].fill(0.0);
    let bins = stored_bins(&near_end, 10, &values).unwrap();
    assert_eq!(bins.log10p1[1], 0.0);
}

#[test]
fn power_law_track_is_the_formula_at_the_bin_middle() {
    let track = ContactTrack::PowerLaw { resolution: 5_000 };
    let window = window(102_500, 20_000, 200_000); // [92500, 112500): bins 18 to 22
    let bins = track.read(&window).unwrap();
    assert_eq!((bins.first_bin, bins.log10p1.len()), (18, 5));
    // Middles 92500 … 112500: 10000, 5000, 0, 5000, 10000 bases away; p(0) = p(5000).
    let p = |distance: f64| (-4.80 + 11.63 * 0.87 - 0.87 * (distance + 1.0).ln()).exp();
    for (found, distance) in bins.log10p1.iter().zip([1e4, 5e3, 5e3, 5e3, 1e4]) {
        assert_close(*found, (p(distance) + 1.0).log10());
    }
}

#[test]
fn fill_aligns_by_coordinate_at_both_chromosome_ends() {
    // Bins of 10 on a chromosome of 25: the last bin is cut.
    let bins = ContactBins {
        resolution: 10,
        first_bin: 0,
        log10p1: vec![1.0, 2.0, 3.0],
    };
    // tss, length → one value per position
    let left = window(3, 12, 25); // [-3, 9)
    let right = window(22, 12, 25); // [16, 28)
    let mut tracks = vec![0.0; 24];
    bins.fill(&left, &mut tracks, 2, 1);
    let column: Vec<f32> = tracks.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(column, [0., 0., 0., 1., 1., 1., 1., 1., 1., 1., 1., 1.]);
    assert!(tracks.iter().step_by(2).all(|value| *value == 0.0));
    let mut tracks = vec![0.0; 12];
    bins.fill(&right, &mut tracks, 1, 0);
    assert_eq!(tracks, [2., 2., 2., 2., 3., 3., 3., 3., 3., 0., 0., 0.]);
}
