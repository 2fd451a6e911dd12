//! Elements that are known, by gene.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use genome::{ChromSizes, Gene, read_regions};

use crate::error::RunError;
use crate::simulate::PlantedClass;

/// One known element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownElement {
    /// First base, 0-based.
    pub start: u64,
    /// Behind the last base.
    pub end: u64,
    /// Whether it decides its gene's expression.
    pub is_active: bool,
}

/// The bases of a chromosome that lie in a window of `length` bases from `window_start`, counted from there.
pub fn positions(bases: Range<u64>, window_start: i64, length: usize) -> Range<usize> {
    let place = |position: u64| {
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        let offset = position.saturating_sub(window_start);
        usize::try_from(offset).unwrap_or(0).min(length)
    };
    place(bases.start)..place(bases.end)
}

/// Known elements of many genes.
#[derive(Debug, Clone, Default)]
pub struct KnownElements {
    /// Gene → chromosome → elements.
    by_gene: HashMap<String, BTreeMap<String, Vec<KnownElement>>>,
}

impl KnownElements {
    /// Reads the truth of a simulation: BED6, then gene and class.
    ///
    /// # Errors
    /// [`RunError::Genome`] for a file that is no BED; [`RunError::NoTruth`] for a row without gene and class, or of an
    /// unknown class.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let mut known = Self::default();
        for region in read_regions(path)? {
            let fail = |reason: String| RunError::NoTruth {
                path: path.to_path_buf(),
                region: region.interval.to_string(),
                reason,
            };
            let [gene, class, ..] = region.rest.as_slice() else {
                return Err(fail(
                    "columns 7 and 8, gene and class, are missing".to_string(),
                ));
            };
            let planted = PlantedClass::ALL
                .into_iter()
                .find(|planted| planted.name() == class);
            let class = planted.ok_or_else(|| {
                let names = PlantedClass::ALL.map(PlantedClass::name).join(", ");
                fail(format!("class {class:?} is none of {names}"))
            })?;
            let by_chrom = known.by_gene.entry(gene.clone()).or_default();
            let chrom = region.interval.chrom().to_string();
            by_chrom.entry(chrom).or_default().push(KnownElement {
                start: region.interval.start(),
                end: region.interval.end(),
                is_active: class == PlantedClass::Active,
            });
        }
        Ok(known)
    }

    /// The elements of a gene on its chromosome; empty when none is known.
    pub fn of(&self, gene: &Gene) -> &[KnownElement] {
        let by_chrom = self.by_gene.get(&gene.symbol);
        let elements = by_chrom.and_then(|by_chrom| by_chrom.get(&gene.chrom));
        elements.map_or(&[], Vec::as_slice)
    }

    /// Compares the elements of genes with the genes' windows of `length` bases on a genome with chromosomes of these
    /// `sizes`, as far as they are known: those that cannot be counted, in words.
    ///
    /// # Errors
    /// The reason why they are not the elements of these genes: none is known of any gene or lies in its window, or one
    /// lies behind the end of its chromosome.
    pub fn compare(
        &self,
        genes: &[&Gene],
        length: u64,
        sizes: &ChromSizes,
    ) -> Result<Option<String>, String> {
        let (mut n_elements, mut n_inside, mut first_outside) = (0_usize, 0_usize, None);
        for gene in genes {
            let window_start = gene.tss as i64 - (length / 2) as i64;
            for (chrom, elements) in self.by_gene.get(&gene.symbol).into_iter().flatten() {
                for element in elements {
                    n_elements += 1;
                    let (symbol, region) = (&gene.symbol, element.region(chrom));
                    if let Some(end) = sizes.get(chrom).filter(|end| element.end > *end) {
                        return Err(format!(
                            "element {region} of gene {symbol:?} lies behind the end of {chrom} ({end} bp)"
                        ));
                    }
                    let is_inside = *chrom == gene.chrom
                        && !positions(element.start..element.end, window_start, length as usize)
                            .is_empty();
                    n_inside += usize::from(is_inside);
                    if !is_inside && first_outside.is_none() {
                        let (chrom, tss) = (&gene.chrom, gene.tss + 1);
                        first_outside = Some(format!(
                            "{region} of gene {symbol:?}, which starts at {chrom}:{tss}"
                        ));
                    }
                }
            }
        }
        match first_outside {
            _ if n_elements == 0 => Err("no test gene has a known element".to_string()),
            Some(first) if n_inside == 0 => Err(format!(
                "no known element lies in the window of its gene, the first being {first}"
            )),
            Some(first) => Ok(Some(format!(
                "{} of {n_elements} known elements of the test genes do not lie in their gene's window and are not counted; \
                 the first is {first}",
                n_elements - n_inside
            ))),
            None => Ok(None),
        }
    }
}

