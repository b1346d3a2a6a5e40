//! What processes do or suffer, what is told about it, and what else is told.

use std::time::Duration;

use ratoon::decide::cause::{Cause, Limit, Wish};
use ratoon::decide::event::{Action, Event, Exit, Farewell, Pid, PoolId, TemplateRef, WorkerRef};
use ratoon::decide::note::Note;

use super::answers::pid_of;
use super::{KILLED, Plan, World};
use crate::simulation::process::{Fork, Phase, Reason, TemplatePhase, Worker, up_to};

impl World {
    /// Something a process does or suffers. `None` if it cannot any more.
    pub(in crate::simulation) fn fact(&mut self, event: Event) -> Option<Vec<Action>> {
        let mut died = None;
        match &event {
            Event::TemplateLoaded(who) => {
                let loading = |it: &&mut super::Template| it.phase == TemplatePhase::Loading && !it.killed;
                let template = self.templates.get_mut(&who.life).filter(loading)?;
                template.phase = TemplatePhase::Loaded;
                template.late = None;
                let farm = self.pools.get_mut(&who.pool)?;
                farm.loaded = farm.loaded.max(template.generation.0);
            }
            Event::TemplateRefused(who, _) => {
                let now = self.now;
                let loading = |it: &&mut super::Template| it.phase == TemplatePhase::Loading && !it.killed;
                let template = self.templates.get_mut(&who.life).filter(loading)?;
                template.phase = TemplatePhase::Refused;
                template.late = Some(now.after(Duration::from_secs(1)));
                if self.rng.bool() {
                    self.happens(20, Event::TemplateDied(*who, Exit::Status(1)));
                }
            }
            Event::TemplateNotStarted(who, _) | Event::TemplateDied(who, _) => {
                self.tell_forks_of(*who);
                self.templates.remove(&who.life)?;
            }
            Event::WorkerForked(who, _) => {
                let untold = |it: &&mut Worker| it.phase == Phase::Ordered && it.fork == Fork::Done;
                let worker = self.workers.get_mut(&who.life).filter(untold)?;
                worker.phase = Phase::Starting;
                self.plan_start(*who);
            }
            Event::WorkerNotForked(who, reason) => {
                let worker = self.workers.get_mut(&who.life).filter(|worker| worker.fork == Fork::Owed)?;
                self.templates.get(&worker.template)?;
                worker.fork = Fork::Failed;
                died = Some((*who, vec![Cause::NotStarted(reason.clone())]));
            }
            Event::WorkerReady(who) => {
                let worker = self.workers.get_mut(&who.life).filter(|worker| worker.phase == Phase::Starting)?;
                worker.phase = Phase::Serving;
                worker.deadline = None;
                let farm = self.pools.get_mut(&who.pool)?;
                if worker.killed.is_none() {
                    farm.been_ready = true;
                    farm.proven.insert(worker.edition);
                    farm.queue_served |= farm.ending.is_some();
                }
                self.plan_service(*who);
            }
            Event::WorkerRefused(who, _) => {
                let worker = self.workers.get_mut(&who.life).filter(|worker| worker.phase == Phase::Starting)?;
                worker.phase = Phase::Refused;
                if self.rng.bool() {
                    self.happens(20, Event::WorkerDied(*who, Exit::Status(1)));
                }
            }
            Event::WorkerLeaving(who, why) => {
                self.workers.get(&who.life).filter(|worker| worker.serves())?;
                self.begin_to_leave(*who, Reason::Own(*why));
            }
            Event::WorkerTrailing(who) => {
                let worker = self.workers.get_mut(&who.life).filter(|worker| worker.phase == Phase::Leaving)?;
                worker.phase = Phase::Trailing;
                worker.deadline = None;
            }
            Event::WorkerDied(who, exit) => {
                let worker = self.workers.get(&who.life).filter(|worker| worker.phase != Phase::Ordered)?;
                died = Some((*who, possible_causes(worker, *exit)));
                self.workers.remove(&who.life);
            }
            other => panic!("{other:?} is no fact of a process"),
        }
        let actions = self.deliver(event.clone());
        if let Some((who, causes)) = died {
            let told = actions.iter().any(|action| {
                matches!(action, Action::Note(Note::WorkerDied { worker, cause, .. })
                    if *worker == who && causes.contains(cause))
            });
            assert!(told, "{who:?} died of one of {causes:?}, and the log says {actions:?}");
        }
        self.gossip_about(event);
        Some(actions)
    }

