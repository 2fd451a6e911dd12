//! Candidate enhancers of a gene: where they lie, and what is known of each.

use std::collections::HashMap;
use std::path::PathBuf;

use genome::{EnhancerLink, Gene, Interval, RegionIndex, read_enhancer_links};
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;
use crate::window::Window;

/// Which candidate enhancers a gene has: one of `elements` and `links`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateConfig {
    /// Elements of all genes (BED or narrowPeak). Their activity is the geometric mean of the activity tracks' means over
    /// the element, their contact that of the contact track at their middle. Default: none.
    #[serde(default)]
    pub elements: Option<PathBuf>,
    /// Links of the ABC model, with distance, activity and contact (see [`genome::read_enhancer_links`]). Default: none.
    #[serde(default)]
    pub links: Option<PathBuf>,
    /// Farthest candidate, in bases from the start site. Default and published: 100,000.
    #[serde(default = "default_max_distance")]
    pub max_distance: u64,
    /// Candidates per gene at most, the nearest ones. Default and published: 60.
    #[serde(default = "default_most")]
    pub most: usize,
    /// Bases that are read of a candidate, even; also the width around the start site without candidates. Default and
    /// published: 2,000.
    #[serde(default = "default_element_length")]
    pub element_length: u64,
}

fn default_max_distance() -> u64 {
    100_000
}

fn default_most() -> usize {
    60
}

fn default_element_length() -> u64 {
    2_000
}

impl CandidateConfig {
    /// Adds every problem that can be seen without opening the file.
    pub(crate) fn validate(&self, problems: &mut Vec<String>) {
        if self.elements.is_some() == self.links.is_some() {
            problems.push("candidates needs one of elements and links".into());
        }
        if self.element_length == 0 || !self.element_length.is_multiple_of(2) {
            problems.push(format!(
                "candidates.element_length {} must be even and at least 2",
                self.element_length
            ));
        }
        if self.most == 0 || self.max_distance == 0 {
            problems.push("candidates.most and candidates.max_distance must be at least 1".into());
        }
    }

    /// Whether an element at this distance from the start site counts.
    fn is_near(&self, distance: f64) -> bool {
        distance > (self.element_length / 2) as f64 && distance <= self.max_distance as f64
    }
}

/// One candidate enhancer of a gene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// First base that is read, 0-based; of a longer element than is read, its middle.
    pub start: u64,
    /// One past the last base that is read.
    pub end: u64,
    /// Bases between the middle of the element and the start site, in thousands.
    pub distance_kb: f32,
    /// `log10(contact + 1)`; 0 where it is not known.
    pub contact_log10p1: f32,
    /// Activity, in the unit of its source.
    pub activity: f32,
}

/// The candidate enhancers of one gene, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// Bases that are read of each at most.
    pub element_length: u64,
    /// The candidates.
    pub list: Vec<Candidate>,
}

/// Where the candidates of a data set come from.
#[derive(Debug)]
pub(crate) enum CandidateSource {
    /// Elements of all genes.
    Elements(RegionIndex),
    /// Candidates by the name or identifier of their gene.
    Links(HashMap<String, Vec<EnhancerLink>>),
}

impl CandidateSource {
    /// Reads the links of the genes, which may be named by symbol or identifier.
    ///
    /// # Errors
    /// [`DatasetError::NoCandidates`] when no gene has one; what a damaged file causes.
    pub(crate) fn read_links(
        config: &CandidateConfig,
        path: &PathBuf,
        genes: &[Gene],
    ) -> Result<Self, DatasetError> {
        let names: std::collections::HashSet<&str> = genes
            .iter()
            .flat_map(|gene| [gene.symbol.as_str(), gene.gene_id.as_str()])
            .collect();
        let links = read_enhancer_links(path, |link| {
            config.is_near(link.distance) && names.contains(link.gene.as_str())
        })?;
        match genes.first() {
            Some(gene) if links.is_empty() => Err(DatasetError::NoCandidates {
                path: path.clone(),
                symbol: gene.symbol.clone(),
                gene_id: gene.gene_id.clone(),
            }),
            _ => {
                let mut by_gene: HashMap<String, Vec<EnhancerLink>> = HashMap::new();
                for link in links {
                    by_gene.entry(link.gene.clone()).or_default().push(link);
                }
                Ok(CandidateSource::Links(by_gene))
            }
        }
    }

