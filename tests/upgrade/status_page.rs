//! "No client of the status page notices an upgrade": what was asked is answered, and who comes meanwhile waits.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::{FAILED, TAKEN_OVER, Upgradable, config};
use crate::harness::{ADMIN, Client, RaisedAtTheEnd, Response, SOON, eventually, get, process};

const ROUTES: [&str; 3] = ["/status.json", "/metrics", "/healthz"];

/// Between an answer and the next question: the machine has other things to do, too.
const BREATH: Duration = Duration::from_millis(2);

/// For so long a process that leaves keeps an idle connection: a request may be on its way.
const LAST_CHANCE: Duration = Duration::from_millis(200);

/// Those who ask without pause, and what became of it.
#[derive(Default)]
struct Account {
    over: AtomicBool,
    answers: AtomicUsize,
    losses: Mutex<Vec<String>>,
}

impl Account {
    #[track_caller]
    fn goes_on(&self, more: usize) {
        let before = self.answers.load(Ordering::SeqCst);
        eventually(&format!("{more} more answers; losses: {:?}", self.losses.lock().unwrap()), SOON, || {
            (self.answers.load(Ordering::SeqCst) >= before + more).then_some(())
        });
    }

    fn judge(self) {
        let losses = self.losses.into_inner().unwrap();
        assert!(losses.is_empty(), "{} lost beside {} answers: {losses:?}", losses.len(), self.answers.into_inner());
    }

    /// Asks for one page after the other; `keeps` its connection for as long as the server does.
    fn ask(&self, address: SocketAddr, keeps: bool) {
        // With the moment since when the server may have been waiting for a request on it.
        let mut kept: Option<(Client, Instant)> = None;
        for route in ROUTES.iter().cycle() {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let begun = Instant::now();
            let (mut client, idle_since) = kept.take().unwrap_or_else(|| (Client::connect(address), begun));
            let sent = client.try_send(format!("GET {route} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
            let is_late = idle_since.elapsed() >= LAST_CHANCE;
            match sent.and_then(|()| client.try_response()) {
                Ok(answer) if answer.status == 200 => {
                    self.answers.fetch_add(1, Ordering::SeqCst);
                    kept = Some((client, begun)).filter(|_| keeps && !says_goodbye(&answer));
                }
                // The machine has let it wait: its connection had been closed when it asked, as it may be.
                Err(_) if is_late => {}
                other => self.losses.lock().unwrap().push(format!("{route}, kept: {keeps}: {other:?}")),
            }
            std::thread::sleep(BREATH);
        }
    }
}

fn says_goodbye(answer: &Response) -> bool {
    answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

/// Six clients ask for everything while `upgrade` is done.
#[track_caller]
fn nobody_loses_anything_in(ratoon: &Upgradable, mut upgrade: impl FnMut(&Account)) {
    let (account, address) = (Account::default(), ratoon.admin());
    std::thread::scope(|scope| {
        let _over = RaisedAtTheEnd(&account.over);
        for keeps in [true, true, true, false, false, false] {
            let account = &account;
            scope.spawn(move || account.ask(address, keeps));
        }
        account.goes_on(100);
        upgrade(&account);
        account.goes_on(100);
    });
    account.judge();
}

#[test]
fn ten_upgrades_cost_no_client_of_the_status_page_an_answer() {
    let ratoon = Upgradable::serving(&(ADMIN.to_owned() + &config("workers = 1")));
    nobody_loses_anything_in(&ratoon, |account| {
        for _ in 0..10 {
            let before = ratoon.admin_process();
            ratoon.upgrade();
            account.goes_on(50);
            eventually("the process is another", SOON, || (ratoon.admin_process() != before).then_some(()));
        }
    });
    assert_eq!(ratoon.all_logged("admin process died: everything else serves on", &[]).len(), 0, "{}", ratoon.text());
    assert_eq!(ratoon.status()["admin_deaths"], 0);
}

/// What goes wrong at the last moment, when the process has left already, costs no more than that.
#[test]
fn an_upgrade_that_fails_at_the_last_moment_costs_no_client_of_the_status_page_an_answer() {
    let ratoon = Upgradable::serving(&(ADMIN.to_owned() + &config("workers = 1")));
    nobody_loses_anything_in(&ratoon, |account| {
        for round in 0..3 {
            let before = ratoon.admin_process();
            ratoon.install_script("rm \"$0\"; exec @ratoon@ \"$@\"");
            ratoon.signal(Signal::SIGUSR2);
            eventually("the upgrade fails", SOON, || (ratoon.all_logged(FAILED, &[]).len() > round).then_some(()));
            account.goes_on(50);
            assert_ne!(ratoon.admin_process(), before);
        }
    });
    assert_eq!(ratoon.all_logged(TAKEN_OVER, &[]).len(), 0);
    assert_eq!(ratoon.status()["admin_deaths"], 0);
}

/// "Nobody depends on it": an upgrade does not wait for a process that hangs, nor for a client that does.
#[test]
fn an_admin_process_that_does_not_leave_holds_up_no_upgrade() {
    let ratoon = Upgradable::serving(&(ADMIN.to_owned() + &config("workers = 1")));
    let before = ratoon.admin_process();
    kill(before, Signal::SIGSTOP).unwrap();
    let _asks_in_vain = Client::connect(ratoon.admin());
    ratoon.upgrade();
    eventually("it is gone", SOON, || (!process::is_alive(before)).then_some(()));
    ratoon.logged("the admin process does not leave: it is killed, and the upgrade goes on", &[]);
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);

    let mut dawdles = Client::connect(ratoon.admin());
    dawdles.send(b"GET /healthz HTTP/1.1\r\nHost: te");
    // Accepted, and begun to be read.
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);
    let before = ratoon.admin_process();
    ratoon.upgrade();
    eventually("it is gone", SOON, || (!process::is_alive(before)).then_some(()));
    assert_eq!(get(ratoon.admin(), "/healthz").status, 200);
    assert_eq!(ratoon.status()["admin_deaths"], 0);
}
