//! Closing what its last owner may have to wait for: in a process that has nothing else to do.
//!
//! A message that nobody has read holds descriptors that its sender has chosen, and closes them with the socket it lies in:
//! a connection that was made to linger, say, for an hour, and perhaps in a socket that lies in another. Only a process
//! that ends waits for none of them. To read such messages and look would find the first of these, not the next.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, fork, pipe2};

/// Drops these, and has a child, which then ends, be the last that has what they have open. The child is a stranger
/// like any other: it is reaped, and nobody asks how it died.
///
/// # Errors
/// No such child can be made: then nothing is closed, and what is open stays open for as long as this process lives.
pub(crate) fn bury<T>(dead: T) -> Result<(), Errno> {
    let dead = std::mem::ManuallyDrop::new(dead);
    let (end, leash) = pipe2(OFlag::O_CLOEXEC)?;
    // Handlers are this process's, and speak to its loop.
    let mask = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
    // SAFETY: between here and its end the child makes system calls alone, on two numbers; it allocates nothing, takes no
    // lock and drops no value, so it need not know what other threads were at.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        let mut word = 0_u8;
        // SAFETY: the read is of one byte into `word`, which is that large; the others take integers. The leash is closed
        // in this process alone, which never uses it again, and what was read is the end, or does not matter.
        unsafe {
            libc::close(leash.as_raw_fd());
            libc::read(end.as_raw_fd(), (&raw mut word).cast(), 1);
            libc::_exit(0)
        }
    }
    let unblocked = mask.thread_set_mask();
    forked?;
    // The child has them, too, until the leash is let go.
    drop(std::mem::ManuallyDrop::into_inner(dead));
    drop(leash);
    unblocked
}
