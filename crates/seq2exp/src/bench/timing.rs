//! Seconds on the wall and of processor time.

use std::time::Instant;

use serde::Serialize;

use super::median;
use crate::error::RunError;

/// What repeated runs of one thing took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Median seconds on the wall.
    pub seconds: f64,
    /// Median seconds of processor time of all threads, which other programs on the machine change little; `null` where
    /// the system does not tell.
    pub cpu_seconds: Option<f64>,
    /// Seconds on the wall of every repetition, in order.
    pub runs: Vec<f64>,
}

/// One repetition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repetition {
    pub(super) seconds: f64,
    pub(super) cpu_seconds: Option<f64>,
}

impl Repetition {
    pub(super) fn of(body: impl FnOnce() -> Result<(), RunError>) -> Result<Self, RunError> {
        let (start, cpu_start) = (Instant::now(), cpu_seconds());
        body()?;
        let cpu = cpu_start.zip(cpu_seconds()).map(|(start, end)| end - start);
        Ok(Self {
            seconds: start.elapsed().as_secs_f64(),
            cpu_seconds: cpu,
        })
    }
}

impl Timing {
    pub(super) fn of(repetitions: &[Repetition]) -> Self {
        let runs: Vec<f64> = repetitions.iter().map(|run| run.seconds).collect();
        let cpu: Option<Vec<f64>> = repetitions.iter().map(|run| run.cpu_seconds).collect();
        Self {
            seconds: median(&runs),
            cpu_seconds: cpu.map(|cpu| median(&cpu)),
            runs,
        }
    }
}

/// Processor time of this process's present threads so far; none where the system does not tell.
fn cpu_seconds() -> Option<f64> {
    // Linux: nanoseconds on a processor come first in /proc/self/task/THREAD/schedstat.
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_counts_the_time_that_its_body_works() {
        let end = std::time::Duration::from_millis(50);
        let worked = Repetition::of(|| {
            let start = Instant::now();
            while start.elapsed() < end {
                std::hint::spin_loop();
            }
            Ok(())
        });
        let worked = worked.expect("nothing fails");
        assert!(worked.seconds >= 0.05);
        // On a busy machine the body may wait for most of it.
        if let Some(cpu) = worked.cpu_seconds {
            assert!(cpu > 0.0, "{cpu}");
        }
    }

    #[test]
    fn timing_takes_medians_and_keeps_the_order() {
        let repetition = |seconds, cpu| Repetition {
            seconds,
            cpu_seconds: Some(cpu),
        };
        let timing = Timing::of(&[
            repetition(3.0, 5.0),
            repetition(1.0, 6.0),
            repetition(2.0, 4.0),
        ]);
        assert_eq!(timing.runs, [3.0, 1.0, 2.0]);
        assert_eq!((timing.seconds, timing.cpu_seconds), (2.0, Some(5.0)));
    }
}
