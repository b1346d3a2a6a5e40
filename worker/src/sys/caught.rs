//! The signals that a worker gives its last words on, and the handlers that run between them and the words.
//!
//! What is called from here ([`crate::last_words`]) may run in the middle of anything, the allocator included: it uses
//! atomics, plain send(2) and the unwinder, takes no lock and allocates nothing.

use std::ffi::{c_int, c_void};

use nix::errno::Errno;
use nix::libc::{self, siginfo_t, ucontext_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use crate::last_words;

/// What ends a process by its own fault.
const CRASHES: [Signal; 5] = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT];
/// What tells a worker that its request is overdue: ignored by default, so it harms nobody who does not know it.
const OVERDUE: Signal = Signal::SIGURG;
/// How close to the stack's end a fault is the stack's: functions with much on it touch every page on their way down.
const NEAR: usize = 64 * 1024;

/// What a signal interrupted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caught {
    /// The signal's number.
    pub(crate) signal: i32,
    /// What the interrupted instruction wanted of memory, or its own place, if it was that which raised the signal.
    pub(crate) fault: Option<usize>,
    /// Where it was.
    pub(crate) instruction: usize,
    /// Where the stack ended.
    stack: usize,
}

impl Caught {
    /// Whether the stack was used up: below its end it grows of its own accord until it may not.
    pub(crate) fn is_stack_overflow(self) -> bool {
        let memory = self.signal == libc::SIGSEGV || self.signal == libc::SIGBUS;
        memory && self.fault.is_some_and(|fault| fault.abs_diff(self.stack) < NEAR)
    }
}

/// Has these signals heard in this process and those forked from it, until somebody else wants them.
///
/// # Errors
/// None that a signal of the above could have.
pub(crate) fn listen() -> Result<(), Errno> {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
    // While one dies, nothing interrupts it but another fault, which then ends it at once.
    let crash = SigAction::new(SigHandler::SigAction(on_crash), flags, SigSet::all());
    let overdue = SigAction::new(SigHandler::SigAction(on_overdue), flags | SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: both handlers do what may be done in the middle of anything, and nothing else: this module's and
    // `last_words`' own rule.
    unsafe {
        for signal in CRASHES {
            sigaction(signal, &crash)?;
        }
        sigaction(OVERDUE, &overdue)?;
    }
    Ok(())
}

extern "C" fn on_overdue(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: the kernel's own arguments, in its handler.
    last_words::on_overdue(unsafe { caught(signal, info, context) });
    Errno::set_raw(errno);
}

extern "C" fn on_crash(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let Ok(named) = Signal::try_from(signal) else { return };
    // From here on a fault of ours is the end, too.
    // SAFETY: SIG_DFL runs no code of ours.
    let _ = unsafe { sigaction(named, &default) };
    // SAFETY: the kernel's own arguments, in its handler.
    last_words::on_crash(unsafe { caught(signal, info, context) });
    // It is blocked while it is handled, so it comes when this returns, and finds everything as it was.
    let _ = raise(named);
}

/// # Safety
/// The arguments must be what the kernel gave a handler with `SA_SIGINFO` that has not returned.
unsafe fn caught(signal: c_int, info: *mut siginfo_t, context: *mut c_void) -> Caught {
    // SAFETY: both are valid for as long as the handler runs. `si_addr` is what a signal has that was raised by an
    // instruction; those have a positive code.
    let (fault, context) = unsafe {
        let by_instruction = (*info).si_code > 0 && signal != libc::SIGABRT && signal != OVERDUE as c_int;
        (by_instruction.then(|| (*info).si_addr().addr()), &*context.cast::<ucontext_t>())
    };
    let (instruction, stack) = place(context);
    Caught { signal, fault, instruction, stack }
}

#[cfg(target_arch = "x86_64")]
fn place(context: &ucontext_t) -> (usize, usize) {
    let register = |number: c_int| context.uc_mcontext.gregs[number as usize] as usize;
    (register(libc::REG_RIP), register(libc::REG_RSP))
}

#[cfg(target_arch = "aarch64")]
fn place(context: &ucontext_t) -> (usize, usize) {
    (context.uc_mcontext.pc as usize, context.uc_mcontext.sp as usize)
}
