//! Other names of the genome's chromosomes, as the user declares them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use genome::{ChromSizes, Gene};

use crate::error::DatasetError;
use crate::track_config::AbsentChrom;

/// The genome's chromosomes and their declared aliases.
#[derive(Debug, Clone)]
pub(crate) struct ChromAlias {
    /// alias → the genome's name
    table: BTreeMap<String, String>,
    genome: PathBuf,
    sizes: ChromSizes,
}

/// How one file calls the chromosomes that genes lie on.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChromNames {
    path: PathBuf,
    /// the genome's name → the file's name
    names: HashMap<String, Arc<str>>,
    /// declared to be without data → genes that lie there
    absent: BTreeMap<String, usize>,
}

/// The genome's names of the chromosomes that genes lie on, each with the number of its genes.
pub(crate) fn count_genes_by_chrom(genes: &[Gene]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for gene in genes {
        *counts.entry(gene.chrom.as_str()).or_insert(0) += 1;
    }
    counts
}

impl ChromAlias {
    /// Checks that every alias leads to a chromosome of the genome.
    ///
    /// # Errors
    /// [`DatasetError::UnknownAlias`].
    pub(crate) fn try_new(
        table: &BTreeMap<String, String>,
        genome: &Path,
        sizes: &ChromSizes,
    ) -> Result<Self, DatasetError> {
        for (alias, chrom) in table {
            if sizes.get(chrom).is_none() {
                return Err(DatasetError::UnknownAlias {
                    path: genome.to_path_buf(),
                    alias: alias.clone(),
                    chrom: chrom.clone(),
                    hint: sizes.hint(chrom),
                });
            }
        }
        Ok(ChromAlias {
            table: table.clone(),
            genome: genome.to_path_buf(),
            sizes: sizes.clone(),
        })
    }

    /// The genome's chromosomes.
    pub(crate) fn sizes(&self) -> &ChromSizes {
        &self.sizes
    }

    /// The chromosomes of a file that stores no lengths, which are then the genome's; 0 for one that
    /// the genome does not have.
    pub(crate) fn sizes_of<'a>(&self, names: impl Iterator<Item = &'a str>) -> ChromSizes {
        let length = |name: &str| self.sizes.get(self.genome_name(name)).unwrap_or(0);
        ChromSizes::new(names.map(|name| (name.to_string(), length(name))).collect())
    }

    /// The genome's name of a chromosome that a file calls `name`; `name` itself when it is no alias.
    pub(crate) fn genome_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.table.get(name).map_or(name, String::as_str)
    }

    /// Every name a file may use for one chromosome of the genome: its own, then the aliases.
    pub(crate) fn names_of<'a>(&'a self, chrom: &'a str) -> impl Iterator<Item = &'a str> {
        let aliases = self
            .table
            .iter()
            .filter(move |(_, target)| target.as_str() == chrom)
            .map(|(alias, _)| alias.as_str());
        std::iter::once(chrom).chain(aliases)
    }

    /// The genome's chromosomes with their lengths, under every name that a file may use.
    pub(crate) fn sizes_by_any_name(&self) -> ChromSizes {
        let aliases = self
            .table
            .iter()
            .filter_map(|(alias, chrom)| Some((alias.clone(), self.sizes.get(chrom)?)));
        let own = self.sizes.iter();
        ChromSizes::new(
            own.map(|(name, length)| (name.to_string(), length))
                .chain(aliases)
                .collect(),
        )
    }

    /// Finds each needed chromosome in a file and compares its length with the genome's.
    ///
    /// `absent` is what is declared about chromosomes that the file lacks; nothing where it cannot be.
    ///
    /// # Errors
    /// [`DatasetError::AbsentChroms`] with all that are missing, unless `absent` says that there is
    /// no data for them and at least one is there; [`DatasetError::AmbiguousChrom`];
    /// [`DatasetError::ChromLength`].
    pub(crate) fn names_in(
        &self,
        path: &Path,
        sizes: &ChromSizes,
        needed: &BTreeMap<&str, usize>,
        absent: Option<AbsentChrom>,
    ) -> Result<ChromNames, DatasetError> {
        let mut names = HashMap::new();
        let mut missing = BTreeMap::new();
        let mut other_lengths = Vec::new();
        for (&chrom, &n_genes) in needed {
            let mut found = self
                .names_of(chrom)
                .filter_map(|name| Some((name, sizes.get(name)?)));
            let Some((name, length)) = found.next() else {
                missing.insert(chrom.to_string(), n_genes);
                continue;
            };
            if let Some((second, _)) = found.next() {
                return Err(DatasetError::AmbiguousChrom {
                    path: path.to_path_buf(),
                    chrom: chrom.to_string(),
                    first: name.to_string(),
                    second: second.to_string(),
                });
            }
            let genome_length = self.sizes.get(chrom).unwrap_or(length);
            if length != genome_length {
                other_lengths.push((chrom, length, genome_length));
            }
            names.insert(chrom.to_string(), Arc::from(name));
        }
        if let Some(&(chrom, length, genome_length)) = other_lengths.first() {
            return Err(DatasetError::ChromLength {
                path: path.to_path_buf(),
                chrom: chrom.to_string(),
                length,
                genome: self.genome.clone(),
                genome_length,
                n_more: other_lengths.len() - 1,
            });
        }
        let remedy = match absent {
            None => {
                "if it has another name there, add it to chrom_alias; else take a file that has it, \
                 or leave its genes out of the gene table"
            }
            Some(AbsentChrom::Error) => {
                "if it has another name there, add it to chrom_alias; if there is no data for it, \
                 write absent = \"no_data\" for this track"
            }
            Some(AbsentChrom::NoData) => {
                "no chromosome with genes is there, which absent = \"no_data\" does not cover; \
                 compare the names, or remove this track"
            }
        };
        let is_refused = match absent {
            None | Some(AbsentChrom::Error) => !missing.is_empty(),
            Some(AbsentChrom::NoData) => names.is_empty() && !missing.is_empty(),
        };
        match missing.first_key_value() {
            Some((first, _)) if is_refused => Err(DatasetError::AbsentChroms {
                path: path.to_path_buf(),
                hint: sizes.hint(first),
                chroms: missing.into_iter().collect(),
                remedy,
            }),
            _ => Ok(ChromNames {
                path: path.to_path_buf(),
                names,
                absent: missing,
            }),
        }
    }
}

