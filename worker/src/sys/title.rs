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

unsafe extern "C" {
    static mut environ: *mut *mut nix::libc::c_char;
}

/// Makes room for titles. To be called once, first thing in `main`; where the layout is not what it should be,
/// nothing happens and [`set`] does nothing.
pub fn prepare(_proof: &SingleThreaded) {
    let Some((arguments, end_of_arguments, end)) = layout() else {
        return;
    };
    // SAFETY: one thread exists (the proof), so nobody reads `environ` meanwhile. At the start of a process the
    // environment vector follows the argument vector and its null (System V ABI); that is checked below before
    // anything is written: the vector's first pointer must be the kernel's own start of the arguments.
    unsafe {
        let mut count = 0;
        let mut place = arguments;
        while place < end_of_arguments {
            place += CStr::from_ptr(place as *const nix::libc::c_char).to_bytes_with_nul().len();
            count += 1;
        }
        if environ.is_null() {
            return;
        }
        let vector = environ.sub(count + 1);
        if count == 0 || (*vector) as usize != arguments || !(*vector.add(count)).is_null() {
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
pub fn set(_proof: &SingleThreaded, title: &str) {
    let (start, length) = (START.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
    if length < 2 {
        return;
    }
    let title = title.as_bytes();
    let shown = title.len().min(length - 1);
    // SAFETY: `prepare` found this range to be the process's argument and environment area, one writable piece of the
    // stack that nothing points into any more, and one thread exists (the proof).
    let room = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, length) };
    room.fill(0);
    room[..shown].copy_from_slice(&title[..shown]);
}

/// Where the arguments start and end and the environment ends: fields 48, 49 and 51 of `/proc/self/stat`.
fn layout() -> Option<(usize, usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let field = |number: usize| after_name.split_whitespace().nth(number - 3)?.parse::<usize>().ok();
    let (start, end, environment, environment_end) = (field(48)?, field(49)?, field(50)?, field(51)?);
    (start != 0 && end > start && environment == end && environment_end > end).then_some((start, end, environment_end))
}
