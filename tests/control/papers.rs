//! Promised: `ratoon config` says what is in force and where it comes from; completions and a manual page are generated
//! from the command line itself.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{command, said, serving, socket};
use crate::harness::fixture;

/// What could not be written was not told: a status of 0 would say that it was.
#[test]
fn what_is_asked_for_and_cannot_be_written_is_a_failure() {
    let ratoon = serving(&fixture::pool("web", "workers = 1"));
    let config = ratoon.directory().join("config.toml");
    let asking = |arguments: &[&str]| {
        let mut command = command(arguments);
        if arguments[0] == "status" {
            command.arg("--socket").arg(socket(&ratoon));
        }
        if arguments[0] == "config" {
            command.arg("--config").arg(&config);
        }
        command
    };
    for arguments in [&["status"][..], &["status", "--json"], &["config"], &["completions", "bash"], &["man"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = asking(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(said(&output), "cannot write to standard output: No space left on device (os error 28)\n");

        let plain = asking(arguments);
        let mut closed = Command::new("sh");
        closed.args(["-c", "exec \"$@\" >&-", "sh"]).arg(plain.get_program()).args(plain.get_args());
        let output = closed.current_dir("/").stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        assert_eq!(said(&output), "cannot write to standard output: Bad file descriptor (os error 9)\n");
    }
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = asking(&["status", "--watch"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn config_tells_every_value_with_its_line_and_hides_what_is_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.toml");
    let text = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 3\nsettings = { token = \"s3cret\" }\n";
    std::fs::write(&file, text).unwrap();
    let output = command(&["config", "--config"]).arg(&file).output().unwrap();
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert_eq!(told.lines().next(), Some(format!("# {}", file.display()).as_str()));
    let line =
        |key: &str| told.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key}: {told}"));
    assert!(line("pool.web.workers = 3 ").ends_with(&format!("# {}:3", file.display())));
    assert!(line("pool.web.settings.token = \"(hidden)\" ").ends_with(":4"));
    assert!(line("pool.web.request_timeout = \"30s\" ").ends_with("# default"));
    assert!(!told.contains("s3cret"), "{told}");

    std::fs::write(&file, text.replace("workers", "wokers")).unwrap();
    let output = command(&["config", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("shop.toml:3: pool.web.wokers"), "{}", said(&output));
}

#[test]
fn config_tells_the_defaults_without_a_file() {
    let output = command(&["config", "--defaults"]).output().unwrap();
    let told = said(&output);
    assert!(output.status.success() && told.starts_with("# no file: the defaults\n"), "{told}");
    assert!(
        told.lines().any(|line| line.starts_with("pool.NAME.workers = ") && line.ends_with("# computed")),
        "{told}"
    );
    assert!(told.lines().any(|line| line.starts_with("pool.NAME.surge = \"25%\" ") && line.ends_with("# default")));
}

#[test]
fn completions_and_the_manual_know_every_command() {
    let words = ["status", "reload", "scale", "restart", "stop", "upgrade", "logs", "config", "completions"];
    for papers in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]] {
        let output = command(papers).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        for word in words {
            assert!(text.contains(word), "{papers:?} does not know {word}");
        }
    }
    let bash = command(&["completions", "bash"]).output().unwrap().stdout;
    let mut shell = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(&bash).unwrap();
    assert!(shell.wait().unwrap().success(), "bash does not understand it");
    let manual = String::from_utf8(command(&["man"]).output().unwrap().stdout).unwrap();
    assert!(manual.contains(".TH ratoon 1") && manual.contains(".SH \"ratoon scale\""), "{manual}");
}