    /// What a template has said is read before its death is told.
    fn tell_forks_of(&mut self, template: TemplateRef) {
        let untold: Vec<_> = self
            .workers
            .values()
            .filter(|worker| {
                worker.template == template.life && worker.phase == Phase::Ordered && worker.fork == Fork::Done
            })
            .map(|worker| worker.who)
            .collect();
        for who in untold {
            self.fact(Event::WorkerForked(who, pid_of(who)));
        }
    }

    /// Repeats it late, tells lies about the living, and forges reports of those who are not.
    fn gossip_about(&mut self, event: Event) {
        if !self.chaos {
            return;
        }
        let late = up_to(5_000, &mut self.rng);
        if self.rng.f64() < 0.1 {
            self.plan(late, Plan::Gossip(event));
        }
        if self.rng.f64() < 0.1 {
            let nobody = self.lives.last().copied().unwrap_or(0) + 1_000_000;
            let who = WorkerRef { pool: PoolId(self.rng.u32(0..6)), slot: self.rng.u32(0..14), life: nobody };
            let template = TemplateRef { pool: who.pool, life: nobody };
            let forged = [
                Event::WorkerForked(who, Pid(1)),
                Event::WorkerReady(who),
                Event::WorkerOverdue(who, self.now),
                Event::WorkerLeaving(who, Farewell::Signal),
                Event::WorkerDied(who, KILLED),
                Event::TemplateDied(template, KILLED),
                Event::TemplateLoaded(template),
                Event::Measured(vec![(who, u64::MAX)]),
                Event::Knocked(who.pool),
                Event::Ticked,
            ];
            let event = self.rng.choice(forged).expect("there are some");
            self.plan(late, Plan::Gossip(event));
        }
        let liars: Vec<_> = self.workers.values().filter(|worker| worker.phase == Phase::Serving).collect();
        if self.rng.f64() < 0.05
            && let Some(who) = self.rng.choice(liars).map(|worker| worker.who)
        {
            let lies = [
                Event::WorkerRefused(who, "lie".into()),
                Event::WorkerNotForked(who, "lie".into()),
                Event::WorkerTrailing(who),
            ];
            let lie = self.rng.choice(lies).expect("there are some");
            self.deliver(lie);
        }
    }
}

/// What the log may say of this death.
fn possible_causes(worker: &Worker, exit: Exit) -> Vec<Cause> {
    if let Some(cause) = &worker.killed {
        return vec![cause.clone()];
    }
    let exited = match exit {
        Exit::Status(status) => Cause::Exited(status),
        Exit::Signal { number: 9, .. } => Cause::KilledFromOutside,
        Exit::Signal { number, core } => Cause::Signal { number, core },
        Exit::OutOfMemory => Cause::KilledForMemory,
    };
    match (worker.phase, exit, worker.leaves) {
        (Phase::Refused, ..) => vec![Cause::BootFailed("no database".into())],
        (Phase::Draining, Exit::Status(0), _) => vec![Cause::Retired(Wish::Stop)],
        (_, Exit::Status(0), Some((_, Reason::Own(Farewell::Requests)))) => vec![Cause::Recycled(Limit::Requests)],
        (_, Exit::Status(0), Some((_, Reason::Own(Farewell::Signal)))) => vec![Cause::Retired(Wish::Operator)],
        (_, Exit::Status(0), Some((_, Reason::Own(Farewell::Panic)))) => vec![Cause::Recycled(Limit::Panic)],
        (_, Exit::Status(0), Some((_, Reason::Own(Farewell::Change)))) => vec![Cause::Recycled(Limit::Change)],
        (_, Exit::Status(0), Some((_, Reason::Ordered))) => {
            let wishes = [Wish::Reload, Wish::Scaling, Wish::Operator].map(Cause::Retired);
            wishes.into_iter().chain([Limit::Age, Limit::Memory].map(Cause::Recycled)).collect()
        }
        _ => vec![exited],
    }
}
