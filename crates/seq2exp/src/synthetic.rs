//! Made-up genes for tests: no files, any number, expression that can be learned from the tracks.

use dataset::{
    Candidate, Candidates, DatasetError, Example, ExampleParts, ExampleSource, N_FEATURES,
    RegionCode, Split, Window, base_code,
};
use genome::{Gene, Strand};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CHROM: &str = "chr1";
const CHROM_LENGTH: u64 = 1_000_000;
const N_TRACKS: usize = 3;

/// Bases of the promoter of a [`SyntheticSource`].
pub(crate) const PROMOTER: usize = 8;

/// Bases that are read of a candidate: the least that the network takes.
const ELEMENT_LENGTH: u64 = 400;

/// An example with the given bases, whose promoter is the central two of them.
pub(crate) fn example(symbol: &str, bases: &str, target: f32) -> Example {
    let gene = gene(symbol, 1_000);
    let length = bases.len();
    let parts = ExampleParts {
        window: Window::centered_on(CHROM, gene.tss, length as u64, CHROM_LENGTH)
            .expect("inside the chromosome"),
        gene,
        base_codes: bases.bytes().map(base_code).collect(),
        tracks: (0..length * N_TRACKS).map(|i| i as f32 / 8.0).collect(),
        n_tracks: N_TRACKS,
        regions: regions(length, 2),
        peaks: None,
        candidates: None,
        features: [0.25; N_FEATURES],
        target: Some(target),
        split: Split::Train,
    };
    Example::try_from(parts).expect("the parts fit")
}

/// Genes whose expression is the mean of the second track over their promoter.
#[derive(Debug, Clone)]
pub(crate) struct SyntheticSource {
    genes: Vec<Gene>,
    length: usize,
    /// A gene that cannot be read, by index.
    pub(crate) unreadable: Option<usize>,
    /// Genes whose expression is the largest f32, by index.
    pub(crate) enormous: Vec<usize>,
}

impl SyntheticSource {
    /// `n_genes` genes, of which every fifth is a validation gene and every fifth a test gene.
    pub(crate) fn new(n_genes: usize, length: usize) -> Self {
        let genes = (0..n_genes)
            .map(|index| gene(&format!("G{index}"), 1_000 + index as u64 * 100))
            .collect();
        Self {
            genes,
            length,
            unreadable: None,
            enormous: Vec::new(),
        }
    }
}

impl ExampleSource for SyntheticSource {
    fn len(&self) -> usize {
        self.genes.len()
    }

    fn gene(&self, index: usize) -> &Gene {
        &self.genes[index]
    }

    fn split(&self, index: usize) -> Split {
        match index % 5 {
            3 => Split::Valid,
            4 => Split::Test,
            _ => Split::Train,
        }
    }

    fn length(&self) -> usize {
        self.length
    }

    fn n_tracks(&self) -> usize {
        N_TRACKS
    }

    fn read(&self, index: usize) -> Result<Example, DatasetError> {
        let len = self.genes.len();
        if self.unreadable == Some(index) {
            return Err(DatasetError::NoSuchExample { index, len });
        }
        let gene = self
            .genes
            .get(index)
            .ok_or(DatasetError::NoSuchExample { index, len })?;
        let mut rng = ChaCha8Rng::seed_from_u64(index as u64);
        let strength: f32 = rng.random_range(0.0..2.0);
        let promoter = self.length / 2 - PROMOTER / 2..self.length / 2 + PROMOTER / 2;
        let mut tracks = Vec::with_capacity(self.length * N_TRACKS);
        for position in 0..self.length {
            let open = if promoter.contains(&position) {
                strength
            } else {
                0.1
            };
            tracks.extend([rng.random_range(0.0..0.5), open, 0.2]);
        }
        Example::try_from(ExampleParts {
            window: Window::centered_on(CHROM, gene.tss, self.length as u64, CHROM_LENGTH)?,
            gene: gene.clone(),
            base_codes: (0..self.length).map(|_| rng.random_range(0..4)).collect(),
            tracks,
            n_tracks: N_TRACKS,
            regions: regions(self.length, PROMOTER),
            peaks: Some((0..self.length).map(|position| position % 3 == 0).collect()),
            candidates: Some(Candidates {
                element_length: ELEMENT_LENGTH,
                list: candidates_of(gene, index),
            }),
            features: [0.0; N_FEATURES],
            target: Some(if self.enormous.contains(&index) {
                f32::MAX
            } else {
                strength
            }),
            split: self.split(index),
        })
    }
}

/// None to two candidates around the start site.
fn candidates_of(gene: &Gene, index: usize) -> Vec<Candidate> {
    let candidate = |n: u64| Candidate {
        start: gene.tss + 9 * n - 15,
        end: gene.tss + 9 * n - 10,
        distance_kb: n as f32,
        contact_log10p1: 0.5,
        activity: 1.0 + n as f32,
    };
    (0..index as u64 % 3).map(candidate).collect()
}

fn gene(symbol: &str, tss: u64) -> Gene {
    Gene {
        gene_id: format!("ENSG_{symbol}"),
        symbol: symbol.to_string(),
        chrom: CHROM.to_string(),
        tss,
        strand: Strand::Forward,
        gene_type: None,
        split: None,
        line: 2,
    }
}

fn regions(length: usize, promoter: usize) -> Vec<RegionCode> {
    let start = length / 2 - promoter / 2;
    let is_promoter = |position: usize| (start..start + promoter).contains(&position);
    (0..length)
        .map(|position| {
            if is_promoter(position) {
                RegionCode::One
            } else {
                RegionCode::Keep
            }
        })
        .collect()
}
