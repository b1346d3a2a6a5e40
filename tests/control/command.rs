//! Promised: "`ratoon reload` waits, its exit status is the outcome", and errors say what to do.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{ask, command, said, serving};
use crate::harness::fixture;

/// "Exit status 0 done, 1 failed, 2 cannot ask; the last line is the reason."
#[test]
fn a_reload_that_fails_says_so_by_its_exit_status_and_its_last_line() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    ratoon.configure(&fixture::pool("web", "workers = 1\nsettings = { load = \"error:no catalogue\" }"));
    let output = ask(&ratoon, &["reload", "web"]);
    assert_eq!(output.status.code(), Some(1));
    let last = "pool web: boot failed: the fixture fails: no catalogue\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), last);
}

/// A supervisor made of canned lines: what the command makes of each outcome.
#[test]
fn reload_shows_how_far_it_is_line_by_line_in_a_pipe_and_the_outcome_last() {
    let directory = tempfile::tempdir().unwrap();
    for (lines, status, shown) in [
        ("{\"progress\":\"loading\"}\n{\"done\":\"all loaded\"}\n", 0, "loading\nall loaded\n"),
        ("{\"progress\":\"loading\"}\n{\"failed\":\"no such program\"}\n", 1, "loading\nno such program\n"),
        // Nobody's words write to the terminal.
        ("{\"progress\":\"a\\u001b[2Jb\"}\n{\"failed\":\"\\u009bc\"}\n", 1, "a?[2Jb\n?c\n"),
        ("{\"refused\":\"not now\"}\n", 2, "not now\n"),
    ] {
        assert_eq!(reload_of(&directory.path().join("sock"), lines), (Some(status), shown.to_owned()));
    }
    let (status, shown) = reload_of(&directory.path().join("sock"), "{\"progress\":\"loading\"}\n");
    assert_eq!(status, Some(2));
    assert!(shown.contains("hung up before it had answered"), "{shown}");
}

/// What `ratoon reload` makes of a supervisor that answers so.
fn reload_of(path: &Path, lines: &str) -> (Option<i32>, String) {
    let listener = UnixListener::bind(path).unwrap();
    let asking =
        command(&["reload", "--socket"]).arg(path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut client, _) = listener.accept().unwrap();
    let mut question = String::new();
    BufReader::new(&client).read_line(&mut question).unwrap();
    assert_eq!(question, "{\"version\":1,\"ask\":\"reload\",\"pools\":[]}\n");
    client.write_all(lines.as_bytes()).unwrap();
    drop(client);
    let output = asking.wait_with_output().unwrap();
    std::fs::remove_file(path).unwrap();
    (output.status.code(), said(&output))
}

/// "Errors say what to do."
#[test]
fn where_no_supervisor_answers_it_says_where_it_looked_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let named = format!("{place}/named.sock");
    let assert_told = |command: &mut Command, looked: &str| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let wanted = format!("no supervisor answers at {looked}: is it running? ");
        assert!(said(&output).starts_with(&wanted), "{}", said(&output));
    };
    for word in ["status", "reload"] {
        assert_told(command(&[word]).env("RUNTIME_DIRECTORY", place), &format!("{place}/control.sock"));
        let environment = [("RUNTIME_DIRECTORY", "/elsewhere"), ("RATOON_SOCKET", &named)];
        assert_told(command(&[word]).envs(environment), &named);
        let environment = [("RUNTIME_DIRECTORY", "/elsewhere"), ("RATOON_SOCKET", "/nowhere")];
        assert_told(command(&[word, "--socket", &named]).envs(environment), &named);
    }
    drop(UnixListener::bind(&named).unwrap());
    assert_told(&mut command(&["status", "--socket", &named]), &named);
    if !Path::new("/run/ratoon/control.sock").exists() {
        assert_told(&mut command(&["status"]), "/run/ratoon/control.sock");
    }
}

/// To hear how things are must be possible when the file is the trouble: of that only the place of the socket counts.
#[test]
fn a_broken_configuration_keeps_nobody_from_asking_the_daemon_that_is_meant() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let config = ratoon.directory().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("workers = 1", "workers = \"many\"");
    let place = ratoon.directory().join("control.sock");
    std::fs::write(&config, format!("[control]\nsocket = {place:?}\n{text}")).unwrap();
    let asked = |about: &[&str], runtime_directory: Option<&Path>| {
        let mut command = command(about);
        command.arg("--config").arg(&config);
        command.envs(runtime_directory.map(|directory| ("RUNTIME_DIRECTORY", directory)));
        command.output().unwrap()
    };
    let output = asked(&["status"], None);
    assert!(said(&output).contains("web  static  0/1 busy"), "{}", said(&output));
    // Another daemon that would answer is not asked.
    let other = serving(&fixture::pool("other", "workers = 1"));
    let output = asked(&["reload"], Some(other.directory()));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("workers"), "{}", said(&output));
    // Where not even that can be read, it is the environment's to say, or nobody's.
    std::fs::write(&config, "[pool.web\n").unwrap();
    let output = asked(&["reload"], None);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("say it with --socket"), "{}", said(&output));
    let output = asked(&["status"], Some(ratoon.directory()));
    assert!(said(&output).contains("web  static  0/1 busy"), "{}", said(&output));
    assert_eq!(other.all_logged("reloading", &[]).len(), 0);
}
