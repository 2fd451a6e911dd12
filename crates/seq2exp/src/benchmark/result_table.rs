//! The rows of a benchmark: scores over seeds, and tests against the reference model.

use std::collections::HashMap;
use std::fmt;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::paired::interval_over_genes;
use super::published::is_published_split;
use super::{
    Cell, CellOutcome, CellState, GeneTest, Plan, PublishedRow, SeedTest, gene_test, published_row,
    seed_test,
};
use crate::ensemble::Spread;
use crate::metric::{BootstrapConfig, Estimate, Metric};

/// Which test genes a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldLabel {
    /// Those of the data's own split.
    Own,
    /// Those of one fold.
    One(usize),
    /// Those of all folds, each predicted by the networks that did not train on it.
    Pooled,
}

impl fmt::Display for FoldLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("-"),
            Self::One(fold) => write!(f, "{fold}"),
            Self::Pooled => f.write_str("pooled"),
        }
    }
}

/// One model on one data set and fold.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultRow {
    /// Name of the data set.
    pub dataset: String,
    /// Which test genes.
    pub fold: FoldLabel,
    /// Name of the model.
    pub model: String,
    /// Seeds with a result; a pooled row counts those with all folds.
    pub n_seeds: usize,
    /// Seeds that were planned.
    pub n_planned: usize,
    /// Test genes with measured expression.
    pub n_genes: usize,
    /// Trained values of a network.
    pub n_parameters: Option<usize>,
    /// Scores in the order of [`Metric::ALL`], mean and sample standard deviation over seeds.
    pub scores: [Spread; 4],
    /// Mean squared error, mean over seeds, with its bootstrap interval over test genes.
    pub mse: Estimate,
    /// Pearson correlation, likewise.
    pub pearson: Estimate,
    /// Mean of the evaluation mask over seeds.
    pub mask_ratio: Spread,
    /// Squared error against the reference's, paired by seed.
    pub seed_test: Option<SeedTest>,
    /// The same, paired by gene.
    pub gene_test: Option<GeneTest>,
    /// The published scores, when the data set is declared a published one.
    pub published: Option<PublishedRow>,
    /// What went wrong, one line for each cell that failed or is not finished.
    pub problems: Vec<String>,
}

/// All rows of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultTable {
    /// Name of the benchmark.
    pub name: String,
    /// The model that the others are compared with.
    pub reference: Option<String>,
    /// By data set, then fold (the pooled row first), then model.
    pub rows: Vec<ResultRow>,
    /// How intervals and gene tests were drawn.
    pub bootstrap: BootstrapConfig,
}

/// Seed of all resampling.
const BOOTSTRAP_SEED: u64 = 2;

/// The cells of one row, by seed.
struct Group<'a> {
    seeds: Vec<u64>,
    /// The cells of each seed, one for each fold.
    cells: Vec<Vec<(&'a Cell, &'a CellState, Option<&'a CellOutcome>)>>,
}

/// The genes of a group's complete seeds.
struct Predictions {
    seeds: Vec<u64>,
    symbols: Vec<String>,
    observed: Vec<f64>,
    /// `[n_seeds, n_genes]`.
    predicted: Vec<Vec<f64>>,
}

