//! A pool with a user of its own has its database as any other, and of its URL no file that its user could read.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::geteuid;

use super::fresh::one_for_each_worker;
use crate::harness::{CONTROL, Client, Postgres, Ratoon, SOON, eventually, fixture, get};

#[test]
fn workers_of_another_user_lease_a_connection_whose_url_only_the_supervisor_can_read() {
    assert!(geteuid().is_root(), "only root can prove this: nothing was tested");
    let postgres = Postgres::start();
    let (directory, program) = fixture::public();
    let secret = directory.path().join("url");
    std::fs::write(&secret, postgres.url()).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let lines = format!(
        "user = \"nobody\"\nworkers = 3\nsettle = \"0s\"\nsurge = \"100%\"\n\
         [pool.web.database]\nurl_file = {secret:?}\nconnections = 1\nconnect_timeout = \"20s\""
    );
    let own = fixture::program().to_str().unwrap();
    let ratoon = Ratoon::serving(&(CONTROL.to_owned() + &fixture::pool("web", &lines).replace(own, &program)));

    const BACKEND: &str = "select pg_backend_pid()";
    let answers =
        |clients: &mut [Client]| -> Vec<String> { clients.iter_mut().map(|client| client.sql(BACKEND)).collect() };
    let mut clients = one_for_each_worker(&ratoon, 3);
    let first = answers(&mut clients);
    assert!(first.iter().all(|backend| *backend == first[0]), "one connection for all: {first:?}");
    assert_eq!(postgres.backends(), 1);
    let path = secret.display().to_string().replace('/', "~");
    assert_eq!(get(ratoon.address(), &format!("/try:read:{path}")).text(), "no: Permission denied (os error 13)");

    // Who dies with it leaves it to the others: the supervisor sees to that, though they are not its user's.
    let mut holder = clients.pop().unwrap();
    let holding = holder.get("/ok").text();
    holder.send(b"POST /sql HTTP/1.1\r\nHost: test\r\nContent-Length: 19\r\n\r\nselect pg_sleep(99)");
    eventually("it holds the connection", SOON, || {
        (postgres.query("select count(*) from pg_stat_activity where query = 'select pg_sleep(99)'") == "1")
            .then_some(())
    });
    kill(nix::unistd::Pid::from_raw(holding.parse().unwrap()), Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[]);
    // Its server has not looked for a client since it fell asleep.
    postgres.query("select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(99)'");
    ratoon.ready_workers("web", 3);
    let after = answers(&mut one_for_each_worker(&ratoon, 3));
    assert!(after.iter().all(|backend| *backend == after[0]), "{after:?}");

    // So does a generation, and the supervisor after an upgrade.
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    ratoon.signal(Signal::SIGUSR2);
    ratoon.logged("upgraded: this program has taken over", &[]);
    let last = answers(&mut one_for_each_worker(&ratoon, 3));
    assert!(last.iter().all(|backend| *backend == last[0]), "{last:?}");
    assert_eq!(postgres.backends(), 1);
}
