//! All that a supervisor has, as it is written down for its successor: what it believes, and its descriptors by number.
//!
//! Owns the form and its version. Whoever owns a part writes and reads that part itself.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::rc::Rc;

use nix::sys::memfd::{MFdFlags, memfd_create};
use ratoon_worker::log::{Form, Sink};
use ratoon_worker::protocol;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::act::admin::AdminEstate;
use crate::act::clock::Clock;
use crate::act::control::Callers;
use crate::act::daemon::errands::Errand;
use crate::act::listener::{Listener, Owner};
use crate::act::logs::LogsEstate;
use crate::act::obituaries::Obituaries;
use crate::act::pool::PoolEstate;
use crate::act::tallies::Tallies;
use crate::config::{Address, Config, Origin};
use crate::decide::Supervisor;
use crate::decide::event::{Asker, Exit, PoolId, Time};
use crate::sys;

/// The version of everything in here. A supervisor takes over its own only.
const VERSION: u32 = 14;

/// See the module's header.
#[derive(Debug, Serialize, Deserialize)]
pub struct Estate {
    version: u32,
    /// The version of what supervisor and workers say to each other.
    protocol: u32,
    pub(in crate::act) content: Content,
    /// Every descriptor that is named anywhere in it, once.
    descriptors: Vec<RawFd>,
    listeners: Vec<ListenerEstate>,
}

/// What the daemon has.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::act) struct Content {
    /// What the deciding half believes.
    pub(in crate::act) deciding: Value,
    pub(in crate::act) config: Config,
    pub(in crate::act) origin: Origin,
    pub(in crate::act) program: PathBuf,
    pub(in crate::act) logs: LogsEstate,
    pub(in crate::act) newest: PoolId,
    pub(in crate::act) clock: Clock,
    pub(in crate::act) obituaries: Obituaries,
    pub(in crate::act) tallies: Tallies,
    pub(in crate::act) started: (Time, u64),
    pub(in crate::act) unclaimed: Vec<(i32, Exit)>,
    pub(in crate::act) pools: Vec<PoolEstate>,
    /// What systemd has passed, by name.
    pub(in crate::act) passed: Vec<(String, RawFd)>,
    /// The control socket's, among the listeners.
    pub(in crate::act) control: Option<usize>,
    /// Those who wait for an answer there, and for what.
    pub(in crate::act) callers: Callers,
    pub(in crate::act) errands: Vec<(Asker, Errand)>,
    pub(in crate::act) admin: Option<AdminEstate>,
    /// What the service manager must know and has not been told.
    pub(in crate::act) owed: Vec<String>,
}

/// A listening socket.
#[derive(Debug, Serialize, Deserialize)]
struct ListenerEstate {
    descriptor: RawFd,
    address: Address,
    owner: Owner,
}

/// What is collected while an estate is written.
#[derive(Debug, Default)]
pub(in crate::act) struct Inventory<'a> {
    descriptors: Vec<RawFd>,
    listeners: Vec<&'a Listener>,
}

impl<'a> Inventory<'a> {
    /// This descriptor is passed on: its number.
    pub(in crate::act) fn descriptor(&mut self, descriptor: &impl AsFd) -> RawFd {
        let number = descriptor.as_fd().as_raw_fd();
        self.descriptors.push(number);
        number
    }

    /// This listener is passed on, once however many have it: its place in the list.
    pub(in crate::act) fn listener(&mut self, listener: &'a Listener) -> usize {
        let known = self.listeners.iter().position(|known| std::ptr::eq(*known, listener));
        known.unwrap_or_else(|| {
            self.descriptor(listener);
            self.listeners.push(listener);
            self.listeners.len() - 1
        })
    }

    /// The estate, now that everything has been named.
    pub(in crate::act) fn estate(self, content: Content) -> Estate {
        let listeners = self.listeners.iter().map(|listener| ListenerEstate {
            descriptor: listener.as_fd().as_raw_fd(),
            address: listener.address().clone(),
            owner: listener.owner(),
        });
        Estate {
            version: VERSION,
            protocol: protocol::VERSION,
            listeners: listeners.collect(),
            descriptors: self.descriptors,
            content,
        }
    }
}

/// The descriptors of an estate, each to be taken once.
#[derive(Debug)]
pub(in crate::act) struct Heirlooms {
    listeners: Vec<Rc<Listener>>,
    /// Those that nobody has taken yet.
    descriptors: RefCell<BTreeSet<RawFd>>,
}

