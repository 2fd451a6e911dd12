//! What is known of each gene's mature transcript: read from a table, or computed from an annotation.

use std::collections::BTreeMap;

use genome::{
    Annotation, ChosenBy, Gene, Interval, MrnaFeatures, N_STANDARDISED, Reference, Transcript,
    read_annotation, read_mrna_table, read_standardised_mrna,
};

use crate::chrom_alias::ChromAlias;
use crate::config::DataConfig;
use crate::error::DatasetError;
use crate::features::{FeatureScaling, N_FEATURES};
use crate::fold::Split;
use crate::stray_starts::StrayStarts;

/// What is known of the mature transcript of each gene; nothing for a gene without a coding one.
#[derive(Debug)]
pub(crate) enum Mrna {
    /// Lengths and ratios as they are.
    Raw(Vec<Option<MrnaFeatures>>),
    /// Standardised by whoever made the table.
    Standardised(Vec<Option<[f64; N_STANDARDISED]>>),
}

/// What is known of the transcripts that stand for the genes; nothing where features were read.
#[derive(Debug, Default)]
pub(crate) struct Transcripts {
    /// How they were chosen, with the number of genes of each.
    pub(crate) choices: BTreeMap<ChosenBy, usize>,
    /// Those that begin outside their gene's promoter.
    pub(crate) strays: StrayStarts,
}

impl Mrna {
    /// Looks up or computes the mRNA features of each gene, and counts what is known of their transcripts; nothing for a gene
    /// without a coding transcript, no transcripts when the features were read.
    ///
    /// # Errors
    /// [`DatasetError::Genome`] for a file that cannot be read, or a transcript that reaches past the end of its chromosome.
    pub(crate) fn read(
        config: &DataConfig,
        genes: &[Gene],
        genome: &Reference,
        alias: &ChromAlias,
    ) -> Result<(Self, Transcripts), DatasetError> {
        let mut transcripts = Transcripts::default();
        if let Some(path) = &config.mrna_features
            && let Some(table) = read_standardised_mrna(path)?
        {
            let find = |gene: &Gene| table.get(&gene.gene_id).or_else(|| table.get(&gene.symbol));
            let values = genes.iter().map(|gene| find(gene).copied()).collect();
            return Ok((Self::Standardised(values), transcripts));
        }
        let features: Vec<Option<MrnaFeatures>> = match (&config.mrna_features, &config.annotation)
        {
            (None, None) => vec![None; genes.len()],
            (Some(path), _) => {
                let table = read_mrna_table(path)?;
                let find = |gene: &Gene| {
                    table
                        .get(&gene.symbol)
                        .or_else(|| table.get(&gene.gene_id))
                        .copied()
                };
                genes.iter().map(find).collect()
            }
            (None, Some(path)) => {
                let annotation = read_annotation(path)?;
                genes
                    .iter()
                    .map(|gene| {
                        let found = mrna_of(gene, &annotation, genome, alias)?;
                        Ok(found.map(|(features, transcript, chosen_by)| {
                            *transcripts.choices.entry(chosen_by).or_insert(0) += 1;
                            let strays = &mut transcripts.strays;
                            strays.count(gene, transcript, chosen_by, config.promoter);
                            features
                        }))
                    })
                    .collect::<Result<_, DatasetError>>()?
            }
        };
        let is_coding = |mrna: Option<MrnaFeatures>| mrna.filter(|mrna| mrna.cds_len > 0);
        let features = features.into_iter().map(is_coding).collect();
        Ok((Self::Raw(features), transcripts))
    }

    /// Whether a gene, by its number, has a coding transcript.
    pub(crate) fn has(&self, index: usize) -> bool {
        match self {
            Mrna::Raw(list) => matches!(list.get(index), Some(Some(_))),
            Mrna::Standardised(list) => matches!(list.get(index), Some(Some(_))),
        }
    }

    /// Makes sure that some gene has a coding transcript, when the configuration names where to look.
    pub(crate) fn check(&self, config: &DataConfig, genes: &[Gene]) -> Result<(), DatasetError> {
        let path = config.mrna_features.as_ref().or(config.annotation.as_ref());
        match (path, genes.first()) {
            (Some(path), Some(first)) if !(0..genes.len()).any(|index| self.has(index)) => {
                Err(DatasetError::NoMrna {
                    path: path.clone(),
                    genes: config.genes.clone(),
                    symbol: first.symbol.clone(),
                    gene_id: first.gene_id.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// The scaling by the training genes.
    pub(crate) fn scaling_of(&self, splits: &[Split]) -> FeatureScaling {
        let is_training = |index: &usize| splits.get(*index) == Some(&Split::Train);
        let training = (0..splits.len()).filter(is_training);
        match self {
            Mrna::Raw(list) => {
                FeatureScaling::of(training.filter_map(|index| list.get(index)?.as_ref()))
            }
            Mrna::Standardised(list) => FeatureScaling::of_standardised(
                training.filter_map(|index| list.get(index)?.as_ref()),
            ),
        }
    }

    /// The nine features of a gene, by its number.
    pub(crate) fn features(
        &self,
        index: usize,
        scaling: &FeatureScaling,
        activity: f64,
    ) -> [f32; N_FEATURES] {
        match self {
            Mrna::Raw(list) => scaling.features(list.get(index).and_then(Option::as_ref), activity),
            Mrna::Standardised(list) => {
                let values = list.get(index).and_then(Option::as_ref);
                scaling.standardised_features(values, activity)
            }
        }
    }
}

/// Computes the features of a gene's representative transcript, which the annotation may list
/// under another name of its chromosome.
fn mrna_of<'a>(
    gene: &Gene,
    annotation: &'a Annotation,
    genome: &Reference,
    alias: &ChromAlias,
) -> Result<Option<(MrnaFeatures, &'a Transcript, ChosenBy)>, DatasetError> {
    for name in alias.names_of(&gene.chrom) {
        let named = Gene {
            chrom: name.to_string(),
            ..gene.clone()
        };
        let Some((listed, chosen_by)) = annotation.representative(&named) else {
            continue;
        };
        let rename = |pieces: &[Interval]| {
            pieces
                .iter()
                .map(|piece| Interval::try_new(gene.chrom.as_str(), piece.start(), piece.end()))
                .collect::<Result<Vec<Interval>, _>>()
        };
        let mut transcript = listed.clone();
        transcript.exons = rename(&transcript.exons)?;
        transcript.cds = rename(&transcript.cds)?;
        transcript.chrom = gene.chrom.clone();
        let features = MrnaFeatures::from_transcript(&transcript, genome)?;
        return Ok(Some((features, listed, chosen_by)));
    }
    Ok(None)
}
