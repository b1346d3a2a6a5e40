//! Many workers on few connections: never more are open than `connections`, whoever waits is served in turn, and nothing
//! of it is lost with a worker.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::fresh::one_for_each_worker;
use crate::harness::certificates::Authority;
use crate::harness::{Client, Postgres, Ratoon, SOON, eventually, process, sql};

const BACKEND: &str = "select pg_backend_pid()";

/// Twenty workers on three connections; whoever waits in vain for one is told 503.
const TWENTY: &str = "workers = 20\nsurge = \"100%\"";
const THREE: &str = "connections = 3\nconnect_timeout = \"10s\"";

/// What a session shows that nobody has used, in one line.
const UNUSED: &str = "select current_setting('search_path'), current_user, \
    (select count(*) from pg_class where relnamespace = pg_my_temp_schema()), \
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()), \
    (select count(*) from pg_prepared_statements where from_sql), \
    (select count(*) from pg_cursors), (select count(*) from pg_listening_channels())";

/// What spoils all of it.
const SPOIL: &str = "set search_path = 'mine'; create temp table mine (a int); select pg_advisory_lock_shared(7); \
    prepare mine as select 1; declare mine cursor with hold for select 1; listen mine; set role pg_monitor";

/// Clients that ask their workers for SQL all the while: each looks whether its session is unused, and spoils it.
struct Load<'a> {
    ratoon: &'a Ratoon,
    is_over: AtomicBool,
    answers: AtomicUsize,
    /// Those that should have been others.
    wrong: Mutex<Vec<String>>,
}

impl Load<'_> {
    /// Goes on until `deed` is done; then every answer was right. Connections may be lost where workers are killed.
    #[track_caller]
    fn during(ratoon: &Ratoon, clients: usize, deed: impl FnOnce(&Load<'_>)) {
        let load =
            Load { ratoon, is_over: AtomicBool::new(false), answers: AtomicUsize::new(0), wrong: Mutex::default() };
        std::thread::scope(|scope| {
            let _over = Over(&load.is_over);
            for _ in 0..clients {
                scope.spawn(|| load.ask());
            }
            deed(&load);
        });
        let wrong = load.wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{} wrong: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    }

    fn ask(&self) {
        let text = format!("{UNUSED}; {SPOIL}");
        let request =
            format!("POST /sql HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes();
        let mut kept: Option<Client> = None;
        while !self.is_over.load(Ordering::SeqCst) {
            let Ok(mut client) = kept.take().map_or_else(|| Client::try_connect(self.ratoon.address()), Ok) else {
                continue;
            };
            let Ok(answer) = client.try_send(&request).and_then(|()| client.try_response()) else { continue };
            let first = answer.text().lines().next().unwrap_or_default().to_owned();
            if answer.status != 200 || first != "\"$user\", public|ratoon|0|0|0|0|0" {
                self.wrong.lock().unwrap().push(format!("{} {}", answer.status, answer.text()));
            }
            self.answers.fetch_add(1, Ordering::SeqCst);
            kept = Some(client);
        }
    }

    /// Waits until so many more have been answered.
    #[track_caller]
    fn goes_on(&self, more: usize) {
        let wanted = self.answers.load(Ordering::SeqCst) + more;
        eventually(&format!("{more} more answers"), SOON, || {
            (self.answers.load(Ordering::SeqCst) >= wanted).then_some(())
        });
    }
}

/// Ends the load whatever becomes of the deed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// As many connections as there may be are had at the same time.
#[track_caller]
fn assert_all_can_be_had(ratoon: &Ratoon, postgres: &Postgres, connections: usize) {
    let mut clients = Vec::new();
    for taken in 1..=connections {
        let mut client = Client::connect(ratoon.address());
        client.send(SLEEP);
        clients.push(client);
        eventually(&format!("{taken} connections are in use"), SOON, || {
            (postgres.query(&format!("select count(*) {SLEEPING}")) == taken.to_string()).then_some(())
        });
    }
    postgres.query(&format!("select pg_cancel_backend(pid) {SLEEPING}"));
    for client in &mut clients {
        assert_eq!(client.response().status, 500);
    }
}

/// A request that keeps its connection until it is cancelled.
const SLEEP: &[u8] = b"POST /sql HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\nselect pg_sleep(600)";
const SLEEPING: &str = "from pg_stat_activity where state = 'active' and query = 'select pg_sleep(600)'";

#[test]
fn twenty_workers_on_three_connections_all_serve_and_see_nothing_of_each_other() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, TWENTY, THREE);
    let mut one_each = one_for_each_worker(&ratoon, 20);
    Load::during(&ratoon, 20, |load| {
        for _ in 0..20 {
            load.goes_on(50);
            assert!(postgres.backends() <= 3);
        }
        for client in &mut one_each {
            assert_eq!(client.sql("select 1"), "1");
        }
    });
    let status = ratoon.status_of("web");
    let database = &status["database"];
    assert_eq!(database["connects"], 3, "{database}");
    assert!(database["leases"].as_u64().unwrap() > 20, "{database}");
    assert!(database["waits"].as_u64().unwrap() > 20, "{database}");
}