impl Heirlooms {
    /// The listener at this place of the list.
    pub(in crate::act) fn listener(&self, place: usize) -> io::Result<Rc<Listener>> {
        self.listeners.get(place).cloned().ok_or_else(|| io::Error::other("a listener that was not passed on"))
    }

    /// A descriptor that was passed on, by its number.
    pub(in crate::act) fn descriptor(&self, number: RawFd) -> io::Result<OwnedFd> {
        take(&mut self.descriptors.borrow_mut(), number)
    }
}

impl Estate {
    /// Into a memfd, from its beginning.
    ///
    /// # Errors
    /// What memfd_create and write say.
    pub(super) fn write(&self) -> io::Result<File> {
        let mut file = File::from(memfd_create("ratoon-estate", MFdFlags::MFD_CLOEXEC)?);
        let mut value = serde_json::to_value(self)?;
        leave_out_nulls(&mut value);
        serde_json::to_writer(&mut file, &value)?;
        file.flush()?;
        file.rewind()?;
        Ok(file)
    }

    /// From the memfd with this number, which is closed.
    ///
    /// # Errors
    /// In a sentence: it cannot be read, or is of another version.
    pub(super) fn read(number: &str) -> Result<Estate, String> {
        #[derive(Deserialize)]
        struct Versions {
            version: u32,
            protocol: u32,
        }

        let text = read_all(number).map_err(|error| format!("the state to take over cannot be read: {error}"))?;
        let versions: Versions = serde_json::from_slice(&text)
            .map_err(|error| format!("the state to take over is not one of a supervisor: {error}"))?;
        if (versions.version, versions.protocol) != (VERSION, protocol::VERSION) {
            return Err(format!(
                "the running supervisor hands over version {} of its state and speaks version {} with its workers, this \
                 one takes over version {VERSION} and speaks version {}: stop it and start this one",
                versions.version,
                versions.protocol,
                protocol::VERSION
            ));
        }
        let estate: Estate = serde_json::from_slice(&text)
            .map_err(|error| format!("the state to take over cannot be understood: {error}"))?;
        estate.deciding()?;
        Ok(estate)
    }

    /// What the deciding half believes.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub(in crate::act) fn deciding(&self) -> Result<Supervisor, String> {
        serde_json::from_value(self.content.deciding.clone())
            .map_err(|error| format!("the state to take over cannot be understood: {error}"))
    }

    /// Every descriptor it names.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.descriptors.iter().copied()
    }

    /// How the predecessor's log lines look.
    pub fn log_form(&self) -> Form {
        self.content.logs.form()
    }

    /// Where they go.
    pub fn log_sink(&self) -> Sink {
        self.content.logs.sink()
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        Config { origin: self.content.origin.clone(), ..self.content.config.clone() }
    }

    /// Takes the listeners, and with them the right to the other descriptors.
    pub(in crate::act) fn open(self) -> io::Result<(Content, Heirlooms)> {
        let mut descriptors: BTreeSet<RawFd> = self.descriptors.into_iter().collect();
        let listeners = self.listeners.into_iter().map(|each| {
            let socket = take(&mut descriptors, each.descriptor)?;
            Ok(Rc::new(Listener::inherited(socket, each.address, each.owner)))
        });
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        Ok((self.content, Heirlooms { listeners, descriptors: RefCell::new(descriptors) }))
    }
}

/// Takes a descriptor that is in the list, once.
fn take(descriptors: &mut BTreeSet<RawFd>, number: RawFd) -> io::Result<OwnedFd> {
    match descriptors.remove(&number) {
        true => Ok(sys::inherited::adopt(number)?),
        false => Err(io::Error::other(format!("descriptor {number} is named twice, or not in the list"))),
    }
}

fn read_all(number: &str) -> io::Result<Vec<u8>> {
    let number: RawFd = number.parse().map_err(io::Error::other)?;
    let mut text = Vec::new();
    File::from(sys::inherited::adopt(number)?).read_to_end(&mut text)?;
    Ok(text)
}

/// What is not set is left out, as it is in a configuration file: its types know no other way.
fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(table) => {
            table.retain(|_, value| !value.is_null());
            table.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(leave_out_nulls),
        _ => {}
    }
}
