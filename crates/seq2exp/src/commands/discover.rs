//! `seq2exp discover`.

use anyhow::{Result, bail};
use dataset::ExampleSource;

use crate::cli::FolderArgs;
use crate::commands::machine;
use crate::discover::{Discovery, DiscoveryWriter, ELEMENTS_FILE, MASKS_FOLDER};
use crate::discovery_tables::write_masks;
use crate::elements::{ElementClass, MaskedWindow};
use crate::ensemble::mean_mask;
use crate::error::RunError;
use crate::experiment::Experiment;
use crate::progress::Progress;

/// Turns the masks of a trained run into elements and tracks.
pub fn execute(args: &FolderArgs) -> Result<()> {
    let experiment = Experiment::reopen(&args.folder, machine(args.device)?)?;
    if discover(&experiment)?.is_none() {
        bail!(
            "{}: this network has no mask, so there are no elements to discover",
            args.folder.display()
        );
    }
    Ok(())
}

/// Writes elements, masks and `masks.tsv` of every gene; nothing for a network without a mask.
pub fn discover(experiment: &Experiment) -> Result<Option<Discovery>> {
    let prepared = experiment.prepared()?;
    let networks = experiment.networks()?;
    let config = experiment.config();
    if !config.model.has_mask() {
        return Ok(None);
    }
    let chrom_sizes = experiment.chrom_sizes(&prepared)?;
    let provenance = experiment.provenance(&networks, &prepared);
    let mut writer = DiscoveryWriter::create(
        experiment.path(),
        chrom_sizes,
        config.discover,
        config.data.track_names(),
        provenance,
    )?;
    let machine = experiment.machine();
    let mut progress = Progress::new(machine.progress, "discover", prepared.len() as u64, 0);
    for index in 0..prepared.len() {
        if let Some(signal) = machine.interrupt.requested() {
            let remedy = "run the same command again".to_string();
            return Err(RunError::Interrupted { signal, remedy }.into());
        }
        let example = prepared.read(index)?;
        let Some(mask) = mean_mask(&networks, &example, &machine.device.device)? else {
            return Ok(None);
        };
        let gene = example.gene();
        let masked = MaskedWindow::try_new(
            &gene.symbol,
            example.window(),
            gene.strand,
            config.data.promoter,
            example.regions(),
            &mask,
        )?
        .with_tracks(example.tracks(), example.n_tracks())?;
        writer.add(&masked)?;
        progress.advance(1, "");
    }
    drop(progress);
    let discovery = writer.finish()?;
    write_masks(experiment.path(), &discovery)?;
    let n_chosen = discovery
        .elements
        .iter()
        .filter(|row| row.element.class == ElementClass::Element)
        .count();
    let covered = discovery
        .mean_element_ratio()
        .map_or_else(String::new, |ratio| {
            format!(
                " cover {:.1} % of the bases that the network decides:",
                100.0 * ratio
            )
        });
    eprintln!(
        "{n_chosen} elements of {} genes{covered} {}, masks in {}",
        discovery.genes.len(),
        experiment.path().join(ELEMENTS_FILE).display(),
        experiment.path().join(MASKS_FOLDER).display()
    );
    if let Some(note) = discovery.note_flat_masks(&config.discover) {
        eprintln!("note     {note}");
    }
    Ok(Some(discovery))
}
