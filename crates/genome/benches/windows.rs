//! Windows of the example's genes per second, straight from the raw files.
//!
//! `sequence_and_tracks` reads what `oracle/bench_windows.py` reads with pyfaidx and pyBigWig:
//! the bases and two tracks of the 200 kb around each of the 75 TSSs. Run both on one machine:
//!
//! ```text
//! cargo bench -p genome --bench windows
//! python oracle/bench_windows.py
//! ```

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use genome::{BigWig, ContactMap, Fasta, Gene, Interval, Normalization, read_gene_table};

const HALF_LENGTH: u64 = 100_000;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/k562_chr22")
        .join(name)
}

/// Every gene with its window, all of which lie inside the chromosome.
fn windows() -> Vec<(Gene, Interval)> {
    let genes = read_gene_table(example("genes.tsv")).expect("the example is committed");
    let window = |gene: &Gene| {
        let (start, end) = (gene.tss - HALF_LENGTH, gene.tss + HALF_LENGTH);
        Interval::try_new(gene.chrom.as_str(), start, end).expect("start is below end")
    };
    genes
        .into_iter()
        .map(|gene| (gene.clone(), window(&gene)))
        .collect()
}

fn sequence_and_tracks(criterion: &mut Criterion) {
    let windows = windows();
    let fasta = Fasta::open(example("genome.fa.gz")).expect("the example is committed");
    let tracks = ["h3k27ac.bw", "dnase.bw"]
        .map(|name| BigWig::open(example(name)).expect("the example is committed"));
    // The benchmark is of the right thing: every base and value is there.
    for (_, window) in &windows {
        assert_eq!(fasta.read_bases(window).expect("inside").len(), 200_000);
        for track in &tracks {
            assert_eq!(track.read_values(window).expect("inside").len(), 200_000);
        }
    }

    let mut group = criterion.benchmark_group("windows");
    group.sample_size(20);
    group.throughput(Throughput::Elements(windows.len() as u64));
    group.bench_function("sequence_and_tracks", |bencher| {
        bencher.iter(|| {
            for (_, window) in &windows {
                black_box(fasta.read_bases(window).expect("inside"));
                for track in &tracks {
                    black_box(track.read_values(window).expect("inside"));
                }
            }
        });
    });
    group.bench_function("sequence_and_tracks_all_cores", |bencher| {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        bencher.iter(|| {
            std::thread::scope(|scope| {
                for part in windows.chunks(windows.len().div_ceil(n_threads)) {
                    let (fasta, tracks) = (&fasta, &tracks);
                    scope.spawn(move || {
                        for (_, window) in part {
                            black_box(fasta.read_bases(window).expect("inside"));
                            for track in tracks {
                                black_box(track.read_values(window).expect("inside"));
                            }
                        }
                    });
                }
            });
        });
    });
    group.bench_function("sequence", |bencher| {
        bencher.iter(|| {
            for (_, window) in &windows {
                black_box(fasta.read_bases(window).expect("inside"));
            }
        });
    });
    group.bench_function("tracks", |bencher| {
        bencher.iter(|| {
            for (_, window) in &windows {
                for track in &tracks {
                    black_box(track.read_values(window).expect("inside"));
                }
            }
        });
    });
    group.finish();
}

fn contacts(criterion: &mut Criterion) {
    let windows = windows();
    let mut group = criterion.benchmark_group("contacts");
    group.sample_size(20);
    group.throughput(Throughput::Elements(windows.len() as u64));
    for (name, normalization) in [
        ("hic.mcool", Normalization::Weight),
        ("hic.hic", Normalization::None),
    ] {
        let open = || {
            ContactMap::open(example(name), 5_000, normalization).expect("the example is committed")
        };
        // Opened anew each time: an open map keeps the profiles it has read.
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let map = open();
                for (gene, window) in &windows {
                    let profile = map.read_profile(&gene.chrom, gene.tss, window);
                    black_box(profile.expect("inside"));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, sequence_and_tracks, contacts);
criterion_main!(benches);
