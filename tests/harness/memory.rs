//! Where a test keeps what is written a lot and thrown away at once: in memory, where the machine has some to give.
//!
//! Owns what a run that was killed has left there. Nothing in it can be relied on to be executable.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{fs, io};

use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

/// Linux's own file system in memory.
const MEMORY: &str = "/dev/shm";

/// With less than this it is left to those it was meant for; a container may have as little as 64 MiB.
const ENOUGH: u64 = 2 << 30;

/// Before the process that made it.
const PREFIX: &str = "ratoon-tests.";

/// There, or else where temporary files are.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    forget_the_dead();
    let left = statvfs(MEMORY).map_or(0, |room| room.blocks_available() * room.fragment_size());
    match left >= ENOUGH && make(Path::new(MEMORY)).is_ok() {
        true => MEMORY.into(),
        false => std::env::temp_dir(),
    }
});

/// A directory that everybody can look into.
pub fn directory() -> TempDir {
    make(&PLACE).unwrap()
}

fn make(place: &Path) -> io::Result<TempDir> {
    let prefix = format!("{PREFIX}{}.", std::process::id());
    tempfile::Builder::new().prefix(&prefix).permissions(PermissionsExt::from_mode(0o755)).tempdir_in(place)
}

/// Nobody else would: memory is not cleared as a disk is.
fn forget_the_dead() {
    for entry in fs::read_dir(MEMORY).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
