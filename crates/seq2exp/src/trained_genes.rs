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

#[cfg(test)]
mod tests {
    use genome::Strand;

    use super::*;

    /// Genes without data, by identifier, symbol and split.
    struct Listed(Vec<(Gene, Split)>);

    impl Listed {
        fn new(genes: &[(&str, &str, Split)]) -> Self {
            let listed = |&(gene_id, symbol, split): &(&str, &str, Split)| {
                let gene = Gene {
                    gene_id: gene_id.to_owned(),
                    symbol: symbol.to_owned(),
                    chrom: "chr1".to_owned(),
                    tss: 100,
                    strand: Strand::Forward,
                    gene_type: None,
                    split: None,
                    line: 1,
                };
                (gene, split)
            };
            Self(genes.iter().map(listed).collect())
        }
    }

    impl ExampleSource for Listed {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn gene(&self, index: usize) -> &Gene {
            &self.0[index].0
        }

        fn split(&self, index: usize) -> Split {
            self.0[index].1
        }

        fn length(&self) -> usize {
            7
        }

        fn n_tracks(&self) -> usize {
            2
        }

        fn read(&self, index: usize) -> Result<Example, DatasetError> {
            let len = self.len();
            Err(DatasetError::NoSuchExample { index, len })
        }
    }

    fn seen() -> TrainedGenes {
        TrainedGenes::new(&Listed::new(&[
            ("E1", "A", Split::Train),
            ("E2", "B", Split::Valid),
            ("E3", "C", Split::Test),
            // A symbol in two places: once for validation, once for training, in both orders.
            ("E4", "D", Split::Valid),
            ("E5", "D", Split::Train),
            ("E6", "F", Split::Train),
            ("E7", "F", Split::Test),
            ("", "G", Split::Train),
            ("E8", "H", Split::Test),
            ("E9", "H", Split::Valid),
        ]))
    }

    #[test]
    fn split_of_is_the_one_that_saw_most_of_either_name() {
        let seen = seen();
        for (gene_id, symbol, expected) in [
            ("E1", "A", Some(Split::Train)),
            ("E2", "other", Some(Split::Valid)),
            ("other", "B", Some(Split::Valid)),
            ("E3", "C", Some(Split::Test)),
            ("E3", "A", Some(Split::Train)),
            ("E1", "C", Some(Split::Train)),
            ("E4", "D", Some(Split::Train)),
            ("E7", "F", Some(Split::Train)),
            ("E8", "H", Some(Split::Valid)),
            ("other", "another", None),
            // Genes without an identifier are not one gene.
            ("", "another", None),
            ("", "G", Some(Split::Train)),
        ] {
            let listed = Listed::new(&[(gene_id, symbol, Split::Test)]);
            assert_eq!(
                seen.split_of(listed.gene(0)),
                expected,
                "{gene_id} {symbol}"
            );
        }
    }

    #[test]
    fn note_counts_test_genes_that_were_seen() {
        let test = |gene_id, symbol| (gene_id, symbol, Split::Test);
        let note = |genes: &[_]| seen().note(&Listed::new(genes));
        assert_eq!(note(&[]), None);
        assert_eq!(note(&[test("E3", "C"), test("new", "new")]), None);
        // Genes of the other splits are not to test.
        assert_eq!(note(&[("E1", "A", Split::Train), test("E3", "C")]), None);
        assert_eq!(
            note(&[test("E1", "A"), test("E3", "C"), test("E5", "D")]).as_deref(),
            Some("2 of 3 genes were trained on by this run; they do not test it")
        );
        assert_eq!(
            note(&[test("E2", "B"), test("E1", "A")]).as_deref(),
            Some(
                "1 of 2 genes were trained on by this run, and 1 validated its networks; they do not test it"
            )
        );
        assert_eq!(
            note(&[test("E2", "B")]).as_deref(),
            Some(
                "0 of 1 genes were trained on by this run, and 1 validated its networks; they do not test it"
            )
        );
    }

    #[test]
    fn relabelled_source_has_the_splits_of_the_run() {
        let source = Listed::new(&[
            ("E1", "A", Split::Test),
            ("E3", "C", Split::Train),
            ("new", "new", Split::Valid),
        ]);
        let relabelled = Relabelled::new(source, &seen());
        let splits: Vec<Split> = (0..3).map(|index| relabelled.split(index)).collect();
        assert_eq!(splits, [Split::Train, Split::Test, Split::Valid]);
        assert_eq!(relabelled.gene(1).gene_id, "E3");
        let sizes = (relabelled.len(), relabelled.length(), relabelled.n_tracks());
        assert_eq!(sizes, (3, 7, 2));
        assert!(matches!(
            relabelled.read(2),
            Err(DatasetError::NoSuchExample { index: 2, len: 3 })
        ));
    }
}
