//! A pool as it is written down for the supervisor's successor, and read again by that.

use std::collections::BTreeMap;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::path::PathBuf;

use nix::unistd::{Gid, Pid};
use ratoon_worker::channel::Channel;
use ratoon_worker::inbox::Inbox;
use ratoon_worker::protocol::Order;
use ratoon_worker::sys::shared::Shared;
use serde::{Deserialize, Serialize};

use super::lobbies::{Lobbies, LobbyEstate};
use super::register::{Register, RegisterEstate};
use super::sockets::SocketEstate;
use super::{Allowance, Issue, Pool, Sockets, Template, Worker};
use crate::act::logs::Captured;
use crate::act::unsent::Unsent;
use crate::act::upgrade::estate::{Heirlooms, Inventory};
use crate::config::{Account, Config};
use crate::decide::event::{Edition, Generation, PoolId, TemplateRef, WorkerRef};

/// See the module's header.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::act) struct PoolEstate {
    id: PoolId,
    /// Its name: a pool that ends may have none in the configuration any more.
    name: String,
    editions: Vec<Edition>,
    account: Option<AccountEstate>,
    scoreboard: RawFd,
    inbox: [RawFd; 2],
    lobbies: Vec<LobbyEstate>,
    register: RegisterEstate,
    sockets: Vec<SocketEstate>,
    templates: Vec<TemplateEstate>,
    workers: Vec<WorkerEstate>,
    preparations: BTreeMap<Edition, i32>,
    requests: u64,
}

/// As whom its processes run, in numbers: nobody is looked up again.
#[derive(Debug, Serialize, Deserialize)]
struct AccountEstate {
    user: u32,
    group: u32,
    groups: Vec<u32>,
    known: Option<(String, PathBuf)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TemplateEstate {
    who: TemplateRef,
    generation: Generation,
    edition: Edition,
    pid: i32,
    channel: Option<RawFd>,
    introduced: bool,
    places: Option<Vec<u16>>,
    unsent: Vec<Order>,
    captured: Option<[RawFd; 2]>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WorkerEstate {
    who: WorkerRef,
    template: u64,
    edition: Edition,
    generation: Generation,
    ordered: u64,
    channel: Option<RawFd>,
    process: Option<i32>,
    asked: bool,
    unsent: Vec<Order>,
    captured: Option<[RawFd; 2]>,
}

impl AccountEstate {
    fn of(account: &Account) -> AccountEstate {
        AccountEstate {
            user: account.user.as_raw(),
            group: account.group.as_raw(),
            groups: account.groups.iter().copied().map(Gid::as_raw).collect(),
            known: account.known.clone(),
        }
    }

    fn account(self) -> Account {
        Account {
            user: self.user.into(),
            group: self.group.into(),
            groups: self.groups.into_iter().map(Gid::from_raw).collect(),
            known: self.known,
        }
    }
}

impl Pool {
    /// Writes the pool down.
    pub(in crate::act) fn bequeath<'a>(&'a self, inventory: &mut Inventory<'a>) -> PoolEstate {
        let templates = self.templates.values().map(|template| TemplateEstate {
            who: template.who,
            generation: template.generation,
            edition: template.edition,
            pid: template.pid.as_raw(),
            channel: template.channel.as_ref().map(|channel| inventory.descriptor(channel)),
            introduced: template.introduced,
            places: template.places.clone(),
            unsent: template.unsent.plain(),
            captured: template.captured.as_ref().map(|captured| captured.bequeath(inventory)),
        });
        let templates = templates.collect();
        let workers = self.workers.values().map(|worker| WorkerEstate {
            who: worker.who,
            template: worker.template,
            edition: worker.edition,
            generation: worker.generation,
            ordered: worker.ordered,
            channel: worker.channel.as_ref().map(|channel| inventory.descriptor(channel)),
            process: worker.process.map(Pid::as_raw),
            asked: worker.asked,
            unsent: worker.unsent.plain(),
            captured: worker.captured.as_ref().map(|captured| captured.bequeath(inventory)),
        });
        let workers = workers.collect();
        PoolEstate {
            id: self.id,
            name: self.config.name.clone(),
            editions: self.editions.keys().copied().collect(),
            account: self.account.as_ref().map(AccountEstate::of),
            scoreboard: inventory.descriptor(&self.scoreboard.file()),
            inbox: self.inbox.ends().map(|end| inventory.descriptor(&end)),
            lobbies: self.lobbies.bequeath(inventory),
            register: self.register.bequeath(inventory),
            sockets: self.sockets.bequeath(inventory),
            templates,
            workers,
            preparations: self.preparations.iter().map(|(edition, (pid, _))| (*edition, pid.as_raw())).collect(),
            requests: self.requests,
        }
    }

    /// Reads it again.
    ///
    /// # Errors
    /// A descriptor is not what it should be.
    pub(in crate::act) fn inherit(estate: PoolEstate, config: &Config, heirlooms: &Heirlooms) -> io::Result<Pool> {
        let channel = |number: Option<RawFd>| -> io::Result<Option<Channel>> {
            number.map(|number| heirlooms.descriptor(number).map(Channel::from)).transpose()
        };
        let captured = |numbers: Option<[RawFd; 2]>| -> io::Result<Option<Captured>> {
            numbers.map(|numbers| Captured::inherit(numbers, heirlooms)).transpose()
        };
        let mut templates = BTreeMap::new();
        for each in estate.templates {
            let (pid, channel) = (Pid::from_raw(each.pid), channel(each.channel)?);
            let TemplateEstate { who, generation, edition, introduced, places, .. } = each;
            let (unsent, captured) = (Unsent::inherited(each.unsent), captured(each.captured)?);
            let allowance = Allowance::of_a_template();
            let template =
                Template { who, generation, edition, pid, channel, introduced, allowance, places, unsent, captured };
            templates.insert(who.life, template);
        }
        let mut workers = BTreeMap::new();
        for each in estate.workers {
            let (channel, process) = (channel(each.channel)?, each.process.map(Pid::from_raw));
            let WorkerEstate { who, template, edition, generation, ordered, asked, .. } = each;
            let (unsent, captured) = (Unsent::inherited(each.unsent), captured(each.captured)?);
            let allowance = Allowance::of_a_worker();
            let worker = Worker {
                who,
                template,
                edition,
                generation,
                ordered,
                channel,
                process,
                allowance,
                asked,
                unsent,
                captured,
            };
            workers.insert(who.life, worker);
        }
        let named = config.pool(&estate.name).cloned();
        let own = named.unwrap_or_else(|| crate::config::Pool { name: estate.name.clone(), ..Default::default() });
        let issue = Issue { config: own, account: estate.account.map(AccountEstate::account) };
        let [give, take] = estate.inbox;
        Ok(Pool {
            id: estate.id,
            editions: estate.editions.into_iter().map(|edition| (edition, issue.clone())).collect(),
            config: issue.config,
            account: issue.account,
            scoreboard: Shared::open(heirlooms.descriptor(estate.scoreboard)?)?,
            inbox: ManuallyDrop::new(Inbox::from_ends(heirlooms.descriptor(give)?, heirlooms.descriptor(take)?)),
            lobbies: ManuallyDrop::new(Lobbies::inherit(estate.lobbies, heirlooms)?),
            register: Register::inherit(estate.register, heirlooms)?,
            sockets: Sockets::inherit(estate.sockets, heirlooms)?,
            templates,
            workers,
            preparations: estate
                .preparations
                .into_iter()
                .map(|(edition, pid)| (edition, (Pid::from_raw(pid), None)))
                .collect(),
            requests: estate.requests,
        })
    }
}