/// One that has a connection and goes on asking is the last of them.
#[test]
fn whoever_has_waited_longest_is_served_first_and_the_longest_wait_is_told() {
    let postgres = Postgres::start();
    postgres.query("create table served (place int generated always as identity)");
    let lines = "workers = 5\nrequest_timeout = \"60s\"";
    let ratoon = sql::serving(&postgres, lines, "connections = 1\nconnect_timeout = \"60s\"");
    let mut clients = one_for_each_worker(&ratoon, 5);
    let (first, others) = clients.split_first_mut().unwrap();
    let serve = format!("POST /sql HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{SERVE}", SERVE.len());
    first.send(SLEEP);
    eventually("the connection is in use", SOON, || {
        (postgres.query(&format!("select count(*) {SLEEPING}")) == "1").then_some(())
    });
    first.send(serve.as_bytes());
    let in_line = || {
        let workers = ratoon.workers("web").into_iter();
        workers.filter(|pid| process::sleeps_in(*pid).contains("futex")).count()
    };
    let began = Instant::now();
    let mut stands = None;
    for (before, client) in others.iter_mut().enumerate() {
        client.send(serve.as_bytes());
        eventually("one more stands in line", SOON, || (in_line() == before + 1).then_some(()));
        stands.get_or_insert_with(Instant::now);
    }
    let at_least = stands.unwrap().elapsed().as_millis();
    postgres.query(&format!("select pg_cancel_backend(pid) {SLEEPING}"));
    assert_eq!(first.response().status, 500);
    let places: Vec<String> = others.iter_mut().chain([first]).map(|client| client.response().text()).collect();
    assert_eq!(places, ["1", "2", "3", "4", "5"]);
    let database = &ratoon.status_of("web")["database"];
    assert_eq!((&database["connects"], &database["failures"]), (&1.into(), &0.into()), "{database}");
    let longest = u128::from(database["waited_longest_ms"].as_u64().unwrap());
    let at_most = began.elapsed().as_millis();
    assert!((at_least..=at_most).contains(&longest), "{database}, after {at_least} to {at_most} ms");
}

/// A request that says as the how-manieth it is served.
const SERVE: &str = "insert into served default values returning place";

#[test]
fn an_idle_worker_gives_its_connection_to_whoever_waits_for_it() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 3", "connections = 1");
    let mut clients = one_for_each_worker(&ratoon, 3);
    let backend = clients[0].sql(BACKEND);
    for round in 0..30 {
        assert_eq!(clients[round % 3].sql(BACKEND), backend);
    }
    assert_eq!(ratoon.status_of("web")["database"]["connects"], 1);
}

