//! The bell: an eventfd by which those who wait for a token are heard by workers that sleep and have one.
//!
//! It is waited for with an edge trigger and never read: each ring is heard once by each holder, and a holder that begins
//! to listen hears the last one. So nobody turns in a loop who cannot let go, and no ring is taken from another.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd;

use super::word::step;

#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> Result<Bell, Errno> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Bell(event.into()))
    }

    pub(super) fn ring(&self) {
        step();
        let once = 1u64.to_ne_bytes();
        // It counts the rings, and is full after 2^64 of them, or when somebody has gone astray.
        if unistd::write(&self.0, &once) == Err(Errno::EAGAIN) {
            let _ = unistd::read(&self.0, &mut [0; 8]);
            let _ = unistd::write(&self.0, &once);
        }
    }
}

impl From<OwnedFd> for Bell {
    fn from(event: OwnedFd) -> Bell {
        Bell(event)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
