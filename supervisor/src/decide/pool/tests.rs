//! One pool by hand: how an edition on trial, or watched, is judged.

#![allow(clippy::expect_used)]

use std::time::Duration;

use super::*;
use crate::decide::Source;
use crate::decide::cause::Limit;
use crate::decide::event::{Exit, Pid};
use crate::decide::limits::OnFailure;
use crate::decide::scale::Scaling;

const OLD: Edition = Edition(1);
const NEW: Edition = Edition(2);
const CRASH: Exit = Exit::Signal { number: 11, core: true };

struct Bench {
    pool: Pool,
    source: Source,
    now: Time,
}

impl Bench {
    /// A pool of two workers that serve.
    fn new() -> Bench {
        let plan = Plan { pool: PoolId(0), limits: limits() };
        let source = Source { lives: 0, rng: fastrand::Rng::with_seed(1) };
        let pool = Pool::new(plan, OLD, Turnover::None, Time(0));
        let mut bench = Bench { pool, source, now: Time(0) };
        bench.come();
        assert_eq!(bench.serving(OLD), 2);
        bench
    }

    fn turn<T>(&mut self, act: impl FnOnce(&mut Pool, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn { now: self.now, source: &mut self.source, actions: Vec::new(), gives_up_for: None };
        let done = act(&mut self.pool, &mut turn);
        self.pool.settle(&mut turn);
        done
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.turn(|_, _| ());
    }

    /// Templates load, workers become ready, and those that leave are gone, until nobody is on the way.
    fn come(&mut self) {
        self.turn(|_, _| ());
        loop {
            let templates: Vec<_> = self.pool.templates().map(|(who, state, _)| (who, state.clone())).collect();
            let loading = |state: &template::State| matches!(state, template::State::Loading { .. });
            let workers: Vec<_> = self.pool.workers().map(|(who, state, _)| (who, state.clone())).collect();
            let ordered = |state: &lifecycle::State| matches!(state, lifecycle::State::Ordered { .. });
            if let Some((who, _)) = templates.into_iter().find(|(_, state)| loading(state)) {
                self.turn(|pool, turn| pool.tell_template(who, template::Input::Loaded, turn));
            } else if let Some((who, _)) = workers.into_iter().find(|(_, state)| ordered(state)) {
                self.turn(|pool, turn| pool.tell_worker(who, lifecycle::Input::Forked(Pid(1)), turn));
                self.turn(|pool, turn| pool.tell_worker(who, lifecycle::Input::Ready, turn));
            } else if let Some(who) = self.leaving() {
                self.tell(who, lifecycle::Input::Died(Exit::Status(0)));
            } else {
                return;
            }
        }
    }

    fn leaving(&self) -> Option<WorkerRef> {
        let leaves = |state: &lifecycle::State| {
            matches!(state, lifecycle::State::Leaving { .. } | lifecycle::State::Doomed { .. })
        };
        self.pool.workers().find(|(_, state, _)| leaves(state)).map(|(who, ..)| who)
    }

    /// The oldest that serves.
    fn first(&self, edition: Edition) -> WorkerRef {
        let workers = self.pool.roster.workers();
        let serves = |worker: &crate::decide::roster::Worker| {
            worker.edition == edition && matches!(worker.state, lifecycle::State::Serving { .. })
        };
        let serving = workers.filter(|(_, worker)| serves(worker)).map(|(who, _)| who);
        serving.min_by_key(|who| who.life).expect("there is one")
    }

    fn serving(&self, edition: Edition) -> usize {
        let serves = |state: &lifecycle::State| matches!(state, lifecycle::State::Serving { .. });
        self.pool.roster.workers().filter(|(_, worker)| worker.edition == edition && serves(&worker.state)).count()
    }

    fn tell(&mut self, who: WorkerRef, input: lifecycle::Input) {
        self.turn(|pool, turn| pool.tell_worker(who, input, turn));
    }

    fn try_new(&mut self) {
        self.turn(|pool, _| pool.begin_trial(Plan { pool: PoolId(0), limits: limits() }, NEW));
        self.come();
    }

    fn trial(&self) -> Trial {
        self.pool.trial(self.now)
    }
}

fn limits() -> Limits {
    Limits {
        scaling: Scaling::Static { workers: 2 },
        boot_timeout: Duration::from_secs(5),
        kill_grace: Duration::from_secs(1),
        stop_timeout: Duration::from_secs(5),
        drain_delay: Duration::ZERO,
        surge: 25,
        settle: Duration::from_secs(10),
        prepare: false,
        max_requests: None,
        max_age: None,
        max_memory: None,
        max_memory_hard: None,
        on_failure: OnFailure::Stay,
    }
}

/// A worker may be in a request before its template has had the time to say that there is one: the deadline in its cell is the
/// request's, and says nothing about the template.
#[test]
fn a_template_has_boot_timeout_to_say_that_it_has_forked_whatever_the_deadline_of_a_request() {
    let mut bench = Bench::new();
    let victim = bench.first(OLD);
    bench.tell(victim, lifecycle::Input::Died(CRASH));
    let ordered = |state: &lifecycle::State| matches!(state, lifecycle::State::Ordered { .. });
    let another = bench.pool.workers().find(|(_, state, _)| ordered(state)).map(|(who, ..)| who);
    let who = another.expect("another is ordered at once");
    let of_request = bench.now.after(Duration::from_millis(300));
    bench.wait(Duration::from_secs(4));
    bench.turn(|pool, turn| pool.press(who, of_request, turn));
    let is_loaded =
        |bench: &Bench| bench.pool.templates().any(|(_, state, _)| matches!(state, template::State::Loaded { .. }));
    assert!(is_loaded(&bench), "it is killed for a request that takes long");
    bench.wait(Duration::from_secs(2));
    bench.turn(|pool, turn| pool.press(who, of_request, turn));
    assert!(!is_loaded(&bench), "it does not fork");
}

#[test]
fn one_ready_worker_proves_a_trial_and_a_limit_that_it_reaches_does_not_take_that_back() {
    let mut bench = Bench::new();
    bench.turn(|pool, _| pool.begin_trial(Plan { pool: PoolId(0), limits: limits() }, NEW));
    assert_eq!(bench.trial(), Trial::Open);
    bench.come();
    assert_eq!((bench.trial(), bench.serving(OLD), bench.serving(NEW)), (Trial::Proven, 2, 1));
    let who = bench.first(NEW);
    bench.tell(who, lifecycle::Input::Leaving(Cause::Recycled(Limit::Requests)));
    bench.tell(who, lifecycle::Input::Died(Exit::Status(0)));
    assert_eq!(bench.trial(), Trial::Proven);
}

#[test]
fn a_fault_of_the_one_on_trial_fails_the_trial_and_one_of_the_old_ones_does_not() {
    let mut bench = Bench::new();
    bench.try_new();
    let old = bench.first(OLD);
    bench.tell(old, lifecycle::Input::Died(CRASH));
    assert_eq!(bench.trial(), Trial::Proven);
    let new = bench.first(NEW);
    bench.tell(new, lifecycle::Input::Died(CRASH));
    assert!(matches!(bench.trial(), Trial::Failed(_)));
}

#[test]
fn one_fault_after_adoption_is_bad_luck_and_two_are_a_bad_release() {
    let mut bench = Bench::new();
    bench.try_new();
    bench.turn(|pool, turn| pool.adopt(turn));
    bench.come();
    for failed in [false, true] {
        let who = bench.first(NEW);
        bench.tell(who, lifecycle::Input::Died(CRASH));
        assert_eq!(matches!(bench.trial(), Trial::Failed(_)), failed);
    }
}

#[test]
fn a_release_that_crashes_no_more_often_than_the_one_before_is_not_to_blame() {
    let mut bench = Bench::new();
    for _ in 0..20 {
        bench.wait(Duration::from_secs(6));
        bench.come();
        let who = bench.first(OLD);
        bench.tell(who, lifecycle::Input::Died(CRASH));
        bench.come();
    }
    bench.try_new();
    bench.turn(|pool, turn| pool.adopt(turn));
    bench.come();
    for _ in 0..3 {
        bench.wait(Duration::from_secs(9));
        bench.come();
        let who = bench.first(NEW);
        bench.tell(who, lifecycle::Input::Died(CRASH));
        assert!(!matches!(bench.trial(), Trial::Failed(_)), "{:?}", bench.trial());
    }
}

#[test]
fn what_is_adopted_has_rolled_when_nobody_of_the_old_edition_serves() {
    let mut bench = Bench::new();
    bench.try_new();
    bench.turn(|pool, turn| pool.adopt(turn));
    assert_eq!(bench.trial(), Trial::Open);
    bench.come();
    assert_eq!((bench.trial(), bench.serving(OLD), bench.serving(NEW)), (Trial::Proven, 0, 2));
}

#[test]
fn what_is_taken_back_after_adoption_serves_until_the_old_edition_does() {
    let mut bench = Bench::new();
    bench.try_new();
    bench.turn(|pool, turn| pool.adopt(turn));
    bench.come();
    bench.turn(|pool, turn| pool.revert(turn));
    assert_eq!((bench.serving(OLD), bench.serving(NEW)), (0, 2));
    bench.come();
    assert_eq!((bench.serving(OLD), bench.serving(NEW)), (2, 0));
}

#[test]
fn what_is_adopted_where_nobody_served_has_rolled_only_when_as_many_as_wanted_are_ready() {
    let mut bench = Bench::new();
    bench.turn(|pool, _| pool.dismiss_all(OLD));
    bench.come();
    assert_eq!(bench.serving(OLD), 0);
    bench.try_new();
    bench.turn(|pool, turn| pool.adopt(turn));
    assert_eq!((bench.trial(), bench.serving(NEW)), (Trial::Open, 1));
    bench.come();
    assert_eq!((bench.trial(), bench.serving(NEW)), (Trial::Proven, 2));
}
