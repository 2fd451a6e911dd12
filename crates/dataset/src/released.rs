//! The released GeneExp data set: one key that stands for all of its files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::fold::FOLDS;

/// Where the released data set lies, and which part of it is meant.
///
/// In the configuration `released = { folder = "GeneExp", cell = "K562" }` stands for the keys
/// [`RELEASED_KEYS`], which name the files of that folder one by one; [`data_keys`](Self::data_keys)
/// writes them out.
///
/// # Reference
/// Folders, file names and columns: divelab/AIRS, OpenBio/Seq2Exp, `promo_enhan_inter.py`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// The folder that holds `hg38`, `promo_enhan_inter` and the blocklists.
    pub folder: PathBuf,
    /// Cell type.
    pub cell: ReleasedCell,
    /// Column `fold_<n>` of the split table, 1 to 12. Default and published: 11.
    #[serde(default = "default_fold")]
    pub fold: usize,
    /// What is predicted. Default and published: `cage`.
    #[serde(default)]
    pub target: ReleasedTarget,
}

fn default_fold() -> usize {
    11
}

/// A cell type whose expression is in the released tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleasedCell {
    /// Chronic myeloid leukaemia.
    K562,
    /// Lymphoblastoid.
    #[allow(clippy::upper_case_acronyms)]
    GM12878,
    /// Embryonic stem cells: the released code reads them, its tables of expression lack them.
    H1,
}

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleasedTarget {
    /// `log10(x + 1)` of the column `<cell>_CAGE_128*3_sum`; for H1 of the sum of its CAGE track over
    /// 384 bases around the start site.
    #[default]
    Cage,
    /// The column `Actual_<cell>`, which is a logarithm already; none for H1.
    Rna,
}

/// The keys of the configuration that `released` stands for; they cannot be given beside it.
pub const RELEASED_KEYS: [&str; 12] = [
    "genome",
    "genes",
    "tss_peaks",
    "annotation",
    "mrna_features",
    "promoter_activity",
    "expression",
    "tracks",
    "contact",
    "activity_tracks",
    "exclude",
    "split",
];

impl ReleasedCell {
    fn name(self) -> &'static str {
        match self {
            ReleasedCell::K562 => "K562",
            ReleasedCell::GM12878 => "GM12878",
            ReleasedCell::H1 => "H1",
        }
    }

    /// Column of the tables by gene that holds what the gene list calls a gene.
    fn key(self) -> &'static str {
        match self {
            ReleasedCell::K562 | ReleasedCell::GM12878 => "ENSID",
            ReleasedCell::H1 => "Gene name",
        }
    }

    /// The bigWigs of H3K27ac and DNase.
    fn tracks(self) -> [&'static str; 2] {
        match self {
            ReleasedCell::K562 => ["ENCFF465GBD.bigWig", "ENCFF414OGC.bigWig"],
            ReleasedCell::GM12878 => ["ENCFF798KYP.bigWig", "ENCFF960FMM.bigWig"],
            ReleasedCell::H1 => ["ENCFF771GNB.bigWig", "ENCFF232GUZ.bigWig"],
        }
    }

    /// The folder of the gene list.
    fn neighborhoods(self) -> &'static str {
        match self {
            ReleasedCell::K562 => {
                "K562_DNase_ENCFF257HEE_hic_4DNFITUOMFUQ_1MB_ABC_nominated/DNase_ENCFF257HEE_Neighborhoods"
            }
            ReleasedCell::GM12878 => {
                "GM12878_DNase_ENCFF020WZB_hic_4DNFI1UEG1HD_1MB_ABC_nominated/DNase_ENCFF020WZB_Neighborhoods"
            }
            ReleasedCell::H1 => "H1_ABC/Neighborhoods",
        }
    }

    /// The folder of the enhancer table, beside that of the gene list.
    fn links(self) -> &'static str {
        match self {
            ReleasedCell::K562 | ReleasedCell::GM12878 => "Gene_enhancer_links",
            ReleasedCell::H1 => "Predictions",
        }
    }
}

