//! The process title: what `ps` shows instead of the command line.
//!
//! The kernel shows the memory in which it laid out the arguments, and, where their last byte is not zero, what
//! follows them: the environment. Both are made ours at the start of `main`: the environment is copied to the heap by
//! setting every variable anew, the arguments by pointing the argument vector at copies; then the old place is free
//! to be written. The technique is as old as sendmail's; `proc(5)` describes what the kernel reads.

use std::ffi::CStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::fork::SingleThreaded;

static START: AtomicUsize = AtomicUsize::new(0);
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Makes room for titles. To be called once, first thing in `main`; where the layout is not what it should be,
/// nothing happens and [`set`] does nothing.
pub(crate) fn prepare(_proof: &SingleThreaded) {
    let Some(Layout { stack, arguments, end_of_arguments, end }) = Layout::read() else { return };
    // SAFETY: when a process starts, the kernel leaves on the stack, from its start upwards, the count of arguments and
    // the vector of pointers to them (System V ABI), and above these the arguments themselves: all of it stays mapped,
    // and is ours. The vector is used only if its first pointer is the kernel's own start of the arguments. One thread
    // exists (the proof), so nobody reads arguments or environment meanwhile.
    unsafe {
        let count = *(stack as *const usize);
        let vector = (stack as *mut *mut nix::libc::c_char).add(1);
        if count == 0 || count > end_of_arguments - arguments || *vector as usize != arguments {
            return;
        }
        for index in 0..count {
            let argument = vector.add(index);
            *argument = CStr::from_ptr(*argument).to_owned().into_raw();
        }
        for (name, value) in std::env::vars_os() {
            std::env::set_var(name, value);
        }
    }
    START.store(arguments, Ordering::Relaxed);
    LENGTH.store(end - arguments, Ordering::Relaxed);
}

/// Sets the title of this process, cut to the room there is.
pub(crate) fn set(_proof: &SingleThreaded, title: &str) {
    let (start, length) = (START.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
    if length < 2 {
        return;
    }
    let title = title.as_bytes();
    let shown = title.len().min(length - 1);
    // SAFETY: `prepare` found this range to be the process's argument and environment area, one writable piece of the
    // stack, and one thread exists (the proof). What may still point there, as C's name of the program does, finds a
    // title that ends with a zero like what it found before.
    let room = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, length) };
    room.fill(0);
    room[..shown].copy_from_slice(&title[..shown]);
}

/// Where the kernel laid out what a process starts with: `/proc/self/stat`, fields 28, 48, 49 and 51.
struct Layout {
    stack: usize,
    arguments: usize,
    end_of_arguments: usize,
    /// Of the environment, which follows the arguments.
    end: usize,
}

impl Layout {
    fn read() -> Option<Layout> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        let field = |number: usize| after_name.split_whitespace().nth(number - 3)?.parse::<usize>().ok();
        let (stack, arguments, end_of_arguments) = (field(28)?, field(48)?, field(49)?);
        let (environment, end) = (field(50)?, field(51)?);
        let in_order = 0 < stack && stack < arguments && arguments < end_of_arguments && environment < end;
        let sound = in_order && environment == end_of_arguments && stack.is_multiple_of(align_of::<usize>());
        sound.then_some(Layout { stack, arguments, end_of_arguments, end })
    }
}
