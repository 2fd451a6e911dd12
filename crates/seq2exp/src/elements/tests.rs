use proptest::prelude::*;

use super::*;

fn window(tss: u64, length: u64, chrom_length: u64) -> Window {
    Window::centered_on("chr1", tss, length, chrom_length).expect("a valid window")
}

fn config(threshold: f64, merge_within: u64, min_length: u64) -> DiscoverConfig {
    DiscoverConfig {
        select: Selection::Threshold(threshold),
        merge_within,
        min_length,
        promoter: PromoterElements::Report,
    }
}

/// Elements as `class start-end`, of a mask written in tenths (`9` = 0.9, `#` = 1).
fn found(
    place: &Window,
    promoter: u64,
    mask: &str,
    regions: &str,
    config: &DiscoverConfig,
) -> Vec<String> {
    let mask: Vec<f32> = mask
        .chars()
        .map(|c| c.to_digit(10).map_or(1.0, |tenths| tenths as f32 / 10.0))
        .collect();
    let regions: Vec<RegionCode> = regions
        .chars()
        .map(|c| match c {
            'x' => RegionCode::Zero,
            'i' => RegionCode::One,
            _ => RegionCode::Keep,
        })
        .collect();
    let gene = MaskedWindow::try_new("G", place, Strand::Forward, promoter, &regions, &mask)
        .expect("mask and regions fit");
    find_elements(&gene, config)
        .iter()
        .map(|e| format!("{} {}-{}", e.class, e.interval.start(), e.interval.end()))
        .collect()
}

#[test]
fn runs_at_or_above_the_threshold_become_elements() {
    let place = window(105, 10, 1000); // offsets 0..10 are bases 100..110
    let plain = ".".repeat(10);
    let cases: [(&str, u64, u64, &[&str]); 10] = [
        ("0000000000", 0, 0, &[]),
        ("0500000000", 0, 0, &["element 101-102"]),
        ("0400000000", 0, 0, &[]),
        ("5000000005", 0, 0, &["element 100-101", "element 109-110"]),
        ("9999999999", 0, 0, &["element 100-110"]),
        // A gap of two bases: closer than three, not closer than two.
        ("0990099000", 2, 0, &["element 101-103", "element 105-107"]),
        ("0990099000", 3, 0, &["element 101-107"]),
        // Merging is transitive, and happens before short runs are dropped.
        ("9090900000", 2, 5, &["element 100-105"]),
        ("9090900000", 1, 2, &[]),
        ("9900099900", 0, 3, &["element 105-108"]),
    ];
    for (mask, merge_within, min_length, expected) in cases {
        let config = config(0.5, merge_within, min_length);
        assert_eq!(
            found(&place, 0, mask, &plain, &config),
            expected,
            "{mask} merged within {merge_within}, at least {min_length}"
        );
    }
}

#[test]
fn promoter_included_and_excluded_positions_keep_their_own_class() {
    let place = window(105, 10, 1000);
    let config = config(0.5, 100, 3);
    let cases: [(&str, &str, u64, &[&str]); 5] = [
        // The promoter is the two central positions, offsets 4 and 5; neighbours do not join it.
        (
            "9990##9990",
            "..........",
            2,
            &["element 100-103", "promoter 104-106", "element 106-109"],
        ),
        ("0000##0000", "..........", 2, &["promoter 104-106"]),
        // Included regions are reported whatever their length and are not merged with others.
        (
            "999#0#0000",
            "...i.i....",
            0,
            &["element 100-103", "included 103-104", "included 105-106"],
        ),
        // No element bridges an excluded base.
        (
            "9990999000",
            "...x......",
            0,
            &["element 100-103", "element 104-107"],
        ),
        // The promoter beats an included and an excluded region.
        ("0000##0000", "....ix....", 2, &["promoter 104-106"]),
    ];
    for (mask, regions, promoter, expected) in cases {
        assert_eq!(
            found(&place, promoter, mask, regions, &config),
            expected,
            "{mask} {regions}"
        );
    }
    let left_out = DiscoverConfig {
        promoter: PromoterElements::LeaveOut,
        ..config
    };
    assert_eq!(
        found(&place, 2, "9990##9990", "..........", &left_out),
        ["element 100-103", "element 106-109"],
        "the promoter separates its neighbours also where it is left out"
    );
}

#[test]
fn elements_stay_inside_their_chromosome() {
    let config = config(0.5, 3, 1);
    // Left end: offsets 0..3 lie before base 0. Right end: the chromosome ends at base 12.
    let left = window(2, 10, 1000);
    assert_eq!(
        found(&left, 0, "9999999999", &".".repeat(10), &config),
        ["element 0-7"]
    );
    let right = window(10, 10, 12);
    assert_eq!(
        found(&right, 4, "9999999999", &".".repeat(10), &config),
        ["element 5-8", "promoter 8-12"]
    );
    let single = window(0, 1, 1);
    assert_eq!(found(&single, 0, "9", ".", &config), ["element 0-1"]);
    assert_eq!(found(&single, 2000, "#", ".", &config), ["promoter 0-1"]);
}

