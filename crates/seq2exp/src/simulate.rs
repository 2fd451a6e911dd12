//! Simulation: a small genome, its tracks, contacts and genes, whose regulatory elements are known.
//!
//! Elements of five classes are planted; only those of class [`PlantedClass::Active`] decide expression, and each of
//! the other classes lacks exactly one of their cues (or all but one). `docs/simulate.md` has the model.

mod config;
mod draw;
mod files;
mod landscape;

use std::path::Path;

pub use self::config::{ElementCounts, SimulationConfig};
pub use self::files::{DELTA_FILE, EXPERIMENT_FILE, SETTINGS_FILE, TRUTH_FILE};
pub use self::landscape::{PlantedClass, PlantedElement};

use self::landscape::Locus;
use crate::error::RunError;
use crate::output_folder::FolderKind;

/// What a simulation wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulationSummary {
    /// Genes.
    pub n_genes: usize,
    /// Planted elements of all classes.
    pub n_elements: usize,
    /// Those that decide expression.
    pub n_active: usize,
}

/// Writes a simulation into `folder`, which is made when absent: genome, tracks, contacts, genes, expression, truth and
/// an experiment file that `seq2exp run` takes as it is.
///
/// The files are a function of the settings alone, byte for byte.
///
/// # Errors
/// [`RunError::Io`] and [`RunError::Genome`] for a folder that cannot be written to; [`RunError::ConfigInvalid`] for
/// settings that [`SimulationConfig::validate`] refuses; [`RunError::FolderOfOther`] for a folder that holds anything
/// but a simulation.
pub fn simulate(config: &SimulationConfig, folder: &Path) -> Result<SimulationSummary, RunError> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(RunError::ConfigInvalid {
            path: folder.join(SETTINGS_FILE),
            problems,
        });
    }
    FolderKind::Simulation.check_free(folder)?;
    let loci: Vec<Locus> = (0..config.n_genes)
        .map(|index| Locus::draw(config, index))
        .collect();
    files::write(config, &loci, folder)?;
    let elements = || loci.iter().flat_map(|locus| &locus.elements);
    Ok(SimulationSummary {
        n_genes: loci.len(),
        n_elements: elements().count(),
        n_active: elements()
            .filter(|element| element.class == PlantedClass::Active)
            .count(),
    })
}

#[cfg(test)]
mod tests;
