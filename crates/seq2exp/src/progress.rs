//! How far a long command has come, on stderr: a bar in a terminal, a few plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// Not at all.
    Silent,
    /// A bar that is redrawn.
    Bar,
    /// Plain lines, seldom enough for a log file.
    Lines,
}

impl ProgressMode {
    /// A bar when stderr is a terminal, else lines.
    pub fn of_stderr() -> Self {
        match std::io::stderr().is_terminal() {
            true => Self::Bar,
            false => Self::Lines,
        }
    }
}

/// The progress of one task of known size; what it showed as a bar disappears when dropped.
#[derive(Debug)]
pub struct Progress {
    display: Display,
}

#[derive(Debug)]
enum Display {
    Silent,
    Bar(ProgressBar),
    /// A part of the task of a bar, told in the bar's message.
    Message {
        bar: ProgressBar,
        label: String,
        total: u64,
        done: u64,
    },
    Lines(LinePace, Instant),
}

impl Progress {
    /// Starts to show a task of `total` parts, of which `done` were done earlier.
    pub fn new(mode: ProgressMode, label: &str, total: u64, done: u64) -> Self {
        let display = match mode {
            ProgressMode::Silent => Display::Silent,
            ProgressMode::Bar => {
                let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                let style =
                    ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} eta {eta}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_prefix(label.to_string());
                bar.set_position(done);
                // The rate must not count what an earlier process did.
                bar.reset_eta();
                Display::Bar(bar)
            }
            ProgressMode::Lines => {
                Display::Lines(LinePace::new(label, total, done), Instant::now())
            }
        };
        Self { display }
    }

    /// Starts to show a part of this task, such as a validation during training, that has a size of its own.
    pub fn part(&self, label: &str, total: u64) -> Self {
        let display = match &self.display {
            Display::Silent => Display::Silent,
            Display::Bar(bar) | Display::Message { bar, .. } => Display::Message {
                bar: bar.clone(),
                label: label.to_string(),
                total,
                done: 0,
            },
            Display::Lines(..) => Display::Lines(
                LinePace::new(label, total, 0).without_last(),
                Instant::now(),
            ),
        };
        Self { display }
    }

    /// Records that `n_parts` more are done; `detail` says how they went.
    pub fn advance(&mut self, n_parts: u64, detail: &str) {
        match &mut self.display {
            Display::Silent => {}
            Display::Bar(bar) => {
                bar.set_message(detail.to_string());
                bar.inc(n_parts);
            }
            Display::Message {
                bar,
                label,
                total,
                done,
            } => {
                *done += n_parts;
                bar.set_message(format!("{label} {done}/{total} {detail}"));
            }
            Display::Lines(pace, started) => {
                if let Some(line) = pace.advance(n_parts, detail, started.elapsed()) {
                    eprintln!("{line}");
                }
            }
        }
    }

    /// Shows a line that stays.
    pub fn note(&self, line: &str) {
        match &self.display {
            Display::Silent => {}
            Display::Bar(bar) | Display::Message { bar, .. } => bar.suspend(|| eprintln!("{line}")),
            Display::Lines(..) => eprintln!("{line}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

/// Decides when a plain line is due.
#[derive(Debug)]
struct LinePace {
    label: String,
    total: u64,
    done: u64,
    done_before: u64,
    printed_at: Duration,
    printed_done: u64,
    tells_last: bool,
}

/// A line is due after this time when at least a twentieth of the task was done since the last one …
const SHORT_PAUSE: Duration = Duration::from_secs(5);
/// … and after this time whatever was done.
const LONG_PAUSE: Duration = Duration::from_secs(60);

impl LinePace {
    fn new(label: &str, total: u64, done: u64) -> Self {
        Self {
            label: label.to_string(),
            total,
            done,
            done_before: done,
            printed_at: Duration::ZERO,
            printed_done: done,
            tells_last: true,
        }
    }

    /// For a part whose end the task itself tells.
    fn without_last(self) -> Self {
        Self {
            tells_last: false,
            ..self
        }
    }

    fn advance(&mut self, n_parts: u64, detail: &str, elapsed: Duration) -> Option<String> {
        self.done += n_parts;
        let pause = elapsed.saturating_sub(self.printed_at);
        let is_far = (self.done - self.printed_done) * 20 >= self.total;
        let is_last = self.tells_last && self.done >= self.total && self.printed_done < self.total;
        if !(is_last || pause >= LONG_PAUSE || (pause >= SHORT_PAUSE && is_far)) {
            return None;
        }
        self.printed_at = elapsed;
        self.printed_done = self.done;
        let mut line = format!("{} {}/{}", self.label, self.done, self.total);
        if !detail.is_empty() {
            line += &format!(" {detail}");
        }
        let n_done = (self.done - self.done_before).max(1) as f64;
        let n_left = self.total.saturating_sub(self.done);
        if n_left > 0 {
            let left = elapsed.as_secs_f64() / n_done * n_left as f64;
            line += &format!(
                " eta {}",
                indicatif::HumanDuration(Duration::from_secs(left as u64))
            );
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_the_last_part_is_told() {
        let mut pace = LinePace::new("train", 1_000, 0);
        // One part a second: 5 % of the task is 50 s, and 60 s pass at most.
        let lines: Vec<String> = (1..=1_000)
            .filter_map(|s| pace.advance(1, "loss 0.5", Duration::from_secs(s)))
            .collect();
        assert_eq!(lines.len(), 20, "{lines:?}");
        assert_eq!(lines[0], "train 50/1000 loss 0.5 eta 16 minutes");
        assert_eq!(lines[19], "train 1000/1000 loss 0.5");
    }

    #[test]
    fn slow_parts_are_told_every_minute() {
        let mut pace = LinePace::new("train", 50_000, 0);
        assert_eq!(pace.advance(1, "", Duration::from_secs(59)), None);
        assert!(pace.advance(1, "", Duration::from_secs(60)).is_some());
        assert_eq!(pace.advance(1, "", Duration::from_secs(119)), None);
        assert!(pace.advance(1, "", Duration::from_secs(120)).is_some());
    }

    #[test]
    fn continued_task_counts_its_own_time_only() {
        let mut pace = LinePace::new("train", 100, 90);
        let line = pace.advance(5, "", Duration::from_secs(10)).expect("due");
        // 5 parts in 10 s leave 10 s for the other 5.
        assert_eq!(line, "train 95/100 eta 10 seconds");
    }

    #[test]
    fn short_part_prints_nothing_and_a_long_one_its_way() {
        let mut pace = LinePace::new("validate", 100, 0).without_last();
        assert_eq!(pace.advance(100, "", Duration::from_secs(1)), None);
        let mut pace = LinePace::new("validate", 100, 0).without_last();
        assert_eq!(
            pace.advance(50, "", Duration::from_secs(60)).as_deref(),
            Some("validate 50/100 eta 60 seconds")
        );
    }

    #[test]
    fn short_task_prints_once() {
        let mut pace = LinePace::new("evaluate", 3, 0);
        let lines: Vec<String> = (0..3)
            .filter_map(|_| pace.advance(1, "", Duration::ZERO))
            .collect();
        assert_eq!(lines, ["evaluate 3/3"]);
    }
}
