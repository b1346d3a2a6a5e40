//! Whether whoever was told to wait has been told to go on: an engine wakes itself when one half of it waits for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

/// A waker that raises a flag.
pub(crate) struct Woken {
    flag: Arc<Flag>,
    waker: Waker,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Woken {
    pub(crate) fn new() -> Woken {
        let flag = Arc::new(Flag::default());
        Woken { waker: Waker::from(flag.clone()), flag }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// Whether it was woken since the last call.
    pub(crate) fn take(&self) -> bool {
        self.flag.0.swap(false, Ordering::Relaxed)
    }
}
