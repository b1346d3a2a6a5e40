//! All pools together: whom an event is for, when the daemon serves, and how it ends.
//!
//! Owns the pools, how far the daemon is, and the reload that concerns them all. What goes on inside a pool is the pool's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::{Action, Asker, Edition, Event, Outcome, Plan, PoolId, Stop, TemplateRef, Time, Verdict, WorkerRef};
use super::note::Note;
use super::pool::{Pool, Turnover};
use super::reload::Reloads;
use super::upgrade::Upgrade;
use super::{Turn, cause_of_farewell, lifecycle, template};

/// See the module's header.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Realm {
    pub(super) pools: BTreeMap<PoolId, Pool>,
    pub(super) reloads: Reloads,
    pub(super) upgrade: Upgrade,
    phase: Phase,
}

/// How far the daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Some pool has not had a ready worker yet.
    Starting,
    /// Every pool has had one.
    Serving,
    /// Every pool ends: in a graceful stop when it has gone on accepting for its `drain_delay`.
    Stopping { stop: Stop, verdict: Verdict, since: Time },
    /// Nothing is left to be done.
    Left,
}

impl Realm {
    pub(super) fn new(plans: Vec<Plan>, now: Time) -> Realm {
        let pools = plans.into_iter().map(|plan| (plan.pool, Pool::new(plan, Edition(1), Turnover::None, now)));
        Realm { pools: pools.collect(), reloads: Reloads::new(), upgrade: Upgrade::None, phase: Phase::Starting }
    }

    /// Has whom it concerns know what happened.
    pub(super) fn learn(&mut self, event: Event, turn: &mut Turn<'_>) {
        use lifecycle::Input as Worker;
        use template::Input as Template;

        match event {
            Event::TemplateLoaded(who) => self.tell_template(who, Template::Loaded, turn),
            Event::TemplateRefused(who, reason) => self.tell_template(who, Template::Refused(reason), turn),
            Event::TemplateNotStarted(who, reason) => self.tell_template(who, Template::NotStarted(reason), turn),
            Event::TemplateDied(who, exit) => self.tell_template(who, Template::Died(exit), turn),
            Event::WorkerForked(who, pid) => self.tell_worker(who, Worker::Forked(pid), turn),
            Event::WorkerNotForked(who, reason) => self.tell_worker(who, Worker::NotForked(reason), turn),
            Event::WorkerReady(who) => self.tell_worker(who, Worker::Ready, turn),
            Event::WorkerRefused(who, reason) => self.tell_worker(who, Worker::Refused(reason), turn),
            Event::WorkerLeaving(who, why) => self.tell_worker(who, Worker::Leaving(cause_of_farewell(why)), turn),
            Event::WorkerTrailing(who) => self.tell_worker(who, Worker::Trailing, turn),
            Event::WorkerDied(who, exit) => self.tell_worker(who, Worker::Died(exit), turn),
            Event::WorkerOverdue(who, deadline) => {
                self.with(who.pool, |pool| pool.press(who, deadline, turn));
            }
            Event::Measured(weights) => {
                for (who, bytes) in weights {
                    self.with(who.pool, |pool| pool.weigh(who, bytes, turn));
                }
            }
            Event::Counted(id, census) => self.with_open(id, |pool| pool.counted(census, turn)),
            Event::Knocked(id) => self.with_open(id, |pool| pool.knocked(turn)),
            Event::SizeWanted(by) => self.open_pools().for_each(|pool| pool.resize(by, turn)),
            Event::ScaleWanted(id, size, asker) => {
                self.send_on(id, asker, turn, |pool, turn| pool.scale(size, asker, turn))
            }
            Event::RestartWanted(id, slot, asker) => {
                self.send_on(id, asker, turn, |pool, turn| pool.restart(slot, asker, turn));
            }
            Event::WorkersUnwanted if self.is_stopping() => {}
            Event::WorkersUnwanted => {
                turn.note(Note::WorkersUnwanted);
                let newest = self.reloads.newest;
                self.open_pools().for_each(|pool| pool.dismiss_all(newest));
            }
            Event::ReloadWanted(scope, asker) => self.want_reload(scope, asker, turn),
            Event::ConfigurationRead(edition, read) => self.configuration_read(edition, read, turn),
            Event::Prepared(id, edition, outcome) => self.with(id, |pool| pool.prepared(edition, outcome, turn)),
            Event::LogMoved => turn.push(Action::ReopenLog),
            Event::UpgradeWanted => self.want_upgrade(turn),
            Event::Rehearsed(outcome) => self.rehearsed(outcome, turn),
            Event::Upgraded => self.end_upgrade(turn),
            Event::UpgradeFailed(reason) => {
                turn.note(Note::UpgradeFailed(reason));
                self.end_upgrade(turn);
            }
            Event::StopWanted(stop) => self.begin_stop(stop, Verdict::Asked, turn),
            // The log and the admin process are nobody of ours.
            Event::LogWanted | Event::LogNotStarted(_) | Event::LogDied(..) => {}
            Event::AdminWanted
            | Event::AdminNotStarted(_)
            | Event::AdminDied(_)
            | Event::AdminConfused
            | Event::AdminHungUp => {}
            Event::Ticked => {}
        }
    }

