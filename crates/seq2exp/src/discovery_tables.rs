//! What a discovery wrote, read back for the report: elements and one row per mask.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use genome::{Region, Strand, for_each_region, read_bed_comments};

use crate::discover::{Discovery, ELEMENTS_FILE, GeneElement, GeneMaskSummary};
use crate::elements::{Element, ElementClass};
use crate::error::RunError;

/// One row per mask, in the output folder.
pub const MASKS_FILE: &str = "masks.tsv";

/// Columns of [`MASKS_FILE`].
const MASK_COLUMNS: &str = "gene\tmask_ratio\tchosen_ratio\tlimit\telement_ratio\tn_elements\tfile";

/// Columns of an element row after the first six of BED: thick start and end, colour, gene, gene's strand, class,
/// mean, maximum and sum of the mask, summit, distance, share of selected bases.
const N_ELEMENT_COLUMNS: usize = 12;

/// Writes `masks.tsv`: gene, mean mask over the window, mean mask over the positions the network decides, smallest
/// mask value that is selected, share of the positions the network decides that lie in elements, number of elements,
/// file; `NA` where undefined.
///
/// # Errors
/// [`RunError::Genome`] when the file cannot be written.
pub fn write_masks(folder: &Path, discovery: &Discovery) -> Result<(), RunError> {
    let or_na = |value: Option<f64>| value.map_or("NA".to_string(), |value| value.to_string());
    let ratio = |value: f64| or_na(Some(value).filter(|ratio| ratio.is_finite()));
    genome::write_atomic(folder.join(MASKS_FILE), |out| {
        writeln!(out, "{MASK_COLUMNS}")?;
        for gene in &discovery.genes {
            writeln!(
                out,
                "{}\t{}\t{}\t{}\t{}\t{}\t{}",
                gene.symbol,
                gene.mask_ratio,
                ratio(gene.chosen_ratio),
                or_na(gene.limit.map(f64::from)),
                ratio(gene.element_ratio),
                gene.n_elements,
                gene.mask_file.display()
            )?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Reads what a discovery wrote into an output folder.
///
/// # Errors
/// What reading the files causes; [`RunError::BadTable`] with the line that does not fit.
pub fn read_discovery(folder: &Path) -> Result<Discovery, RunError> {
    let path = folder.join(ELEMENTS_FILE);
    let mut elements = Vec::new();
    for_each_region(&path, |line, region| {
        elements.push(parse_element(&region).ok_or_else(|| RunError::BadTable {
            path: path.clone(),
            // Only a pickle has no lines, which discover does not write.
            line: line.unwrap_or(1),
            message: "not an element row as discover writes it".to_string(),
        })?);
        Ok::<(), RunError>(())
    })?;
    Ok(Discovery {
        elements,
        genes: read_masks(&folder.join(MASKS_FILE))?,
    })
}

/// Digest of the networks whose masks a discovery was made of; none in files of versions that did not write it.
///
/// # Errors
/// What reading the elements' file causes.
pub fn discovered_by(folder: &Path) -> Result<Option<String>, RunError> {
    let comments = read_bed_comments(folder.join(ELEMENTS_FILE))?;
    let digest = comments
        .iter()
        .find_map(|line| line.strip_prefix("# model_sha256: "));
    Ok(digest.map(str::to_string))
}

fn parse_element(region: &Region) -> Option<GeneElement> {
    let column = |index: usize| region.rest.get(index).map(String::as_str);
    let class = match column(5)? {
        "element" => ElementClass::Element,
        "promoter" => ElementClass::Promoter,
        "included" => ElementClass::Included,
        _ => return None,
    };
    let digits = region
        .name
        .as_deref()?
        .rsplit('|')
        .next()?
        .trim_start_matches(|c: char| !c.is_ascii_digit());
    let means = region
        .rest
        .iter()
        .skip(N_ELEMENT_COLUMNS)
        .map(|text| text.parse().ok());
    Some(GeneElement {
        symbol: column(3)?.to_string(),
        strand: column(4)?.parse::<Strand>().ok()?,
        // The promoter's name carries no number.
        number: digits.parse().unwrap_or(0),
        element: Element {
            interval: region.interval.clone(),
            class,
            mean: column(6)?.parse().ok()?,
            max: column(7)?.parse().ok()?,
            area: column(8)?.parse().ok()?,
            summit: column(9)?.parse().ok()?,
            distance: column(10)?.parse().ok()?,
            selected: column(11)?.parse().ok()?,
            track_means: means.collect::<Option<_>>()?,
        },
    })
}

fn read_masks(path: &Path) -> Result<Vec<GeneMaskSummary>, RunError> {
    let io = |source| RunError::Io {
        path: path.to_path_buf(),
        source,
    };
    let reader = BufReader::new(std::fs::File::open(path).map_err(io)?);
    let mut rows = Vec::new();
    for (index, line) in reader.lines().enumerate() {
        let line = line.map_err(io)?;
        if index == 0 && line == MASK_COLUMNS {
            continue;
        }
        rows.push(parse_mask(&line).ok_or_else(|| RunError::BadTable {
            path: path.to_path_buf(),
            line: index as u64 + 1,
            message: format!("expected the columns {}", MASK_COLUMNS.replace('\t', ", ")),
        })?);
    }
    Ok(rows)
}

fn parse_mask(line: &str) -> Option<GeneMaskSummary> {
    let [
        gene,
        mask_ratio,
        chosen_ratio,
        limit,
        element_ratio,
        n_elements,
        file,
    ] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
    let ratio = |text: &str| match text {
        "NA" => Some(f64::NAN),
        number => number.parse().ok(),
    };
    Some(GeneMaskSummary {
        symbol: gene.to_string(),
        mask_ratio: mask_ratio.parse().ok()?,
        chosen_ratio: ratio(chosen_ratio)?,
        limit: if limit == "NA" {
            None
        } else {
            Some(limit.parse().ok()?)
        },
        element_ratio: ratio(element_ratio)?,
        n_elements: n_elements.parse().ok()?,
        mask_file: PathBuf::from(file),
    })
}

#[cfg(test)]
mod tests {
    use genome::{Interval, write_bed_tabix};

    use super::*;

    #[test]
    fn masks_written_and_read_are_the_same() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_bed_tabix(folder.path().join(ELEMENTS_FILE), &[], Vec::<Region>::new())
            .expect("an empty BED");
        let gene = |symbol: &str, limit| GeneMaskSummary {
            symbol: symbol.to_string(),
            mask_ratio: 0.125,
            chosen_ratio: 0.0625,
            limit,
            element_ratio: 0.25,
            n_elements: 3,
            mask_file: PathBuf::from("masks/G.bw"),
        };
        let discovery = Discovery {
            elements: vec![],
            genes: vec![gene("G", Some(0.5)), gene("H", None)],
        };
        write_masks(folder.path(), &discovery).expect("writable");
        assert_eq!(read_discovery(folder.path()).expect("readable"), discovery);
    }

    #[test]
    fn bad_rows_are_named_by_their_line_and_digests_are_found_in_the_header() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |header: &[&str], rows: &[&str]| {
            let rows = rows.iter().enumerate().map(|(index, rest)| Region {
                interval: Interval::try_new("c", 100 + index as u64, 160).expect("an interval"),
                name: Some(format!("G|e{index}")),
                score: None,
                strand: None,
                rest: rest.split('\t').map(str::to_string).collect(),
            });
            let header: Vec<String> = header.iter().map(ToString::to_string).collect();
            let rows: Vec<Region> = rows.collect();
            write_bed_tabix(folder.path().join(ELEMENTS_FILE), &header, &rows).expect("a BED");
        };
        let masks = folder.path().join(MASKS_FILE);
        let good =
            "100\t160\t213,94,0\tG\t-\telement\t0.2500\t0.7500\t15.0\t120\t-40\t0.5000\t1.5000";
        let bad = good.replace("\telement\t", "\tother\t");
        let message = || {
            let error = read_discovery(folder.path()).expect_err("a bad row");
            error.to_string()
        };
        std::fs::write(&masks, format!("{MASK_COLUMNS}\n")).expect("writable");
        // Two lines of header, one row, and the bad one.
        write(&["# model_sha256: ab12", "#chrom"], &[good, &bad]);
        assert!(
            message().ends_with("elements.bed.gz:4: not an element row as discover writes it"),
            "{}",
            message()
        );
        let digest = || discovered_by(folder.path()).expect("readable");
        assert_eq!(digest().as_deref(), Some("ab12"));
        // Written before the digest was.
        write(&["#chrom"], &[good]);
        assert_eq!(digest(), None);
        let row = "G\t0.5\tNA\tNA\tNA\t1\tmasks/G.bw";
        std::fs::write(&masks, format!("{MASK_COLUMNS}\n{row}\n{row}\textra\n")).expect("writable");
        assert!(
            message().contains("masks.tsv:3: expected the columns gene, mask_ratio"),
            "{}",
            message()
        );
        // The header is one, and stands on the first line.
        std::fs::write(&masks, format!("{row}\n{MASK_COLUMNS}\n")).expect("writable");
        assert!(message().contains("masks.tsv:2:"), "{}", message());
    }

    #[test]
    fn element_row_is_parsed_column_by_column() {
        let rest = "100\t160\t213,94,0\tG\t-\telement\t0.2500\t0.7500\t15.0\t120\t-40\t0.1250\t1.5000\t0.0000";
        let region = Region {
            interval: Interval::try_new("c", 100, 160).expect("an interval"),
            name: Some("G|e7".to_string()),
            score: Some(250.0),
            strand: None,
            rest: rest.split('\t').map(str::to_string).collect(),
        };
        let row = parse_element(&region).expect("an element");
        assert_eq!(
            (row.symbol.as_str(), row.strand, row.number),
            ("G", Strand::Reverse, 7)
        );
        let element = row.element;
        assert_eq!(element.class, ElementClass::Element);
        assert_eq!(
            (element.mean, element.max, element.area),
            (0.25, 0.75, 15.0)
        );
        assert_eq!((element.summit, element.distance), (120, -40));
        assert_eq!(element.selected, 0.125);
        assert_eq!(element.track_means, [1.5, 0.0]);
        let short = Region {
            rest: region.rest[..9].to_vec(),
            ..region
        };
        assert_eq!(parse_element(&short), None);
    }
}
