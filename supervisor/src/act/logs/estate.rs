//! The log as it is written down for the supervisor's successor: the log process stays, and knows nothing of it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::RawFd;

use nix::libc::O_NONBLOCK;
use nix::unistd::Pid;
use ratoon_worker::channel::Channel;
use ratoon_worker::log::{Form, Sink};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::OpenOptionsExt;

use super::Logs;
use super::file::{FileEstate, LogFile};
use super::process::Process;
use super::reopening::{Reopening, Rounds};
use crate::act::upgrade::estate::{Heirlooms, Inventory};
use crate::decide::event::Time;
use crate::logger;

/// See the module's header.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::act) struct LogsEstate {
    form: Form,
    log: Option<FileEstate>,
    files: Vec<FileEstate>,
    /// Its pid, and our end of its channel while there is one.
    process: Option<(i32, Option<RawFd>)>,
    lost: BTreeMap<String, u64>,
    lost_by_others: u64,
    rounds: Rounds,
    /// What the log process speaks.
    version: u32,
}

impl LogsEstate {
    /// How the predecessor's lines look.
    pub(in crate::act) fn form(&self) -> Form {
        self.form
    }

    /// Where they go; before anything of the estate is taken.
    pub(in crate::act) fn sink(&self) -> Sink {
        let Some(log) = &self.log else {
            return Sink::standard_error();
        };
        let itself = format!("/proc/self/fd/{}", log.entrance());
        let anew = OpenOptions::new().append(true).custom_flags(O_NONBLOCK).open(itself);
        anew.map_or_else(|_| Sink::standard_error(), |file| Sink::to(file.into()))
    }
}

impl Logs {
    /// Writes it down.
    pub(in crate::act) fn bequeath(&self, inventory: &mut Inventory<'_>) -> LogsEstate {
        let log = self.log.as_ref().map(|file| file.bequeath(inventory));
        let files = self.files.iter().map(|file| file.bequeath(inventory)).collect();
        let process = self.process.as_ref().map(|process| {
            let channel = process.channel().map(|channel| inventory.descriptor(channel));
            (process.pid.as_raw(), channel)
        });
        let captured = self.lost.iter().filter_map(|(pool, lines)| Some((pool.clone()?, *lines)));
        LogsEstate {
            form: self.form,
            log,
            files,
            process,
            lost: captured.collect(),
            lost_by_others: self.lost(None) + ratoon_worker::log::lost(),
            rounds: self.reopening.rounds(),
            version: logger::VERSION,
        }
    }

    /// Reads it again.
    ///
    /// # Errors
    /// A descriptor is not what it should be.
    pub(in crate::act) fn inherit(estate: LogsEstate, now: Time, heirlooms: &Heirlooms) -> io::Result<Logs> {
        let inherited = |file| LogFile::inherit(file, heirlooms);
        let log = estate.log.map(inherited).transpose()?;
        let files = estate.files.into_iter().map(inherited).collect::<io::Result<_>>()?;
        let mut logs = Logs::with(estate.form, log);
        logs.lost = estate.lost.into_iter().map(|(pool, lines)| (Some(pool), lines)).collect();
        logs.lost.insert(None, estate.lost_by_others);
        logs.files = files;
        logs.reopening = Reopening::resumed(estate.rounds, now);
        match estate.process {
            Some((pid, channel)) => {
                let pid = Pid::from_raw(pid);
                let channel = channel.map(|channel| heirlooms.descriptor(channel)).transpose()?.map(Channel::from);
                let channel = channel.filter(|_| estate.version == logger::VERSION);
                logs.process = Some(Process::of(pid, channel));
            }
            None => logs.drains = Some(now),
        }
        Ok(logs)
    }
}