/// While a handler runs its worker hears of nobody: what it does not use is to be had before.
#[test]
fn a_worker_whose_handlers_are_slow_keeps_no_connection_that_they_do_not_use() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 2", "connections = 1\nconnect_timeout = \"300ms\"");
    let [mut slow, mut quick] = <[Client; 2]>::try_from(one_for_each_worker(&ratoon, 2)).ok().unwrap();
    let backend = slow.sql(BACKEND);
    // One such is enough for the mean.
    assert_eq!(slow.get("/sleep:20").status, 200);
    let (mut engaged, _) = ratoon.engage_over(slow, "await:go");
    assert_eq!(quick.sql(BACKEND), backend);
    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    assert_eq!(engaged.response().status, 200);
    // And one that has just used it.
    assert_eq!(engaged.sql(BACKEND), backend);
    let (mut engaged, _) = ratoon.engage_over(engaged, "await:again");
    assert_eq!(quick.sql(BACKEND), backend);
    std::fs::write(ratoon.directory().join("again"), "").unwrap();
    assert_eq!(engaged.response().status, 200);
    assert_eq!(ratoon.status_of("web")["database"]["connects"], 1);
}

/// Nor do they give away, and prepare anew, what they do use.
#[test]
fn a_worker_whose_slow_handlers_use_its_connection_keeps_it_while_nobody_waits() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 2", "connections = 1");
    let mut client = Client::connect(ratoon.address());
    for _ in 0..5 {
        client.sql("select pg_sleep(0.02)");
    }
    assert_eq!(ratoon.status_of("web")["database"]["leases"], 0);
}

#[test]
fn a_connection_over_tcp_changes_hands_as_well() {
    let postgres = Postgres::start();
    let ratoon = Ratoon::serving(&sql::pool(&postgres.tcp_url(), "workers = 3", "connections = 1"));
    let mut clients = one_for_each_worker(&ratoon, 3);
    let backend = clients[0].sql(BACKEND);
    for round in 0..9 {
        assert_eq!(clients[round % 3].sql(BACKEND), backend);
    }
}

#[test]
fn one_with_tls_does_not_but_there_are_never_more_of_them() {
    let postgres = Postgres::start();
    postgres.speak_tls(&Authority::new().vouch_for("IP:127.0.0.1"));
    let url = format!("{}?sslmode=require", postgres.tcp_url());
    let ratoon = Ratoon::serving(&sql::pool(&url, "workers = 3", "connections = 1"));
    let mut clients = one_for_each_worker(&ratoon, 3);
    let mut backends = std::collections::BTreeSet::new();
    for round in 0..9 {
        backends.insert(clients[round % 3].sql(BACKEND));
        assert!(postgres.backends() <= 2, "the one in use, and one that has been told to end");
    }
    assert_eq!(backends.len(), 9);
    let database = &ratoon.status_of("web")["database"];
    assert_eq!(database["leases"], 0, "{database}");
}

#[test]
fn whoever_waits_for_too_long_is_told_so_and_the_next_one_is_served() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 2", "connections = 1\nconnect_timeout = \"300ms\"");
    let mut clients = one_for_each_worker(&ratoon, 2);
    let (slow, quick) = clients.split_at_mut(1);
    let pid = slow[0].sql(BACKEND);
    slow[0].send(SLEEP);
    let sleeping = || postgres.query(&format!("select count(*) {SLEEPING}"));
    eventually("the connection is in use", SOON, || (sleeping() == "1").then_some(()));
    let answer = quick[0].ask("sql", "select 1");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(ratoon.status_of("web")["database"]["exhausted"], 1);
    postgres.query(&format!("select pg_cancel_backend({pid})"));
    assert_eq!(slow[0].response().status, 500);
    assert_eq!(quick[0].sql("select 1"), "1");
}

#[test]
fn a_worker_that_leaves_leaves_its_connection_to_the_next() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 1", "");
    let backend = Client::connect(ratoon.address()).sql(BACKEND);
    retire(&ratoon);
    assert_eq!(Client::connect(ratoon.address()).sql(BACKEND), backend);
}

#[test]
fn a_connection_that_was_terminated_while_it_lay_in_the_queue_is_noticed_by_whoever_takes_it() {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, "workers = 1", "");
    let backend = Client::connect(ratoon.address()).sql(BACKEND);
    retire(&ratoon);
    assert_eq!(postgres.terminate_all(), 1);
    assert_ne!(Client::connect(ratoon.address()).sql(BACKEND), backend);
    assert_eq!(ratoon.status_of("web")["database"]["reconnects"]["closed"], 1);
}

