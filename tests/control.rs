//! Promised: "there is someone to ask": `ratoon status` and `ratoon reload` over the control socket.

mod command;
mod errands;
mod papers;
mod stuck;
mod watch;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::geteuid;
use serde_json::Value;

use crate::harness::{Client, RATOON, Ratoon, SOON, eventually, fixture, get, install, process};

/// A supervisor whose control socket is in its own directory.
#[track_caller]
fn start(config: &str) -> Ratoon {
    Ratoon::start_with(config, |command| {
        let directory = command.get_current_dir().unwrap().to_owned();
        command.env("RUNTIME_DIRECTORY", directory);
    })
}

#[track_caller]
fn serving(config: &str) -> Ratoon {
    let ratoon = start(config);
    ratoon.logged("serving: every pool has a ready worker", &[]);
    ratoon
}

fn socket(ratoon: &Ratoon) -> PathBuf {
    ratoon.directory().join("control.sock")
}

/// `ratoon`, to be run where no configuration and no environment names a socket.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(RATOON);
    command.args(arguments).current_dir("/").stdin(Stdio::null());
    command.env_remove("RATOON_SOCKET").env_remove("RUNTIME_DIRECTORY");
    command
}

#[track_caller]
fn ask(ratoon: &Ratoon, arguments: &[&str]) -> Output {
    command(arguments).arg("--socket").arg(socket(ratoon)).output().unwrap()
}

#[track_caller]
fn status(ratoon: &Ratoon) -> Value {
    let output = ask(ratoon, &["status", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].iter().map(|text| String::from_utf8_lossy(text)).collect()
}

/// A word that keeps a handler until `file` is there.
fn until(file: &Path) -> String {
    format!("await:{}", file.to_str().unwrap().replace('/', "~"))
}

/// "`ratoon status` answers while every worker is busy", and says with what.
#[test]
fn status_answers_while_every_worker_is_busy() {
    let ratoon = serving(&fixture::pool("web", "workers = 2"));
    ratoon.ready_workers("web", 2);
    let file = ratoon.directory().join("go");
    let _busy = [(); 2].map(|()| ratoon.engage(ratoon.address(), &until(&file)));
    let waiting = Client::connect(ratoon.address());

    let pool = eventually("the third client waits", SOON, || {
        let pool = status(&ratoon)["pools"][0].clone();
        (pool["listeners"][0]["listen_queue"] == 1).then_some(pool)
    });
    assert_eq!((&pool["active_processes"], &pool["idle_processes"]), (&2.into(), &0.into()));
    for worker in pool["processes"].as_array().unwrap() {
        assert_eq!(worker["state"], "busy");
        assert!(worker["request_line"].as_str().unwrap().starts_with("GET /await:"), "{worker}");
        assert!(worker["request_duration_ms"].is_u64(), "{worker}");
    }

    let output = ask(&ratoon, &["status"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("web  static  2/2 busy, 1 waiting, gen 1"), "{table}");
    assert_eq!(table.matches("GET /await:").count(), 2, "{table}");
    for line in table.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    drop(waiting);
}

/// "Causes of death in one vocabulary", and the numbers a dashboard lives on.
#[test]
fn the_document_names_every_pool_worker_and_death() {
    let config = fixture::pool("web", "workers = 2") + &fixture::pool("jobs", "workers = 1");
    let ratoon = serving(&config);
    let workers = ratoon.ready_workers("web", 2);
    ratoon.ready_workers("jobs", 1);
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
    kill(workers[1], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[("pid", workers[1].as_raw().into())]);
    let replaced = ratoon.ready_workers("web", 2);

    // A request ends a little after its answer.
    let status = eventually("both are idle", SOON, || {
        Some(status(&ratoon)).filter(|status| status["pools"][0]["idle_processes"] == 2)
    });
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], ratoon.pid().as_raw());
    assert_eq!(status["state"], "serving");
    assert_eq!(status["last_reload"], Value::Null);
    assert!(status["start_time"].as_u64().unwrap() > 1_700_000_000, "{status}");
    assert!(status["start_since_ms"].is_u64());
    let names: Vec<&Value> = status["pools"].as_array().unwrap().iter().map(|pool| &pool["pool"]).collect();
    assert_eq!(names, ["web", "jobs"].map(Value::from).iter().collect::<Vec<_>>());

    let web = &status["pools"][0];
    for (field, value) in [
        ("process_manager", "static".into()),
        ("health", serde_json::json!({ "state": "sound" })),
        ("generations", serde_json::json!([1])),
        ("wanted_processes", 2.into()),
        ("idle_processes", 2.into()),
        ("active_processes", 0.into()),
        ("starting_processes", 0.into()),
        ("retiring_processes", 0.into()),
        ("total_processes", 2.into()),
        ("max_children_reached", 0.into()),
        ("deaths", serde_json::json!({ "killed from outside": 1 })),
    ] {
        assert_eq!(web[field], value, "{field}");
    }
    let death = &web["last_deaths"][0];
    assert_eq!((&death["slot"], &death["cause"]), (&1.into(), &"killed from outside".into()));
    assert_eq!((&death["pid"], &death["generation"]), (&workers[1].as_raw().into(), &1.into()));
    assert_eq!(web["last_deaths"].as_array().unwrap().len(), 1);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    assert!(now.abs_diff(status["time_ms"].as_u64().unwrap()) < 60_000, "{status}");
    let listener = &web["listeners"][0];
    assert_eq!(listener["address"], ratoon.address().to_string());
    assert_eq!((&listener["listen_queue"], &listener["listen_queue_len"]), (&0.into(), &1024.into()));

    let worker = &web["processes"][1];
    assert_eq!((&worker["slot"], &worker["pid"]), (&1.into(), &replaced[1].as_raw().into()));
    assert_eq!((&worker["generation"], &worker["state"]), (&1.into(), &"idle".into()));
    assert_eq!(worker["last_death"], "killed from outside");
    assert_eq!(web["processes"][0]["last_death"], Value::Null);
    let requests = |slot: usize| web["processes"][slot]["requests"].as_u64().unwrap();
    assert_eq!(requests(0) + requests(1), 1);
}