    /// The candidates of one gene whose middle lies in its window.
    ///
    /// `measure` gives activity and `log10(contact + 1)` of an element, its interval and middle, where the source does
    /// not tell them.
    pub(crate) fn of_gene(
        &self,
        gene: &Gene,
        window: &Window,
        config: &CandidateConfig,
        mut measure: impl FnMut(&Interval, u64) -> Result<(f64, f32), DatasetError>,
    ) -> Result<Candidates, DatasetError> {
        let middle = |interval: &Interval| interval.start().midpoint(interval.end());
        let is_inside = |interval: &Interval| window.inside().contains(middle(interval));
        let mut list = Vec::new();
        match self {
            CandidateSource::Elements(regions) => {
                let mut near: Vec<(u64, &Interval)> = regions
                    .overlapping(window.inside())
                    .map(|region| &region.interval)
                    .filter(|interval| is_inside(interval))
                    .map(|interval| (middle(interval).abs_diff(window.tss()), interval))
                    .filter(|(distance, _)| config.is_near(*distance as f64))
                    .collect();
                // A narrowPeak file repeats a peak with several summits.
                near.sort_by_key(|(distance, interval)| {
                    (*distance, interval.start(), interval.end())
                });
                near.dedup_by_key(|(_, interval)| (interval.start(), interval.end()));
                for (distance, interval) in near.into_iter().take(config.most) {
                    let (activity, contact_log10p1) = measure(interval, middle(interval))?;
                    list.push(candidate(
                        interval,
                        distance as f64,
                        activity,
                        contact_log10p1,
                        config,
                    ));
                }
            }
            CandidateSource::Links(by_gene) => {
                let links = by_gene
                    .get(&gene.gene_id)
                    .or_else(|| by_gene.get(&gene.symbol));
                let mut near: Vec<&EnhancerLink> = links
                    .into_iter()
                    .flatten()
                    .filter(|link| is_inside(&link.element))
                    .collect();
                near.sort_by(|a, b| {
                    let place = |link: &EnhancerLink| (link.element.start(), link.element.end());
                    a.distance
                        .total_cmp(&b.distance)
                        .then(place(a).cmp(&place(b)))
                });
                for link in near.into_iter().take(config.most) {
                    let contact = link.contact.map_or(0.0, |contact| (contact + 1.0).log10());
                    list.push(candidate(
                        &link.element,
                        link.distance,
                        link.activity,
                        contact as f32,
                        config,
                    ));
                }
            }
        }
        Ok(Candidates {
            element_length: config.element_length,
            list,
        })
    }
}

