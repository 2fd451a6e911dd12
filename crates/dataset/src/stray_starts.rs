//! Genes whose start site is not that of the transcript that stands for them.

use std::fmt;

use genome::{ChosenBy, Gene, Strand, Transcript};
use serde::{Deserialize, Serialize};

/// Genes whose MANE Select or canonical transcript begins outside their promoter: the gene table says another start
/// site, most often the end of a longer transcript, or is of another assembly.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrayStarts {
    /// How many.
    pub n_genes: usize,
    /// Of how many genes with such a transcript.
    pub n_tagged: usize,
    /// The first of them; empty when there is none.
    pub symbol: String,
    /// Bases between its start site and its transcript's first base.
    pub distance: u64,
}

impl fmt::Display for StrayStarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "start sites: the MANE Select or canonical transcript of {} of {} genes begins outside the gene's promoter, that \
             of {} {} bp away; a gene table or tss_peaks can say other start sites",
            self.n_genes, self.n_tagged, self.symbol, self.distance
        )
    }
}

impl StrayStarts {
    /// Adds a gene and its transcript; `promoter` is in bases around the gene's start site.
    pub(crate) fn count(
        &mut self,
        gene: &Gene,
        transcript: &Transcript,
        chosen_by: ChosenBy,
        promoter: u64,
    ) {
        if !matches!(chosen_by, ChosenBy::ManeSelect | ChosenBy::Canonical) {
            return;
        }
        let first_base = match transcript.strand {
            Strand::Forward => transcript.exons.first().map(|exon| exon.start()),
            Strand::Reverse => transcript.exons.last().map(|exon| exon.end() - 1),
        };
        let Some(first_base) = first_base else {
            return;
        };
        self.n_tagged += 1;
        // The promoter is [tss - promoter / 2, tss + promoter / 2).
        let half = promoter / 2;
        if first_base + half >= gene.tss && first_base < gene.tss + half {
            return;
        }
        if self.n_genes == 0 {
            self.symbol = gene.symbol.clone();
            self.distance = first_base.abs_diff(gene.tss);
        }
        self.n_genes += 1;
    }
}

#[cfg(test)]
mod tests {
    use genome::Interval;

    use super::*;

    #[test]
    fn count_compares_the_first_base_with_the_promoter() {
        // Exons 1000-1100 and 5000-5100: the first base is 1000, or 5099 from the other strand.
        let on = |strand| Transcript {
            gene_id: "G".into(),
            gene_name: "G".into(),
            transcript_id: "T".into(),
            tag: None,
            chrom: "chr1".into(),
            strand,
            exons: [(1000, 1100), (5000, 5100)]
                .map(|(start, end)| Interval::try_new("chr1", start, end).unwrap())
                .into(),
            cds: Vec::new(),
        };
        let gene = |tss, strand| Gene {
            gene_id: "G".into(),
            symbol: format!("G{tss}"),
            chrom: "chr1".into(),
            tss,
            strand,
            gene_type: None,
            split: None,
            line: 2,
        };
        let cases = [
            (1000, Strand::Forward, false),
            // Of the promoter of 200 bases around 1100 the first is 1000, around 1101 it is 1001.
            (1100, Strand::Forward, false),
            (1101, Strand::Forward, true),
            // Around 901 the last is 1000, around 900 it is 999.
            (901, Strand::Forward, false),
            (900, Strand::Forward, true),
            (50, Strand::Forward, true),
            (5099, Strand::Reverse, false),
            (1000, Strand::Reverse, true),
        ];
        for (tss, strand, is_stray) in cases {
            let mut strays = StrayStarts::default();
            strays.count(&gene(tss, strand), &on(strand), ChosenBy::ManeSelect, 200);
            assert_eq!(strays.n_genes == 1, is_stray, "{tss} {strand}");
        }
        let mut strays = StrayStarts::default();
        for (tss, chosen_by) in [
            (1000, ChosenBy::Canonical),
            (1300, ChosenBy::ManeSelect),
            (9000, ChosenBy::Canonical),
            (9000, ChosenBy::LongestCds),
        ] {
            let gene = gene(tss, Strand::Forward);
            strays.count(&gene, &on(Strand::Forward), chosen_by, 200);
        }
        assert_eq!(
            strays.to_string(),
            "start sites: the MANE Select or canonical transcript of 2 of 3 genes begins outside the gene's promoter, that \
             of G1300 300 bp away; a gene table or tss_peaks can say other start sites"
        );
    }
}
