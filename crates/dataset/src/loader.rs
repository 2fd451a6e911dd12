//! Examples read ahead by threads, delivered in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use genome::catch_panic;

use crate::error::DatasetError;
use crate::example::Example;
use crate::source::ExampleSource;

type Delivery = Result<Example, DatasetError>;

/// One example to read, and where to put it.
struct Job {
    index: usize,
    reply: Sender<Delivery>,
}

/// An iterator over examples in a given order, read ahead by threads.
///
/// The order and content of what it yields do not depend on the number of threads. A failed read
/// is delivered in its place; the examples after it still come. Dropping the loader discards what
/// was asked for but not yet begun and waits for the reads in progress.
pub struct Loader {
    order: std::vec::IntoIter<usize>,
    /// Asked for and not yet delivered, in order; never more than `prefetch`.
    pending: VecDeque<(usize, Receiver<Delivery>)>,
    prefetch: usize,
    jobs: Option<Sender<Job>>,
    /// The threads' end of `jobs`, to discard what they have not begun.
    backlog: Receiver<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts `n_threads` threads (at least one) that read the examples of `order` from `source`.
    ///
    /// At most `prefetch` examples (at least one) are held or being read ahead of the consumer.
    ///
    /// # Errors
    /// [`DatasetError::NoThread`] when the system refuses one of them.
    pub fn start(
        source: Arc<dyn ExampleSource>,
        order: Vec<usize>,
        n_threads: usize,
        prefetch: usize,
    ) -> Result<Self, DatasetError> {
        let (jobs, backlog) = unbounded::<Job>();
        let n_threads = n_threads.max(1);
        let threads = (0..n_threads)
            .map(|n_started| {
                let source = Arc::clone(&source);
                let backlog = backlog.clone();
                let read_jobs = move || {
                    for job in backlog {
                        // A reader must not panic; if one does, only its own example is lost.
                        let index = job.index;
                        let delivery =
                            catch_panic(|| source.read(index)).unwrap_or_else(|reason| {
                                Err(DatasetError::ReaderPanicked { index, reason })
                            });
                        // The consumer may be gone; then nobody needs the example.
                        let _ = job.reply.send(delivery);
                    }
                };
                let refuse = |source| DatasetError::NoThread {
                    n_started,
                    n_threads,
                    source,
                };
                let name = format!("loader {n_started}");
                let thread = std::thread::Builder::new().name(name);
                thread.spawn(read_jobs).map_err(refuse)
            })
            // Those that were started end with `jobs`.
            .collect::<Result<Vec<_>, _>>()?;
        let mut loader = Loader {
            order: order.into_iter(),
            pending: VecDeque::new(),
            prefetch: prefetch.max(1),
            jobs: Some(jobs),
            backlog,
            threads,
        };
        loader.ask_ahead();
        Ok(loader)
    }

    fn ask_ahead(&mut self) {
        let Some(jobs) = &self.jobs else { return };
        while self.pending.len() < self.prefetch {
            let Some(index) = self.order.next() else {
                return;
            };
            let (reply, delivery) = bounded(1);
            if jobs.send(Job { index, reply }).is_ok() {
                self.pending.push_back((index, delivery));
            }
        }
    }
}

