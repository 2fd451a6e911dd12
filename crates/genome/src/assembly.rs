//! Which assembly of a genome the lengths of chromosomes belong to.

use crate::chrom_sizes::ChromSizes;

/// An assembly and the lengths of its chromosomes 1, 2, …, X, Y in bases.
struct Assembly {
    name: &'static str,
    lengths: &'static [u64],
}

/// The assemblies that are recognised, by their UCSC names.
///
/// # Reference
/// UCSC, `<name>.chrom.sizes`; hs1 is T2T-CHM13v2.0.
const ASSEMBLIES: [Assembly; 5] = [
    assembly(
        "hg19",
        &[
            249_250_621,
            243_199_373,
            198_022_430,
            191_154_276,
            180_915_260,
            171_115_067,
            159_138_663,
            146_364_022,
            141_213_431,
            135_534_747,
            135_006_516,
            133_851_895,
            115_169_878,
            107_349_540,
            102_531_392,
            90_354_753,
            81_195_210,
            78_077_248,
            59_128_983,
            63_025_520,
            48_129_895,
            51_304_566,
            155_270_560,
            59_373_566,
        ],
    ),
    assembly(
        "hg38",
        &[
            248_956_422,
            242_193_529,
            198_295_559,
            190_214_555,
            181_538_259,
            170_805_979,
            159_345_973,
            145_138_636,
            138_394_717,
            133_797_422,
            135_086_622,
            133_275_309,
            114_364_328,
            107_043_718,
            101_991_189,
            90_338_345,
            83_257_441,
            80_373_285,
            58_617_616,
            64_444_167,
            46_709_983,
            50_818_468,
            156_040_895,
            57_227_415,
        ],
    ),
    assembly(
        "T2T (hs1)",
        &[
            248_387_328,
            242_696_752,
            201_105_948,
            193_574_945,
            182_045_439,
            172_126_628,
            160_567_428,
            146_259_331,
            150_617_247,
            134_758_134,
            135_127_769,
            133_324_548,
            113_566_686,
            101_161_492,
            99_753_195,
            96_330_374,
            84_276_897,
            80_542_538,
            61_707_364,
            66_210_255,
            45_090_682,
            51_324_926,
            154_259_566,
            62_460_029,
        ],
    ),
    assembly(
        "mm10",
        &[
            195_471_971,
            182_113_224,
            160_039_680,
            156_508_116,
            151_834_684,
            149_736_546,
            145_441_459,
            129_401_213,
            124_595_110,
            130_694_993,
            122_082_543,
            120_129_022,
            120_421_639,
            124_902_244,
            104_043_685,
            98_207_768,
            94_987_271,
            90_702_639,
            61_431_566,
            171_031_299,
            91_744_698,
        ],
    ),
    assembly(
        "mm39",
        &[
            195_154_279,
            181_755_017,
            159_745_316,
            156_860_686,
            151_758_149,
            149_588_044,
            144_995_196,
            130_127_694,
            124_359_700,
            130_530_862,
            121_973_369,
            120_092_757,
            120_883_175,
            125_139_656,
            104_073_951,
            98_008_968,
            95_294_699,
            90_720_763,
            61_420_004,
            169_476_592,
            91_455_967,
        ],
    ),
];

const fn assembly(name: &'static str, lengths: &'static [u64]) -> Assembly {
    Assembly { name, lengths }
}

impl Assembly {
    /// Length of a chromosome, written with or without `chr`, if the assembly has it.
    fn length_of(&self, chrom: &str) -> Option<u64> {
        let n_autosomes = self.lengths.len().checked_sub(2)?;
        let index = match chrom.strip_prefix("chr").unwrap_or(chrom) {
            "X" => n_autosomes,
            "Y" => n_autosomes + 1,
            // Not "01" and not "+1".
            digits if digits.starts_with(|c: char| c.is_ascii_digit() && c != '0') => digits
                .parse::<usize>()
                .ok()
                .and_then(|number| number.checked_sub(1))
                .filter(|index| *index < n_autosomes)?,
            _ => return None,
        };
        self.lengths.get(index).copied()
    }
}

/// Chromosomes 1, 2, …, X and Y, named `chr1` and so on, of an assembly called as [`assembly_of`] calls it.
///
/// ```
/// let sizes = genome::assembly_sizes("hg38").unwrap();
/// assert_eq!(sizes.get("chr22"), Some(50_818_468));
/// assert_eq!(genome::assembly_sizes("hg0"), None);
/// ```
pub fn assembly_sizes(name: &str) -> Option<ChromSizes> {
    let assembly = ASSEMBLIES.iter().find(|assembly| assembly.name == name)?;
    let numbers = 1..=assembly.lengths.len().saturating_sub(2);
    let names = numbers
        .map(|number| number.to_string())
        .chain(["X".to_string(), "Y".to_string()]);
    let sizes = names
        .zip(assembly.lengths)
        .map(|(name, length)| (format!("chr{name}"), *length));
    Some(ChromSizes::new(sizes.collect()))
}