impl KnownElement {
    /// Its place as genome browsers write it, 1-based.
    fn region(&self, chrom: &str) -> String {
        format!("{chrom}:{}-{}", self.start + 1, self.end)
    }
}

#[cfg(test)]
mod tests {
    use genome::Strand;

    use super::*;

    #[test]
    fn positions_are_clipped_to_the_window() {
        for (window_start, length, expected) in [
            (0, 100, 10..20),
            (15, 100, 0..5),
            (-5, 18, 15..18),
            (20, 5, 0..0),
            (0, 10, 10..10),
        ] {
            assert_eq!(positions(10..20, window_start, length), expected);
        }
    }

    fn gene(symbol: &str, chrom: &str, tss: u64) -> Gene {
        Gene {
            gene_id: symbol.to_owned(),
            symbol: symbol.to_owned(),
            chrom: chrom.to_owned(),
            tss,
            strand: Strand::Forward,
            gene_type: None,
            split: None,
            line: 1,
        }
    }

    #[test]
    fn compare_refuses_other_chromosomes_places_and_lengths() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let rows = "a\t10\t20\tx\t0\t.\tG1\tactive\na\t90\t95\ty\t0\t.\tG1\tactive\n";
        std::fs::write(file.path(), rows).unwrap();
        let known = KnownElements::read(file.path()).unwrap();
        let compare = |gene: Gene, length, chrom_length| {
            let sizes = ChromSizes::new(vec![("a".to_string(), chrom_length)]);
            known.compare(&[&gene], length, &sizes)
        };
        // Windows [0, 100), [0, 40) and [40, 80).
        assert_eq!(compare(gene("G1", "a", 50), 100, 100), Ok(None));
        let note = compare(gene("G1", "a", 20), 40, 100).unwrap().unwrap();
        assert!(
            note.starts_with("1 of 2 known") && note.contains("a:91-95"),
            "{note}"
        );
        for (gene, chrom_length, part) in [
            (
                gene("G1", "a", 60),
                100,
                "the first being a:11-20 of gene \"G1\", which starts at a:61",
            ),
            (gene("G1", "b", 20), 100, "starts at b:21"),
            (gene("G2", "a", 20), 100, "no test gene has a known element"),
            (
                gene("G1", "a", 20),
                94,
                "a:91-95 of gene \"G1\" lies behind the end of a (94 bp)",
            ),
        ] {
            let error = compare(gene, 40, chrom_length).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        // Without lengths, as of a data set of an earlier version.
        let gene = gene("G1", "a", 50);
        assert_eq!(
            known.compare(&[&gene], 100, &ChromSizes::default()),
            Ok(None)
        );
    }

    #[test]
    fn read_names_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.bed");
        std::fs::write(
            &path,
            "a\t1\t5\tx\t0\t.\tG1\tactive\t0.4\na\t7\t9\ty\t0\t.\tG1\tsignal_only\t0\n",
        )
        .unwrap();
        let known = KnownElements::read(&path).unwrap();
        let of = |symbol, chrom| known.of(&gene(symbol, chrom, 3));
        assert_eq!(of("G1", "a").iter().filter(|e| e.is_active).count(), 1);
        assert!(of("G2", "a").is_empty() && of("G1", "b").is_empty());
        for (row, part) in [
            ("a\t1\t5\tx\t0\t.\n", "columns 7 and 8"),
            (
                "a\t1\t5\tx\t0\t.\tG1\tstrange\n",
                "\"strange\" is none of active",
            ),
        ] {
            std::fs::write(&path, row).unwrap();
            let error = KnownElements::read(&path).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("a:"), "{error}");
        }
    }
}
