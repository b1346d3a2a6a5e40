//! How the world answers an action, and whether that action was allowed.

use std::time::Duration;

use ratoon::decide::event::{
    Action, Edition, Event, Exit, Farewell, Generation, Outcome, Pid, PoolId, Stop, TemplateRef, Time, WorkerRef,
};
use ratoon::decide::note::Note;

use super::{Attempt, CALM, KILLED, Plan, World};
use crate::simulation::process::{Fork, Phase, Reason, Template, TemplatePhase, Worker, up_to};

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
            Action::ReadConfiguration(edition, scope) => self.begin_reading(*edition, scope),
            Action::Prepare(pool, edition) => self.prepare(*pool, *edition),
            Action::AbandonPreparation(pool, edition) => self.abandon_preparation(*pool, *edition),
            Action::Adopt(edition) => self.adopt(*edition),
            Action::Abandon(edition) => self.abandon(*edition),
            Action::Conclude(edition) => self.conclude(*edition),
            Action::Answer(askers, outcome) => self.answer(askers, outcome),
            Action::Refuse(asker, pool, reason) => {
                let outcome = Outcome::Failed { pool: Some(*pool), reason: reason.clone() };
                self.answer(&[*asker], &outcome);
            }
            Action::Report(askers, pool, step) => self.hear_report(askers, *pool, *step),
            Action::Close(pool) => self.close(*pool),
            Action::StartTemplate(who, generation, edition) => self.start_template(*who, *generation, *edition),
            Action::DismissTemplate(who) => self.dismiss_template(*who),
            Action::KillTemplate(who) => self.kill_template(*who),
            Action::OrderFork { worker, template, generation, deadline, max_requests } => {
                self.order_fork(*worker, *template, *generation, *deadline, *max_requests);
            }
            Action::Forget(who) => self.forget(*who),
            Action::OrderRetire(who) => self.order_retire(*who),
            Action::OrderDrain(who) => self.order_drain(*who),
            Action::ReopenLog => {}
            Action::Rehearse => self.rehearse(),
            Action::AbandonRehearsal => self.abandon_rehearsal(),
            Action::Upgrade => self.begin_upgrade(),
            Action::Interrupt(who) => {
                let now = self.now;
                let worker = self.workers.get_mut(&who.life).expect("a buried worker was interrupted");
                assert!(worker.has_been_ready() && worker.killed.is_none(), "{worker:?} was interrupted");
                assert!(worker.deadline.is_some_and(|deadline| deadline <= now), "{worker:?} is within its time");
                assert_ne!(worker.interrupted, worker.deadline, "interrupted twice");
                worker.interrupted = worker.deadline;
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
            Action::Measure(pool) => self.plan(Duration::from_millis(1), Plan::Measured(*pool)),
            Action::Count(pool) => self.plan(Duration::from_millis(1), Plan::Counted(*pool)),
            Action::AwaitKnock(pool) => self.await_knock(*pool),
            Action::StopListening(pool) => {
                assert!(self.pools[pool].ending.is_some(), "{pool:?} was shut while it was open");
                self.announce(action);
            }
            Action::AnnounceReady => {
                let ready = |pool| self.supervisor.pool(pool).is_none_or(|view| view.wanted == 0);
                assert!(self.pools.iter().all(|(pool, farm)| farm.been_ready || ready(*pool)), "ready too early");
                assert_eq!(self.stop, None);
                self.announce(action);
            }
            Action::AnnounceStopping => {
                self.running = None;
                self.begin_stop(Stop::Graceful);
                self.announce(action);
            }
            Action::StartLog => panic!("nobody has said that there is a log"),
            Action::StartAdmin => self.start_admin(),
            Action::DismissAdmin => self.dismiss_admin(),
            Action::KillAdmin => self.kill_admin(),
            Action::Note(note) => self.hear(note),
            Action::Leave(..) => {
                assert!(self.stop.is_some(), "left unasked");
                assert!(self.workers.is_empty() && self.templates.is_empty(), "left somebody behind");
                self.end_admin();
                self.left = true;
            }
        }
    }

    fn announce(&mut self, action: &Action) {
        assert!(!self.announced.contains(action), "{action:?} twice");
        self.announced.push(action.clone());
    }

    fn hear(&mut self, note: &Note) {
        assert!(!matches!(note, Note::Mistake(_)), "{note:?}");
        if let Note::WorkerDied { worker, cause, .. } = note {
            assert!(!self.chaos || worker.pool != CALM || !cause.is_fault(), "the calm pool noticed: {note:?}");
            self.excuse(*worker, cause);
        }
        self.notes.push(note.clone());
    }

    fn start_template(&mut self, who: TemplateRef, generation: Generation, edition: Edition) {
        let farm = &self.pools[&who.pool];
        assert_eq!(farm.ending, None, "a template was started after the end began");
        assert!([Some(farm.serving), farm.trial].contains(&Some(edition)), "a template of what does not serve");
        assert!(!farm.preparing.contains(&edition), "a template was started before its preparation had ended");
        assert!(self.lives.insert(who.life), "a life was used twice");
        let mut mine = self.templates.values().filter(|template| template.who.pool == who.pool);
        assert!(mine.all(|it| it.edition != edition && it.generation != generation), "two templates alike");
        assert!(generation.0 > farm.loaded, "generations grow");
        let late = Some(self.now.after(farm.releases[&edition].limits.boot_timeout));
        self.attempt(who.pool, None, who.life, edition);
        let phase = TemplatePhase::Loading;
        self.templates.insert(who.life, Template { who, generation, edition, phase, late, killed: false });
        if self.chance(who.pool, edition, |mood| mood.load_fails) {
            match self.rng.u8(0..3) {
                0 => self.happens(1, Event::TemplateNotStarted(who, "no such file".into())),
                1 => self.happens(200, Event::TemplateRefused(who, "two threads".into())),
                _ => self.happens(200, Event::TemplateDied(who, Exit::Status(1))),
            }
        } else if !self.chance(who.pool, edition, |mood| mood.load_hangs) {
            self.happens(300, Event::TemplateLoaded(who));
        }
    }

    fn dismiss_template(&mut self, who: TemplateRef) {
        let late = self.now.after(Duration::from_secs(1));
        let owes = |worker: &Worker| worker.template == who.life && worker.phase == Phase::Ordered;
        assert!(!self.workers.values().any(owes), "dismissed while it owes a fork");
        let farm = &self.pools[&who.pool];
        let template = &self.templates[&who.life];
        let in_time = farm.ending.is_some() || self.is_crowded_out(template);
        assert!(in_time || self.workers_of(who).next().is_none(), "dismissed before its workers");
        let template = self.templates.get_mut(&who.life).expect("a buried template was dismissed");
        assert!(farm.ending.is_some() || !farm.wants(template.edition), "dismissed while it is wanted");
        assert_ne!(template.phase, TemplatePhase::Dismissed, "dismissed twice");
        template.phase = TemplatePhase::Dismissed;
        template.late = Some(late);
        let edition = template.edition;
        if !self.chance(who.pool, edition, |mood| mood.drain_hangs) {
            self.happens(20, Event::TemplateDied(who, Exit::Status(0)));
        }
    }

    fn kill_template(&mut self, who: TemplateRef) {
        let now = self.now;
        let owed = || {
            let mine = self.workers.values().filter(|worker| worker.template == who.life);
            mine.filter(|worker| worker.phase == Phase::Ordered)
        };
        let stalled = owed().any(|worker| worker.deadline.is_some_and(|deadline| deadline <= now));
        let leave_now = matches!(self.pools[&who.pool].ending, Some((Stop::Now, _)));
        let no_time = owed().next().is_some() && self.is_out_of_time(who.pool);
        let template = self.templates.get_mut(&who.life).expect("a buried template was killed");
        assert!(!template.killed, "killed twice");
        let late = template.late.is_some_and(|late| late <= now);
        assert!(late || stalled || leave_now || no_time, "a template was killed for nothing");
        template.killed = true;
        self.happens(50, Event::TemplateDied(who, KILLED));
    }

    fn order_fork(
        &mut self,
        who: WorkerRef,
        template: TemplateRef,
        generation: Generation,
        deadline: Time,
        max_requests: Option<u64>,
    ) {
        assert!(self.lives.insert(who.life), "a life was used twice");
        let by = self.templates.get(&template.life).expect("a buried template was to fork");
        assert_eq!((by.phase, by.killed), (TemplatePhase::Loaded, false), "a template that cannot was to fork");
        assert_eq!((by.who, by.generation, who.pool), (template, generation, template.pool));
        let edition = by.edition;
        let limits = &self.pools[&who.pool].releases[&edition].limits;
        assert_eq!(deadline, self.now.after(limits.boot_timeout));
        assert_eq!(max_requests.is_some(), limits.max_requests.is_some());
        self.assert_room(who, edition);
        self.attempt(who.pool, Some(who.slot), who.life, edition);
        let worker = Worker {
            who,
            template: template.life,
            edition,
            phase: Phase::Ordered,
            fork: Fork::Owed,
            leaves: None,
            max_requests,
            deadline: Some(deadline),
            interrupted: None,
            weight: 0,
            killed: None,
        };
        self.workers.insert(who.life, worker);
        if self.chance(who.pool, edition, |mood| mood.fork_fails) {
            self.happens(5, Event::WorkerNotForked(who, "EAGAIN".into()));
        } else if self.chance(who.pool, edition, |mood| mood.fork_kills_template) {
            self.happens(5, Event::TemplateDied(template, Exit::Signal { number: 11, core: true }));
        } else if !self.chance(who.pool, edition, |mood| mood.fork_hangs) {
            let delay = up_to(5, &mut self.rng);
            self.plan(delay, Plan::Fork(who));
        }
    }

    fn forget(&mut self, who: WorkerRef) {
        let worker = self.workers.remove(&who.life).expect("somebody unknown was forgotten");
        assert_eq!(worker.phase, Phase::Ordered, "a process was forgotten");
        let may_come = worker.fork == Fork::Owed && self.templates.contains_key(&worker.template);
        assert!(worker.fork != Fork::Done && !may_come, "{worker:?} was forgotten, and exists or will");
        if !self.templates.contains_key(&worker.template) {
            self.attempts.retain(|attempt| attempt.life != who.life);
        }
    }

    fn order_retire(&mut self, who: WorkerRef) {
        let worker = &self.workers[&who.life];
        // The order to one that said that it leaves tells it nothing new.
        if worker.phase == Phase::Serving {
            self.assert_spare(who);
            self.begin_to_leave(who, Reason::Ordered);
        } else {
            assert!(matches!(worker.leaves, Some((_, Reason::Own(_)))), "{worker:?} was retired twice");
        }
    }

    /// The worker serves nobody new from now on.
    pub(super) fn begin_to_leave(&mut self, who: WorkerRef, reason: Reason) {
        let until = self.now.after(self.pools[&who.pool].limits().stop_timeout);
        let worker = self.workers.get_mut(&who.life).expect("a buried worker leaves");
        assert!(worker.serves(), "{worker:?} leaves");
        worker.phase = Phase::Leaving;
        worker.leaves = Some((until, reason));
        let edition = worker.edition;
        let trails = self.chance(who.pool, edition, |mood| mood.trails);
        if trails {
            self.happens(500, Event::WorkerTrailing(who));
        }
        if !self.chance(who.pool, edition, |mood| mood.leave_hangs) {
            let status = i32::from(self.chance(who.pool, edition, |mood| mood.crashes / 5.0));
            self.happens(if trails { 5_000 } else { 500 }, Event::WorkerDied(who, Exit::Status(status)));
        }
    }

    fn order_drain(&mut self, who: WorkerRef) {
        assert!(self.pools[&who.pool].ending.is_some(), "drained without an end");
        let worker = self.workers.get_mut(&who.life).expect("a buried worker was drained");
        assert!(worker.has_been_ready() && worker.phase != Phase::Draining, "{:?} was drained", worker.phase);
        worker.phase = Phase::Draining;
        let edition = worker.edition;
        let status = i32::from(self.chance(who.pool, edition, |mood| mood.crashes / 5.0));
        if !self.chance(who.pool, edition, |mood| mood.drain_hangs) {
            self.happens(1_000, Event::WorkerDied(who, Exit::Status(status)));
        }
    }

    fn attempt(&mut self, pool: PoolId, slot: Option<u32>, life: u64, edition: Edition) {
        self.attempts.push(Attempt { pool, life });
        let tried = self.tried.entry((pool, slot)).or_default();
        tried.push((life, edition, self.now));
        self.check_attempts(pool, slot);
        self.check_calm_pool();
    }

    /// The process exists. That is told a little later, and at the latest before its template's death.
    pub(in crate::simulation) fn fork(&mut self, who: WorkerRef) {
        let Some(worker) = self.workers.get_mut(&who.life).filter(|worker| worker.fork == Fork::Owed) else {
            return;
        };
        if self.templates.contains_key(&worker.template) {
            worker.fork = Fork::Done;
            self.happens(5, Event::WorkerForked(who, pid_of(who)));
        }
    }

    pub(super) fn plan_start(&mut self, who: WorkerRef) {
        let edition = self.workers[&who.life].edition;
        if self.chance(who.pool, edition, |mood| mood.start_fails) {
            if self.rng.bool() {
                self.happens(50, Event::WorkerRefused(who, "no database".into()));
            } else {
                self.happens(50, Event::WorkerDied(who, Exit::Status(1)));
            }
        } else if !self.chance(who.pool, edition, |mood| mood.start_hangs) {
            self.happens(50, Event::WorkerReady(who));
        }
    }

    pub(super) fn plan_service(&mut self, who: WorkerRef) {
        let (edition, limited) = (self.workers[&who.life].edition, self.workers[&who.life].max_requests.is_some());
        let traffic = self.pools[&who.pool].traffic;
        if self.chance(who.pool, edition, |mood| mood.crashes) {
            let ways = [Exit::Signal { number: 11, core: true }, Exit::Status(101), Exit::OutOfMemory];
            let exit = self.rng.choice(ways).expect("there are some");
            self.happens(20_000, Event::WorkerDied(who, exit));
        } else if limited && traffic > 0.0 {
            self.happens(2_000, Event::WorkerLeaving(who, Farewell::Requests));
        } else if self.chance(who.pool, edition, |mood| mood.leaves) {
            let reasons = [Farewell::Requests, Farewell::Signal, Farewell::Panic, Farewell::Change];
            let why = self.rng.choice(reasons).expect("there are some");
            self.happens(20_000, Event::WorkerLeaving(who, why));
        }
        if self.chance(who.pool, edition, |mood| mood.request_hangs) {
            self.hang(who);
        }
    }

    /// A request is taken up that will not be done in time.
    fn hang(&mut self, who: WorkerRef) {
        let span = up_to(20_000, &mut self.rng);
        let deadline = self.now.after(span);
        if let Some(worker) = self.workers.get_mut(&who.life) {
            worker.deadline = Some(deadline);
        }
        if self.rng.u8(0..3) == 0 {
            let after = up_to(3_000, &mut self.rng);
            self.plan(span + after, Plan::Done(who, deadline));
        }
    }
}

pub(super) fn pid_of(who: WorkerRef) -> Pid {
    Pid(i32::try_from(who.life % 30_000).unwrap() + 2)
}
