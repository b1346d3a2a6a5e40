//! Promised: "it may be process 1 of a container that holds nothing but itself", as docs/Containerfile makes one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Uid;

use crate::harness::{Client, RATOON, Ratoon, SOON, eventually, get, install, process, ratoon, root};

/// A root directory with the program, the libraries it is linked with, and what every container has.
fn furnish(place: &Path) {
    for directory in ["dev", "proc", "tmp", "var/tmp"] {
        fs::create_dir_all(place.join(directory)).unwrap();
    }
    for directory in ["tmp", "var/tmp"] {
        fs::set_permissions(place.join(directory), fs::Permissions::from_mode(0o1777)).unwrap();
    }
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(place.join("dev/null"), "").unwrap();
    install(Path::new(RATOON), &place.join("ratoon"), "0755");
    let output = Command::new("ldd").arg(RATOON).output().unwrap();
    for word in String::from_utf8(output.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
        let inside = place.join(&word[1..]);
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        install(Path::new(word), &inside, "0755");
    }
}

/// Makes itself at home in the root directory it is given, and becomes the program.
const ENTRY: &str = "mount --bind /dev/null \"$0/dev/null\" && mount -t proc proc \"$0/proc\" && \
                     exec chroot $1 \"$0\" /ratoon run --config /config.toml";

#[test]
fn with_nothing_around_it_it_serves_as_process_1_replaces_workers_and_stops_when_it_is_told() {
    let config = fs::read_to_string(root().join("docs/container.toml")).unwrap();
    let config = config.replace("0.0.0.0:8080", "127.0.0.1:0").replace("0.0.0.0:9180", "127.0.0.1:0");
    let config = config.replace("drain_delay = \"5s\"", "drain_delay = \"1s\"\nworkers = 2");
    assert!(Uid::effective().is_root(), "a container is made by root: tests/deps.sh says what the tests need");
    let mut container = Ratoon::start_with(&config, |command| {
        let place = command.get_current_dir().unwrap().to_owned();
        furnish(&place);
        let mut wrapped = Command::new("unshare");
        wrapped.args(["--mount", "--pid", "--fork", "sh", "-c", ENTRY]).arg(&place);
        wrapped.arg("--userspec=65534:65534").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        wrapped.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        *command = wrapped;
    });
    container.logged("serving: every pool has a ready worker", &[]);
    let first = process::children(container.pid(), "")[0];
    eventually("both serve", SOON, || (process::children(first, "ratoon: web worker ").len() == 2).then_some(()));
    assert_eq!(get(container.address(), "/whoami").status, 200);
    assert_eq!(get(container.admin(), "/readyz").status, 200);
    assert_eq!(fs::metadata(format!("/proc/{first}")).unwrap().uid(), 65534);

    // A body that is written to a file.
    let upload = vec![7; 1_000_000];
    let mut client = Client::connect(container.address());
    client.send(format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", upload.len()).as_bytes());
    client.send(&upload);
    assert!(client.response().body == upload);

    let worker = process::children(first, "ratoon: web worker 1")[0];
    kill(worker, Signal::SIGKILL).unwrap();
    let is_back = || process::children(first, "ratoon: web worker 1").iter().any(|pid| *pid != worker).then_some(());
    eventually("another takes its place", SOON, is_back);
    eventually("the dead one is buried", SOON, || process::zombies(first).is_empty().then_some(()));

    // From outside it is found where its directory is.
    let socket = container.directory().join("tmp/control.sock");
    let status = ratoon(&["status", "--socket", socket.to_str().unwrap()]);
    assert!(status.status.success(), "{status:?}");

    kill(first, Signal::SIGTERM).unwrap();
    container.leaves_in_peace();
}
