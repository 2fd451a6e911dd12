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

/// A length near a multiple of `boundary` and a range in it, often from or to one, else below `inside`.
pub(super) fn length_and_outputs(
    boundary: usize,
    multiples: Range<usize>,
    inside: usize,
) -> impl Strategy<Value = (usize, Range<usize>)> {
    let any_near = move || near(boundary, multiples.clone());
    let edge = || prop_oneof![any_near(), near(boundary, 1..2), 0usize..inside];
    (any_near(), edge(), edge()).prop_map(|(length, a, b)| {
        let start = a.min(b).min(length - 1);
        (length, start..a.max(b).clamp(start + 1, length))
    })
}

/// Runs a check on cases that are the same on every run.
pub(super) fn check_cases<S: Strategy>(n_case: u32, cases: S, check: impl Fn(S::Value)) {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::with_cases(n_case), rng);
    let result = runner.run(&cases, |case| {
        check(case);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn block_near_any_boundary_agrees_with_the_reference() {
    let ranges = length_and_outputs(TILE, 0..4, 1000);
    let cases = (sizes(), ranges, 1usize..3, any::<u64>());
    check_cases(N_CASE, cases, |(sizes, (length, outputs), batch, seed)| {
        for level in SimdLevel::available() {
            check_part(level, batch, length, &outputs, sizes, seed);
        }
    });
}
