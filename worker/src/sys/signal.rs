//! What signals do to a process that should not mind them.

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Has this process, and those it forks or executes, ignore these signals.
///
/// # Errors
/// `EINVAL` for one that cannot be ignored; those before it are.
pub fn ignore(signals: &[Signal]) -> Result<(), Errno> {
    let action = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in signals {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { sigaction(*signal, &action) }?;
    }
    Ok(())
}
