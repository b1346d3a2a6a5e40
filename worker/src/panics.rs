//! Where panics of the application end: each call of its code by the loop is contained here.
//!
//! Remembers that one has passed until it is asked, since what a panic means for the worker is decided only at the end of
//! the request. One that the application catches itself is nobody else's affair.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static PASSED: Cell<bool> = const { Cell::new(false) };
}

/// Something of the application has panicked, and has had its words in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Calls the application.
///
/// # Errors
/// That it panicked.
pub(crate) fn contain<T>(function: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|payload| {
        PASSED.set(true);
        // What it panicked with is the application's, too, and may panic when it is dropped.
        if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(another);
        }
        Panicked
    })
}

/// Whether a panic has passed since this was last asked.
pub(crate) fn have_passed() -> bool {
    PASSED.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn a_panic_is_remembered_once_whatever_it_was_raised_with() {
        assert_eq!((contain(|| 1), have_passed()), (Ok(1), false));
        assert_eq!(contain(|| std::panic::panic_any(Bomb)), Err(Panicked));
        assert_eq!((have_passed(), have_passed()), (true, false));
    }
}
