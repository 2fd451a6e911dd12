//! What a reader of the results must know about the data.

use super::empty_tracks::EMPTY_SAMPLE;
use super::manifest::{ContactSource, DataDescription};

impl DataDescription {
    /// One sentence for everything that is not as a reader would assume: genes that are left out,
    /// start sites that moved, windows that share bases across splits, tracks without data (declared or not), regions
    /// that lie on no chromosome of the genome, features and contacts that were not measured.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let left_out = self.left_out.to_string();
        if !left_out.is_empty() {
            notes.push(format!("genes left out: {left_out}"));
        }
        notes.extend(self.misnamed.as_ref().map(ToString::to_string));
        if let (Some(tss), Some(peaks)) = (self.tss, &self.settings.tss_peaks) {
            notes.push(format!(
                "start sites: {} moved to a peak of {}, {} confirmed by one, {} without a peak within {} bp",
                tss.moved,
                peaks.path.display(),
                tss.confirmed,
                tss.without_peak,
                peaks.max_distance
            ));
        }
        notes.extend(self.stray_starts.as_ref().map(ToString::to_string));
        for overlap in self.overlaps.iter().filter(|overlap| overlap.n_windows > 0) {
            notes.push(format!(
                "{} of {} {} windows share bases with a {} window: scores may flatter",
                overlap.n_windows, overlap.of, overlap.split, overlap.with
            ));
        }
        for (track, chroms) in &self.absent {
            let chroms: Vec<String> = chroms
                .iter()
                .map(|(chrom, n_genes)| format!("{chrom} ({n_genes} genes)"))
                .collect();
            notes.push(format!(
                "track {track} has no data for {} and is 0 there, as declared",
                chroms.join(", ")
            ));
        }
        for track in &self.empty_tracks {
            let n_examples = self.examples.train + self.examples.valid + self.examples.test;
            notes.push(format!(
                "track {track} is 0 at every base of the {} windows that were looked at: is it the right file, and the right assembly?",
                n_examples.min(EMPTY_SAMPLE)
            ));
        }
        notes.extend(self.regions_left_out.iter().map(ToString::to_string));
        if !self.transcripts.is_empty() {
            let counts: Vec<String> = (self.transcripts.iter())
                .map(|(chosen_by, n_genes)| format!("{n_genes} by {chosen_by}"))
                .collect();
            notes.push(format!("transcripts were chosen: {}", counts.join(", ")));
        }
        if self.settings.annotation.is_none() && self.settings.mrna_features.is_none() {
            notes.push(
                "no annotation and no mrna_features: all genes have the same mRNA features"
                    .to_string(),
            );
        } else if let Some(first) = self.genes_without_mrna.first() {
            notes.push(format!(
                "{} genes have no coding transcript, so their mRNA features are the mean; the first is {first}",
                self.genes_without_mrna.len(),
            ));
        }
        if self.contact == ContactSource::PowerLaw {
            notes.push(
                "no contact map: the contact is a power law of distance, the same for every gene"
                    .to_string(),
            );
        }
        notes
    }
}