#[test]
fn status_tells_starting_and_stopping_from_serving() {
    let mut ratoon = start(&fixture::pool("web", "workers = 1\nsettings = { start = \"await:go\" }"));
    ratoon.logged("template loaded", &[]);
    let starting = eventually("the worker starts", SOON, || {
        let status = status(&ratoon);
        (status["pools"][0]["starting_processes"] == 1).then_some(status)
    });
    assert_eq!(starting["state"], "starting");

    std::fs::write(ratoon.directory().join("go"), "").unwrap();
    ratoon.logged("serving: every pool has a ready worker", &[]);
    assert_eq!(status(&ratoon)["state"], "serving");

    let file = ratoon.directory().join("done");
    let (mut client, _) = ratoon.engage(ratoon.address(), &until(&file));
    ratoon.signal(Signal::SIGTERM);
    ratoon.logged("stopping: what was accepted or queued is served", &[]);
    let stopping = status(&ratoon);
    assert_eq!(stopping["state"], "stopping");
    assert_eq!(stopping["pools"][0]["retiring_processes"], 1);
    std::fs::write(file, "").unwrap();
    assert_eq!(client.response().status, 200);
    ratoon.leaves_in_peace();
}

#[test]
fn a_failed_pool_is_visible() {
    let ratoon = start(&fixture::pool("web", "workers = 10\nsettings = { start = \"exit:3\" }"));
    ratoon.logged(
        "pool failed: too many boots failed within a minute; it keeps its listeners and is tried again, slowly",
        &[],
    );
    let pool = &status(&ratoon)["pools"][0];
    assert_eq!(pool["health"]["state"], "failed");
    assert!(pool["health"]["retry_in_ms"].as_u64().unwrap() <= 30_000, "{pool}");
    assert!(pool["deaths"]["exited 3"].as_u64().unwrap() >= 10, "{pool}");
    assert_eq!(pool["processes"][0]["last_death"], "exited 3");
    let table = said(&ask(&ratoon, &["status"]));
    assert!(table.contains("web  static  0/10 busy, 0 waiting, gen "), "{table}");
    assert!(table.contains(", failed, retry in "), "{table}");
}

#[test]
fn the_socket_is_its_users_alone_and_gone_with_the_supervisor() {
    let mut ratoon = serving(&fixture::pool("web", "workers = 1"));
    let file = std::fs::metadata(socket(&ratoon)).unwrap();
    assert_eq!((file.mode() & 0o7777, file.uid()), (0o600, geteuid().as_raw()));
    ratoon.signal(Signal::SIGTERM);
    ratoon.leaves_in_peace();
    assert!(!socket(&ratoon).exists());
}

