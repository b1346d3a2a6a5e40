//! How the world answers an action, and whether that action was allowed.

use std::time::Duration;

use ratoon::decide::event::{Action, Event, Exit, Generation, Note, Pid, Stop, TemplateRef, Time, WorkerRef};

use super::{Attempt, KILLED, Plan, World};
use crate::simulation::process::{Fork, Phase, Template, TemplatePhase, Worker, up_to};

impl World {
    pub(super) fn perform(&mut self, actions: &[Action]) {
        let mut previous = None;
        for action in actions {
            self.remember(format!("    {action:?}"));
            self.perform_one(action, previous);
            previous = Some(action);
        }
        self.check();
    }

    fn perform_one(&mut self, action: &Action, previous: Option<&Action>) {
        assert!(!self.left, "it goes on after leaving");
        match action {
            Action::StartTemplate(who, generation) => self.start_template(*who, *generation),
            Action::DismissTemplate(who) => {
                assert!(self.stop.is_some(), "dismissed without a stop");
                assert!(
                    self.workers.values().all(|worker| worker.template != who.life || worker.phase != Phase::Ordered)
                );
                let late = self.now.after(Duration::from_secs(1));
                let template = self.templates.get_mut(&who.life).expect("a buried template was dismissed");
                assert_ne!(template.phase, TemplatePhase::Dismissed, "dismissed twice");
                template.phase = TemplatePhase::Dismissed;
                template.late = Some(late);
                if !self.chance(who.pool, |mood| mood.drain_hangs) {
                    self.happens(20, Event::TemplateDied(*who, Exit::Status(0)));
                }
            }
            Action::KillTemplate(who) => {
                let stalled = self.workers.values().any(|worker| {
                    worker.template == who.life && worker.phase == Phase::Ordered && worker.reported_overdue
                });
                let now = self.now;
                let owes =
                    self.workers.values().any(|worker| worker.template == who.life && worker.phase == Phase::Ordered);
                let leave_now = matches!(self.stop, Some((Stop::Now, _)));
                let no_time = owes && self.is_out_of_time(who.pool);
                let template = self.templates.get_mut(&who.life).expect("a buried template was killed");
                assert!(!template.killed, "killed twice");
                let late = template.late.is_some_and(|late| late <= now);
                assert!(late || stalled || leave_now || no_time, "a template was killed for nothing");
                template.killed = true;
                self.happens(50, Event::TemplateDied(*who, KILLED));
            }
            Action::OrderFork { worker, template, generation, deadline } => {
                self.order_fork(*worker, *template, *generation, *deadline);
            }
            Action::Forget(who) => {
                let worker = self.workers.remove(&who.life).expect("somebody unknown was forgotten");
                assert_eq!(worker.phase, Phase::Ordered, "a process was forgotten");
                let may_come = worker.fork == Fork::Owed && self.templates.contains_key(&worker.template);
                assert!(worker.fork != Fork::Done && !may_come, "{worker:?} was forgotten, and exists or will");
                if !self.templates.contains_key(&worker.template) {
                    self.attempts.retain(|attempt| attempt.life != who.life);
                }
            }
            Action::OrderDrain(who) => {
                assert!(self.stop.is_some(), "drained without a stop");
                let worker = self.workers.get_mut(&who.life).expect("a buried worker was drained");
                assert!(matches!(worker.phase, Phase::Serving | Phase::Leaving), "{:?} was drained", worker.phase);
                worker.phase = Phase::Draining;
                let status = i32::from(self.rng.u8(0..10) == 0);
                if !self.chance(who.pool, |mood| mood.drain_hangs) {
                    self.happens(1_000, Event::WorkerDied(*who, Exit::Status(status)));
                }
            }
            Action::Kill(who) => {
                let Some(Action::Note(Note::Killing { worker, cause, .. })) = previous else {
                    panic!("{who:?} was killed without a word");
                };
                assert_eq!(worker, who);
                self.assert_deserved(*who, cause);
                let worker = self.workers.get_mut(&who.life).expect("a buried worker was killed");
                assert_eq!(worker.killed, None, "killed twice");
                worker.killed = Some(cause.clone());
                self.happens(50, Event::WorkerDied(*who, KILLED));
            }
            Action::StopListening(_) | Action::AnnounceReady | Action::AnnounceStopping => {
                assert!(!self.announced.contains(action), "{action:?} twice");
                if *action == Action::AnnounceReady {
                    assert_eq!(self.been_ready.len(), self.limits.len(), "ready too early");
                    assert_eq!(self.stop, None);
                }
                self.announced.push(action.clone());
            }
            Action::Note(note) => {
                assert!(!matches!(note, Note::Mistake(_)), "{note:?}");
                self.notes.push(note.clone());
            }
            Action::Leave(_) => {
                assert!(self.stop.is_some(), "left unasked");
                assert!(self.workers.is_empty() && self.templates.is_empty(), "left somebody behind");
                self.left = true;
            }
        }
    }

