//! What a worker that has been taken over would try: each word of [`attempt`] is one thing that the shipped unit forbids.
//!
//! Whatever succeeds is undone or harmless.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;

/// Who owns nothing.
const NOBODY: u32 = 65534;

/// "yes" if it could be done, or "no" and why not.
pub(crate) fn attempt(what: &str) -> String {
    match done(what) {
        Ok(()) => "yes".into(),
        Err(error) => format!("no: {error}"),
    }
}

fn done(what: &str) -> io::Result<()> {
    let path = |path: &str| path.replace('~', "/");
    match what.split_once(':').unwrap_or((what, "")) {
        ("write", place) => {
            let place = path(place);
            OpenOptions::new().write(true).create_new(true).open(&place)?;
            fs::remove_file(place)
        }
        ("read", place) => File::open(path(place)).map(drop),
        ("list", place) => fs::read_dir(path(place)).map(drop),
        ("be-root", _) => unless(nix::unistd::geteuid().is_root()),
        ("give-away", _) => {
            let place = Path::new("/tmp/ratoon-given");
            File::create(place)?;
            let given = chown(place, None, Some(1));
            fs::remove_file(place)?;
            given
        }
        // What it prints says as whom it runs: executed by nobody, and root's by its setuid bit.
        ("gain-privileges", program) => {
            let said = Command::new(path(program)).arg("-u").uid(NOBODY).output()?;
            unless(said.stdout == b"0\n")
        }
        ("leave-behind", name) => File::create(Path::new("/dev/shm").join(name)).map(drop),
        ("make-setuid", _) => {
            let place = Path::new("/tmp/ratoon-setuid");
            File::create(place)?;
            let made = fs::set_permissions(place, Permissions::from_mode(0o4700));
            fs::remove_file(place)?;
            made
        }
        ("make-readable", _) => {
            let place = Path::new("/tmp/ratoon-readable");
            File::create(place)?;
            let mode = fs::metadata(place)?.permissions().mode();
            fs::remove_file(place)?;
            unless(mode & 0o077 != 0)
        }
        ("make-cgroup", _) => {
            let text = fs::read_to_string("/proc/self/cgroup")?;
            let own = text
                .lines()
                .find_map(|line| line.split_once(":name=systemd:").map(|(_, path)| format!("/systemd{path}")));
            let own = own.or_else(|| text.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned)));
            let place = format!("/sys/fs/cgroup{}/probe", own.unwrap_or_default());
            fs::create_dir(&place)?;
            fs::remove_dir(place)
        }
        ("system-call", name) => wild::call(name).map_err(io::Error::from),
        _ => Err(io::Error::other(format!("nobody knows how to {what:?}"))),
    }
}

fn unless(is_possible: bool) -> io::Result<()> {
    if is_possible { Ok(()) } else { Err(io::Error::other("it is not so")) }
}

#[allow(unsafe_code)]
mod wild {
    use super::{Errno, libc};

    pub(super) fn call(name: &str) -> Result<(), Errno> {
        let mut buffer = [0_u8; 512];
        let start = buffer.as_mut_ptr();
        // SAFETY: every pointer is to `buffer`, which is larger than anything that is written there; nothing is unmapped
        // but what is mapped here; a namespace, a scheduler or a personality is undone, or is the worker's last.
        let done = unsafe {
            match name {
                "hostname" => libc::sethostname(c"box".as_ptr(), 3).into(),
                "kernel-log" => libc::klogctl(10, start.cast(), 0).into(),
                // What the clock is, without setting it.
                "clock" => libc::syscall(libc::SYS_adjtimex, start),
                "user-namespace" => libc::unshare(libc::CLONE_NEWUSER).into(),
                "packets" => libc::close(Errno::result(libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0))?).into(),
                "personality" => {
                    let before = libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong);
                    libc::personality(0);
                    before.into()
                }
                "write-and-execute" => {
                    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
                    let page =
                        libc::mmap(std::ptr::null_mut(), 4096, all, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
                    if page == libc::MAP_FAILED { -1 } else { libc::munmap(page, 4096).into() }
                }
                "real-time" => {
                    let first = libc::sched_param { sched_priority: 1 };
                    libc::sched_setscheduler(0, libc::SCHED_RR, &raw const first).into()
                }
                // Of a process that there is not: whoever may trace is told so.
                "debug" => match libc::syscall(libc::SYS_ptrace, 0x4206, i32::MAX, 0, 0) {
                    -1 if Errno::last() == Errno::ESRCH => 0,
                    other => other,
                },
                "mount" => {
                    libc::mount(c"none".as_ptr(), c"/mnt".as_ptr(), c"tmpfs".as_ptr(), 0, std::ptr::null()).into()
                }
                "other-architecture" => return in_a_child(as_32_bits),
                _ => return Err(Errno::ENOSYS),
            }
        };
        Errno::result(done).map(drop)
    }

    /// Does in a child what may be deadly.
    fn in_a_child(deed: fn() -> Result<(), Errno>) -> Result<(), Errno> {
        // SAFETY: the worker has one thread, and the child does no more than one system call before it leaves.
        match Errno::result(unsafe { libc::fork() })? {
            0 => {
                let status = deed().map_or_else(|errno| errno as i32, |()| 0);
                // SAFETY: it leaves without a word.
                unsafe { libc::_exit(status) }
            }
            child => match nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None)? {
                nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(()),
                nix::sys::wait::WaitStatus::Exited(_, status) => Err(Errno::from_raw(status)),
                _ => Err(Errno::EPERM),
            },
        }
    }

    /// Asks for its own pid as a program for 32 bits would.
    #[cfg(target_arch = "x86_64")]
    fn as_32_bits() -> Result<(), Errno> {
        let mut answer: i64 = 20;
        // SAFETY: getpid(2) touches no memory; the registers that the kernel may clear are named.
        unsafe {
            std::arch::asm!("int 0x80", inout("rax") answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        if answer > 0 { Ok(()) } else { Err(Errno::from_raw(-(answer as i32))) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn as_32_bits() -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
}