impl ChromNames {
    /// The file's name of a chromosome of the genome; nothing when it is declared to have no data
    /// for it.
    ///
    /// # Errors
    /// [`DatasetError::MissingChrom`] for a chromosome that was not needed when the file was opened.
    pub(crate) fn get(&self, chrom: &str) -> Result<Option<Arc<str>>, DatasetError> {
        match self.names.get(chrom) {
            Some(name) => Ok(Some(Arc::clone(name))),
            None if self.absent.contains_key(chrom) => Ok(None),
            None => Err(DatasetError::MissingChrom {
                path: self.path.clone(),
                chrom: chrom.to_string(),
                n_genes: 1,
                hint: "it was not looked for when the file was opened".to_string(),
            }),
        }
    }

    /// The chromosomes without data, each with the number of genes that lie on it.
    pub(crate) fn absent(&self) -> &BTreeMap<String, usize> {
        &self.absent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(names: &[(&str, u64)]) -> ChromSizes {
        ChromSizes::new(
            names
                .iter()
                .map(|(name, length)| (name.to_string(), *length))
                .collect(),
        )
    }

    fn alias(table: &[(&str, &str)]) -> Result<ChromAlias, DatasetError> {
        let table = table
            .iter()
            .map(|(alias, chrom)| (alias.to_string(), chrom.to_string()))
            .collect();
        let genome = sizes(&[("chr1", 100), ("chr22", 50)]);
        ChromAlias::try_new(&table, Path::new("genome.fa"), &genome)
    }

    #[test]
    fn names_in_never_renames_without_an_alias() {
        let needed = BTreeMap::from([("chr22", 3)]);
        let file = sizes(&[("1", 100), ("22", 50)]);
        let path = Path::new("dnase.bw");
        let names_in = |table: &[(&str, &str)]| {
            let alias = alias(table).unwrap();
            alias.names_in(path, &file, &needed, Some(AbsentChrom::Error))
        };
        assert_eq!(
            names_in(&[]).unwrap_err().to_string(),
            "dnase.bw: no chromosome \"chr22\" (3 genes); it is called \"22\" there; use the same \
             names in all files; if it has another name there, add it to chrom_alias; if there is \
             no data for it, write absent = \"no_data\" for this track"
        );
        let names = names_in(&[("22", "chr22")]).unwrap();
        assert_eq!(names.get("chr22").unwrap().as_deref(), Some("22"));
        assert!(names.get("chr1").is_err());
    }

    #[test]
    fn names_in_declared_absence_is_counted_and_undeclared_is_named() {
        let needed = BTreeMap::from([("chr1", 7), ("chr22", 3)]);
        let path = Path::new("dnase.bw");
        let names_in = |file: &[(&str, u64)], absent| {
            let alias = alias(&[]).unwrap();
            alias.names_in(path, &sizes(file), &needed, absent)
        };
        let names = names_in(&[("chr1", 100)], Some(AbsentChrom::NoData)).unwrap();
        assert_eq!(*names.absent(), BTreeMap::from([("chr22".to_string(), 3)]));
        assert_eq!(names.get("chr1").unwrap().as_deref(), Some("chr1"));
        assert_eq!(names.get("chr22").unwrap(), None);

        let other = [("x", 1)];
        let cases = [
            (
                [("chr1", 100)],
                Some(AbsentChrom::Error),
                "no chromosome \"chr22\" (3 genes); there are chr1;",
            ),
            (
                other,
                Some(AbsentChrom::Error),
                "no chromosome \"chr1\" (7 genes), \"chr22\" (3 genes); there are x;",
            ),
            (other, Some(AbsentChrom::NoData), "does not cover"),
            // Nothing can be declared about an expression track, so the message does not say so.
            (
                other,
                None,
                "else take a file that has it, or leave its genes out",
            ),
        ];
        for (file, absent, part) in cases {
            let error = names_in(&file, absent).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn names_in_bad_files_are_errors() {
        let needed = BTreeMap::from([("chr1", 1), ("chr22", 1)]);
        let cases: [(&[(&str, u64)], &str); 4] = [
            (
                &[("chr1", 100), ("chr22", 51)],
                "chr22 has 51 bp, but 50 bp in genome.fa;",
            ),
            (
                &[("chr1", 99), ("chr22", 51)],
                "chr1 has 99 bp, but 100 bp in genome.fa, and 1 more differ;",
            ),
            (
                &[("chr1", 100), ("chr22", 50), ("22", 50)],
                "both \"chr22\" and \"22\"",
            ),
            (&[], "there is none at all"),
        ];
        for (file, part) in cases {
            let error = alias(&[("22", "chr22")])
                .unwrap()
                .names_in(
                    Path::new("a.bw"),
                    &sizes(file),
                    &needed,
                    Some(AbsentChrom::Error),
                )
                .unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn try_new_alias_to_nowhere_is_an_error() {
        let error = alias(&[("22", "chrom22")]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("chrom_alias \"22\" leads to \"chrom22\", which is not in genome.fa;"),
            "{error}"
        );
    }
}
