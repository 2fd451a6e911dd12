//! Reads the contact profile of every gene of a table, as `oracle/bench_contacts.py` times it.
//!
//! ```text
//! cargo run --release -p genome --example contact_profiles -- MAP RESOLUTION NORMALIZATION GENES LENGTH ROUNDS
//! ```
//!
//! Prints the number of profiles and the sum of their contacts, masked bins left out. Each round
//! opens the map again, so that nothing is remembered from the one before.

use std::process::ExitCode;

use genome::{ContactMap, GenomeError, Interval, Normalization, read_gene_table};

const USAGE: &str = "usage: contact_profiles MAP RESOLUTION NORMALIZATION GENES LENGTH ROUNDS";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [map, resolution, normalization, genes, length, rounds] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (Ok(resolution), Ok(normalization), Ok(length), Ok(rounds)) = (
        resolution.parse(),
        normalization.parse(),
        length.parse(),
        rounds.parse(),
    ) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match sum_of_profiles(map, resolution, normalization, genes, length, rounds) {
        Ok((n_profiles, sum)) => {
            println!("{n_profiles}\t{sum:.6e}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn sum_of_profiles(
    map: &str,
    resolution: u32,
    normalization: Normalization,
    genes: &str,
    length: u64,
    rounds: u32,
) -> Result<(usize, f64), GenomeError> {
    let genes = read_gene_table(genes)?;
    let (mut n_profiles, mut sum) = (0, 0.0);
    for _ in 0..rounds {
        let map = ContactMap::open(map, resolution, normalization)?;
        (n_profiles, sum) = (0, 0.0);
        for gene in &genes {
            let Some(size) = map.chrom_sizes().get(&gene.chrom) else {
                continue;
            };
            let window = Interval::try_new(
                gene.chrom.as_str(),
                gene.tss.saturating_sub(length / 2),
                (gene.tss + length / 2).min(size),
            )?;
            let profile = map.read_profile(&gene.chrom, gene.tss, &window)?;
            let seen = profile.contacts.iter().filter(|contact| !contact.is_nan());
            n_profiles += 1;
            sum += seen.sum::<f64>();
        }
    }
    Ok((n_profiles, sum))
}
