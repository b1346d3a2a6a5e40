//! What descriptors the connections take that a [`Keeper`](super::Keeper) has: ours that come and go, and no leak of the request
//! that was the first to ask. What a connection opens later on is counted as the application's.

use std::cell::Cell;

use crate::cleaning::descriptors;

thread_local! {
    /// What all kept connections of this process take.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// How many descriptors kept connections take.
pub(crate) fn kept_descriptors() -> usize {
    TAKEN.get()
}

/// As many as were opened with a connection; dropped behind it.
pub(super) struct Descriptors(usize);

impl Descriptors {
    /// How many are open, if the kernel tells.
    pub(super) fn open() -> Option<usize> {
        descriptors()
    }

    /// Those that are open now and were not before.
    pub(super) fn since(before: Option<usize>) -> Descriptors {
        let opened = descriptors().zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
        TAKEN.set(TAKEN.get() + opened);
        Descriptors(opened)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        TAKEN.set(TAKEN.get().saturating_sub(self.0));
    }
}
