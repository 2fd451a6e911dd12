use super::*;
use crate::config::NetworkSize;

#[test]
fn widths_of_the_published_tower_are_enformers() {
    let expected = [768, 768, 896, 1024, 1152, 1280, 1536];
    assert_eq!(EnformerConfig::published().widths(), expected);
}

#[test]
fn resized_network_has_published_bins_in_windows_that_hold_enough_of_them() {
    for (length, bin, crop) in [
        (200_000, 128, 199_936),
        (20_000, 128, 19_968),
        (16_384, 128, 16_384),
        (16_383, 64, 16_320),
        (2_000, 8, 2_000),
        (100, 8, 96),
    ] {
        let mut config = EnformerConfig::published();
        config.resize(NetworkSize {
            d_model: 32,
            n_layer: 2,
            promoter: 50,
            length,
        });
        assert_eq!((config.bin(), config.crop), (bin, crop), "{length}");
        assert_eq!(config.problems(), [""; 0], "{length}");
    }
}

#[test]
fn log_gamma_matches_factorials() {
    for (x, expected) in [
        (1.0, 0.0),
        (5.0, 24.0_f64.ln()),
        (0.5, std::f64::consts::PI.sqrt().ln()),
    ] {
        assert!((log_gamma(x) - expected).abs() < 1e-12, "{x}");
    }
}

#[test]
fn by_offset_column_minus_row_picks_the_distance() {
    // n = 3: distances -2 ..= 2; the value is 10 row + distance.
    let values: Vec<f32> = (0..3)
        .flat_map(|row| (-2..=2).map(move |distance| (10 * row + distance) as f32))
        .collect();
    let x = Tensor::<4>::from_data(TensorData::new(values, [1, 1, 3, 5]), &Device::flex());
    let found = by_offset(x).into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(found, [0.0, 1.0, 2.0, 9.0, 10.0, 11.0, 18.0, 19.0, 20.0]);
}

#[test]
fn attention_pool_of_equal_logits_is_the_mean() {
    let device = Device::flex();
    let x = Tensor::<3>::from_data(TensorData::from([[[1.0_f32, 3.0, 5.0, 5.0]]]), &device);
    let zero = Tensor::<2>::zeros([1, 1], &device);
    let found = attention_pool(x, zero)
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    assert_eq!(found, [2.0, 5.0]);
}
