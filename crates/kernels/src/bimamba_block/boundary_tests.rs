//! Lengths, channels, states and ranges that slide across the boundaries of tiles and vectors, on every level.

use std::ops::Range;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::layout::BlockSizes;
use super::output_tests::check_part;
use super::sweep::TILE;
use crate::lanes::WIDTH;
use crate::selective_scan::cpu::GROUP;
use crate::simd_level::SimdLevel;

/// Cases on each run.
const N_CASE: u32 = 24;

/// Numbers of at least 1 that lie within 3 of a small multiple of `boundary`.
pub(super) fn near(boundary: usize, multiples: Range<usize>) -> impl Strategy<Value = usize> {
    (multiples, 0usize..7)
        .prop_map(move |(multiple, beyond)| (multiple * boundary + beyond).saturating_sub(3).max(1))
}

/// At least 13 channels: an error is measured against a tensor's largest value, and the only gradient of a narrow block
/// may be a sum that nearly cancels. Narrower ones are in the table of the suite.
fn sizes() -> impl Strategy<Value = BlockSizes> {
    let channels = (near(WIDTH, 1..3), near(WIDTH, 1..3));
    (channels, near(GROUP, 0..3), 1usize..6, 1usize..4).prop_map(
        |((d_model, d_inner), d_state, d_conv, dt_rank)| BlockSizes {
            d_model,
            d_inner,
            d_state,
            d_conv,
            dt_rank,
        },
    )
}

/// A length near a tile's end and a range in it, often from or to a boundary.
fn length_and_outputs() -> impl Strategy<Value = (usize, Range<usize>)> {
    let edge = || prop_oneof![near(TILE, 0..4), near(TILE, 1..2), 0usize..1000];
    (near(TILE, 0..4), edge(), edge()).prop_map(|(length, a, b)| {
        let start = a.min(b).min(length - 1);
        (length, start..a.max(b).clamp(start + 1, length))
    })
}

#[test]
fn block_near_any_boundary_agrees_with_the_reference() {
    // The same cases on every run.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::with_cases(N_CASE), rng);
    let cases = (sizes(), length_and_outputs(), 1usize..3, any::<u64>());
    let result = runner.run(&cases, |(sizes, (length, outputs), batch, seed)| {
        for level in SimdLevel::available() {
            check_part(level, batch, length, &outputs, sizes, seed);
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
