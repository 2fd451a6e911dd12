//! Elements that are known, by gene.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use genome::read_regions;

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
    by_gene: HashMap<String, Vec<KnownElement>>,
}

impl KnownElements {
    /// Reads the truth of a simulation: BED6, then gene and class.
    ///
    /// # Errors
    /// [`RunError::Genome`] for a file that is no BED; [`RunError::NoTruth`] for a row without gene and class, or of an
    /// unknown class.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let mut by_gene: HashMap<String, Vec<KnownElement>> = HashMap::new();
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
            let known = PlantedClass::ALL
                .into_iter()
                .find(|known| known.name() == class);
            let class = known.ok_or_else(|| {
                let names = PlantedClass::ALL.map(PlantedClass::name).join(", ");
                fail(format!("class {class:?} is none of {names}"))
            })?;
            by_gene.entry(gene.clone()).or_default().push(KnownElement {
                start: region.interval.start(),
                end: region.interval.end(),
                is_active: class == PlantedClass::Active,
            });
        }
        Ok(Self { by_gene })
    }

    /// The elements of a gene; empty when none is known.
    pub fn of(&self, gene: &str) -> &[KnownElement] {
        self.by_gene.get(gene).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(known.of("G1").iter().filter(|e| e.is_active).count(), 1);
        assert!(known.of("G2").is_empty());
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
