//! A valid configuration held against this machine: are its programs, directories, users and groups there?
//!
//! Owns the search for a program. Looks and changes nothing: no socket is bound and no file is made, so what is true
//! now may be false at the start, which says so itself then.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Group, User, access};

use super::error::{Complaint, Errors};
use super::{Account, Admin, Config, Listen, Log, Pool};
use crate::sys;

/// Where systemd makes directories for logs.
const LOGS: &str = "/var/log";

impl Config {
    /// Whether everything this configuration names exists and can be used by the user who asks.
    ///
    /// # Errors
    ///
    /// Everything that is missing, with its line and what would be right.
    pub fn examine(&self) -> Result<(), Errors> {
        let complaints: Vec<Complaint> = self
            .log
            .obstacle()
            .into_iter()
            .chain(self.admin.obstacles())
            .chain(self.pools.iter().flat_map(Pool::obstacles))
            .map(|(key, message)| self.origin.complaint(&key, message))
            .collect();
        if complaints.is_empty() { Ok(()) } else { Err(complaints.into_iter().collect()) }
    }
}

impl Log {
    /// What stands in its way, with the path of its key.
    fn obstacle(&self) -> Option<(String, String)> {
        let file = self.file.as_deref()?;
        appendable(file).err().map(|message| ("log.file".to_owned(), message))
    }
}

impl Admin {
    /// What stands in its way, each with the path of its key.
    fn obstacles(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if let Some(listen) = &self.listen {
            found.extend(self.account().err().map(|message| ("admin.user".to_owned(), message)));
            found.extend(strangers("admin.listen", listen));
        }
        found
    }
}

/// The owner and group of a socket that do not exist, each with the path of its key.
fn strangers(path: &str, listen: &Listen) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(owner) = &listen.owner {
        let known = |name: &str| User::from_name(name).map(|user| user.is_some());
        found.extend(account("user", owner, known).err().map(|message| (format!("{path}.owner"), message)));
    }
    if let Some(group) = &listen.group {
        let known = |name: &str| Group::from_name(name).map(|group| group.is_some());
        found.extend(account("group", group, known).err().map(|message| (format!("{path}.group"), message)));
    }
    found
}

impl Pool {
    /// The absolute path of the program this pool runs; `None` for the sample application.
    ///
    /// # Errors
    ///
    /// There is no such program, or it cannot be executed: what was looked at, and what would be right.
    pub fn executable(&self) -> Result<Option<PathBuf>, String> {
        found(self.program.as_deref(), self.runs_as().as_ref())
    }

    /// The absolute path of the program that prepares a generation; `None` where nothing does.
    ///
    /// # Errors
    ///
    /// As [`Pool::executable`].
    pub fn preparation(&self) -> Result<Option<PathBuf>, String> {
        found(self.prepare.as_deref(), self.runs_as().as_ref())
    }

    /// As whom, where that is somebody else and known.
    fn runs_as(&self) -> Option<Account> {
        self.account().ok().flatten()
    }

    /// What stands in this pool's way, each with the path of its key.
    fn obstacles(&self) -> Vec<(String, String)> {
        let path = self.path();
        let mut found = Vec::new();
        let mut check = |key: String, outcome: Result<(), String>| {
            found.extend(outcome.err().map(|message| (format!("{path}.{key}"), message)));
        };

        let account = self.runs_as();
        let program = match (&self.program, &account) {
            // The sample application is this program.
            (None, Some(_)) => env::current_exe().map_or(Ok(()), |path| can_run(&path, account.as_ref())),
            _ => self.executable().map(drop),
        };
        check("program".to_owned(), program);
        check("prepare".to_owned(), self.preparation().map(drop));
        if let Err((key, message)) = self.account() {
            check(key.to_owned(), Err(message));
        }
        check("body_dir".to_owned(), writable_directory(&self.body_dir, account.as_ref()));
        check("access_file".to_owned(), self.access_file.as_deref().map_or(Ok(()), appendable));
        for (index, listen) in self.listen.iter().enumerate() {
            found.extend(strangers(&format!("{path}.listen[{index}]"), listen));
        }
        found
    }
}

