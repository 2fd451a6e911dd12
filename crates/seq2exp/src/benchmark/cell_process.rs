//! One command of a cell, as a process of its own: what ends it ends nothing else.

use std::fs::{File, OpenOptions};
#[cfg(unix)]
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::interrupt::Interrupt;

/// How a process of a cell ended, when not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// It stopped because it was asked to; it can be continued.
    Stopped,
    /// It failed, with the reason.
    Failed(String),
}

/// What a process is started with.
pub(super) struct CellProcess<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// File that its messages are added to.
    pub log: PathBuf,
    /// When raised, the process is asked to stop.
    pub interrupt: &'a Interrupt,
}

/// Time between two looks at a process.
const PAUSE: Duration = Duration::from_millis(50);

impl CellProcess<'_> {
    /// Runs the process to its end.
    ///
    /// It is a process group of its own, so that Ctrl-C in a terminal reaches it once, through us: a second signal would
    /// end it before it has saved. Its standard input ends when we do, however that happens.
    pub fn run(&self) -> Result<(), Ended> {
        let failed =
            |error: std::io::Error| Ended::Failed(format!("{}: {error}", self.program.display()));
        let open = || OpenOptions::new().create(true).append(true).open(&self.log);
        let log_failed =
            |error: std::io::Error| Ended::Failed(format!("{}: {error}", self.log.display()));
        let log = open().map_err(log_failed)?;
        let n_before = log.metadata().map_err(log_failed)?.len();
        let mut child = self.start(log).map_err(failed)?;
        let status = self.wait(&mut child).map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        // The codes of a run that saved and stopped.
        if self.interrupt.requested().is_some() && matches!(status.code(), Some(130 | 143)) {
            return Err(Ended::Stopped);
        }
        Err(Ended::Failed(self.reason(status, n_before)))
    }

    fn start(&self, log: File) -> std::io::Result<Child> {
        let mut command = Command::new(self.program);
        command
            .args(&self.arguments)
            // Nothing is written to it: its end tells the process that we are gone.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log);
        #[cfg(unix)]
        command.process_group(0);
        command.spawn()
    }

    fn wait(&self, child: &mut Child) -> std::io::Result<ExitStatus> {
        let mut is_asked = false;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if !is_asked && self.interrupt.requested().is_some() {
                is_asked = true;
                ask_to_stop(child);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The error that the process printed, or how it ended.
    fn reason(&self, status: ExitStatus, n_before: u64) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let new = log.get(n_before as usize..).unwrap_or_default();
        let text = String::from_utf8_lossy(new);
        let printed = text.rfind("error: ").map(|start| text[start + 7..].trim());
        let last = || text.lines().rev().find(|line| !line.trim().is_empty());
        match (signal_of(status), printed) {
            (Some(9), _) => format!(
                "killed (signal 9), most often for memory; try fewer --jobs; see {}",
                self.log.display()
            ),
            (Some(signal), _) => format!("ended by signal {signal}; see {}", self.log.display()),
            (None, Some(printed)) if !printed.is_empty() => printed.to_string(),
            _ => format!(
                "{status}: {}; see {}",
                last().unwrap_or("nothing was printed"),
                self.log.display()
            ),
        }
    }
}

/// Asks a process to save and stop. It may have ended since; the next look finds out.
#[cfg(unix)]
fn ask_to_stop(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

/// Ends a process: there is no way to ask it here, and it continues from its last checkpoint.
#[cfg(not(unix))]
fn ask_to_stop(child: &mut Child) {
    let _ = child.kill();
}

/// The signal that ended a process.
#[cfg(unix)]
fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

#[cfg(not(unix))]
fn signal_of(_status: ExitStatus) -> Option<i32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn run(script: &str) -> Result<(), Ended> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        CellProcess {
            program: Path::new("sh"),
            arguments: vec!["-c".to_string(), script.to_string()],
            log: folder.path().join("log.txt"),
            interrupt: &Interrupt::new(),
        }
        .run()
    }

    #[test]
    fn reason_is_what_the_process_printed_or_how_it_ended() {
        assert_eq!(run("echo error: not this; exit 0"), Ok(()));
        let cases = [
            (
                "echo start; echo 'error: bad.tsv:3: no' >&2; exit 1",
                "bad.tsv:3: no",
            ),
            ("echo half a word; exit 7", "exit status: 7: half a word"),
            ("kill -9 $$", "signal 9"),
            ("kill -11 $$", "signal 11"),
        ];
        for (script, part) in cases {
            match run(script) {
                Err(Ended::Failed(reason)) => assert!(reason.contains(part), "{part}: {reason}"),
                other => panic!("{script}: {other:?}"),
            }
        }
    }

    #[test]
    fn raised_interrupt_asks_the_process_to_stop() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let interrupt = Interrupt::new();
        interrupt.request(crate::interrupt::Signal::Interrupt);
        let ended = CellProcess {
            program: Path::new("sh"),
            arguments: vec![
                "-c".to_string(),
                "trap 'exit 143' TERM; while true; do sleep 0.05; done".to_string(),
            ],
            log: folder.path().join("log.txt"),
            interrupt: &interrupt,
        }
        .run();
        // A shell that had not set its trap yet is ended by the signal itself.
        let is_signalled = |reason: &String| reason.contains("signal 15");
        match ended {
            Err(Ended::Stopped) => {}
            Err(Ended::Failed(reason)) if is_signalled(&reason) => {}
            other => panic!("{other:?}"),
        }
    }
}
