//! Stopping a run from outside: the first SIGINT or SIGTERM asks, the second one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether somebody asked the run to stop.
///
/// Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// The number of the signal received, 0 when there was none.
    signal: Arc<AtomicUsize>,
}

/// A signal that asks a run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, from Ctrl-C.
    Interrupt,
    /// SIGTERM, from `kill` or a batch system's time limit.
    Terminate,
}

impl Signal {
    /// The exit code shells use for a process ended by this signal: 128 plus its number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

impl Interrupt {
    /// An interrupt that only [`Interrupt::request`] raises.
    pub fn new() -> Self {
        Self::default()
    }

    /// Watches this process's SIGINT and SIGTERM; call it once.
    ///
    /// The first signal is recorded, for the run to finish its pass over a batch and save. A second one ends the process at once
    /// with [`Signal::exit_code`].
    ///
    /// # Errors
    /// The operating system's reason when a handler cannot be installed.
    pub fn watch_signals() -> std::io::Result<Self> {
        let interrupt = Self::new();
        let is_armed = Arc::new(AtomicBool::new(false));
        for signal in [Signal::Interrupt, Signal::Terminate] {
            let number = signal.number();
            // Handlers run in the order of their registration: the first signal finds the shutdown unarmed.
            flag::register_conditional_shutdown(
                number,
                i32::from(signal.exit_code()),
                Arc::clone(&is_armed),
            )?;
            flag::register(number, Arc::clone(&is_armed))?;
            flag::register_usize(number, Arc::clone(&interrupt.signal), number as usize)?;
        }
        Ok(interrupt)
    }

    /// Asks the run to stop, as SIGTERM would, once standard input ends; what is read from it is thrown away.
    ///
    /// A parent that holds the other end of that pipe ends so, too, when it is killed and can ask nobody any more.
    ///
    /// # Errors
    /// The operating system's reason when there is no further thread.
    pub fn watch_stdin(&self) -> std::io::Result<()> {
        let interrupt = self.clone();
        std::thread::Builder::new()
            .name("stdin".to_string())
            .spawn(move || {
                // An input that cannot be read has ended too.
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                interrupt.request(Signal::Terminate);
            })
            .map(|_| ())
    }

    /// Asks the run to stop, as the signal would.
    pub fn request(&self, signal: Signal) {
        self.signal
            .store(signal.number() as usize, Ordering::SeqCst);
    }

    /// The signal that asked the run to stop, if any did.
    pub fn requested(&self) -> Option<Signal> {
        let number = self.signal.load(Ordering::SeqCst);
        [Signal::Interrupt, Signal::Terminate]
            .into_iter()
            .find(|signal| signal.number() as usize == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_reaches_every_clone() {
        let interrupt = Interrupt::new();
        let clone = interrupt.clone();
        assert_eq!(clone.requested(), None);
        interrupt.request(Signal::Terminate);
        assert_eq!(clone.requested(), Some(Signal::Terminate));
    }

    #[test]
    fn exit_codes_follow_the_shell() {
        // POSIX numbers: SIGINT 2, SIGTERM 15.
        assert_eq!(Signal::Interrupt.exit_code(), 128 + 2);
        assert_eq!(Signal::Terminate.exit_code(), 128 + 15);
    }

    #[test]
    fn first_signal_is_recorded_and_the_process_goes_on() {
        let interrupt = Interrupt::watch_signals().expect("handlers can be installed");
        signal_hook::low_level::raise(SIGTERM).expect("a process may signal itself");
        assert_eq!(interrupt.requested(), Some(Signal::Terminate));
    }
}