/// The assembly whose chromosomes have these lengths: hg19, hg38, T2T (hs1), mm10 or mm39.
///
/// At least one of its chromosomes must be there, and none with another length. Names are
/// compared without `chr`; names that no assembly has (contigs, M) count for nothing.
///
/// ```
/// use genome::{ChromSizes, assembly_of};
/// let sizes = ChromSizes::new(vec![("chr22".to_string(), 50_818_468)]);
/// assert_eq!(assembly_of(&sizes), Some("hg38"));
/// ```
pub fn assembly_of(sizes: &ChromSizes) -> Option<&'static str> {
    let fits = |assembly: &&Assembly| {
        let mut known = sizes
            .iter()
            .filter_map(|(chrom, length)| Some((length, assembly.length_of(chrom)?)))
            .peekable();
        known.peek().is_some() && known.all(|(length, expected)| length == expected)
    };
    ASSEMBLIES.iter().find(fits).map(|assembly| assembly.name)
}

/// The assembly whose chromosome of this name, with or without `chr`, has this length.
pub fn assembly_of_chrom(chrom: &str, length: u64) -> Option<&'static str> {
    ASSEMBLIES
        .iter()
        .find(|assembly| assembly.length_of(chrom) == Some(length))
        .map(|assembly| assembly.name)
}

/// The assembly of the same species that has room for a position which a chromosome of this
/// length has not.
pub(crate) fn assembly_with_room(chrom: &str, position: u64, length: u64) -> Option<&'static str> {
    let present = ASSEMBLIES
        .iter()
        .find(|assembly| assembly.length_of(chrom) == Some(length))?;
    ASSEMBLIES
        .iter()
        .filter(|assembly| assembly.lengths.len() == present.lengths.len())
        .find(|assembly| {
            assembly
                .length_of(chrom)
                .is_some_and(|length| position < length)
        })
        .map(|assembly| assembly.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(names: &[(&str, u64)]) -> ChromSizes {
        ChromSizes::new(
            names
                .iter()
                .map(|(name, length)| (name.to_string(), *length))
                .collect(),
        )
    }

    #[test]
    fn assembly_of_needs_every_known_chromosome_to_fit() {
        type Case = (&'static [(&'static str, u64)], Option<&'static str>);
        let cases: [Case; 11] = [
            (&[("chr1", 248_956_422), ("chrM", 16_569)], Some("hg38")),
            (&[("1", 249_250_621), ("X", 155_270_560)], Some("hg19")),
            (&[("chrY", 62_460_029)], Some("T2T (hs1)")),
            (&[("chr19", 61_431_566), ("GL456210.1", 5)], Some("mm10")),
            (&[("chrX", 169_476_592)], Some("mm39")),
            (&[("chr1", 248_956_422), ("chr2", 243_199_373)], None),
            (&[("chr1", 5)], None),
            (&[("chrM", 16_569)], None),
            // Man has 22 autosomes: the 23rd length is that of X.
            (&[("chr23", 156_040_895)], None),
            (&[("chr01", 248_956_422), ("chr+1", 248_956_422)], None),
            (&[], None),
        ];
        for (names, expected) in cases {
            assert_eq!(assembly_of(&sizes(names)), expected, "{names:?}");
        }
        // A mouse has no chromosome 20.
        assert_eq!(assembly_of_chrom("chr20", 64_444_167), Some("hg38"));
        assert_eq!(assembly_of_chrom("chr25", 64_444_167), None);
    }

    #[test]
    fn assembly_with_room_stays_within_the_species() {
        // chr19 is 59,128,983 in hg19, 58,617,616 in hg38, 61,707,364 in T2T, 61,431,566 in mm10.
        let cases = [
            (59_000_000, 58_617_616, Some("hg19")),
            // The last base of hg19's chr19, and the one behind it.
            (59_128_982, 58_617_616, Some("hg19")),
            (59_128_983, 58_617_616, Some("T2T (hs1)")),
            (59_500_000, 58_617_616, Some("T2T (hs1)")),
            (61_430_000, 61_420_004, Some("mm10")),
            (99_000_000, 58_617_616, None),
            (59_000_000, 58_000_000, None),
        ];
        for (position, length, expected) in cases {
            let found = assembly_with_room("chr19", position, length);
            assert_eq!(found, expected, "{position} {length}");
        }
    }
}
