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
mod tests;