/// A candidate of which at most the middle `element_length` bases are read.
fn candidate(
    interval: &Interval,
    distance: f64,
    activity: f64,
    contact_log10p1: f32,
    config: &CandidateConfig,
) -> Candidate {
    let half = config.element_length / 2;
    let middle = interval.start().midpoint(interval.end());
    let is_long = interval.len() > config.element_length;
    let (start, end) = match is_long {
        true => (middle.saturating_sub(half), middle + half),
        false => (interval.start(), interval.end()),
    };
    Candidate {
        start,
        end,
        distance_kb: (distance / 1000.0) as f32,
        contact_log10p1,
        activity: activity as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use genome::{Region, Strand};

    fn gene() -> Gene {
        Gene {
            gene_id: "ID".into(),
            symbol: "GENE".into(),
            chrom: "c".into(),
            tss: 500,
            strand: Strand::Forward,
            gene_type: None,
            split: None,
            line: 2,
        }
    }

    fn config(more: &str) -> CandidateConfig {
        toml::from_str(&format!("element_length = 20\nmax_distance = 100\n{more}")).unwrap()
    }

    fn spans(candidates: &Candidates) -> Vec<(u64, u64)> {
        candidates.list.iter().map(|c| (c.start, c.end)).collect()
    }

    #[test]
    fn config_has_the_published_defaults() {
        let config: CandidateConfig = toml::from_str("links = 'l'").unwrap();
        let found = (config.max_distance, config.most, config.element_length);
        assert_eq!(found, (100_000, 60, 2_000));
    }

    #[test]
    fn validate_names_each_problem() {
        let problems = |text: &str| {
            let mut problems = Vec::new();
            let config: CandidateConfig = toml::from_str(text).unwrap();
            config.validate(&mut problems);
            problems
        };
        for (text, part) in [
            ("", "one of elements and links"),
            ("elements = 'e'\nlinks = 'l'", "one of elements and links"),
            (
                "links = 'l'\nelement_length = 0",
                "element_length 0 must be even",
            ),
            (
                "links = 'l'\nelement_length = 3",
                "element_length 3 must be even",
            ),
            ("links = 'l'\nmost = 0", "must be at least 1"),
            ("links = 'l'\nmax_distance = 0", "must be at least 1"),
        ] {
            let problems = problems(text);
            assert!(
                problems.len() == 1 && problems[0].contains(part),
                "{text}: {problems:?}"
            );
        }
        for sound in [
            "elements = 'e'",
            "links = 'l'\nelement_length = 2\nmost = 1\nmax_distance = 1",
        ] {
            assert_eq!(problems(sound), [""; 0], "{sound}");
        }
    }

    #[test]
    fn elements_are_near_but_not_at_the_start_site_nearest_first() {
        let region = |start, end| Region::new(Interval::try_new("c", start, end).unwrap());
        let source = CandidateSource::Elements(RegionIndex::new(vec![
            region(506, 514), // middle 510, 10 away: the promoter itself
            region(507, 515), // middle 511, 11 away
            region(450, 500), // middle 475, 25 away, longer than 20: 465 to 485
            region(450, 500), // again
            region(396, 404), // middle 400, 100 away
            region(395, 403), // middle 399, 101 away: too far
            region(580, 621), // middle 600, 100 away, longer than 20
        ]));
        let window = Window::centered_on("c", 500, 300, 1000).unwrap();
        let measure = |interval: &Interval, middle: u64| Ok((interval.len() as f64, middle as f32));
        let all = source
            .of_gene(&gene(), &window, &config("elements = \"e\""), measure)
            .unwrap();
        assert_eq!(
            spans(&all),
            [(507, 515), (465, 485), (396, 404), (590, 610)]
        );
        // Distance in kb, activity of the whole element, contact at its middle.
        let far = all.list[3];
        assert_eq!(
            (far.distance_kb, far.activity, far.contact_log10p1),
            (0.1, 41.0, 600.0)
        );
        let two = source
            .of_gene(
                &gene(),
                &window,
                &config("elements = \"e\"\nmost = 2"),
                measure,
            )
            .unwrap();
        assert_eq!(spans(&two), [(507, 515), (465, 485)]);
        // A window of 80 bases ends at 540 and begins at 460.
        let narrow = Window::centered_on("c", 500, 80, 1000).unwrap();
        let inside = source
            .of_gene(&gene(), &narrow, &config("elements = \"e\""), measure)
            .unwrap();
        assert_eq!(spans(&inside), [(507, 515), (465, 485)]);
    }

    #[test]
    fn links_are_found_by_identifier_or_symbol_and_keep_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("links.txt");
        let header = "chr\tstart\tend\tTargetGene\tdistance\tactivity_base\thic_contact\n";
        let rows = "c\t590\t610\tID\t100\t2.5\t99\nc\t520\t530\tID\t25\t3\t\nc\t520\t530\tOTHER\t25\t1\t1\n\
                    c\t500\t510\tID\t5\t1\t1\nc\t700\t710\tID\t205\t1\t1\n";
        std::fs::write(&path, format!("{header}{rows}")).unwrap();
        let config = config("links = \"l\"");
        let window = Window::centered_on("c", 500, 300, 1000).unwrap();
        let never = |_: &Interval, _: u64| panic!("links have their own values");
        for key in ["ID", "GENE"] {
            let text = std::fs::read_to_string(&path)
                .unwrap()
                .replace("\tID\t", &format!("\t{key}\t"));
            std::fs::write(&path, text).unwrap();
            let source = CandidateSource::read_links(&config, &path, &[gene()]).unwrap();
            let found = source.of_gene(&gene(), &window, &config, never).unwrap();
            assert_eq!(spans(&found), [(520, 530), (590, 610)], "{key}");
            // log10(99 + 1) = 2; an unknown contact is 0.
            assert_eq!(found.list[1].contact_log10p1, 2.0);
            assert_eq!(
                (found.list[0].contact_log10p1, found.list[0].activity),
                (0.0, 3.0)
            );
            std::fs::write(&path, format!("{header}{rows}")).unwrap();
        }
        let stranger = Gene {
            gene_id: "X".into(),
            symbol: "Y".into(),
            ..gene()
        };
        let error = CandidateSource::read_links(&config, &path, &[stranger])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("links.txt") && error.contains("\"Y\""),
            "{error}"
        );
    }
}
