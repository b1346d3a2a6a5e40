//! How a child ended. nix's own `waitid` takes a death by a real-time signal for an error, and a supervisor that
//! cannot look at one dead child sees no other either.

use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::libc::{self, id_t, idtype_t, siginfo_t};
use nix::unistd::Pid;

use crate::decide::event::Exit;

/// A child that is dead and not yet reaped, and how it ended; `None` if there is none now. Asking again finds the same
/// one until it is reaped.
pub(crate) fn next_dead() -> Option<(Pid, Exit)> {
    look(libc::P_ALL, 0, libc::WNOWAIT).ok()?
}

/// Whether this is a child of ours, alive or not yet reaped.
pub(crate) fn is_ours(pid: Pid) -> bool {
    pid.as_raw() > 0 && look(libc::P_PID, pid.as_raw() as id_t, libc::WNOWAIT).is_ok()
}

/// Buries a dead child.
pub(crate) fn reap(pid: Pid) {
    let _ = look(libc::P_PID, pid.as_raw() as id_t, 0);
}

fn look(whom: idtype_t, id: id_t, flags: i32) -> Result<Option<(Pid, Exit)>, Errno> {
    loop {
        let mut info = MaybeUninit::<siginfo_t>::zeroed();
        // SAFETY: `info` is valid for a siginfo_t, which the kernel fills in or leaves as it is: all zeroes, which says
        // that there is nobody.
        let done = unsafe { libc::waitid(whom, id, info.as_mut_ptr(), libc::WEXITED | libc::WNOHANG | flags) };
        match Errno::result(done) {
            Err(Errno::EINTR) => continue,
            done => done?,
        };
        // SAFETY: as above; for a death, pid and status are the fields that waitid(2) fills in.
        let (pid, code, status) = unsafe {
            let info = info.assume_init();
            (info.si_pid(), info.si_code, info.si_status())
        };
        let exit = match code {
            libc::CLD_EXITED => Exit::Status(status),
            code => Exit::Signal { number: status, core: code == libc::CLD_DUMPED },
        };
        return Ok((pid != 0).then(|| (Pid::from_raw(pid), exit)));
    }
}