/// The absolute path of the program in a command that `who` is to run, if there is a command; `None` is we.
fn found(command: Option<&[String]>, who: Option<&Account>) -> Result<Option<PathBuf>, String> {
    let name = command.and_then(|arguments| arguments.first());
    name.map(|name| executable(name, env::var_os("PATH").as_deref(), who)).transpose()
}

/// The absolute path of `name`: itself if it has a slash, else the first executable of that name in `search`.
fn executable(name: &str, search: Option<&OsStr>, who: Option<&Account>) -> Result<PathBuf, String> {
    if !name.contains('/') {
        let directories = search.map(|search| env::split_paths(search).collect::<Vec<_>>()).unwrap_or_default();
        let candidates = directories.iter().filter(|directory| directory.is_absolute()).map(|place| place.join(name));
        return candidates.into_iter().find(|path| can_run(path, who).is_ok()).ok_or_else(|| {
            let shown = search.unwrap_or_default().display();
            format!("no executable {name:?} in PATH ({shown}): install it, or write its absolute path")
        });
    }
    let path = std::path::absolute(name).unwrap_or_else(|_| PathBuf::from(name));
    can_run(&path, who).map(|()| path)
}

fn can_run(path: &Path, who: Option<&Account>) -> Result<(), String> {
    let shown = path.display();
    let kind = fs::metadata(path)
        .map_err(|error| format!("{shown} cannot be used: {error}: build or install it, or correct the path"))?;
    if !kind.is_file() {
        return Err(format!("{shown} is not a file: write the path of the program itself"));
    }
    may(who, path, AccessFlags::X_OK).map_err(|error| match who {
        None => format!("{shown} is not executable for this user: run chmod +x {shown}, or correct the path"),
        Some(who) => format!(
            "{shown} is not executable for {who}: {}: let that user execute it and pass every directory above, or \
             put it elsewhere",
            error.desc()
        ),
    })
}

fn writable_directory(path: &Path, who: Option<&Account>) -> Result<(), String> {
    let shown = path.display();
    let kind = fs::metadata(path)
        .map_err(|error| format!("{shown} cannot be used: {error}: create it, or name another directory"))?;
    if !kind.is_dir() {
        return Err(format!("{shown} is not a directory: name one"));
    }
    may(who, path, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| {
        let whom = who.map_or_else(|| "this user".to_owned(), Account::to_string);
        format!("{shown} is not writable for {whom}: {}: name another directory", error.desc())
    })
}

/// Whether `who` may do that with what is at this path; `None` is we.
fn may(who: Option<&Account>, path: &Path, what: AccessFlags) -> Result<(), Errno> {
    match who {
        None => access(path, what),
        Some(Account { user, group, groups, .. }) => sys::identity::may(*user, *group, groups.clone(), path, what)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default())),
    }
}

/// Whether lines can be appended to this file, or it can be made.
fn appendable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(kind) if kind.is_dir() => Err(format!("{shown} is a directory: name a file in it")),
        // A pipe waits for whoever reads it.
        Ok(kind) if !kind.is_file() && !kind.file_type().is_char_device() => {
            Err(format!("{shown} is neither a file nor a device: name a file, which need not exist"))
        }
        Ok(_) => access(path, AccessFlags::W_OK)
            .map_err(|error| format!("{shown} is not writable for this user: {}: name another file", error.desc())),
        Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
            Some(directory) if !directory.exists() && directory.starts_with(LOGS) => Err(format!(
                "there is no {0}: create it (install -d {0}), or check again when the unit has been started, whose \
                 LogsDirectory= makes it",
                directory.display()
            )),
            directory => directory.map_or(Ok(()), |directory| writable_directory(directory, None)),
        },
        Err(error) => Err(format!("{shown} cannot be used: {error}: name another file")),
    }
}

