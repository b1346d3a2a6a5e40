//! What belongs to the process as a whole and is put back after every request: working directory, umask, signal mask,
//! environment.
//!
//! Three system calls that overwrite without looking, and a look at memory: to look first would cost as much.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::{Mode, fstat, fstatat, umask};
use nix::unistd::fchdir;

use super::Changes;
use crate::sys::environment::Environment;
use crate::sys::mask;

/// What it should be.
pub(super) struct Original {
    directory: Option<Directory>,
    umask: Option<Mode>,
    mask: Option<u64>,
    environment: Environment,
}

struct Directory {
    /// Held, and so no other directory's in its file system.
    place: OwnedFd,
    identity: (u64, u64),
    /// Whether it has been said that something is wrong with it.
    is_lamented: bool,
}

impl Original {
    /// What it is now.
    pub(super) fn take() -> Original {
        let directory = Directory::take().inspect_err(
            |error| tracing::warn!(%error, "the working directory cannot be opened: it will not be put back"),
        );
        Original {
            directory: directory.ok(),
            umask: read_umask(),
            mask: mask::read().ok(),
            environment: Environment::take(),
        }
    }

    /// Puts everything back; what was changed. Whether the directory was is seen only if somebody `asks`.
    pub(super) fn put_back(&mut self, asks: bool) -> Changes {
        let is_elsewhere = |directory: &Directory| asks && !directory.is_present();
        let changes = Changes {
            directory: self.directory.as_ref().is_some_and(is_elsewhere),
            umask: self.umask.is_some_and(|original| umask(original) != original),
            mask: self.mask.is_some_and(|original| mask::swap(original) != Ok(original)),
            environment: self.environment.is_changed(),
        };
        if changes.environment {
            self.environment.restore();
        }
        if let Some(directory) = &mut self.directory
            && let Err(error) = fchdir(&directory.place)
        {
            directory.lament(error.desc());
        }
        changes
    }

    /// Says so if the directory has been removed; the process stays in it all the same.
    pub(super) fn look_after_directory(&mut self) {
        if let Some(directory) = &mut self.directory
            && fstat(&directory.place).is_ok_and(|its| its.st_nlink == 0)
        {
            directory.lament("it has been removed");
        }
    }
}

impl Directory {
    fn take() -> Result<Directory, Errno> {
        let place = open(".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let its = fstat(&place)?;
        Ok(Directory { place, identity: (its.st_dev, its.st_ino), is_lamented: false })
    }

    fn is_present(&self) -> bool {
        let present = fstatat(AT_FDCWD, ".", AtFlags::empty());
        present.is_ok_and(|present| (present.st_dev, present.st_ino) == self.identity)
    }

    fn lament(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_lamented, true) {
            tracing::warn!(why, "something is wrong with the working directory of this worker");
        }
    }
}

/// The umask without setting it: threads that the application has started may be creating files.
fn read_umask() -> Option<Mode> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let octal = status.lines().find_map(|line| line.strip_prefix("Umask:"))?.trim();
    u32::from_str_radix(octal, 8).ok().map(Mode::from_bits_truncate)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::env;

    use nix::sys::signal::{SigSet, Signal};

    use super::*;
    use crate::sys::environment;

    const NAME: &str = "RATOON_TEST_OF_THE_ENVIRONMENT";

    /// One test, for what it changes belongs to the whole process.
    #[test]
    fn what_is_changed_is_named_and_put_back() {
        let mut original = Original::take();
        assert_eq!(original.put_back(true), Changes::default());
        let before = (env::current_dir().unwrap(), env::vars_os().collect::<Vec<_>>());

        env::set_current_dir("/").unwrap();
        assert_eq!(original.put_back(true), Changes { directory: true, ..Changes::default() });
        env::set_current_dir("/").unwrap();
        assert_eq!(original.put_back(false), Changes::default());
        assert_eq!(env::current_dir().unwrap(), before.0);

        let mode = umask(Mode::from_bits_truncate(0o741));
        assert_eq!(original.put_back(false), Changes { umask: true, ..Changes::default() });
        assert_eq!(umask(mode), mode);

        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGUSR1);
        blocked.thread_block().unwrap();
        assert_eq!(original.put_back(false), Changes { mask: true, ..Changes::default() });
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1));

        let path = env::var_os("PATH").unwrap();
        for (name, value) in [(NAME, "new"), ("PATH", "/changed"), ("PATH", ""), ("PATH", "/"), (NAME, "again")] {
            environment::set(name, value);
            assert_eq!(original.put_back(false), Changes { environment: true, ..Changes::default() });
            assert_eq!(original.put_back(false), Changes::default());
            assert_eq!(env::vars_os().collect::<Vec<_>>(), before.1);
            assert_eq!((env::var_os("PATH"), env::var_os(NAME)), (Some(path.clone()), None));
        }
    }
}