impl ResultTable {
    /// The table of a plan whose cells have these states and outcomes.
    pub fn new(plan: &Plan, states: &[CellState], outcomes: &[Option<CellOutcome>]) -> Self {
        let mut table = Self {
            name: plan.name.clone(),
            reference: plan.reference.clone(),
            rows: Vec::new(),
            bootstrap: BootstrapConfig::default(),
        };
        for (dataset, published) in &plan.datasets {
            let mut folds: Vec<Option<usize>> = plan
                .cells
                .iter()
                .filter(|cell| cell.dataset == *dataset)
                .map(|cell| cell.fold)
                .collect();
            folds.sort_unstable();
            folds.dedup();
            let label = |fold: &Option<usize>| fold.map_or(FoldLabel::Own, FoldLabel::One);
            let pooled = (folds.len() > 1).then_some(FoldLabel::Pooled);
            for fold in pooled.into_iter().chain(folds.iter().map(label)) {
                let group = |model: &str| Group::of(plan, states, outcomes, dataset, fold, model);
                let reference = plan
                    .reference
                    .as_deref()
                    .map(|name| group(name).predictions());
                for model in &plan.models {
                    let group = group(model);
                    if group.seeds.is_empty() {
                        continue;
                    }
                    let is_reference = plan.reference.as_ref() == Some(model);
                    let mut row = group.row(table.bootstrap);
                    if let Some(reference) = reference.as_ref().filter(|_| !is_reference) {
                        let own = group.predictions();
                        row.seed_test = seed_test(&paired_by_seed(&own, reference));
                        let differences = paired_by_gene(&own, reference);
                        let mut rng = ChaCha8Rng::seed_from_u64(BOOTSTRAP_SEED);
                        row.gene_test = gene_test(&differences, table.bootstrap, &mut rng);
                    }
                    row.dataset.clone_from(dataset);
                    row.fold = fold;
                    row.model.clone_from(model);
                    row.published = published
                        .filter(|_| group.tests_published_genes())
                        .and_then(|data| published_row(data, model));
                    table.rows.push(row);
                }
            }
        }
        table
    }

    /// The rows of one data set.
    pub fn of_dataset<'a>(&'a self, dataset: &'a str) -> impl Iterator<Item = &'a ResultRow> {
        self.rows.iter().filter(move |row| row.dataset == dataset)
    }

    /// Names of the data sets, in order.
    pub fn datasets(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !names.contains(&row.dataset.as_str()) {
                names.push(&row.dataset);
            }
        }
        names
    }

    /// How the tests were made, in sentences.
    pub fn explanation(&self) -> Vec<String> {
        let mut sentences = vec![format!(
            "Scores are over the test genes; ± is the sample standard deviation over seeds. Brackets: {:.0} % bootstrap \
             intervals over test genes ({} resamples) of the mean over seeds; neighbouring genes are not independent, so \
             they are rather too narrow.",
            100.0 * self.bootstrap.level,
            self.bootstrap.n_resamples
        )];
        if let Some(reference) = &self.reference {
            sentences.push(format!(
                "Against {reference}: the difference of mean squared error (positive: worse than {reference}). p (genes): \
                 paired sign-flip test, unit = test gene, errors averaged over seeds. p (seeds): paired t-test, unit = \
                 seed; it knows of other seeds only, not of other genes. Neither is corrected for the number of models."
            ));
        }
        sentences
    }
}

impl<'a> Group<'a> {
    fn of(
        plan: &'a Plan,
        states: &'a [CellState],
        outcomes: &'a [Option<CellOutcome>],
        dataset: &str,
        fold: FoldLabel,
        model: &str,
    ) -> Self {
        let mut group = Self {
            seeds: Vec::new(),
            cells: Vec::new(),
        };
        let all = plan.cells.iter().zip(states).zip(outcomes);
        for ((cell, state), outcome) in all {
            let is_fold = match fold {
                FoldLabel::Own => cell.fold.is_none(),
                FoldLabel::One(fold) => cell.fold == Some(fold),
                FoldLabel::Pooled => cell.fold.is_some(),
            };
            if cell.dataset != dataset || cell.model != model || !is_fold {
                continue;
            }
            let place = match group.seeds.iter().position(|seed| *seed == cell.seed) {
                Some(place) => place,
                None => {
                    group.seeds.push(cell.seed);
                    group.cells.push(Vec::new());
                    group.seeds.len() - 1
                }
            };
            group.cells[place].push((cell, state, outcome.as_ref()));
        }
        group
    }

    /// Whether every cell has the split of the published scores.
    fn tests_published_genes(&self) -> bool {
        let mut cells = self.cells.iter().flatten();
        cells.all(|(cell, _, _)| is_published_split(&cell.config.data.split))
    }

    /// The outcomes of the seeds that have one for every fold.
    fn complete(&self) -> impl Iterator<Item = (u64, Vec<&'a CellOutcome>)> {
        self.seeds
            .iter()
            .zip(&self.cells)
            .filter_map(|(seed, cells)| {
                let outcomes: Option<Vec<_>> =
                    cells.iter().map(|(_, _, outcome)| *outcome).collect();
                Some((*seed, outcomes?))
            })
    }

