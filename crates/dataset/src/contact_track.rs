//! Contact of every position of a window with the start site.

use std::collections::BTreeMap;
use std::path::Path;

use genome::{
    ContactMap, ContactProfile, GenomeError, Interval, StoredContacts, power_law_contact,
};

use crate::chrom_alias::{ChromAlias, ChromNames};
use crate::contact_config::ContactConfig;
use crate::error::DatasetError;
use crate::tracks::near_tss;
use crate::window::Window;

/// Below this sum of contacts over the bases of TSS ± 500 bp a gene has no usable Hi-C.
///
/// # Reference
/// ABC model: a start site in a bin without contacts says nothing about its neighbours.
const MIN_CONTACT_NEAR_TSS: f64 = 0.01;

/// The pseudocount grows no further below this distance, in bases.
///
/// # Reference
/// ABC model: `min(p(d), p(1 Mb))`, so that close positions are not dominated by it.
const PSEUDOCOUNT_DISTANCE: u64 = 1_000_000;

/// Where the contact of a gene comes from.
#[derive(Debug)]
pub(crate) enum ContactTrack {
    /// A Hi-C map.
    Measured { map: ContactMap, names: ChromNames },
    /// Contact of each gene as it was computed before, pseudocount included.
    Stored {
        contacts: StoredContacts,
        names: ChromNames,
        resolution: u64,
    },
    /// The average contact at the same distance, in bins of `resolution` bases.
    PowerLaw { resolution: u64 },
}

/// Contact of the bins that overlap the part of a window on its chromosome.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ContactBins {
    /// Bases per bin; bin `i` covers `[i * resolution, (i + 1) * resolution)`, 0-based.
    pub(crate) resolution: u64,
    /// The bin of the first value.
    pub(crate) first_bin: u64,
    /// `log10(contact + 1)`; 0 where there is no data.
    pub(crate) log10p1: Vec<f32>,
}

impl ContactTrack {
    /// Opens the contacts of a configuration for chromosomes with so many genes each.
    ///
    /// # Errors
    /// A file that cannot be read; [`DatasetError::AbsentChroms`] for chromosomes that it lacks.
    pub(crate) fn open(
        config: &ContactConfig,
        alias: &ChromAlias,
        needed: &BTreeMap<&str, usize>,
    ) -> Result<Self, DatasetError> {
        let Some(path) = &config.path else {
            // Validation refuses a contact with neither a path nor a fallback.
            return Ok(ContactTrack::PowerLaw {
                resolution: u64::from(config.resolution),
            });
        };
        if path.is_dir() {
            let contacts = StoredContacts::open(path)?;
            let sizes = alias.sizes_of(contacts.chroms());
            let names = alias.names_in(path, &sizes, needed, Some(config.absent))?;
            return Ok(ContactTrack::Stored {
                contacts,
                names,
                resolution: u64::from(config.resolution),
            });
        }
        let map = ContactMap::open(path, config.resolution, config.normalization)?;
        let names = alias.names_in(path, map.chrom_sizes(), needed, Some(config.absent))?;
        Ok(ContactTrack::Measured { map, names })
    }

    /// Chromosomes that genes lie on and the file does not have.
    pub(crate) fn absent_chroms(&self) -> Option<&BTreeMap<String, usize>> {
        match self {
            ContactTrack::Measured { names, .. } | ContactTrack::Stored { names, .. } => {
                Some(names.absent())
            }
            ContactTrack::PowerLaw { .. } => None,
        }
    }