    fn start_template(&mut self, who: TemplateRef, generation: Generation) {
        assert_eq!(self.stop, None, "a template was started after the stop began");
        assert!(self.lives.insert(who.life), "a life was used twice");
        assert!(self.templates.values().all(|template| template.who.pool != who.pool), "two templates");
        let loaded = self.loaded.get(&who.pool).map_or(0, |generation| generation.0);
        assert_eq!(generation.0, loaded + 1, "generations count loaded programs");
        self.attempts.push(Attempt { at: self.now, pool: who.pool, slot: None, life: who.life });
        let late = Some(self.now.after(self.limits[who.pool.0 as usize].boot_timeout));
        let template = Template { who, generation, phase: TemplatePhase::Loading, late, killed: false };
        self.templates.insert(who.life, template);
        if self.chance(who.pool, |mood| mood.load_fails) {
            match self.rng.u8(0..3) {
                0 => self.happens(1, Event::TemplateNotStarted(who, "no such file".into())),
                1 => self.happens(200, Event::TemplateRefused(who, "two threads".into())),
                _ => self.happens(200, Event::TemplateDied(who, Exit::Status(1))),
            }
        } else if !self.chance(who.pool, |mood| mood.load_hangs) {
            self.happens(300, Event::TemplateLoaded(who));
        }
    }

    fn order_fork(&mut self, who: WorkerRef, template: TemplateRef, generation: Generation, deadline: Time) {
        assert_eq!(self.stop, None, "a fork was ordered after the stop began");
        assert!(self.lives.insert(who.life), "a life was used twice");
        let limits = &self.limits[who.pool.0 as usize];
        assert!(who.slot < limits.workers, "a slot that does not exist");
        assert_eq!(deadline, self.now.after(limits.boot_timeout));
        let by = self.templates.get(&template.life).expect("a buried template was to fork");
        assert_eq!((by.phase, by.killed), (TemplatePhase::Loaded, false), "a template that cannot was to fork");
        assert_eq!((by.who, by.generation, who.pool), (template, generation, template.pool));
        self.attempts.push(Attempt { at: self.now, pool: who.pool, slot: Some(who.slot), life: who.life });
        let worker = Worker {
            who,
            template: template.life,
            phase: Phase::Ordered,
            fork: Fork::Owed,
            leaving_since: None,
            deadline: Some(deadline),
            reported_overdue: false,
            killed: None,
        };
        self.workers.insert(who.life, worker);
        self.plan(deadline.since(self.now), Plan::Fact(Event::WorkerOverdue(who)));
        if self.chance(who.pool, |mood| mood.fork_fails) {
            self.happens(5, Event::WorkerNotForked(who, "EAGAIN".into()));
        } else if self.chance(who.pool, |mood| mood.fork_kills_template) {
            self.happens(5, Event::TemplateDied(template, Exit::Signal { number: 11, core: true }));
        } else if !self.chance(who.pool, |mood| mood.fork_hangs) {
            let delay = up_to(5, &mut self.rng);
            self.plan(delay, Plan::Fork(who));
        }
    }

    /// The process exists. That is told a little later, and at the latest before its template's death.
    pub(super) fn fork(&mut self, who: WorkerRef) {
        let Some(worker) = self.workers.get_mut(&who.life).filter(|worker| worker.fork == Fork::Owed) else {
            return;
        };
        if self.templates.contains_key(&worker.template) {
            worker.fork = Fork::Done;
            self.happens(5, Event::WorkerForked(who, pid_of(who)));
        }
    }

    pub(super) fn plan_start(&mut self, who: WorkerRef) {
        if self.chance(who.pool, |mood| mood.start_fails) {
            if self.rng.bool() {
                self.happens(50, Event::WorkerRefused(who, "no database".into()));
            } else {
                self.happens(50, Event::WorkerDied(who, Exit::Status(1)));
            }
        } else if !self.chance(who.pool, |mood| mood.start_hangs) {
            self.happens(50, Event::WorkerReady(who));
        }
    }

    pub(super) fn plan_service(&mut self, who: WorkerRef) {
        if self.chance(who.pool, |mood| mood.crashes) {
            if self.rng.bool() {
                self.happens(20_000, Event::WorkerLeaving(who));
            } else {
                self.happens(20_000, Event::WorkerDied(who, Exit::Signal { number: 11, core: true }));
            }
        } else if self.chance(who.pool, |mood| mood.request_hangs) {
            let stuck_until = up_to(20_000, &mut self.rng);
            let deadline = self.now.after(stuck_until);
            if let Some(worker) = self.workers.get_mut(&who.life) {
                worker.deadline = Some(deadline);
            }
            self.plan(stuck_until, Plan::Fact(Event::WorkerOverdue(who)));
        }
    }
}

pub(super) fn pid_of(who: WorkerRef) -> Pid {
    Pid(i32::try_from(who.life % 30_000).unwrap() + 2)
}