    /// What the complete seeds predict for the genes that all of them have.
    fn predictions(&self) -> Predictions {
        let complete: Vec<_> = self.complete().collect();
        let mut predictions = Predictions {
            seeds: complete.iter().map(|(seed, _)| *seed).collect(),
            symbols: Vec::new(),
            observed: Vec::new(),
            predicted: Vec::new(),
        };
        for (_, outcomes) in &complete {
            let genes = || outcomes.iter().flat_map(|outcome| &outcome.genes);
            if predictions.symbols.is_empty() {
                predictions.symbols = genes().map(|gene| gene.symbol.clone()).collect();
                predictions.observed = genes().map(|gene| gene.observed).collect();
            }
            predictions
                .predicted
                .push(genes().map(|gene| gene.predicted).collect());
        }
        predictions
    }

    fn row(&self, bootstrap: BootstrapConfig) -> ResultRow {
        let predictions = self.predictions();
        let score = |metric: Metric| {
            let of_seed = |predicted: &Vec<f64>| metric.score(predicted, &predictions.observed);
            Spread::of(
                &predictions
                    .predicted
                    .iter()
                    .map(of_seed)
                    .collect::<Vec<_>>(),
            )
        };
        let interval = |metric| {
            let Predictions {
                predicted,
                observed,
                ..
            } = &predictions;
            interval_over_genes(metric, predicted, observed, bootstrap, BOOTSTRAP_SEED)
        };
        let ratios: Vec<Option<f64>> = self
            .complete()
            .map(|(_, outcomes)| ratio(&outcomes))
            .collect();
        let problems = self
            .cells
            .iter()
            .flatten()
            .filter_map(|(cell, state, _)| match state {
                CellState::Finished { .. } => None,
                CellState::Failed(reason) => Some(format!("{}: {reason}", cell.label())),
                CellState::Unfinished => Some(format!("{}: not finished", cell.label())),
            });
        let parameters =
            |(_, _, outcome): &(_, _, Option<&CellOutcome>)| outcome.as_ref()?.n_parameters;
        ResultRow {
            dataset: String::new(),
            fold: FoldLabel::Own,
            model: String::new(),
            n_seeds: predictions.seeds.len(),
            n_planned: self.seeds.len(),
            n_genes: predictions.observed.len(),
            n_parameters: self.cells.iter().flatten().find_map(parameters),
            scores: Metric::ALL.map(score),
            mse: interval(Metric::Mse),
            pearson: interval(Metric::Pearson),
            mask_ratio: Spread::of(&ratios),
            seed_test: None,
            gene_test: None,
            published: None,
            problems: problems.collect(),
        }
    }
}

/// The mask ratio over all genes of a seed's folds.
fn ratio(outcomes: &[&CellOutcome]) -> Option<f64> {
    let n_genes: usize = outcomes.iter().map(|outcome| outcome.genes.len()).sum();
    let sum = outcomes
        .iter()
        .map(|outcome| Some(outcome.mask_ratio? * outcome.genes.len() as f64))
        .sum::<Option<f64>>()?;
    (n_genes > 0).then(|| sum / n_genes as f64)
}

/// Mean squared errors of the seeds that both have.
fn paired_by_seed(own: &Predictions, reference: &Predictions) -> Vec<(f64, f64)> {
    let error = |predictions: &Predictions, seed: u64| {
        let place = predictions.seeds.iter().position(|known| *known == seed)?;
        Metric::Mse.score(&predictions.predicted[place], &predictions.observed)
    };
    own.seeds
        .iter()
        .filter_map(|&seed| Some((error(own, seed)?, error(reference, seed)?)))
        .collect()
}