    /// Reads the contact of every bin of a window with the bin of its start site.
    ///
    /// Measured: `x` is the count plus the pseudocount `min(p(d), p(1 Mb))`, where `d` is the
    /// distance from the start site to the middle of the bin; a masked bin has no data, and so
    /// has the whole window when the contacts of the bases of TSS ± 500 bp sum to less than 0.01;
    /// no data is 0. Power law: `x = p(d)`. Stored: `x` is what is stored. The value is
    /// `log10(x + 1)`.
    ///
    /// # Errors
    /// [`DatasetError::Genome`] for a map that cannot be read there, or that holds a contact which is
    /// infinite or negative; [`DatasetError::InvalidStoredContact`].
    pub(crate) fn read(&self, window: &Window) -> Result<ContactBins, DatasetError> {
        match self {
            ContactTrack::PowerLaw { resolution } => {
                let (first_bin, end_bin) = bins_of(window.inside(), *resolution);
                let contacts = (first_bin..end_bin)
                    .map(|bin| power_law_contact(bin_distance(window.tss(), bin, *resolution)));
                Ok(ContactBins {
                    resolution: *resolution,
                    first_bin,
                    log10p1: contacts.map(log10p1).collect(),
                })
            }
            ContactTrack::Stored {
                contacts,
                names,
                resolution,
            } => {
                let Some(chrom) = names.get(window.chrom())? else {
                    return Ok(ContactBins::without_data(window, *resolution));
                };
                let values = contacts.read(&chrom, window.tss())?;
                stored_bins(window, *resolution, &values).map_err(|reason| {
                    DatasetError::InvalidStoredContact {
                        path: contacts.file_of(&chrom).to_path_buf(),
                        chrom: chrom.to_string(),
                        tss: window.tss(),
                        reason,
                    }
                })
            }
            ContactTrack::Measured { map, names } => {
                let Some(chrom) = names.get(window.chrom())? else {
                    return Ok(ContactBins::without_data(window, map.resolution()));
                };
                let (near_start, near_end) = near_tss(window);
                // The surroundings of the start site are needed even when the window is narrower.
                let hull = Interval::try_new(
                    chrom.clone(),
                    window.inside().start().min(near_start),
                    window.inside().end().max(near_end),
                )?;
                let profile = map.read_profile(&chrom, window.tss(), &hull)?;
                check_contacts(map.path(), &chrom, &profile)?;
                let near = Interval::try_new(chrom, near_start, near_end)?;
                Ok(measured_bins(
                    window,
                    &near,
                    profile.resolution,
                    profile.first_bin,
                    &profile.contacts,
                ))
            }
        }
    }
}

impl ContactBins {
    /// No contact in any bin of a window.
    fn without_data(window: &Window, resolution: u64) -> Self {
        let (first_bin, end_bin) = bins_of(window.inside(), resolution);
        ContactBins {
            resolution,
            first_bin,
            log10p1: vec![0.0; (end_bin - first_bin) as usize],
        }
    }

    /// Writes the contact of every position into one column of `tracks`; padding stays as it is.
    ///
    /// # Shapes
    /// - `tracks`: `[length, n_tracks]`, row-major, of the window that was read
    pub(crate) fn fill(&self, window: &Window, tracks: &mut [f32], n_tracks: usize, column: usize) {
        for (bin, value) in (self.first_bin..).zip(&self.log10p1) {
            for offset in bin_offsets(window, bin, self.resolution) {
                if let Some(cell) = tracks.get_mut(offset * n_tracks + column) {
                    *cell = *value;
                }
            }
        }
    }
}

/// First bin and one past the last bin that share a base with the interval.
pub(crate) fn bins_of(interval: &Interval, resolution: u64) -> (u64, u64) {
    (
        interval.start() / resolution,
        interval.end().div_ceil(resolution),
    )
}

/// Offsets of the window that lie in a bin and on the chromosome.
pub(crate) fn bin_offsets(window: &Window, bin: u64, resolution: u64) -> std::ops::Range<usize> {
    let inside = window.inside();
    let first = (bin * resolution).max(inside.start());
    let end = ((bin + 1) * resolution).min(inside.end());
    if first >= end {
        return 0..0;
    }
    (first as i64 - window.start()) as usize..(end as i64 - window.start()) as usize
}

/// Bases from the start site to the middle of a bin.
fn bin_distance(tss: u64, bin: u64, resolution: u64) -> u64 {
    (bin * resolution + resolution / 2).abs_diff(tss)
}

fn log10p1(contact: f64) -> f32 {
    (contact + 1.0).log10() as f32
}

