use std::cell::Cell;

use http::{Extensions, HeaderMap};

use super::*;
use crate::app::{Own, Worker};
use crate::client::Client;
use crate::log::RequestId;
use crate::protocol::Proxies;

/// A kind of connection that writes down what is done with it, and fails where it is told to.
#[derive(Default)]
struct Diary {
    deeds: RefCell<Vec<String>>,
    made: Cell<u32>,
    /// What fails.
    fails: Cell<&'static str>,
    is_broken: Cell<bool>,
}

impl Diary {
    fn note(&self, deed: &'static str, connection: u32) -> Result<(), String> {
        self.deeds.borrow_mut().push(format!("{deed} {connection}"));
        if self.fails.get() == deed { Err(format!("{deed} fails")) } else { Ok(()) }
    }
}

impl ManageConnection for Rc<Diary> {
    type Connection = u32;
    type Error = String;

    fn connect(&self) -> Result<u32, String> {
        self.made.set(self.made.get() + 1);
        self.is_broken.set(false);
        self.note("connect", self.made.get()).map(|()| self.made.get())
    }

    fn is_valid(&self, connection: &mut u32) -> Result<(), String> {
        self.note("ask", *connection)
    }

    fn has_broken(&self, _: &mut u32) -> bool {
        self.is_broken.get()
    }

    fn reset(&self, connection: &mut u32) -> Result<(), String> {
        self.note("reset", *connection)
    }
}

fn worker() -> Worker {
    Worker { pool: "test".into(), slot: 0, generation: 1, pid: 1, metrics: Default::default() }
}

/// Runs a request, to its very end.
fn request(handle: impl FnOnce(&mut Context<'_>)) {
    let worker = worker();
    let id = RequestId::Own { since: 0, pid: 1, number: 1 };
    let (extensions, deferred, endings) = (Extensions::new(), Vec::new(), Vec::new());
    let client = Client::of(&HeaderMap::new(), None, false, &Proxies::default());
    let own = Own { peer: None, client, served: 0, id, extensions, deferred, endings };
    let mut context = Context { worker: &worker, cell: None, database: None, own };
    handle(&mut context);
    context.own.endings.into_iter().for_each(|ending| ending());
}

fn keeper(freshness: Freshness) -> (Rc<Diary>, Keeper<Rc<Diary>>) {
    let diary = Rc::new(Diary::default());
    let keeper = Keeper::with(Rc::clone(&diary), freshness);
    (diary, keeper)
}

/// Believes in a connection for ever.
fn trusting() -> Freshness {
    Freshness { idle_timeout: Duration::ZERO, max_lifetime: Duration::ZERO, validate_after: Duration::MAX }
}

/// What is done in a request that asks for the connection, and at its end.
fn deeds(diary: &Diary, keeper: &Keeper<Rc<Diary>>) -> Vec<String> {
    request(|context| drop(keeper.acquire(context)));
    diary.deeds.take()
}

#[test]
fn nothing_is_connected_before_somebody_asks_and_a_request_that_does_not_ask_costs_nothing() {
    let (diary, keeper) = keeper(trusting());
    request(|_| {});
    assert!(diary.deeds.take().is_empty());
    assert_eq!(deeds(&diary, &keeper), ["connect 1", "reset 1"]);
    request(|_| {});
    assert!(diary.deeds.take().is_empty());
    assert_eq!(deeds(&diary, &keeper), ["reset 1"]);
}

#[test]
fn a_request_that_asks_twice_has_the_same_connection_as_it_left_it() {
    let (diary, keeper) = keeper(Freshness { validate_after: Duration::ZERO, ..trusting() });
    request(|context| {
        let first = *keeper.acquire(context).unwrap();
        assert_eq!(*keeper.acquire(context).unwrap(), first);
    });
    assert_eq!(diary.deeds.take(), ["connect 1", "reset 1"]);
}

#[test]
fn there_is_one_and_it_is_lent_once() {
    let (_, keeper) = keeper(trusting());
    request(|context| {
        let lent = keeper.acquire(context).unwrap();
        let error = keeper.acquire(context).unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("in use already"), "{error}");
        drop(lent);
        keeper.acquire(context).unwrap();
    });
}

#[test]
fn what_is_broken_or_old_or_was_idle_or_does_not_answer_is_replaced() {
    let (diary, keeper) = keeper(trusting());
    deeds(&diary, &keeper);
    diary.is_broken.set(true);
    assert_eq!(deeds(&diary, &keeper), ["connect 2", "reset 2"]);

    for freshness in [
        Freshness { max_lifetime: Duration::from_nanos(1), ..trusting() },
        Freshness { idle_timeout: Duration::from_nanos(1), ..trusting() },
    ] {
        let (diary, keeper) = self::keeper(freshness);
        deeds(&diary, &keeper);
        let before = clock::now();
        while clock::now() <= before + 1 {}
        assert_eq!(deeds(&diary, &keeper), ["connect 2", "reset 2"]);
    }

    let (diary, keeper) = self::keeper(Freshness { validate_after: Duration::ZERO, ..trusting() });
    deeds(&diary, &keeper);
    assert_eq!(deeds(&diary, &keeper), ["ask 1", "reset 1"]);
    diary.fails.set("ask");
    assert_eq!(deeds(&diary, &keeper), ["ask 1", "connect 2", "reset 2"]);
}

#[test]
fn what_cannot_be_reset_is_given_up() {
    let (diary, keeper) = keeper(trusting());
    diary.fails.set("reset");
    assert_eq!(deeds(&diary, &keeper), ["connect 1", "reset 1"]);
    assert_eq!(deeds(&diary, &keeper), ["connect 2", "reset 2"]);
}

#[test]
fn while_nobody_can_be_reached_asking_fails_without_an_attempt_each_time() {
    let (diary, keeper) = keeper(trusting());
    diary.fails.set("connect");
    for _ in 0..1000 {
        request(|context| {
            let error = keeper.acquire(context).unwrap_err();
            assert!(error.to_string().ends_with("connect fails"), "{error}");
        });
    }
    let attempts = diary.deeds.take().len();
    assert!(attempts < 1000, "{attempts}");
    diary.fails.set("");
    let begun = clock::now();
    while deeds(&diary, &keeper).is_empty() {
        assert!(clock::now() < begun + 20_000_000_000);
    }
}

#[test]
fn work_is_done_again_where_its_connection_died_and_only_there() {
    let (diary, keeper) = keeper(trusting());
    let run = |dies: bool| {
        let mut attempts = Vec::new();
        request(|context| {
            let done: Result<(), Error> = keeper.retry(context, |connection| {
                attempts.push(*connection);
                diary.is_broken.set(dies && attempts.len() == 1);
                if attempts.len() == 1 { Err(Error::late()) } else { Ok(()) }
            });
            assert_eq!(done.is_ok(), dies);
        });
        attempts
    };
    assert_eq!(run(false), [1]);
    assert_eq!(run(true), [1, 2]);
}

#[test]
fn a_handler_that_panics_leaves_a_connection_to_be_reset() {
    let (diary, keeper) = keeper(trusting());
    request(|context| {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _lent = keeper.acquire(context).unwrap();
            panic!("with a connection");
        }));
        assert!(panicked.is_err());
    });
    assert_eq!(diary.deeds.take(), ["connect 1", "reset 1"]);
    assert_eq!(deeds(&diary, &keeper), ["reset 1"]);
}
