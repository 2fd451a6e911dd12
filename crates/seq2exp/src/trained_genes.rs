//! The genes that a run's networks have seen, to tell them from those that test it.

use std::collections::HashMap;

use dataset::{DatasetError, Example, ExampleSource, Split};
use genome::Gene;

/// The split of each gene of a run, by identifier and by symbol.
#[derive(Debug, Clone)]
pub struct TrainedGenes {
    by_name: HashMap<String, Split>,
}

impl TrainedGenes {
    /// Of the data set that a run was trained on.
    pub fn new(trained_on: &dyn ExampleSource) -> Self {
        let mut by_name = HashMap::new();
        for index in 0..trained_on.len() {
            let (gene, split) = (trained_on.gene(index), trained_on.split(index));
            for name in [&gene.gene_id, &gene.symbol] {
                // Identifiers need not be unique: what was trained on in any place was trained on.
                let known = by_name.entry(name.clone()).or_insert(split);
                if rank(split) < rank(*known) {
                    *known = split;
                }
            }
        }
        by_name.remove("");
        Self { by_name }
    }

    /// What the run used a gene for; none for a gene that it does not have.
    pub fn split_of(&self, gene: &Gene) -> Option<Split> {
        [&gene.gene_id, &gene.symbol]
            .into_iter()
            .filter_map(|name| self.by_name.get(name).copied())
            .min_by_key(|split| rank(*split))
    }

    /// A sentence on the test genes of `source` that are none for this run; none when all are.
    pub fn note(&self, source: &dyn ExampleSource) -> Option<String> {
        let test_genes = source.indices_of(Split::Test);
        let count = |wanted: Split| {
            let is_wanted = |index: &&usize| self.split_of(source.gene(**index)) == Some(wanted);
            test_genes.iter().filter(is_wanted).count()
        };
        let (n_train, n_valid) = (count(Split::Train), count(Split::Valid));
        let validated = match n_valid {
            0 => String::new(),
            _ => format!(", and {n_valid} validated its networks"),
        };
        (n_train + n_valid > 0).then(|| {
            format!(
                "{n_train} of {} genes were trained on by this run{validated}; they do not test it",
                test_genes.len()
            )
        })
    }
}

/// How much of a gene the networks saw, the most first.
fn rank(split: Split) -> u8 {
    match split {
        Split::Train => 0,
        Split::Valid => 1,
        Split::Test => 2,
    }
}

/// Examples of another source, each with the split that a run used its gene for.
pub struct Relabelled<S> {
    source: S,
    splits: Vec<Split>,
}

impl<S: ExampleSource> Relabelled<S> {
    /// Genes that the run does not have keep their split.
    pub fn new(source: S, seen: &TrainedGenes) -> Self {
        let splits = (0..source.len())
            .map(|index| {
                seen.split_of(source.gene(index))
                    .unwrap_or(source.split(index))
            })
            .collect();
        Self { source, splits }
    }
}

impl<S: ExampleSource> ExampleSource for Relabelled<S> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn gene(&self, index: usize) -> &Gene {
        self.source.gene(index)
    }

    fn split(&self, index: usize) -> Split {
        self.splits[index]
    }

    fn length(&self) -> usize {
        self.source.length()
    }

    fn n_tracks(&self) -> usize {
        self.source.n_tracks()
    }

    fn read(&self, index: usize) -> Result<Example, DatasetError> {
        self.source.read(index)
    }
}
