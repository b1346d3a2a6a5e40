//! Memory that several processes see: a sealed memfd, mapped.
//!
//! The file is sealed against shrinking and growing, so that no process that has it can make another's access fail
//! with SIGBUS. What is mapped consists of atomics only ([`AllAtomic`]), so that no process can leave it in a state
//! that is undefined for another: the worst a hostile writer can do is to write wrong numbers.

use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

/// Types that may live in memory shared with processes we do not trust.
///
/// # Safety
/// The type must be `repr(C)`, consist of atomic integers (or arrays and structs of such) and padding only, and be
/// valid for every bit pattern, all zeroes included.
pub unsafe trait AllAtomic: Sync {}

// SAFETY: repr(C) throughout, atomics and arrays of them only, every bit pattern is a value of each: scoreboard.rs.
unsafe impl AllAtomic for crate::scoreboard::Scoreboard {}

// SAFETY: the same, of Word and Turn, each a transparent atomic: database/lease/board.rs.
unsafe impl AllAtomic for crate::database::lease::Board {}

// SAFETY: the same: rows of words, metrics/sheet.rs.
unsafe impl AllAtomic for crate::metrics::sheet::Sheet {}

/// A `T` in a sealed memfd, mapped for reading and writing until dropped.
#[derive(Debug)]
pub struct Shared<T: AllAtomic> {
    file: OwnedFd,
    memory: NonNull<T>,
}

// SAFETY: the mapping is the process's and not a thread's, is unmapped by whoever drops the only owner, and is read and
// written by atomic instructions only (`AllAtomic`, which is `Sync`).
unsafe impl<T: AllAtomic> Send for Shared<T> {}
// SAFETY: the same; a shared reference gives nothing but a `&T`, and `T` is `Sync`.
unsafe impl<T: AllAtomic> Sync for Shared<T> {}

impl<T: AllAtomic> Shared<T> {
    /// A new one, all zeroes, named for `/proc/PID/fd`.
    ///
    /// # Errors
    /// What memfd_create, ftruncate, sealing or mmap say.
    pub fn create(name: &str) -> Result<Shared<T>, Errno> {
        let file = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&file, size_of::<T>() as i64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Shared::map(file)
    }

    /// One that another process made.
    ///
    /// # Errors
    /// `EINVAL` if the file is not sealed or has not the size of a `T`; else what mmap says.
    pub fn open(file: OwnedFd) -> Result<Shared<T>, Errno> {
        let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        let sealed = seals.contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW);
        if !sealed || fstat(&file)?.st_size != size_of::<T>() as i64 {
            return Err(Errno::EINVAL);
        }
        Shared::map(file)
    }

    fn map(file: OwnedFd) -> Result<Shared<T>, Errno> {
        let length = NonZeroUsize::new(size_of::<T>()).ok_or(Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address the kernel chooses replaces nothing.
        let memory = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Shared { file, memory: memory.cast() })
    }

    /// The file, to be handed to another process.
    pub fn file(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Keeps the mapping from processes forked after this: what an application spawns has no business in it.
    pub fn withhold_from_children(&self) {
        // SAFETY: the range is exactly our own mapping, and MADV_DONTFORK leaves this process's view as it is. Should
        // it fail, the children merely inherit the mapping.
        let _ = unsafe { madvise(self.memory.cast(), size_of::<T>(), MmapAdvise::MADV_DONTFORK) };
    }
}

impl<T: AllAtomic> std::ops::Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping covers a whole `T` (its size was set or checked, and is sealed), is page-aligned, lives
        // as long as `self`, and is valid as a `T` whatever its bytes are (`AllAtomic`).
        unsafe { self.memory.as_ref() }
    }
}

impl<T: AllAtomic> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the range is our own mapping; every reference to it borrowed from `self`, which is going.
        let _ = unsafe { munmap(self.memory.cast(), size_of::<T>()) };
    }
}