impl Released {
    /// The candidate enhancers of every gene, which [`genome::read_enhancer_links`] reads: what
    /// `candidates` is made of when it names no file itself.
    pub fn enhancer_links(&self) -> PathBuf {
        let folder = Path::new(self.cell.neighborhoods()).parent();
        self.folder
            .join("promo_enhan_inter")
            .join(folder.unwrap_or(Path::new("")))
            .join(self.cell.links())
            .join("EnhancerPredictionsAllPutative.txt.gz")
    }

    /// Adds every problem that can be seen without opening a file.
    pub fn validate(&self, problems: &mut Vec<String>) {
        if !(1..=FOLDS.len()).contains(&self.fold) {
            problems.push(format!(
                "released: fold {} must be 1 to {}; the published one is 11",
                self.fold,
                FOLDS.len()
            ));
        }
        if (self.cell, self.target) == (ReleasedCell::H1, ReleasedTarget::Rna) {
            problems.push(
                "released: its tables have no RNA-seq of H1; choose target = \"cage\"".to_string(),
            );
        }
    }

    /// The keys that name the files one by one.
    pub fn data_keys(&self) -> Map<String, Value> {
        let cell = self.cell.name();
        let in_root = |name: &str| self.folder.join(name);
        let pairs = |name: &str| in_root("promo_enhan_inter").join(Path::new(name));
        let genes = pairs(self.cell.neighborhoods()).join("GeneList.txt");
        let table = pairs("GM12878_K562_18377_gene_expr_fromXpresso.csv");
        let (value, transform) = match self.target {
            ReleasedTarget::Cage => (format!("{cell}_CAGE_128*3_sum"), "log10p1"),
            ReleasedTarget::Rna => (format!("Actual_{cell}"), "none"),
        };
        let expression = match self.cell {
            ReleasedCell::K562 | ReleasedCell::GM12878 => json!({
                "path": table,
                "key": "ENSID",
                "key_holds": "gene_id",
                "value": value,
                "transform": transform,
            }),
            ReleasedCell::H1 => json!({
                "path": pairs("CAGE/H1/H1_CAGE_CNhs13964.bw"),
                "value": "cage",
                "transform": transform,
            }),
        };
        let [h3k27ac, dnase] = self.cell.tracks();
        let keys = json!({
            "genome": in_root("hg38/hg38.ml.fa"),
            "genes": genes,
            "mrna_features": table,
            "promoter_activity": {
                "path": genes,
                "columns": ["H3K27ac.RPM.TSS1Kb", "DHS.RPM.TSS1Kb"],
            },
            "expression": expression,
            "tracks": [
                { "name": "h3k27ac", "path": pairs(&format!("H3K27ac/{cell}/{h3k27ac}")) },
                { "name": "dnase", "path": pairs(&format!("DNase-seq/{cell}/{dnase}")) },
            ],
            "contact": { "path": pairs(&format!("HiC/{cell}")) },
            "exclude": in_root("hg38_blacklist_dict_v1.pkl"),
            "split": {
                "by": "table",
                "path": pairs("leave_chrom_out_crossvalidation_split_18377genes.csv"),
                "key": self.cell.key(),
                "column": format!("fold_{}", self.fold),
            },
        });
        match keys {
            Value::Object(keys) => keys,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataConfig;

    #[test]
    fn data_keys_are_a_whole_configuration() {
        let text = r#"{ "folder": "/d", "cell": "GM12878", "fold": 3, "target": "rna" }"#;
        let released: Released = serde_json::from_str(text).unwrap();
        let keys = released.data_keys();
        assert!(keys.keys().all(|key| RELEASED_KEYS.contains(&key.as_str())));
        let config: DataConfig = serde_json::from_value(Value::Object(keys)).unwrap();
        assert_eq!(config.validate(), [] as [String; 0]);
        assert_eq!(config.expression.value, "Actual_GM12878");
        assert_eq!(config.length, 200_000);
        for (_, path) in config.source_files() {
            assert!(path.starts_with("/d"), "{}", path.display());
        }
        let mut problems = Vec::new();
        Released {
            fold: 0,
            ..released
        }
        .validate(&mut problems);
        assert_eq!(
            problems,
            ["released: fold 0 must be 1 to 12; the published one is 11"]
        );
        let error = serde_json::from_str::<Released>(r#"{ "folder": "d", "cell": "HeLa" }"#);
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("expected one of `K562`, `GM12878`, `H1`"),
            "{message}"
        );
    }
}
