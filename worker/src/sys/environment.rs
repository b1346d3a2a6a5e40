//! The environment, which no other thread may read while it changes.

use super::fork::SingleThreaded;

/// Removes a variable.
pub(crate) fn remove(_proof: &SingleThreaded, name: &str) {
    // SAFETY: one thread exists (the proof).
    unsafe { std::env::remove_var(name) }
}
