//! What this process does about each signal, and which interval timers run: questions for which there is no safe wrapper.

use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, c_int, itimerval, sigaction};

/// Signals have numbers from 1 to this.
const SIGNALS: usize = 64;
const TIMERS: [c_int; 3] = [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF];

/// What is done about each signal: the handler, or a number that stands for one, and the flags.
pub(crate) type Dispositions = [(usize, c_int); SIGNALS];

/// What is done about each signal now; nothing for the two that the C library keeps for itself.
pub(crate) fn dispositions() -> Dispositions {
    std::array::from_fn(|place| {
        let mut action = MaybeUninit::<sigaction>::zeroed();
        // SAFETY: no new action is given, and `action` is written whole or stays zeroed, which is a sigaction, too.
        let action = unsafe {
            libc::sigaction(place as c_int + 1, ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        (action.sa_sigaction, action.sa_flags)
    })
}

/// How many interval timers run.
pub(crate) fn interval_timers() -> usize {
    let runs = |which: &&c_int| {
        let mut value = MaybeUninit::<itimerval>::zeroed();
        // SAFETY: `value` is written whole or stays zeroed, which is an itimerval, too.
        let value = unsafe {
            libc::getitimer(**which, value.as_mut_ptr());
            value.assume_init()
        };
        value.it_value.tv_sec != 0 || value.it_value.tv_usec != 0
    };
    TIMERS.iter().filter(runs).count()
}
