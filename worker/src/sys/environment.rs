//! The environment, which no other thread may read while it changes.

use std::ffi::{CStr, c_char};
use std::ptr;

use super::fork::SingleThreaded;

unsafe extern "C" {
    /// The C library's: where the array of `NAME=value` begins, which a null ends.
    static mut environ: *mut *mut c_char;
}

/// Removes a variable.
pub(crate) fn remove(_proof: &SingleThreaded, name: &str) {
    // SAFETY: one thread exists (the proof).
    unsafe { std::env::remove_var(name) }
}

/// The environment of one moment, to be compared with and to be brought back. It was copied then, and the process has had
/// the copy for its environment since: as long as nobody changes it, a look at two pieces of memory tells that.
///
/// Every method has the condition of [`std::env::set_var`], which an application has accepted that changes its
/// environment at all: no other thread changes it meanwhile. One that is never changed may be read by anybody: bringing
/// it back writes nothing then.
pub(crate) struct Environment {
    /// What `environ` is then. Leaked, with what it points to: C code keeps such pointers for as long as it likes.
    array: *mut *mut c_char,
    strings: *mut c_char,
    /// What both should be.
    pointers: Box<[*mut c_char]>,
    bytes: Box<[c_char]>,
}

impl Environment {
    /// Takes the present one.
    pub(crate) fn take() -> Environment {
        let mut bytes: Vec<c_char> = Vec::new();
        let mut begins: Vec<usize> = Vec::new();
        // SAFETY: `environ` is null or an array of C strings that a null ends (POSIX), and nobody changes it meanwhile
        // (see the type).
        unsafe {
            let mut next = environ;
            while !next.is_null() && !(*next).is_null() {
                begins.push(bytes.len());
                bytes.extend(CStr::from_ptr(*next).to_bytes_with_nul().iter().map(|byte| *byte as c_char));
                next = next.add(1);
            }
        }
        let bytes = bytes.into_boxed_slice();
        let strings = Box::leak(bytes.clone()).as_mut_ptr();
        let pointers =
            begins.iter().map(|begin| strings.wrapping_add(*begin)).chain([ptr::null_mut()]).collect::<Box<[_]>>();
        let array = Box::leak(pointers.clone()).as_mut_ptr();
        // SAFETY: the array is one as above, of strings that stay.
        unsafe { environ = array };
        Environment { array, strings, pointers, bytes }
    }

    /// Whether the process has another environment now.
    pub(crate) fn is_changed(&self) -> bool {
        // SAFETY: both are leaked memory of these lengths, initialised, and changed by nobody meanwhile (see the type).
        unsafe {
            environ != self.array
                || *ptr::slice_from_raw_parts(self.array, self.pointers.len()) != *self.pointers
                || *ptr::slice_from_raw_parts(self.strings, self.bytes.len()) != *self.bytes
        }
    }

    /// Brings it back.
    pub(crate) fn restore(&self) {
        // SAFETY: both are leaked memory of these lengths, and read by nobody meanwhile (see the type).
        unsafe {
            self.array.copy_from_nonoverlapping(self.pointers.as_ptr(), self.pointers.len());
            self.strings.copy_from_nonoverlapping(self.bytes.as_ptr(), self.bytes.len());
            environ = self.array;
        }
    }
}

/// For the one test that changes the environment: an empty value removes the variable.
#[cfg(test)]
pub(crate) fn set(name: &str, value: &str) {
    // SAFETY: no other test of this crate changes the environment, and none reads it by other means than std's.
    unsafe { if value.is_empty() { std::env::remove_var(name) } else { std::env::set_var(name, value) } }
}
