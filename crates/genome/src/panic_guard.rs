//! The wall between us and a library that may panic on damaged files.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

static QUIET_HOOK: Once = Once::new();

/// Runs code of a file-format library; a panic in it becomes an error message.
///
/// Third-party readers are held to the same rule as ours, that no file can make the program
/// panic, but they are not ours to prove. The panic hook stays silent for a panic caught here
/// and calls the hook that was installed before for every other one. State that the closure
/// mutates through captured references must not be used again after an error.
///
/// # Errors
/// The panic's message.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    QUIET_HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|payload| {
        format!(
            "the reader gave up ({})",
            panic_message(payload.as_ref()).unwrap_or("no reason given")
        )
    })
}

fn panic_message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catch_panic_value_message_and_nesting() {
        assert_eq!(catch_panic(|| 3), Ok(3));
        let index = 7;
        let cases: [(&str, Result<i32, String>); 3] = [
            ("plain", catch_panic(|| panic!("plain"))),
            ("index 7", catch_panic(|| panic!("index {index}"))),
            ("no reason given", catch_panic(|| panic::panic_any(5_u8))),
        ];
        for (expected, found) in cases {
            assert_eq!(found, Err(format!("the reader gave up ({expected})")));
        }
        let nested = catch_panic(|| {
            assert!(catch_panic::<()>(|| panic!("inner")).is_err());
            assert!(GUARDED.get());
        });
        assert_eq!(nested, Ok(()));
        assert!(!GUARDED.get());
    }
}