/// Differences of squared error, mean over seeds, of the genes that both have.
fn paired_by_gene(own: &Predictions, reference: &Predictions) -> Vec<f64> {
    let errors = |predictions: &Predictions| -> Vec<f64> {
        let of_gene = |gene: usize| {
            let squares = predictions.predicted.iter().map(|predicted| {
                let difference = predicted[gene] - predictions.observed[gene];
                difference * difference
            });
            squares.sum::<f64>() / predictions.predicted.len() as f64
        };
        (0..predictions.observed.len()).map(of_gene).collect()
    };
    let reference_errors: HashMap<&String, f64> =
        reference.symbols.iter().zip(errors(reference)).collect();
    own.symbols
        .iter()
        .zip(errors(own))
        .filter_map(|(symbol, error)| Some(error - reference_errors.get(symbol)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::Scored;

    /// A plan of two models and these seeds and folds, on files that are not there, with fold 11 as their own split.
    fn plan(folds: &str, published: &str) -> Plan {
        plan_split("{ by = 'fold', fold = 11 }", folds, published)
    }

    fn plan_split(split: &str, folds: &str, published: &str) -> Plan {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("writable");
            path
        };
        write(
            "e.toml",
            format!(
                "name = 'e'\n[data]\ngenome = 'g'\ngenes = 't'\nlength = 4000\nsplit = {split}\n\
                 expression = {{ path = 'e', value = 'v' }}\ncontact = {{ fallback = 'power_law' }}\n\
                 [model]\nkind = 'seq2exp_soft'\n"
            ),
        );
        let path = write(
            "b.toml",
            format!(
                "name = 'b'\nbase = 'e.toml'\nseeds = [2, 22]\n{folds}\n\
                 [[dataset]]\nname = 'd'\n{published}\n\
                 [[model]]\nkind = 'seq2exp_soft'\n[[model]]\nkind = 'caduceus'\n"
            ),
        );
        Plan::read(&path).expect("sound")
    }

    fn outcome(genes: &[(&str, f64, f64)], mask_ratio: Option<f64>) -> Option<CellOutcome> {
        let scored = |&(symbol, observed, predicted): &(&str, f64, f64)| Scored {
            symbol: symbol.to_string(),
            observed,
            predicted,
        };
        Some(CellOutcome {
            genes: genes.iter().map(scored).collect(),
            mask_ratio,
            n_parameters: Some(7),
        })
    }

    fn finished() -> CellState {
        CellState::Finished { seconds: None }
    }

    #[test]
    fn rows_are_means_over_seeds_paired_with_the_reference() {
        let plan = plan("", "published = 'K562'");
        // The cells: soft 2, caduceus 2, soft 22, caduceus 22.
        let states = [
            finished(),
            finished(),
            finished(),
            CellState::Failed("no memory".to_string()),
        ];
        let outcomes = [
            outcome(&[("A", 3.0, 3.0), ("B", 1.0, 1.0)], Some(0.2)),
            // Another order: genes are paired by name.
            outcome(&[("B", 1.0, 1.0), ("A", 3.0, 4.0)], None),
            outcome(&[("A", 3.0, 4.0), ("B", 1.0, 1.0)], Some(0.4)),
            None,
        ];
        let table = ResultTable::new(&plan, &states, &outcomes);
        let [soft, caduceus] = table.rows.as_slice() else {
            panic!("{:?}", table.rows);
        };
        // Squared errors of the seeds: (0 + 0) / 2 and (1 + 0) / 2; sd = 0.5 / sqrt 2.
        assert_eq!(soft.scores[0].mean, Some(0.25));
        assert!((soft.scores[0].sd.expect("two") - 0.5 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert!((soft.mask_ratio.mean.expect("a mask") - 0.3).abs() < 1e-12);
        assert_eq!((soft.seed_test, soft.gene_test), (None, None));
        assert_eq!(soft.published.and_then(|row| row.mse), Some(0.1856));

        assert_eq!((caduceus.n_seeds, caduceus.n_planned), (1, 2));
        assert_eq!(caduceus.scores[0].mean, Some(0.5));
        assert_eq!(caduceus.problems, ["d caduceus seed 22: no memory"]);
        // Seed 2 is the only one of both: 0.5 - 0.
        let seeds = caduceus.seed_test.expect("one seed");
        assert_eq!((seeds.n_seeds, seeds.difference, seeds.p), (1, 0.5, None));
        // Squared errors of the genes: A (1 - (0 + 1) / 2), B 0; mean 0.25.
        let genes = caduceus.gene_test.expect("two genes");
        assert_eq!((genes.n_genes, genes.difference.value), (2, Some(0.25)));
    }

    #[test]
    fn published_scores_stand_beside_their_own_split_alone() {
        let table = |column: &str| {
            format!("{{ by = 'table', path = 's.csv', key = 'ENSID', column = '{column}' }}")
        };
        for (split, folds, expected) in [
            ("{ by = 'fold', fold = 11 }", "", vec![true]),
            ("{ by = 'fold', fold = 3 }", "", vec![false]),
            (table("fold_11").as_str(), "", vec![true]),
            (table("fold_3").as_str(), "", vec![false]),
            (table("fold_3").as_str(), "folds = [11]", vec![true]),
            ("{ by = 'column' }", "", vec![false]),
            // The eleventh of twelve blocks are other genes than those of fold 11; pooled, then 1 and 11.
            (
                "{ by = 'blocks', n_blocks = 12, test_block = 0 }",
                "folds = [1, 11]",
                vec![false; 3],
            ),
            (
                "{ by = 'fold', fold = 3 }",
                "folds = [1, 11]",
                vec![false, false, true],
            ),
        ] {
            let plan = plan_split(split, folds, "published = 'K562'");
            let n_cells = plan.cells.len();
            let states = vec![CellState::Unfinished; n_cells];
            let table = ResultTable::new(&plan, &states, &vec![None; n_cells]);
            // Two models a fold.
            let found: Vec<bool> = table
                .rows
                .iter()
                .step_by(2)
                .map(|row| row.published.is_some())
                .collect();
            assert_eq!(found, expected, "{split} {folds}");
        }
    }

    #[test]
    fn pooled_row_needs_every_fold_of_a_seed() {
        let plan = plan("folds = [1, 11]", "published = 'GM12878'");
        // By fold, then seed, then model.
        let label = |index: usize| plan.cells[index].label();
        assert_eq!(label(0), "d fold 1 seq2exp_soft seed 2");
        assert_eq!(label(4), "d fold 11 seq2exp_soft seed 2");
        let mut states = vec![finished(); 8];
        let mut outcomes = vec![None; 8];
        for seed in [0, 2] {
            outcomes[seed] = outcome(&[("A", 0.0, 1.0)], Some(0.1));
            outcomes[4 + seed] = outcome(&[("B", 0.0, 3.0), ("C", 0.0, 0.0)], Some(0.4));
        }
        for caduceus in [1, 3, 5, 7] {
            states[caduceus] = CellState::Unfinished;
        }
        // Seed 22 of fold 11 is missing.
        (outcomes[6], states[6]) = (None, CellState::Unfinished);
        let table = ResultTable::new(&plan, &states, &outcomes);
        let found: Vec<_> = table
            .rows
            .iter()
            .map(|row| (row.fold, row.model.as_str(), row.n_seeds, row.n_genes))
            .collect();
        let expected = [
            (FoldLabel::Pooled, "seq2exp_soft", 1, 3),
            (FoldLabel::Pooled, "caduceus", 0, 0),
            (FoldLabel::One(1), "seq2exp_soft", 2, 1),
            (FoldLabel::One(1), "caduceus", 0, 0),
            (FoldLabel::One(11), "seq2exp_soft", 1, 2),
            (FoldLabel::One(11), "caduceus", 0, 0),
        ];
        assert_eq!(found, expected);
        // (1 + 9 + 0) / 3, and the mask of one gene of 0.1 and two of 0.4.
        assert!((table.rows[0].mse.value.expect("scored") - 10.0 / 3.0).abs() < 1e-12);
        assert!((table.rows[0].mask_ratio.mean.expect("a mask") - 0.3).abs() < 1e-12);
        let has_published = |row: &ResultRow| row.published.is_some();
        assert_eq!(
            table.rows.iter().map(has_published).collect::<Vec<_>>(),
            [false, false, false, false, true, true]
        );
    }
}
