//! Runs that are asked to stop, and go on as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dataset::{DatasetError, Example, ExampleSource, Split};
use genome::Gene;
use model::NetworkKind;

use super::tests::{Fixture, assert_same_files, folder};
use super::*;
use crate::device::OpenDevice;
use crate::error::RunError;
use crate::interrupt::{Interrupt, Signal};
use crate::progress::ProgressMode;
use crate::synthetic::SyntheticSource;

#[test]
fn run_continued_after_every_step_equals_uninterrupted_bit_for_bit() {
    for (kind, random_mask_steps) in [
        (NetworkKind::Seq2ExpSoft, 0),
        (NetworkKind::Seq2ExpHard, 0),
        // Three steps under random masks alone, four with some beside.
        (NetworkKind::Seq2ExpDelta, 3),
    ] {
        let (whole, parts) = (folder(), folder());
        let mut fixture = Fixture::new(kind, 7);
        fixture.config.random_mask_steps = random_mask_steps;
        fixture.config.accumulation = 1;
        let summary = fixture.run(whole.path()).expect("trained");
        assert_eq!((summary.steps, summary.steps_before), (7, 0));
        // Each attempt is asked to stop at once: it does one step of one pass, saves and stops. Thread counts change on the
        // way.
        for attempt in 1..=7 {
            fixture.config.loader_threads = 1 + attempt % 3;
            fixture.interrupt.request(Signal::Terminate);
            let threads = rayon::ThreadPoolBuilder::new()
                .num_threads(1 + attempt % 2)
                .build()
                .expect("threads");
            let error = threads
                .install(|| fixture.run(parts.path()))
                .expect_err("interrupted");
            assert!(
                matches!(
                    error,
                    RunError::Interrupted {
                        signal: Signal::Terminate,
                        ..
                    }
                ),
                "{error}"
            );
            assert!(error.to_string().contains("--resume"), "{error}");
        }
        fixture.interrupt = Interrupt::new();
        fixture.config.loader_threads = TrainConfig::default().loader_threads;
        let continued = fixture.run(parts.path()).expect("finished");
        assert_eq!(continued.best, summary.best);
        assert_same_files(whole.path(), parts.path());
    }
}

/// A source that asks the run to stop when so many examples were read.
struct StoppingSource {
    source: SyntheticSource,
    interrupt: Interrupt,
    n_left: AtomicUsize,
}

impl ExampleSource for StoppingSource {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn gene(&self, index: usize) -> &Gene {
        self.source.gene(index)
    }

    fn split(&self, index: usize) -> Split {
        self.source.split(index)
    }

    fn length(&self) -> usize {
        self.source.length()
    }

    fn n_tracks(&self) -> usize {
        self.source.n_tracks()
    }

    fn read(&self, index: usize) -> Result<Example, DatasetError> {
        if self.n_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.interrupt.request(Signal::Terminate);
        }
        self.source.read(index)
    }
}

#[test]
fn run_stopped_between_the_passes_of_an_update_makes_it_again() {
    // Networks without and with running statistics of their batches.
    for kind in [NetworkKind::Seq2ExpSoft, NetworkKind::Epinformer] {
        let (whole, parts) = (folder(), folder());
        let mut fixture = Fixture::new(kind, 4);
        fixture.config.batch = 2;
        fixture.config.accumulation = 5;
        fixture.run(whole.path()).expect("trained");
        // Asked before it begins, an update ends after its first pass.
        fixture.interrupt.request(Signal::Terminate);
        let error = fixture.run(parts.path()).expect_err("stopped").to_string();
        assert!(error.contains("step 0 of 4 is saved"), "{error}");
        let records = read_records(&parts.path().join(RECORD_FILE)).expect("written");
        assert!(records.is_empty());
        let mut stops = Vec::new();
        for n_read in [7, 13, 18, 9, 16] {
            fixture.interrupt = Interrupt::new();
            let source: Arc<dyn ExampleSource> = Arc::new(StoppingSource {
                source: fixture.source.clone(),
                interrupt: fixture.interrupt.clone(),
                n_left: AtomicUsize::new(n_read),
            });
            let run = TrainRun {
                config: &fixture.config,
                meta: &fixture.meta,
                source: &source,
                folder: parts.path(),
                device: &OpenDevice::cpu(),
                interrupt: &fixture.interrupt,
                progress: ProgressMode::Silent,
            };
            stops.push(run.run().err().map(|error| error.to_string()));
        }
        fixture.interrupt = Interrupt::new();
        fixture.run(parts.path()).expect("finished");
        assert_same_files(whole.path(), parts.path());
        assert!(stops.iter().flatten().count() > 1, "{stops:?}");
    }
}

#[test]
fn run_holds_no_more_of_its_order_than_it_trains_on() {
    let folder = folder();
    let mut fixture = Fixture::new(NetworkKind::Caduceus, 1 << 40);
    fixture.config.accumulation = 1;
    // All visits would be 48 TiB.
    assert_eq!(fixture.config.validate(), [""; 0]);
    fixture.interrupt.request(Signal::Terminate);
    let error = fixture.run(folder.path()).expect_err("stopped").to_string();
    assert!(
        error.contains("step 1 of 1099511627776 is saved"),
        "{error}"
    );
}