/// "SO_PEERCRED is checked": a mode that somebody has widened opens nothing.
#[test]
fn another_user_is_refused_whatever_the_sockets_mode() {
    if !geteuid().is_root() {
        eprintln!("only root can be somebody else");
        return;
    }
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let program = ratoon.directory().join("ratoon");
    install(Path::new(RATOON), &program, "0755");
    std::fs::set_permissions(ratoon.directory(), PermissionsExt::from_mode(0o755)).unwrap();
    let ask = || {
        let mut command = Command::new(&program);
        command.arg("status").arg("--socket").arg(socket(&ratoon)).current_dir("/").uid(65534).gid(65534);
        command.output().unwrap()
    };
    let by_mode = ask();
    assert_eq!(by_mode.status.code(), Some(2));
    assert!(said(&by_mode).contains("answers only its own user and root"), "{}", said(&by_mode));

    std::fs::set_permissions(socket(&ratoon), PermissionsExt::from_mode(0o666)).unwrap();
    let by_name = ask();
    assert_eq!(by_name.status.code(), Some(2));
    assert!(said(&by_name).contains("you are user 65534"), "{}", said(&by_name));
    ratoon.logged("a stranger is turned away from the control socket", &[("uid", 65534.into())]);
    assert_eq!(status(&ratoon)["state"], "serving");
}

#[test]
fn a_second_supervisor_does_not_take_the_socket_away() {
    let first = serving(&fixture::pool("web", "workers = 1"));
    let before = std::fs::metadata(socket(&first)).unwrap().ino();
    let mut second = Ratoon::start_with(&fixture::pool("web", "workers = 1"), |command| {
        command.env("RUNTIME_DIRECTORY", first.directory());
    });
    assert_eq!(second.wait_exit(SOON).code(), Some(2));
    eventually("it says why", SOON, || second.text().contains("the control socket: cannot listen on").then_some(()));
    assert!(second.text().contains("another process has it"), "{}", second.text());
    assert_eq!(std::fs::metadata(socket(&first)).unwrap().ino(), before);
    assert_eq!(status(&first)["pid"], first.pid().as_raw());
}

#[test]
fn a_socket_that_a_killed_supervisor_left_behind_is_replaced() {
    let mut killed = serving(&fixture::pool("web", "workers = 1"));
    killed.signal(Signal::SIGKILL);
    killed.wait_exit(SOON);
    assert!(socket(&killed).exists(), "it was left behind");
    let ratoon = Ratoon::start_with(&fixture::pool("web", "workers = 1"), |command| {
        command.env("RUNTIME_DIRECTORY", killed.directory());
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    assert_eq!(status(&killed)["pid"], ratoon.pid().as_raw());
}

/// "A client that sends garbage, nothing, too much, or never reads disturbs nothing."
#[test]
fn clients_that_misbehave_disturb_nobody() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let connect = || UnixStream::connect(socket(&ratoon)).unwrap();
    let descriptors = process::descriptors_at_rest(ratoon.pid());

    let silent: Vec<UnixStream> = (0..20).map(|_| connect()).collect();
    let deaf: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut client = connect();
            client.write_all(b"{\"ask\":\"status\"}\n").unwrap();
            client
        })
        .collect();
    for (sent, why) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "this is no question"),
        (b"\0\xff\n", "this is no question"),
        (b"{\"ask\":\"dance\"}\n", "unknown variant `dance`"),
        (b"{\"version\":99,\"ask\":\"status\"}\n", "version 99"),
        (&[b'['; 1 << 17], "a question is one line of at most 65536 bytes"),
    ] {
        let mut client = connect();
        // What is too much may be refused before it is all sent.
        let _ = client.write_all(sent);
        let mut answer = String::new();
        BufReader::new(client).read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["refused"].as_str().unwrap().contains(why), "{answer}");
    }
    assert_eq!(status(&ratoon)["state"], "serving");
    assert_eq!(get(ratoon.address(), "/ok").status, 200);

    for mut client in silent {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "{\"refused\":\"no question came within 5 s\"}\n");
    }
    drop(deaf);
    eventually("all of them are forgotten", SOON, || (process::descriptors(ratoon.pid()) == descriptors).then_some(()));
    assert_eq!(ratoon.all_logged("died", &[]).len(), 0);
}

#[test]
fn more_clients_than_are_listened_to_are_refused_and_come_again() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let connect = || UnixStream::connect(socket(&ratoon)).unwrap();
    let crowd: Vec<UnixStream> = (0..64).map(|_| connect()).collect();
    let refused = ask(&ratoon, &["status"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("64 others are being answered: try again later"), "{}", said(&refused));
    drop(crowd);
    eventually("there is room again", SOON, || ask(&ratoon, &["status"]).status.success().then_some(()));
}

#[test]
fn without_a_place_for_it_there_is_no_socket() {
    let ratoon = Ratoon::start_with(&fixture::pool("web", "workers = 1"), |command| {
        command.env_remove("RUNTIME_DIRECTORY");
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    assert!(!socket(&ratoon).exists());
}
