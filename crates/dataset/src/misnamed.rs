//! Genes whose row in the table of expression has another name than the settings ask for.

use std::collections::HashMap;
use std::fmt;

use genome::{Expression, Gene, without_version};
use serde::{Deserialize, Serialize};

use crate::expression_config::GeneKey;

/// Genes that count as not measured although the table has a row for them under another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MisnamedGenes {
    /// How many.
    pub n_genes: usize,
    /// The first one's name, as the settings ask for it.
    pub gene: String,
    /// The name of its row.
    pub row: String,
}

impl fmt::Display for MisnamedGenes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "genes without measured expression whose row has another name: {}, as {:?} under {:?}; names must be equal, \
             their version included, and key and key_holds of the expression say which are compared",
            self.n_genes, self.gene, self.row
        )
    }
}

impl MisnamedGenes {
    /// Looks for other names of genes that the table lacks: the one that `key_holds` does not ask for, and
    /// identifiers of another version (`ENSG00000198445.3`). None when there is no such row.
    pub(crate) fn find<'a>(
        expression: &Expression,
        key_holds: GeneKey,
        lacking: impl Iterator<Item = &'a Gene>,
    ) -> Option<Self> {
        let by_identifier: HashMap<&str, &str> = expression
            .iter()
            .map(|(name, _)| (without_version(name), name))
            .collect();
        let mut found: Option<Self> = None;
        for gene in lacking {
            let (asked, other) = match key_holds {
                GeneKey::Symbol => (&gene.symbol, &gene.gene_id),
                GeneKey::GeneId => (&gene.gene_id, &gene.symbol),
            };
            let row = match expression.contains(other) {
                true => Some(other.as_str()),
                false => by_identifier.get(without_version(&gene.gene_id)).copied(),
            };
            if let Some(row) = row {
                let first = found.get_or_insert_with(|| Self {
                    n_genes: 0,
                    gene: asked.clone(),
                    row: row.to_string(),
                });
                first.n_genes += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use genome::Strand;

    use super::*;

    fn gene(gene_id: &str, symbol: &str) -> Gene {
        Gene {
            gene_id: gene_id.to_string(),
            symbol: symbol.to_string(),
            chrom: "chr1".to_string(),
            tss: 0,
            strand: Strand::Forward,
            gene_type: None,
            split: None,
            line: 2,
        }
    }

    fn table(names: &[&str]) -> Expression {
        let values = names.iter().map(|name| (name.to_string(), Some(1.0)));
        Expression::new(Path::new("expression.tsv"), values)
    }

    #[test]
    fn find_names_the_row_of_another_version_or_key() {
        let genes = [
            gene("ENSG01.4", "A"),
            gene("ENSG02", "B"),
            gene("RP11-34P13.7", "RP11-34P13.7"),
        ];
        let (symbol, gene_id) = (GeneKey::Symbol, GeneKey::GeneId);
        type Case<'a> = (GeneKey, &'a [&'a str], Option<(usize, &'a str, &'a str)>);
        let cases: [Case; 7] = [
            (
                gene_id,
                &["ENSG01.9", "X"],
                Some((1, "ENSG01.4", "ENSG01.9")),
            ),
            (
                gene_id,
                &["ENSG01", "ENSG02.1"],
                Some((2, "ENSG01.4", "ENSG01")),
            ),
            (gene_id, &["B"], Some((1, "ENSG02", "B"))),
            (symbol, &["ENSG02"], Some((1, "B", "ENSG02"))),
            (symbol, &["ENSG01.5"], Some((1, "A", "ENSG01.5"))),
            // A clone's name ends like a version, but has none.
            (gene_id, &["RP11-34P13.8", "RP11-34P13"], None),
            (gene_id, &["ENSG010.4", "ENSG01.x"], None),
        ];
        for (key_holds, names, expected) in cases {
            let found = MisnamedGenes::find(&table(names), key_holds, genes.iter());
            let found = found.as_ref();
            assert_eq!(
                found.map(|found| (found.n_genes, found.gene.as_str(), found.row.as_str())),
                expected,
                "{key_holds:?} {names:?}"
            );
        }
    }
}
