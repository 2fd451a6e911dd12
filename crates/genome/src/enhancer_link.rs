//! Candidate enhancers of genes, as the ABC model lists them.

use std::path::Path;

use crate::error::GenomeError;
use crate::interval::Interval;
use crate::table::Table;

/// One candidate enhancer of one gene.
#[derive(Debug, Clone, PartialEq)]
pub struct EnhancerLink {
    /// Where the element lies.
    pub element: Interval,
    /// The gene, by the name or identifier of the file.
    pub gene: String,
    /// Bases between the middle of the element and the gene's start site.
    pub distance: f64,
    /// Activity of the element, in the unit of the file.
    pub activity: f64,
    /// Contact of the element with the start site; nothing where it is not known.
    pub contact: Option<f64>,
}

/// Reads `EnhancerPredictionsAllPutative.txt.gz` of the ABC model, row by row, and keeps what `keep`
/// wants: the file has every pair within megabases, millions of them.
///
/// The columns are `chr`, `start`, `end`, `TargetGene`, `distance`, `activity_base` and
/// `hic_contact`; others are ignored. A contact that is empty, `NaN` or `NA` is not known.
///
/// # Errors
/// [`GenomeError`] with path and line: a missing column, a position, distance or activity that is no
/// finite number, an end before its start.
pub fn read_enhancer_links(
    path: impl AsRef<Path>,
    keep: impl Fn(&EnhancerLink) -> bool,
) -> Result<Vec<EnhancerLink>, GenomeError> {
    let mut table = Table::open(path.as_ref())?;
    let chrom = table.require("chr")?;
    let start = table.require("start")?;
    let end = table.require("end")?;
    let gene = table.require("TargetGene")?;
    let distance = table.require("distance")?;
    let activity = table.require("activity_base")?;
    let contact = table.require("hic_contact")?;
    let mut links = Vec::new();
    while let Some(row) = table.next_row()? {
        let position = |index| row.parse::<u64>(index, "a whole number (0-based position)");
        let (first, last) = (position(start)?, position(end)?);
        let element = Interval::try_new(row.text(chrom)?, first, last)
            .map_err(|_| row.invalid(end, "the end of an interval on a chromosome"))?;
        let link = EnhancerLink {
            element,
            gene: row.text(gene)?.to_string(),
            distance: row.finite(distance, "a finite number")?,
            activity: row.finite(activity, "a finite number")?,
            contact: match row.get(contact) {
                "" | "NaN" | "nan" | "NA" => None,
                _ => Some(row.finite(contact, "a finite number, or empty")?),
            },
        };
        if keep(&link) {
            links.push(link);
        }
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_enhancer_links_keeps_what_is_wanted_and_names_bad_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.txt");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_enhancer_links(&path, |link| link.distance <= 1e5).map_err(|e| e.to_string())
        };
        let header = "chr\tstart\tend\tclass\tTargetGene\tdistance\tactivity_base\thic_contact\n";
        let near = "chr1\t10\t20\tgenic\tE1\t99.5\t2.5\t0.25\n";
        let far = "chr1\t10\t20\tgenic\tE1\t100001\t2.5\t0.25\n";
        let unknown = "chr2\t0\t1\tgenic\tE2\t7\t0\t\n";
        let links = read(&format!("{header}{near}{far}{unknown}")).unwrap();
        assert_eq!(
            links[0],
            EnhancerLink {
                element: Interval::try_new("chr1", 10, 20).unwrap(),
                gene: "E1".into(),
                distance: 99.5,
                activity: 2.5,
                contact: Some(0.25),
            }
        );
        assert_eq!((links.len(), links[1].contact), (2, None));
        for (text, part) in [
            (
                header.replace("distance", "d"),
                "e.txt:1: no column \"distance\"",
            ),
            (
                format!("{header}{}", near.replace("\t20\t", "\t9\t")),
                "e.txt:2: end \"9\" is not the end of an interval on a chromosome",
            ),
            (
                format!("{header}{}", near.replace("2.5", "inf")),
                "e.txt:2: activity_base \"inf\" is not a finite number",
            ),
        ] {
            let message = read(&text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