/// The bins of a profile that is stored base by base around the start site, aligned by coordinate.
///
/// # Errors
/// A window wider than the profile, a bin whose bases differ, a negative or infinite contact.
fn stored_bins(
    window: &Window,
    resolution: u64,
    values: &[f64],
) -> Result<ContactBins, &'static str> {
    let half = values.len() as u64 / 2;
    // Index of a base of the chromosome in the profile.
    let index_of = |position: u64| (position + half).checked_sub(window.tss());
    let inside = window.inside();
    let (Some(first), Some(end)) = (index_of(inside.start()), index_of(inside.end())) else {
        return Err("the window is wider than the stored profile; choose a shorter length");
    };
    if end > values.len() as u64 || first > end {
        return Err("the window is wider than the stored profile; choose a shorter length");
    }
    let (first_bin, end_bin) = bins_of(inside, resolution);
    let mut log10p1s = Vec::with_capacity((end_bin - first_bin) as usize);
    for bin in first_bin..end_bin {
        let bases =
            (bin * resolution).max(inside.start())..((bin + 1) * resolution).min(inside.end());
        let (start, end) = (
            bases.start + half - window.tss(),
            bases.end + half - window.tss(),
        );
        let stored = &values[start as usize..end as usize];
        let contact = stored.first().copied().unwrap_or(f64::NAN);
        let is_same = |value: &f64| *value == contact || (value.is_nan() && contact.is_nan());
        if !stored.iter().all(is_same) {
            return Err("the bases of one bin have different contacts; is the resolution right?");
        }
        if contact < 0.0 || contact.is_infinite() {
            return Err("a contact must be finite and not negative");
        }
        log10p1s.push(if contact.is_nan() {
            0.0
        } else {
            log10p1(contact)
        });
    }
    Ok(ContactBins {
        resolution,
        first_bin,
        log10p1: log10p1s,
    })
}

/// Refuses contacts that are infinite or negative; NaN is a bin that the normalisation masks.
///
/// # Errors
/// [`GenomeError::CorruptRegion`] naming the first such bin.
fn check_contacts(path: &Path, chrom: &str, profile: &ContactProfile) -> Result<(), GenomeError> {
    let is_bad = |contact: &f64| contact.is_infinite() || *contact < 0.0;
    let Some(index) = profile.contacts.iter().position(is_bad) else {
        return Ok(());
    };
    let start = (profile.first_bin + index as u64).saturating_mul(profile.resolution);
    let end = start.saturating_add(profile.resolution);
    Err(GenomeError::CorruptRegion {
        path: path.to_path_buf(),
        region: format!("{chrom}:{}-{end}", start + 1),
        reason: format!(
            "the contact of this bin is {}; a contact must be finite and not negative, make the map \
             again or choose another normalization",
            profile.contacts[index]
        ),
    })
}

/// Applies the rules for measured contacts to the bins of a profile, and keeps those of the window.
fn measured_bins(
    window: &Window,
    near: &Interval,
    resolution: u64,
    first_bin: u64,
    contacts: &[f64],
) -> ContactBins {
    let contact_of = |bin: u64| {
        bin.checked_sub(first_bin)
            .and_then(|index| contacts.get(index as usize))
            .copied()
            .unwrap_or(f64::NAN)
    };
    let (near_first, near_end) = bins_of(near, resolution);
    let near_sum: f64 = (near_first..near_end)
        .map(|bin| {
            let first = (bin * resolution).max(near.start());
            let end = ((bin + 1) * resolution).min(near.end());
            (contact_of(bin), end.saturating_sub(first) as f64)
        })
        .filter(|(contact, _)| !contact.is_nan())
        .map(|(contact, n_bases)| contact * n_bases)
        .sum();
    let usable = near_sum >= MIN_CONTACT_NEAR_TSS;

    let (window_first, window_end) = bins_of(window.inside(), resolution);
    let log10p1 = (window_first..window_end)
        .map(|bin| {
            let contact = contact_of(bin);
            if !usable || contact.is_nan() {
                return 0.0;
            }
            let pseudocount = power_law_contact(bin_distance(window.tss(), bin, resolution))
                .min(power_law_contact(PSEUDOCOUNT_DISTANCE));
            log10p1(contact + pseudocount)
        })
        .collect();
    ContactBins {
        resolution,
        first_bin: window_first,
        log10p1,
    }
}

#[cfg(test)]
mod tests {
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
                    let part =
                        format!("a.cool: chr9:10001-11000: the contact of this bin is {value};");
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
}