/// Sends the only worker TERM; back when it has gone and another is ready.
#[track_caller]
fn retire(ratoon: &Ratoon) {
    let [worker] = ratoon.ready_workers("web", 1)[..] else { panic!("more than one") };
    kill(worker, Signal::SIGTERM).unwrap();
    eventually("another worker", SOON, || {
        let workers = ratoon.workers("web");
        (workers.len() == 1 && workers[0] != worker).then_some(())
    });
    ratoon.ready_workers("web", 1);
}

#[test]
fn a_reload_and_an_upgrade_go_on_with_the_connections_there_are() {
    let postgres = Postgres::start();
    let lines = "workers = 6\nsurge = \"100%\"\nsettle = \"100ms\"";
    let ratoon = sql::serving(&postgres, lines, "connections = 2");
    Load::during(&ratoon, 6, |load| {
        load.goes_on(100);
        let backends = postgres.backend_pids();
        assert_eq!(backends.len(), 2);
        for generation in 2..5 {
            // Another generation, and the same connections.
            let url = postgres.url();
            let validate = format!("connections = 2\nvalidate_after = \"{generation}s\"");
            ratoon.configure(&sql::pool(&url, lines, &validate));
            ratoon.signal(Signal::SIGHUP);
            eventually("the next generation is alone", SOON, || {
                assert!(postgres.backends() <= 2);
                let status = ratoon.status_of("web");
                (status["generations"] == serde_json::json!([generation])).then_some(())
            });
            load.goes_on(100);
            assert_eq!(postgres.backend_pids(), backends);
        }
        ratoon.signal(Signal::SIGUSR2);
        ratoon.logged("upgraded: this program has taken over", &[]);
        load.goes_on(100);
        assert_eq!(postgres.backend_pids(), backends);
    });
}

#[test]
fn a_database_that_is_changed_has_connections_of_its_own_and_the_old_ones_end() {
    let postgres = Postgres::start();
    let lines = "workers = 4\nsettle = \"100ms\"";
    let ratoon = sql::serving(&postgres, lines, "connections = 3");
    Load::during(&ratoon, 4, |load| {
        load.goes_on(100);
        let before = postgres.backend_pids();
        ratoon.configure(&sql::pool(&postgres.url(), lines, "connections = 1"));
        ratoon.signal(Signal::SIGHUP);
        eventually("the one connection of the new generation", SOON, || {
            let backends = postgres.backend_pids();
            (backends.len() == 1 && !before.contains(&backends[0])).then_some(())
        });
        load.goes_on(100);
        assert_eq!(postgres.backends(), 1);
    });
}

#[test]
fn killing_workers_for_ten_seconds_leaks_no_connection_and_wedges_nobody() {
    kill_workers_for(Duration::from_secs(10));
}

#[test]
#[ignore = "takes a minute"]
fn killing_workers_for_a_minute_leaks_no_connection_and_wedges_nobody() {
    kill_workers_for(Duration::from_secs(60));
}

fn kill_workers_for(time: Duration) {
    let postgres = Postgres::start();
    let ratoon = sql::serving(&postgres, TWENTY, THREE);
    let mut random = fastrand::Rng::with_seed(7);
    let begun = Instant::now();
    Load::during(&ratoon, 20, |load| {
        load.goes_on(100);
        while begun.elapsed() < time {
            let mut workers: Vec<Pid> = ratoon.workers("web");
            random.shuffle(&mut workers);
            // Whoever dies often comes back slowly: some are always left to want something.
            let spared = workers.len().saturating_sub(random.usize(1..=4)).max(8);
            for worker in workers.iter().skip(spared) {
                let _ = kill(*worker, Signal::SIGKILL);
            }
            // A backend notices that its client has gone when it next listens to it.
            eventually("the backends of the dead have gone", SOON, || (postgres.backends() <= 3).then_some(()));
            load.goes_on(20);
            assert!(postgres.backends() <= 3);
        }
    });
    assert_all_can_be_had(&ratoon, &postgres, 3);
}
