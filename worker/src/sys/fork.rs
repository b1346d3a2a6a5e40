//! Forking, and leaving without running what belongs to the parent.
//!
//! Only a process that is known to have one thread may fork here: a copy made while another thread holds a lock (the
//! allocator's, say) has that lock held for ever. The knowledge is a value, [`SingleThreaded`].

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid, fork};

/// What Rust's own programs leave with after a panic.
const PANICKED: i32 = 101;

/// The proof that this process had exactly one thread a moment ago, when it was counted by that very thread; nobody
/// else was there to start another. It cannot leave the thread that counted.
#[derive(Debug)]
pub(crate) struct SingleThreaded(PhantomData<*const ()>);

impl SingleThreaded {
    /// Counts the threads of this process.
    ///
    /// # Errors
    /// How many there are, if it is not one; 0 if `/proc` cannot tell.
    pub(crate) fn prove() -> Result<SingleThreaded, usize> {
        match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
            Ok(1) => Ok(SingleThreaded(PhantomData)),
            Ok(threads) => Err(threads),
            Err(_) => Err(0),
        }
    }
}

/// Forks. The child runs `life`, and leaves with the status it returns, or 101 if it panics: it never gets back into
/// its parent's code.
///
/// # Errors
/// What `fork` says, `EAGAIN` and `ENOMEM` above all.
pub(crate) fn child(_proof: &SingleThreaded, life: impl FnOnce() -> i32) -> Result<Pid, Errno> {
    // SAFETY: one thread exists (the proof), so no lock is held by a thread that the copy lacks, and the child may
    // call anything its parent might.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => leave(catch_unwind(AssertUnwindSafe(life)).unwrap_or(PANICKED)),
    }
}

/// Leaves this process at once: no destructor, no `atexit`, no flush of what a parent had buffered.
pub(crate) fn leave(status: i32) -> ! {
    // SAFETY: _exit has no precondition.
    unsafe { nix::libc::_exit(status) }
}
