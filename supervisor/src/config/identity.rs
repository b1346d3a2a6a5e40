//! The users and the groups that a pool's processes, and that of the status page, run as.
//!
//! Owns how `user`, `group` and `admin.user` become numbers, and who may ask for which. Looks things up; never becomes anybody.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};

use super::{Admin, Pool};

/// Who owns nothing.
const NOBODY: &str = "nobody";
/// That user's number where no list of users says so.
const OVERFLOW: u32 = 65534;

/// Another user than the supervisor's, in the kernel's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: Uid,
    /// The group.
    pub group: Gid,
    /// Every group it is in.
    pub groups: Vec<Gid>,
    /// What it is called, and where it is at home; unknown of a mere number.
    pub known: Option<(String, PathBuf)>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.known {
            Some((name, _)) => write!(f, "the user {name:?}"),
            None => write!(f, "the user {}", self.user),
        }
    }
}

impl Pool {
    /// As whom its processes run; `None`: as the supervisor does.
    ///
    /// # Errors
    /// The key that is wrong, and a sentence: there is nobody of that name, or we cannot become them.
    pub fn account(&self) -> Result<Option<Account>, (&'static str, String)> {
        let group = self.group.as_deref().map(group).transpose().map_err(|what| ("group", what))?;
        let name = match (&self.user, group) {
            (None, None) => return Ok(None),
            (None, Some(_)) => &geteuid().to_string(),
            (Some(name), _) => name,
        };
        let wrong = |what: String| ("user", what);
        let missing = |error: nix::Error| wrong(format!("the user {name:?} cannot be looked up: {}", error.desc()));
        let found = match name.parse::<u32>() {
            Ok(number) => User::from_uid(number.into()).map_err(missing)?,
            Err(_) => User::from_name(name).map_err(missing)?,
        };
        let account = match (found, name.parse::<u32>()) {
            (Some(user), _) => {
                let group = group.unwrap_or(user.gid);
                let groups = CString::new(user.name.as_str()).map(|name| getgrouplist(&name, group));
                let groups = groups.ok().and_then(Result::ok).unwrap_or_else(|| vec![group]);
                Account { user: user.uid, group, groups, known: Some((user.name, user.dir)) }
            }
            (None, Ok(number)) => {
                let Some(group) = group else {
                    return Err(("user", format!("no user has the number {number} here: name its group, too")));
                };
                Account { user: number.into(), group, groups: vec![group], known: None }
            }
            (None, Err(_)) => {
                return Err(wrong(format!("no user {name:?} on this system: create it, or name another")));
            }
        };
        let ours = geteuid();
        match ours.is_root() {
            true => Ok(Some(account)),
            false if (account.user, account.group) == (ours, getegid()) => Ok(None),
            false => Err(wrong(format!(
                "user {ours} cannot become {name:?}: start ratoon as root (systemd/drop-ins/users.conf), or leave this key out"
            ))),
        }
    }
}

impl Admin {
    /// As whom the process of the status page runs: user and group; `None`: as the supervisor does.
    ///
    /// # Errors
    ///
    /// There is no such user, or the supervisor may not become another: what would be right.
    pub fn account(&self) -> Result<Option<(u32, u32)>, String> {
        let find = |name: &str| match name.parse::<u32>() {
            Ok(number) => User::from_uid(number.into()).map(|user| user.map_or((number, number), ids)).map(Some),
            Err(_) => User::from_name(name).map(|user| user.map(ids)),
        };
        let ids = |name: &str| match find(name) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(format!("no user {name:?} on this system: create it, or name another")),
            Err(error) => Err(format!("the user {name:?} cannot be looked up: {}", error.desc())),
        };
        let ours = geteuid();
        match &self.user {
            None if ours.is_root() => Ok(Some(ids(NOBODY).unwrap_or((OVERFLOW, OVERFLOW)))),
            None => Ok(None),
            Some(name) => match ids(name)? {
                wanted if ours.is_root() => Ok(Some(wanted)),
                (user, _) if user == ours.as_raw() => Ok(None),
                _ => Err(format!("user {ours} cannot become {name:?}: start ratoon as root, or leave this key out")),
            },
        }
    }
}

fn group(name: &str) -> Result<Gid, String> {
    if let Ok(number) = name.parse::<u32>() {
        return Ok(number.into());
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(format!("no group {name:?} on this system: create it, or name another")),
        Err(error) => Err(format!("the group {name:?} cannot be looked up: {}", error.desc())),
    }
}

fn ids(user: User) -> (u32, u32) {
    (user.uid.as_raw(), user.gid.as_raw())
}