#[test]
fn top_fraction_takes_ties_but_never_the_floor() {
    let place = window(105, 10, 1000);
    let plain = ".".repeat(10);
    let top = |fraction| DiscoverConfig {
        select: Selection::TopFraction(fraction),
        ..config(0.5, 0, 0)
    };
    let cases: [(&str, f64, &[&str]); 7] = [
        ("0123456789", 0.1, &["element 109-110"]),
        ("0123456789", 0.2, &["element 108-110"]),
        ("0123456789", 0.11, &["element 108-110"]), // 1.1 positions are rounded up to 2
        ("0123456789", 1.0, &["element 101-110"]),
        ("3333333333", 0.1, &[]),
        ("000##00000", 0.5, &["element 103-105"]),
        ("000#####00", 0.1, &["element 103-108"]),
    ];
    for (mask, fraction, expected) in cases {
        assert_eq!(
            found(&place, 0, mask, &plain, &top(fraction)),
            expected,
            "{mask} {fraction}"
        );
    }
    // Forced positions do not use up the fraction: of the eight others, a quarter is two.
    assert_eq!(
        found(&place, 2, "0012##1987", &plain, &top(0.25)),
        ["promoter 104-106", "element 107-109"]
    );
}

#[test]
fn element_measures_mask_distance_and_tracks() {
    let place = window(105, 10, 1000);
    let regions = [RegionCode::Keep; 10];
    let mask = [0.0, 0.5, 1.0, 0.75, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
    // Two tracks: the offset itself, and twice the offset.
    let tracks: Vec<f32> = (0..10).flat_map(|i| [i as f32, 2.0 * i as f32]).collect();
    let on = |strand| {
        let gene = MaskedWindow::try_new("G", &place, strand, 0, &regions, &mask)
            .and_then(|gene| gene.with_tracks(&tracks, 2))
            .expect("mask and tracks fit");
        find_elements(&gene, &config(0.5, 0, 0))
    };
    let forward = on(Strand::Forward);
    assert_eq!(forward.len(), 2);
    // Bases 101..104: (0.5 + 1 + 0.75) / 3 = 0.75; the TSS, base 105, is 2 after base 103.
    assert_eq!(forward[0].interval.to_string(), "chr1:102-104");
    assert_eq!(
        (forward[0].mean, forward[0].max, forward[0].area),
        (0.75, 1.0, 2.25)
    );
    assert_eq!((forward[0].summit, forward[0].distance), (102, -2));
    assert_eq!(forward[0].track_means, [2.0, 4.0]);
    // Bases 108..110 begin 3 after the TSS.
    assert_eq!((forward[1].summit, forward[1].distance), (108, 3));
    let reverse = on(Strand::Reverse);
    assert_eq!((reverse[0].distance, reverse[1].distance), (2, -3));
}

#[test]
fn distance_is_zero_only_where_the_element_holds_the_tss() {
    let cases = [
        (90, 100, -1),
        (90, 101, 0),
        (100, 101, 0),
        (101, 110, 1),
        (50, 60, -41),
    ];
    for (start, end, expected) in cases {
        let interval = Interval::try_new("chr1", start, end).expect("start < end");
        assert_eq!(signed_distance(&interval, 100, Strand::Forward), expected);
        assert_eq!(signed_distance(&interval, 100, Strand::Reverse), -expected);
    }
}

#[test]
fn ratios_count_what_they_say() {
    let place = window(3, 10, 1000); // two positions of padding
    let mut regions = [RegionCode::Keep; 10];
    regions[9] = RegionCode::Zero;
    let mask = [0.0, 0.0, 0.5, 0.25, 1.0, 1.0, 0.0, 0.25, 0.0, 0.0];
    let gene =
        MaskedWindow::try_new("G", &place, Strand::Forward, 2, &regions, &mask).expect("mask fits");
    assert_eq!(gene.mask_ratio(), 0.3); // 3 / 10
    assert_eq!(gene.chosen_ratio(), 0.2); // (0.5 + 0.25 + 0 + 0.25 + 0) / 5
    let ratio = |threshold, merge_within| {
        gene.element_ratio(&find_elements(&gene, &config(threshold, merge_within, 0)))
    };
    // Of offsets 2, 3, 6, 7 and 8; the promoter (4 and 5) does not count.
    assert_eq!(ratio(0.5, 0), 0.2);
    assert_eq!(ratio(0.25, 0), 0.6);
    assert_eq!(ratio(0.75, 0), 0.0);
}

#[test]
fn bases_of_merged_gaps_are_elements_but_not_selected() {
    let place = window(105, 10, 1000);
    let regions = [RegionCode::Keep; 10];
    // A mask that is nearly flat: its top three bases are spread over the window.
    let mask = [0.3, 0.2, 0.2, 0.2, 0.2, 0.3, 0.2, 0.2, 0.2, 0.3];
    let gene =
        MaskedWindow::try_new("G", &place, Strand::Forward, 0, &regions, &mask).expect("mask fits");
    let selected = |merge_within| -> Vec<(u64, f64)> {
        let config = DiscoverConfig {
            select: Selection::TopFraction(0.3),
            ..config(0.0, merge_within, 0)
        };
        find_elements(&gene, &config)
            .iter()
            .map(|element| (element.interval.len(), element.selected))
            .collect()
    };
    assert_eq!(selected(0), [(1, 1.0), (1, 1.0), (1, 1.0)]);
    // Offsets 5 and 9 are 3 bases apart, 0 and 5 are 4: 2 of 5 bases, then 3 of 10.
    assert_eq!(selected(4), [(1, 1.0), (5, 0.4)]);
    assert_eq!(selected(5), [(10, 0.3)]);
}

#[test]
fn mask_that_does_not_fit_names_gene_and_position() {
    let place = window(105, 10, 1000);
    let regions = [RegionCode::Keep; 10];
    let build = |mask: &[f32]| {
        MaskedWindow::try_new("MYC", &place, Strand::Forward, 0, &regions, mask)
            .expect_err("the mask does not fit")
            .to_string()
    };
    assert!(build(&[0.0; 9]).contains("MYC"));
    for bad in [f32::NAN, -0.1, 1.1, f32::INFINITY] {
        let mut mask = [0.5; 10];
        mask[3] = bad;
        let message = build(&mask);
        assert!(
            message.contains("MYC") && message.contains("chr1:104"),
            "{message}"
        );
    }
    let mask = [0.5; 10];
    let gene = MaskedWindow::try_new("MYC", &place, Strand::Forward, 0, &regions, &mask)
        .expect("mask fits");
    assert!(gene.with_tracks(&[0.0; 29], 3).is_err());
}

/// Windows at both ends of and inside short chromosomes; masks of runs rather than noise.
fn genes() -> impl Strategy<Value = (Window, Vec<f32>, Vec<RegionCode>)> {
    (1_u64..200, 1_u64..300, 0.0..1.0_f64)
        .prop_flat_map(|(length, chrom_length, place)| {
            let tss = ((chrom_length as f64 * place) as u64).min(chrom_length - 1);
            let value = prop_oneof![3 => Just(0.0_f32), 2 => Just(0.6), 1 => 0.0..=1.0_f32];
            let region = prop_oneof![
                8 => Just(RegionCode::Keep),
                1 => Just(RegionCode::Zero),
                1 => Just(RegionCode::One)
            ];
            let runs = prop::collection::vec((value, region, 1_usize..12), 200);
            (Just(window(tss, length, chrom_length)), runs)
        })
        .prop_map(|(place, runs)| {
            let length = place.length() as usize;
            let spread: Vec<(f32, RegionCode)> = runs
                .into_iter()
                .flat_map(|(value, region, n)| std::iter::repeat_n((value, region), n))
                .take(length)
                .collect();
            let (mask, regions) = spread.into_iter().unzip();
            (place, mask, regions)
        })
}

proptest! {
    #[test]
    fn elements_are_inside_sorted_disjoint_and_complete(
        (place, mask, regions) in genes(),
        promoter in 0_u64..40,
        merge_within in 0_u64..20,
        min_length in 0_u64..20,
        threshold in 0.05..1.0_f64,
    ) {
        let gene = MaskedWindow::try_new(
            "G", &place, Strand::Reverse, promoter, &regions, &mask,
        ).expect("the generator makes masks that fit");
        let config = config(threshold, merge_within, min_length);
        let elements = find_elements(&gene, &config);
        for element in &elements {
            prop_assert!(element.interval.end() <= place.chrom_length());
            prop_assert!(!element.interval.is_empty());
            prop_assert!(element.mean <= element.max && (0.0..=1.0).contains(&element.max));
            prop_assert!(element.interval.contains(element.summit));
        }
        for pair in elements.windows(2) {
            prop_assert!(pair[0].interval.end() <= pair[1].interval.start());
        }
        for offset in 0..mask.len() {
            let Some(position) = place.position_at(offset) else { continue };
            let Some(class) = gene.class_at(offset) else {
                prop_assert!(elements.iter().all(|e| !e.interval.contains(position)));
                continue;
            };
            let holder = elements.iter().find(|e| e.interval.contains(position));
            if let Some(element) = holder {
                prop_assert_eq!(element.class, class);
            } else if class == ElementClass::Element && mask[offset] >= threshold as f32 {
                // Left out only because the run around it, as wide as it goes, is too short.
                let selected = |at: usize| gene.class_at(at) == Some(class)
                    && mask[at] >= threshold as f32
                    && place.position_at(at).is_some();
                let left = (0..=offset).rev().take_while(|&at| selected(at)).count() - 1;
                let right = (offset..mask.len()).take_while(|&at| selected(at)).count();
                prop_assert!(((left + right) as u64) < min_length);
            } else {
                prop_assert_eq!(class, ElementClass::Element);
            }
        }
    }
}
