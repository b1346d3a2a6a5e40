//! What processes do or suffer, what is told about it, and what else is told.

use std::time::Duration;

use ratoon::decide::event::{Action, Cause, Event, Exit, Note, Pid, PoolId, TemplateRef, WorkerRef};

use super::answers::pid_of;
use super::{KILLED, Plan, World};
use crate::simulation::process::{Fork, Phase, TemplatePhase, Worker, up_to};

impl World {
    /// Something a process does or suffers. `None` if it cannot any more.
    pub(super) fn fact(&mut self, event: Event) -> Option<Vec<Action>> {
        let mut expected = None;
        match &event {
            Event::TemplateLoaded(who) => {
                let template = self
                    .templates
                    .get_mut(&who.life)
                    .filter(|template| template.phase == TemplatePhase::Loading && !template.killed)?;
                template.phase = TemplatePhase::Loaded;
                template.late = None;
                self.loaded.insert(who.pool, template.generation);
            }
            Event::TemplateRefused(who, _) => {
                let now = self.now;
                let template = self
                    .templates
                    .get_mut(&who.life)
                    .filter(|template| template.phase == TemplatePhase::Loading && !template.killed)?;
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
                let worker = self
                    .workers
                    .get_mut(&who.life)
                    .filter(|worker| worker.phase == Phase::Ordered && worker.fork == Fork::Done)?;
                worker.phase = Phase::Starting;
                self.plan_start(*who);
            }
            Event::WorkerNotForked(who, reason) => {
                let worker = self.workers.get_mut(&who.life).filter(|worker| worker.fork == Fork::Owed)?;
                self.templates.get(&worker.template)?;
                worker.fork = Fork::Failed;
                expected = Some((*who, Cause::NotStarted(reason.clone())));
            }
            Event::WorkerReady(who) => {
                let worker = self.workers.get_mut(&who.life).filter(|worker| worker.phase == Phase::Starting)?;
                worker.phase = Phase::Serving;
                worker.deadline = None;
                worker.reported_overdue = false;
                if worker.killed.is_none() {
                    self.been_ready.insert(who.pool);
                    if self.stop.is_some() {
                        self.queue_served.insert(who.pool);
                    }
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
            Event::WorkerLeaving(who) => {
                let worker = self.workers.get_mut(&who.life).filter(|worker| worker.phase == Phase::Serving)?;
                worker.phase = Phase::Leaving;
                worker.leaving_since = Some(self.now);
                let status = self.rng.i32(0..2);
                if !self.chance(who.pool, |mood| mood.leave_hangs) {
                    self.happens(500, Event::WorkerDied(*who, Exit::Status(status)));
                }
            }
            Event::WorkerOverdue(who) => {
                let now = self.now;
                let worker = self.workers.get_mut(&who.life).filter(|worker| worker.deadline == Some(now))?;
                worker.reported_overdue = true;
            }
            Event::WorkerDied(who, exit) => {
                let worker = self.workers.get(&who.life).filter(|worker| worker.phase != Phase::Ordered)?;
                let cause = expected_cause(worker, *exit);
                self.workers.remove(&who.life);
                expected = Some((*who, cause));
            }
            Event::StopWanted(_) | Event::Ticked => {}
        }
        let actions = self.deliver(event.clone());
        if let Some((who, cause)) = expected {
            let told = actions.iter().any(|action| {
                matches!(action, Action::Note(Note::WorkerDied { worker, cause: told, .. })
                    if *worker == who && *told == cause)
            });
            assert!(told, "{who:?} died of {cause:?}, and the log says {actions:?}");
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
            let who = WorkerRef { pool: PoolId(self.rng.u32(0..4)), slot: self.rng.u32(0..14), life: nobody };
            let template = TemplateRef { pool: who.pool, life: nobody };
            let forged = [
                Event::WorkerForked(who, Pid(1)),
                Event::WorkerReady(who),
                Event::WorkerOverdue(who),
                Event::WorkerDied(who, KILLED),
                Event::TemplateDied(template, KILLED),
                Event::TemplateLoaded(template),
                Event::Ticked,
            ];
            let event = self.rng.choice(forged).expect("there are some");
            self.plan(late, Plan::Gossip(event));
        }
        let liars: Vec<_> = self.workers.values().filter(|worker| worker.phase == Phase::Serving).collect();
        if self.rng.f64() < 0.05
            && let Some(who) = self.rng.choice(liars).map(|worker| worker.who)
        {
            let lies = [Event::WorkerRefused(who, "lie".into()), Event::WorkerNotForked(who, "lie".into())];
            let lie = self.rng.choice(lies).expect("there are some");
            self.deliver(lie);
        }
    }
}

fn expected_cause(worker: &Worker, exit: Exit) -> Cause {
    match (&worker.killed, worker.phase, exit) {
        (Some(cause), ..) => cause.clone(),
        (None, Phase::Refused, _) => Cause::BootRefused("no database".into()),
        (None, Phase::Leaving | Phase::Draining, Exit::Status(0)) => Cause::Retired,
        (None, _, Exit::Status(status)) => Cause::Exited(status),
        (None, _, Exit::Signal { number, core }) => Cause::Killed { number, core },
    }
}