    /// Everything that is due, and then what all pools together have come to.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        self.end_pools(turn);
        let late = self.pools.values().map(|pool| pool.out_of_time(turn.now)).sum();
        if late > 0 {
            turn.note(Note::StopOverdue(late));
        }
        self.settle_pools(turn);
        while self.advance_reload(turn) {
            self.settle_pools(turn);
        }
        self.report_reload(turn);
        if let Some(pool) = turn.gives_up_for.take() {
            turn.note(Note::GivingUp(pool));
            self.begin_stop(Stop::Graceful, Verdict::Failed, turn);
            self.settle_pools(turn);
        }
        self.advance_upgrade(turn);
        self.close_pools(turn);
        if self.phase == Phase::Starting && self.pools.values().all(Pool::has_been_ready) {
            self.phase = Phase::Serving;
            turn.push(Action::AnnounceReady);
        }
        if let Phase::Stopping { stop, verdict, .. } = self.phase
            && self.pools.values().all(|pool| pool.is_ending() && pool.is_empty())
        {
            self.phase = Phase::Left;
            turn.push(Action::Leave(stop, verdict));
        }
    }

    pub(super) fn wake_at(&self) -> Option<Time> {
        let ends = self.lingering().map(|(_, until)| until);
        let pools = self.pools.values().filter_map(Pool::wake_at).chain(ends);
        pools.chain(self.reload_is_due()).chain(self.upgrade_is_due()).min()
    }

    pub(super) fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(&id)
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values()
    }

    pub(super) fn phase(&self) -> super::Phase {
        match self.phase {
            Phase::Starting => super::Phase::Starting,
            Phase::Serving => super::Phase::Serving,
            Phase::Stopping { .. } | Phase::Left => super::Phase::Stopping,
        }
    }

    /// Whether the daemon is on the way out.
    pub(super) fn is_stopping(&self) -> bool {
        match self.phase {
            Phase::Starting | Phase::Serving => false,
            Phase::Stopping { .. } | Phase::Left => true,
        }
    }

    /// Whether everything is over.
    pub(super) fn has_left(&self) -> bool {
        self.phase == Phase::Left
    }

    fn settle_pools(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Left {
            self.pools.values_mut().for_each(|pool| pool.settle(turn));
        }
    }

    fn tell_template(&mut self, who: TemplateRef, input: template::Input, turn: &mut Turn<'_>) {
        self.with(who.pool, |pool| pool.tell_template(who, input, turn));
    }

    fn tell_worker(&mut self, who: WorkerRef, input: lifecycle::Input, turn: &mut Turn<'_>) {
        self.with(who.pool, |pool| pool.tell_worker(who, input, turn));
    }

    fn with(&mut self, id: PoolId, tell: impl FnOnce(&mut Pool)) {
        if let Some(pool) = self.pools.get_mut(&id) {
            tell(pool);
        }
    }

    fn with_open(&mut self, id: PoolId, tell: impl FnOnce(&mut Pool)) {
        if let Some(pool) = self.pools.get_mut(&id).filter(|pool| !pool.is_ending()) {
            tell(pool);
        }
    }

    /// Has a pool see to what somebody waits for; one that is no more, or ends, cannot.
    fn send_on(&mut self, id: PoolId, asker: Asker, turn: &mut Turn<'_>, tell: impl FnOnce(&mut Pool, &mut Turn<'_>)) {
        match self.pools.get_mut(&id).filter(|pool| !pool.is_ending()) {
            Some(pool) => tell(pool, turn),
            None => {
                turn.push(Action::Refuse(asker, id, "it is being stopped".into()));
            }
        }
    }

    fn open_pools(&mut self) -> impl Iterator<Item = &mut Pool> {
        self.pools.values_mut().filter(|pool| !pool.is_ending())
    }

    /// Ends every pool as this wish asks. What that means for its processes follows when it settles.
    fn begin_stop(&mut self, stop: Stop, verdict: Verdict, turn: &mut Turn<'_>) {
        let (verdict, served) = match self.phase {
            Phase::Starting | Phase::Serving => {
                turn.push(Action::AnnounceStopping);
                (verdict, self.phase == Phase::Serving)
            }
            Phase::Stopping { stop: Stop::Graceful, verdict: before, .. } if stop == Stop::Now => (before, true),
            Phase::Stopping { .. } | Phase::Left => return,
        };
        self.phase = Phase::Stopping { stop, verdict, since: turn.now };
        self.give_up_upgrade(turn);
        self.give_up_reloads(Outcome::Failed { pool: None, reason: "the daemon is stopping".into() }, turn);
        // Nobody sends anybody to a daemon that never served.
        let lingers = served && stop == Stop::Graceful;
        for pool in self.pools.values_mut().filter(|pool| !lingers || pool.limits().drain_delay.is_zero()) {
            pool.end(stop, turn);
        }
        match self.lingering().map(|(_, until)| until).max() {
            Some(last) => turn.note(Note::Lingering(last.since(turn.now))),
            None => turn.note(Note::Stopping(stop)),
        }
    }

    /// The pools that still accept although a stop has begun, and until when.
    fn lingering(&self) -> impl Iterator<Item = (PoolId, Time)> {
        let since = match self.phase {
            Phase::Stopping { since, .. } => Some(since),
            Phase::Starting | Phase::Serving | Phase::Left => None,
        };
        let open = self.pools.values().filter(|pool| !pool.is_ending());
        open.filter_map(move |pool| Some((pool.id(), since?.after(pool.limits().drain_delay))))
    }

    /// Ends those that have gone on accepting for as long as they should.
    fn end_pools(&mut self, turn: &mut Turn<'_>) {
        let due: Vec<PoolId> = self.lingering().filter(|(_, until)| *until <= turn.now).map(|(id, _)| id).collect();
        for id in &due {
            self.with(*id, |pool| {
                pool.end(Stop::Graceful, turn);
            });
        }
        if !due.is_empty() && self.lingering().next().is_none() {
            turn.note(Note::Stopping(Stop::Graceful));
        }
    }

    /// Pools that were removed, and of which nothing is left, go.
    fn close_pools(&mut self, turn: &mut Turn<'_>) {
        if self.is_stopping() {
            return;
        }
        let closed: Vec<PoolId> =
            self.pools.values().filter(|pool| pool.is_ending() && pool.is_empty()).map(Pool::id).collect();
        for id in closed {
            self.pools.remove(&id);
            turn.push(Action::Close(id));
        }
    }
}
