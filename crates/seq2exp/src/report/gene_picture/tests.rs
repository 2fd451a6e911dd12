use dataset::Window;
use genome::Interval;

use super::super::PictureTrack;
use super::super::markup::assert_well_formed;
use super::*;

fn picture(tss: u64, length: u64, chrom_length: u64) -> GenePicture {
    let window = Window::centered_on("chr1", tss, length, chrom_length).expect("a window");
    let n = length as usize;
    let track = |name: &str, values: Vec<f32>| PictureTrack {
        name: name.to_string(),
        values,
    };
    GenePicture {
        symbol: "<script>alert(1)</script>".to_string(),
        strand: Strand::Reverse,
        split: None,
        observed: None,
        predicted: None,
        tracks: vec![
            track("empty", Vec::new()),
            track("nothing, unit", vec![f32::NAN; n]),
            track("zero", vec![0.0; n]),
            track("values", (0..n).map(|i| (i % 7) as f32).collect()),
        ],
        mask: vec![0.5; n],
        limit: Some(0.4),
        elements: vec![Element {
            interval: window.inside().clone(),
            class: ElementClass::Element,
            selected: 1.0,
            mean: 0.5,
            max: 0.5,
            area: 1.0,
            summit: tss,
            distance: 0,
            track_means: Vec::new(),
        }],
        neighbours: vec![Neighbour {
            symbol: "a & b".to_string(),
            tss,
            strand: Strand::Forward,
        }],
        window,
    }
}

#[test]
fn pictures_of_any_window_are_well_formed_and_escaped() {
    let cases = [
        (0, 1, 1),
        (5, 10, 1000),
        (0, 100, 30),
        (500, 2000, 1000),
        (99, 100, 100),
    ];
    for (tss, length, chrom_length) in cases {
        let drawn = draw(&picture(tss, length, chrom_length));
        assert_eq!(drawn.len(), 1);
        assert_well_formed(&drawn[0]);
        assert!(!drawn[0].contains("<script") && !drawn[0].contains("NaN"));
    }
}

#[test]
fn long_windows_are_drawn_twice_and_stay_small() {
    let drawn = draw(&picture(300_000, 200_000, 1_000_000));
    assert_eq!(drawn.len(), 2);
    for part in drawn {
        assert_well_formed(&part);
        assert!(part.len() < 60_000, "{} bytes", part.len());
    }
}

#[test]
fn column_maxima_keep_single_bases_and_leave_out_padding() {
    let mut gene = picture(50_000, 100_000, 1_000_000);
    gene.mask = vec![0.0; 100_000];
    gene.mask[77_777] = 1.0;
    let part = Part {
        picture: &gene,
        offsets: 0..100_000,
    };
    let columns = column_maxima(&part, &gene.mask);
    assert_eq!(columns.len(), N_COLUMNS);
    // 77,777 / 100,000 of 888 columns is column 690.
    assert_eq!(columns[690], Some(1.0));
    assert_eq!(
        columns
            .iter()
            .flatten()
            .filter(|value| **value > 0.0)
            .count(),
        1
    );

    let gene = picture(2, 10, 1000);
    let part = Part {
        picture: &gene,
        offsets: 0..10,
    };
    let columns = column_maxima(&part, &gene.mask);
    assert_eq!(columns[..3], [None, None, None]);
    assert_eq!(columns[3], Some(0.5));
}

#[test]
fn elements_narrower_than_a_pixel_stay_visible() {
    let mut gene = picture(300_000, 200_000, 1_000_000);
    gene.elements[0].interval = Interval::try_new("chr1", 250_000, 250_001).expect("a base");
    let part = Part {
        picture: &gene,
        offsets: 0..200_000,
    };
    let (left, right) = part
        .element_pixels(&gene.elements[0])
        .expect("it is in the window");
    assert!((right - left - 1.5).abs() < 1e-9);
    gene.elements[0].interval = Interval::try_new("chr1", 10, 20).expect("bases");
    let part = Part {
        picture: &gene,
        offsets: 0..200_000,
    };
    assert!(part.element_pixels(&gene.elements[0]).is_none());
}