impl Iterator for Loader {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        let (index, delivery) = self.pending.pop_front()?;
        let result = delivery
            .recv()
            // A thread that ends without an answer is a panic that could not be caught.
            .unwrap_or_else(|error| {
                Err(DatasetError::ReaderPanicked {
                    index,
                    reason: error.to_string(),
                })
            });
        self.ask_ahead();
        Some(result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.pending.len() + self.order.len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for Loader {}

impl Drop for Loader {
    fn drop(&mut self) {
        self.jobs = None;
        while self.backlog.try_recv().is_ok() {}
        self.pending.clear();
        for thread in self.threads.drain(..) {
            // Panics were caught and delivered as errors.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::ExampleParts;
    use crate::fold::Split;
    use crate::region_mask::RegionCode;
    use crate::window::Window;
    use genome::{Gene, Strand};
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// Examples of one base whose start site is their index; some fail, some are slow.
    struct Numbers {
        genes: Vec<Gene>,
        n_reads: AtomicUsize,
    }

    impl Numbers {
        fn new(n: usize) -> Arc<Self> {
            let gene = |index: usize| Gene {
                gene_id: format!("G{index}"),
                symbol: format!("G{index}"),
                chrom: "c".to_string(),
                tss: index as u64,
                strand: Strand::Forward,
                gene_type: None,
                split: None,
                line: 1,
            };
            Arc::new(Numbers {
                genes: (0..n).map(gene).collect(),
                n_reads: AtomicUsize::new(0),
            })
        }
    }

    impl ExampleSource for Numbers {
        fn len(&self) -> usize {
            self.genes.len()
        }
        fn gene(&self, index: usize) -> &Gene {
            &self.genes[index]
        }
        fn split(&self, _: usize) -> Split {
            Split::Train
        }
        fn length(&self) -> usize {
            1
        }
        fn n_tracks(&self) -> usize {
            0
        }
        fn read(&self, index: usize) -> Result<Example, DatasetError> {
            self.n_reads.fetch_add(1, Ordering::SeqCst);
            if index % 5 == 1 {
                std::thread::sleep(Duration::from_millis(2));
            }
            assert!(index != 13, "this read panics on purpose");
            let gene = self.genes.get(index).ok_or(DatasetError::NoSuchExample {
                index,
                len: self.genes.len(),
            })?;
            Example::try_from(ExampleParts {
                window: Window::centered_on("c", gene.tss, 1, 1000)?,
                gene: gene.clone(),
                base_codes: vec![0],
                tracks: Vec::new(),
                n_tracks: 0,
                regions: vec![RegionCode::One],
                peaks: None,
                candidates: None,
                features: [0.0; 9],
                target: None,
                split: Split::Train,
            })
        }
    }

    fn outcome(delivery: Delivery) -> Result<u64, String> {
        delivery
            .map(|example| example.window().tss())
            .map_err(|error| error.to_string())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        // Indices of 0 to 11, of which 10 and 11 fail, in any order and with repeats.
        #[test]
        fn order_and_errors_do_not_depend_on_threads(
            order in prop::collection::vec(0_usize..12, 0..40),
            n_threads in 0_usize..5, prefetch in 0_usize..9,
        ) {
            let loader = Loader::start(Numbers::new(10), order.clone(), n_threads, prefetch).unwrap();
            prop_assert_eq!(loader.len(), order.len());
            let found: Vec<Result<u64, String>> = loader.map(outcome).collect();
            let expected: Vec<Result<u64, String>> = order
                .iter()
                .map(|&index| match index {
                    0..10 => Ok(index as u64),
                    _ => Err(format!(
                        "there is no example {index}; the data set has 10 (counted from 0)"
                    )),
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn dropped_loader_stops_reading() {
        let source = Numbers::new(10);
        let mut loader = Loader::start(source.clone(), vec![1; 10_000], 2, 64).unwrap();
        assert!(loader.next().is_some());
        drop(loader);
        let n_reads = source.n_reads.load(Ordering::SeqCst);
        assert!(n_reads <= 65 + 1, "{n_reads}");
        assert_eq!(Arc::strong_count(&source), 1, "all threads ended");
    }

    #[test]
    fn panicking_read_is_an_error_in_its_place() {
        let found: Vec<_> = Loader::start(Numbers::new(20), vec![3, 13, 4], 2, 2)
            .unwrap()
            .map(outcome)
            .collect();
        let expected = [
            Ok(3),
            Err("example 13: the reader gave up (this read panics on purpose); this should not happen, please report it".to_string()),
            Ok(4),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn panics_of_every_thread_do_not_block_the_rest() {
        let found: Vec<_> = Loader::start(Numbers::new(20), vec![13, 13, 3], 1, 3)
            .unwrap()
            .map(outcome)
            .collect();
        assert!(found[0].is_err() && found[1].is_err());
        assert_eq!(found[2], Ok(3));
    }
}
