//! The stack of this very moment, frame by frame.

/// Shows `visit` each frame, from the innermost outwards, until it says false: where the frame goes on, and how far down
/// the stack reaches while it is called from there. Allocates nothing; walks through a signal handler's frame.
pub(crate) fn walk(mut visit: impl FnMut(usize, usize) -> bool) {
    // SAFETY: what is not synchronised by this call is the naming of addresses, which is not done here. The unwinder
    // beneath it reads tables that are loaded with the program.
    unsafe { backtrace::trace_unsynchronized(|frame| visit(frame.ip().addr(), frame.sp().addr())) }
}
