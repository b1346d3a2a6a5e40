//! Whether standard output was open when this program began.
//!
//! Owns the one look at it, before Rust's runtime opens /dev/null in the place of what is closed: afterwards what is written
//! there is lost and nobody is told.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::libc::{F_GETFD, STDOUT_FILENO, fcntl};

static WAS_OPEN: AtomicBool = AtomicBool::new(true);

/// See the module's header.
pub(crate) fn was_open() -> bool {
    WAS_OPEN.load(Relaxed)
}

extern "C" fn look() {
    // SAFETY: F_GETFD takes no further argument and changes nothing, whether or not there is such a descriptor.
    WAS_OPEN.store(unsafe { fcntl(STDOUT_FILENO, F_GETFD) } != -1, Relaxed);
}

// SAFETY: what stands in this section is called once, before `main` and with one thread; `look` needs nothing of the runtime
// that is not there yet.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;
