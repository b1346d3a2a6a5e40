//! The streams of a program that is captured: the ends that are read stay here, so that they outlive the log process and
//! nobody who prints is told that nobody reads.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use crate::act::upgrade::estate::{Heirlooms, Inventory};
use crate::logger::{Output, Source};

/// The ends of standard output and standard error that are read.
#[derive(Debug)]
pub(in crate::act) struct Captured([OwnedFd; 2]);

/// A pipe for each of the two streams: what is read, and what the program gets.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub(in crate::act) fn pipes() -> nix::Result<(Captured, [OwnedFd; 2])> {
    let pipe = || -> nix::Result<_> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // Only this end: a program expects its standard output to wait.
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((read, write))
    };
    let ((output, to_output), (error, to_error)) = (pipe()?, pipe()?);
    Ok((Captured([output, error]), [to_output, to_error]))
}

impl Captured {
    /// Both, as the log process is told of them. `source` says whose they are; its stream is not looked at.
    pub(in crate::act) fn sources(&self, source: Source) -> [(Source, BorrowedFd<'_>); 2] {
        let [output, error] = &self.0;
        [
            (Source { stream: Output::Stdout, ..source.clone() }, output.as_fd()),
            (Source { stream: Output::Stderr, ..source }, error.as_fd()),
        ]
    }

    pub(in crate::act) fn bequeath(&self, inventory: &mut Inventory<'_>) -> [RawFd; 2] {
        self.0.each_ref().map(|end| inventory.descriptor(end))
    }

    pub(in crate::act) fn inherit(numbers: [RawFd; 2], heirlooms: &Heirlooms) -> std::io::Result<Captured> {
        let [output, error] = numbers.map(|number| heirlooms.descriptor(number));
        Ok(Captured([output?, error?]))
    }
}