/// Whether `name` is a number, which needs no entry anywhere, or known to the system.
fn account(kind: &str, name: &str, known: impl Fn(&str) -> nix::Result<bool>) -> Result<(), String> {
    if name.parse::<u32>().is_ok() {
        return Ok(());
    }
    match known(name) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("no {kind} {name:?} on this system: create it, or name another")),
        Err(error) => Err(format!("the {kind} {name:?} cannot be looked up: {}", error.desc())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn complaints(keys: &str) -> String {
        let config = parse(&format!("[pool.web]\n{keys}\n"), "config.toml").unwrap();
        config.examine().map_or_else(|errors| errors.to_string(), |()| String::new())
    }

    #[test]
    fn what_exists_is_not_complained_about() {
        let sample = r#"listen = [{ address = "unix:/run/x", owner = "root", group = "0" }]"#;
        assert_eq!(complaints(sample), "");
        assert_eq!(complaints(&format!("{sample}\nprogram = [\"/bin/sh\"]")), "");
        assert_eq!(complaints(&format!("{sample}\nprogram = [\"sh\", \"-c\", \"true\"]")), "");
    }

    #[test]
    fn what_is_missing_is_named_with_its_line_and_a_way_out() {
        let listen = r#"listen = ["127.0.0.1:0"]"#;
        for (keys, line) in [
            (
                format!("{listen}\nprogram = [\"/nowhere/shop\"]"),
                "config.toml:3: pool.web.program: /nowhere/shop cannot be used: No such file or directory (os error 2): \
                 build or install it, or correct the path",
            ),
            (
                format!("{listen}\nprogram = [\"/etc/passwd\"]"),
                "config.toml:3: pool.web.program: /etc/passwd is not executable for this user: \
                 run chmod +x /etc/passwd, or correct the path",
            ),
            (
                format!("{listen}\nprogram = [\"/usr\"]"),
                "config.toml:3: pool.web.program: /usr is not a file: write the path of the program itself",
            ),
            (
                format!("{listen}\nprepare = [\"/nowhere/shop\", \"migrate\"]"),
                "config.toml:3: pool.web.prepare: /nowhere/shop cannot be used: No such file or directory (os error 2): \
                 build or install it, or correct the path",
            ),
            (
                format!("{listen}\nbody_dir = \"/nowhere\""),
                "config.toml:3: pool.web.body_dir: /nowhere cannot be used: No such file or directory (os error 2): \
                 create it, or name another directory",
            ),
            (
                format!("{listen}\naccess_file = \"/usr\"\naccess = \"json\""),
                "config.toml:3: pool.web.access_file: /usr is a directory: name a file in it",
            ),
            (
                format!("{listen}\naccess_file = \"/nowhere/a.log\"\naccess = \"json\""),
                "config.toml:3: pool.web.access_file: /nowhere cannot be used: No such file or directory (os error 2): \
                 create it, or name another directory",
            ),
            (
                format!("{listen}\naccess_file = \"/var/log/nowhere/a.log\"\naccess = \"json\""),
                "config.toml:3: pool.web.access_file: there is no /var/log/nowhere: create it (install -d \
                 /var/log/nowhere), or check again when the unit has been started, whose LogsDirectory= makes it",
            ),
            (
                format!("{listen}\n[log]\nfile = \"/usr\""),
                "config.toml:4: log.file: /usr is a directory: name a file in it",
            ),
            (
                format!("{listen}\nbody_dir = \"/etc/passwd\""),
                "config.toml:3: pool.web.body_dir: /etc/passwd is not a directory: name one",
            ),
            (
                r#"listen = [{ address = "unix:/run/x", owner = "nobody-here" }]"#.to_owned(),
                "config.toml:2: pool.web.listen[0].owner: no user \"nobody-here\" on this system: \
                 create it, or name another",
            ),
            (
                r#"listen = [{ address = "unix:/run/x", group = "nobody-here" }]"#.to_owned(),
                "config.toml:2: pool.web.listen[0].group: no group \"nobody-here\" on this system: \
                 create it, or name another",
            ),
        ] {
            assert_eq!(complaints(&keys), line);
        }
    }

    #[test]
    fn a_program_without_a_slash_is_searched_in_path() {
        let found = executable("sh", Some(OsStr::new("/nowhere:/bin")), None);
        assert_eq!(found, Ok(PathBuf::from("/bin/sh")));
        assert_eq!(
            executable("shop", Some(OsStr::new("/nowhere:/etc")), None),
            Err("no executable \"shop\" in PATH (/nowhere:/etc): install it, or write its absolute path".to_owned())
        );
    }

    #[test]
    fn a_relative_program_is_named_by_its_absolute_path() {
        let message = executable("./no-such-program", None, None).unwrap_err();
        assert!(message.starts_with('/') && message.contains("/no-such-program cannot be used"), "{message}");
    }
}
