//! Promised: whatever is wrong with the configuration is said in one line that a person can act on, before
//! anything is started, and the exit status is 2.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::harness::{RATOON, Ratoon, SOON, get, install, process, ratoon, root};

/// A directory with this `config.toml`, in which `DIR` stands for the directory.
fn directory(config: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = config.replace("DIR", directory.path().to_str().unwrap());
    std::fs::write(directory.path().join("config.toml"), text).unwrap();
    directory
}

/// Runs `ratoon` in a directory to its end, and finds nothing of it left.
#[track_caller]
fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(RATOON);
    command.args(arguments).current_dir(directory).process_group(0).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let group = Pid::from_raw(child.id() as i32);
    let output = child.wait_with_output().unwrap();
    assert!(process::group(group).is_empty(), "something was left running");
    output
}

/// Neither starting nor checking goes beyond exactly this line on standard error. `DIR` stands for the directory.
#[track_caller]
fn is_refused(directory: &Path, line: &str) {
    starting_is_refused(directory, line);
    refused(&run(directory, &["check"]), directory, line);
}

#[track_caller]
fn starting_is_refused(directory: &Path, line: &str) {
    refused(&run(directory, &["run"]), directory, line);
    refused(&run(directory, &[]), directory, line);
}

#[track_caller]
fn refused(output: &Output, directory: &Path, line: &str) {
    let line = line.replace("DIR", directory.to_str().unwrap());
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("{line}\n"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_mistake_in_the_file_is_one_line_with_its_place_its_key_and_what_would_be_right() {
    for (keys, line) in [
        ("workers = ", r#"config.toml:3:11: a value is missing after "=""#),
        ("worker = 2", r#"config.toml:3: pool.web.worker: no such key; did you mean "workers"?"#),
        (
            "stop_timeout = \"30 sec\"",
            r#"config.toml:3: pool.web.stop_timeout: "30 sec" is not a duration: write "30s""#,
        ),
        (
            "program = [\"DIR/shop\"]",
            "config.toml:3: pool.web.program: DIR/shop cannot be used: No such file or directory (os error 2): \
             build or install it, or correct the path",
        ),
        (
            "program = [\"DIR/config.toml\"]",
            "config.toml:3: pool.web.program: DIR/config.toml is not executable for this user: \
             run chmod +x DIR/config.toml, or correct the path",
        ),
        (
            "body_dir = \"DIR/none\"",
            "config.toml:3: pool.web.body_dir: DIR/none cannot be used: No such file or directory (os error 2): \
             create it, or name another directory",
        ),
    ] {
        let directory = directory(&format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\n{keys}\n"));
        is_refused(directory.path(), &format!("./{line}"));
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (file, wrong) in [
        ("none.toml", "no such file (os error 2): write it, or name another with --config FILE"),
        (".", "is not a regular file: name one with --config FILE"),
    ] {
        for command in ["run", "check"] {
            let output = run(directory.path(), &[command, "--config", file]);
            refused(&output, directory.path(), &format!("{file}: {wrong}"));
        }
    }
}

#[test]
fn without_any_file_both_places_are_named() {
    if Path::new("/etc/ratoon/config.toml").exists() {
        eprintln!("skipped: this machine has a configuration of its own");
        return;
    }
    let line = "found neither ./config.toml nor /etc/ratoon/config.toml: write one, or name another with --config FILE";
    is_refused(tempfile::tempdir().unwrap().path(), line);
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_started() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let directory = directory(&format!("[pool.web]\nlisten = [\"127.0.0.1:0\", \"{taken}\"]\n"));
    starting_is_refused(
        directory.path(),
        &format!(
            "./config.toml:2: pool.web.listen[1]: cannot listen on {taken}: Address already in use (os error 98): \
             another process has it; stop that one, or choose another address"
        ),
    );
    // Whether it is free is not for `check` to find out: it opens nothing.
    assert_eq!(run(directory.path(), &["check"]).status.code(), Some(0));
}

#[test]
fn an_address_of_another_machine_is_named() {
    let directory = directory("[pool.web]\nlisten = [\"192.0.2.1:8080\"]\n");
    starting_is_refused(
        directory.path(),
        "./config.toml:2: pool.web.listen[0]: cannot listen on 192.0.2.1:8080: \
         Cannot assign requested address (os error 99): this machine has no such address; choose one that it has",
    );
}

#[test]
fn a_unix_path_that_cannot_be_had_is_named_and_what_stands_there_is_left_alone() {
    let config = "[pool.web]\nlisten = [\"unix:DIR/web.sock\"]\n";
    let place = "./config.toml:2: pool.web.listen[0]: cannot listen on unix:DIR";

    let missing = directory("[pool.web]\nlisten = [\"unix:DIR/none/web.sock\"]\n");
    let line = format!(
        "{place}/none/web.sock: No such file or directory (os error 2): its directory does not exist; create it, or choose another path"
    );
    starting_is_refused(missing.path(), &line);

    let live = directory(config);
    let server = UnixListener::bind(live.path().join("web.sock")).unwrap();
    let line = format!(
        "{place}/web.sock: Address already in use (os error 98): \
         another process has it; stop that one, or choose another address"
    );
    starting_is_refused(live.path(), &line);
    server.accept().unwrap();
    assert!(live.path().join("web.sock").exists());

    let file = directory(config);
    std::fs::write(file.path().join("web.sock"), "precious").unwrap();
    let line =
        format!("{place}/web.sock: something that is not a socket stands there: remove that, or choose another path");
    starting_is_refused(file.path(), &line);
    assert_eq!(std::fs::read_to_string(file.path().join("web.sock")).unwrap(), "precious");
}

#[test]
fn a_pool_that_cannot_listen_leaves_no_socket_of_another_behind() {
    let directory = directory("[pool.a]\nlisten = [\"unix:DIR/a.sock\"]\n[pool.b]\nlisten = [\"unix:DIR/b/b.sock\"]\n");
    starting_is_refused(
        directory.path(),
        "./config.toml:4: pool.b.listen[0]: cannot listen on unix:DIR/b/b.sock: \
         No such file or directory (os error 2): its directory does not exist; create it, or choose another path",
    );
    assert!(!directory.path().join("a.sock").exists());
}

#[test]
fn several_mistakes_are_a_line_each() {
    let directory = directory("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 0\nmax_body = 1\n");
    let lines = "./config.toml:3: pool.web.workers: 0 is out of range: write a whole number from 1 to 1000\n\
                 ./config.toml:4: pool.web.max_body: 1 has no unit: write \"1B\"";
    is_refused(directory.path(), lines);
}

#[test]
fn what_is_good_is_called_good_and_nothing_is_opened() {
    let directory = directory("[pool.web]\nlisten = [\"unix:DIR/web.sock\", \"192.0.2.1:80\"]\n");
    let output = run(directory.path(), &["check"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "./config.toml: good\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    assert!(!directory.path().join("web.sock").exists());
}

#[test]
fn the_shipped_configuration_is_good_and_the_one_a_first_run_finds() {
    for arguments in [&["check"][..], &["check", "--config", "config.toml"], &["--config", "config.toml", "check"]] {
        let output = run(&root(), arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn without_a_word_the_configuration_of_the_working_directory_is_run() {
    let mut ratoon = Ratoon::start_with("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n", |command| {
        let mut bare = Command::new(RATOON);
        bare.current_dir(command.get_current_dir().unwrap());
        bare.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        *command = bare;
    });
    assert_eq!(get(ratoon.address(), "/hello").text(), "Hello, world!");
    ratoon.signal(Signal::SIGTERM);
    assert_eq!(ratoon.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_configuration_that_may_not_be_read_is_named() {
    let directory = directory("[pool.web]\nlisten = [\"127.0.0.1:0\"]\n");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap();
    std::fs::set_permissions(directory.path().join("config.toml"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let line =
        "./config.toml: cannot be read: Permission denied (os error 13): let the user that starts ratoon read it";
    if nix::unistd::geteuid().is_root() {
        // Root reads everything, so somebody else tries: with a copy of the program, for they may not reach this one.
        let program = directory.path().join("ratoon");
        install(Path::new(RATOON), &program, "0755");
        let mut command = Command::new(program);
        command.arg("check").current_dir(directory.path()).uid(65534).gid(65534);
        refused(&command.output().unwrap(), directory.path(), line);
    } else {
        is_refused(directory.path(), line);
    }
}

#[test]
fn the_command_line_explains_itself() {
    let version = ratoon(&["--version"]);
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("ratoon {}\n", env!("CARGO_PKG_VERSION")));
    let help = ratoon(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["run", "check", "--config <FILE>", "./config.toml", "/etc/ratoon/config.toml"] {
        assert!(help.contains(word), "{word:?} in:\n{help}");
    }
    let misspelt = ratoon(&["chekc"]);
    assert_eq!(misspelt.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&misspelt.stderr).contains("'check'"));
}
