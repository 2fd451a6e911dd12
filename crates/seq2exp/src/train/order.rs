//! Which gene training sees when, and the seed of its mask sample: functions of the seed alone.

/// One visit to a training gene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// Index of the gene in its source.
    pub gene_index: usize,
    /// How many times the gene was visited before.
    pub epoch: u64,
}

/// The endless sequence of visits of a run: epoch after epoch, each a shuffle of all training genes.
///
/// The order of an epoch depends on the seed and the epoch's number only, so any place in the sequence is known
/// without what came before, and nothing about it has to be saved. Batches are cut from the sequence without regard
/// to epochs: each is full, and every gene is seen equally often.
#[derive(Debug, Clone)]
pub struct VisitOrder {
    gene_indices: Vec<usize>,
    seed: u64,
}

impl VisitOrder {
    /// The sequence over the genes of `gene_indices`.
    pub fn new(gene_indices: Vec<usize>, seed: u64) -> Self {
        Self { gene_indices, seed }
    }

    /// Number of genes in an epoch.
    pub fn n_genes(&self) -> usize {
        self.gene_indices.len()
    }

    /// The visits from number `first` (from 0) up to `end`, without `end`; none when there are no genes.
    pub fn visits(&self, first: u64, end: u64) -> Vec<Visit> {
        let n_genes = self.gene_indices.len() as u64;
        let mut visits = Vec::with_capacity(end.saturating_sub(first) as usize);
        let mut place = first;
        while n_genes > 0 && place < end {
            let epoch = place / n_genes;
            let skipped = (place % n_genes) as usize;
            let wanted = (end - place).min(n_genes - skipped as u64) as usize;
            let order = self.epoch(epoch);
            visits.extend(
                order[skipped..skipped + wanted]
                    .iter()
                    .map(|&gene_index| Visit { gene_index, epoch }),
            );
            place += wanted as u64;
        }
        visits
    }

    /// The seed of the mask sample of a visit; the same whatever batch the visit falls in.
    pub fn sample_seed(&self, visit: Visit) -> u64 {
        mix([
            SAMPLE_STREAM,
            self.seed,
            visit.epoch,
            visit.gene_index as u64,
        ])
    }

    fn epoch(&self, epoch: u64) -> Vec<usize> {
        let mut keyed: Vec<(u64, usize)> = self
            .gene_indices
            .iter()
            .map(|&gene_index| {
                (
                    mix([ORDER_STREAM, self.seed, epoch, gene_index as u64]),
                    gene_index,
                )
            })
            .collect();
        keyed.sort_unstable();
        keyed
            .into_iter()
            .map(|(_, gene_index)| gene_index)
            .collect()
    }
}

/// Keeps the shuffle's random numbers apart from the samples'.
const ORDER_STREAM: u64 = 1;
const SAMPLE_STREAM: u64 = 2;

/// A random-looking 64-bit number of its words: each is added to the state, which is then scrambled.
///
/// # Reference
/// The output function of SplitMix64: Steele, Lea & Flood 2014
fn mix(words: [u64; 4]) -> u64 {
    words
        .into_iter()
        .fold(0, |state: u64, word| splitmix64(state.wrapping_add(word)))
}

fn splitmix64(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_matches_the_published_generator() {
        // First outputs of SplitMix64 seeded with 1234567, from Vigna's splitmix64.c.
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        let mut state = 1_234_567_u64;
        for value in expected {
            assert_eq!(splitmix64(state), value);
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        }
    }

    #[test]
    fn epoch_is_a_shuffle_of_all_genes() {
        let order = VisitOrder::new((10..47).collect(), 2);
        let visits = order.visits(0, 3 * 37);
        for (epoch, chunk) in visits.chunks(37).enumerate() {
            assert!(chunk.iter().all(|visit| visit.epoch == epoch as u64));
            let mut genes: Vec<usize> = chunk.iter().map(|visit| visit.gene_index).collect();
            assert_ne!(
                genes,
                (10..47).collect::<Vec<_>>(),
                "a shuffle of 37 genes is not the identity"
            );
            genes.sort_unstable();
            assert_eq!(genes, (10..47).collect::<Vec<_>>());
        }
        assert_ne!(
            visits[..37]
                .iter()
                .map(|v| v.gene_index)
                .collect::<Vec<_>>(),
            visits[37..74]
                .iter()
                .map(|v| v.gene_index)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn visits_do_not_depend_on_where_they_are_cut() {
        let order = VisitOrder::new(vec![3, 1, 4, 15, 9], 22);
        let whole = order.visits(0, 23);
        assert_eq!(whole.len(), 23);
        for cut in 0..=23 {
            let parts = [order.visits(0, cut), order.visits(cut, 23)].concat();
            assert_eq!(parts, whole, "cut at {cut}");
        }
        assert_eq!(order.visits(5, 5), []);
        assert_eq!(VisitOrder::new(vec![], 1).visits(0, 5), []);
    }

    #[test]
    fn order_of_one_gene_repeats_it_with_new_samples() {
        let order = VisitOrder::new(vec![7], 1);
        let visits = order.visits(0, 2);
        assert_eq!(
            visits,
            [
                Visit {
                    gene_index: 7,
                    epoch: 0
                },
                Visit {
                    gene_index: 7,
                    epoch: 1
                }
            ]
        );
        assert_ne!(order.sample_seed(visits[0]), order.sample_seed(visits[1]));
        let other_seed = VisitOrder::new(vec![7], 2);
        assert_ne!(
            order.sample_seed(visits[0]),
            other_seed.sample_seed(visits[0])
        );
    }

    #[test]
    fn first_gene_of_an_epoch_is_uniform() {
        // 2,000 epochs of 5 genes: each leads 400 times, standard deviation 18.
        let order = VisitOrder::new((0..5).collect(), 2);
        let mut leads = [0; 5];
        for visit in order.visits(0, 10_000).iter().step_by(5) {
            leads[visit.gene_index] += 1;
        }
        assert!(leads.iter().all(|n| (310..490).contains(n)), "{leads:?}");
    }
}
