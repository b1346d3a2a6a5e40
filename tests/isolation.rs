//! Promised: "what is one pool's is not to be found in another's": environment, secrets, descriptors, users.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use crate::harness::{Client, RATOON, Ratoon, fixture, get, install, process, unprivileged, wrap};

/// The environment a process was executed with.
fn environment(pid: Pid) -> BTreeMap<String, String> {
    let text = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split('\0')
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// The templates and workers of a pool.
fn everybody(ratoon: &Ratoon, pool: &str) -> Vec<Pid> {
    process::children(ratoon.pid(), &format!("ratoon: {pool} "))
}

/// "A program finds in its environment what the configuration says, and little else."
#[test]
fn a_program_finds_only_what_it_is_given_in_its_environment() {
    let lines = "workers = 1\npass_env = [\"WANTED\", \"ABSENT\"]\nenv = { OWN = \"its own\", LANG = \"xx\" }\n\
                 prepare = [\"/bin/sh\", \"-c\", \"env > DIR/prepared\"]";
    let config = fixture::pool("web", lines) + &fixture::pool("other", "workers = 1");
    let ratoon = Ratoon::start_with(&config, |command| {
        command.env("WANTED", "here").env("UNWANTED", "secret").env("LC_TIME", "yy").env("LANG", "zz");
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let value = |pool: &str, name: &str| get(ratoon.address_of(pool), &format!("/environment:{name}")).text();
    for (name, web, other) in [
        ("WANTED", "here", "unset"),
        ("ABSENT", "unset", "unset"),
        ("UNWANTED", "unset", "unset"),
        ("OWN", "its own", "unset"),
        ("LANG", "xx", "zz"),
        ("LC_TIME", "yy", "yy"),
    ] {
        assert_eq!((value("web", name), value("other", name)), (web.into(), other.into()), "{name}");
    }
    assert_eq!(value("web", "PATH"), std::env::var("PATH").unwrap());
    for pid in everybody(&ratoon, "web").into_iter().chain(everybody(&ratoon, "other")) {
        assert!(!environment(pid).contains_key("UNWANTED"));
    }
    let prepared = std::fs::read_to_string(ratoon.directory().join("prepared")).unwrap();
    assert!(prepared.contains("WANTED=here") && prepared.contains("OWN=its own"), "{prepared}");
    assert!(!prepared.contains("UNWANTED"), "{prepared}");
}

#[test]
fn a_variable_that_is_the_supervisors_or_anothers_secret_cannot_be_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    for (lines, complaint) in [
        (
            "pass_env = [\"NOTIFY_SOCKET\"]",
            "pool.web.pass_env: \"NOTIFY_SOCKET\" is between systemd and the supervisor",
        ),
        ("env = { LISTEN_FDS = \"1\" }", "pool.web.env: \"LISTEN_FDS\" is between systemd and the supervisor"),
        ("env = { \"A=B\" = \"1\" }", "pool.web.env: \"A=B\" cannot name a variable"),
        (
            "pass_env = [\"URL\"]\n[pool.db]\nlisten = [\"127.0.0.1:0\"]\n[pool.db.database]\nurl_env = \"URL\"",
            "pool.web.pass_env[0]: \"URL\" holds the URL of pool.db.database, which no worker is given",
        ),
    ] {
        let path = directory.path().join("config.toml");
        std::fs::write(&path, format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\n{lines}\n")).unwrap();
        let checked = Command::new(RATOON).args(["check", "--config"]).arg(&path).env("URL", "postgres://x").output();
        let said = String::from_utf8(checked.unwrap().stderr).unwrap();
        assert!(said.contains(complaint), "{said}");
    }
}

/// What a process has open beyond the standard three, as far as it is somebody's own.
fn possessions(pid: Pid) -> BTreeSet<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let standard = [0, 1, 2].map(|number| std::fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default());
    let own = |entry: std::fs::DirEntry| {
        let number: i32 = entry.file_name().to_str()?.parse().ok()?;
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_standard = standard.contains(&target);
        let target = target.display().to_string();
        (number > 2 && !is_standard && !target.starts_with("anon_inode:")).then_some(target)
    };
    entries.filter_map(own).filter(|target| !["/dev/null", "/"].contains(&target.as_str())).collect()
}

#[test]
fn no_descriptor_of_one_pool_is_open_in_another_nor_one_of_the_supervisors() {
    let config = format!(
        "[control]\nsocket = \"DIR/control.sock\"\n{}{}",
        fixture::pool("web", "workers = 3"),
        fixture::pool("api", "workers = 2").replace("127.0.0.1:0\"", "127.0.0.1:0\", \"unix:DIR/api\"")
    );
    let ratoon = Ratoon::serving(&config);
    ratoon.ready_workers("web", 3);
    ratoon.ready_workers("api", 2);
    // One that was forked after everything was open, too.
    kill(ratoon.workers("web")[0], Signal::SIGKILL).unwrap();
    ratoon.logged("died", &[]);
    ratoon.ready_workers("web", 3);
    let of = |pool: &str| -> BTreeSet<String> {
        let members = everybody(&ratoon, pool);
        assert!(members.len() >= 3, "{members:?}");
        members.into_iter().flat_map(possessions).collect()
    };
    let (web, api) = (of("web"), of("api"));
    assert!(web.iter().any(|each| each.contains("memfd:ratoon-web")), "{web:?}");
    // The log is everybody's, and so is the working directory.
    let log = std::fs::read_link(format!("/proc/{}/fd/2", ratoon.pid())).unwrap().display().to_string();
    let shared: Vec<&String> =
        web.intersection(&api).filter(|each| **each != log && Path::new(each) != ratoon.directory()).collect();
    let nobody: [&String; 0] = [];
    assert_eq!(shared, nobody, "in both pools");
    // Each worker's way to the supervisor, and each client, is its own.
    let channels = |pid: Pid| possessions(pid);
    let workers = ratoon.workers("web");
    let common: BTreeSet<String> = workers.iter().map(|pid| channels(*pid)).reduce(|a, b| &a & &b).unwrap();
    for pid in workers {
        assert!(
            channels(pid).difference(&common).any(|each| each.starts_with("socket:")),
            "{pid} has no channel of its own"
        );
    }
}

/// A line of `/proc/PID/status`.
fn status(pid: Pid, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_is(pid: Pid, user: &User) {
    let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
    assert_eq!(status(pid, "Uid"), [uid.as_str(); 4].join(" "));
    assert_eq!(status(pid, "Gid"), [gid.as_str(); 4].join(" "));
    assert!(!status(pid, "Groups").split(' ').any(|group| group == "0"), "{}", status(pid, "Groups"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(pid, "NoNewPrivs"), "1");
}

/// "A pool's processes are its user's, from before its program begins; everything else goes on as ever."
#[test]
fn a_pool_runs_as_its_user_with_no_capability_and_is_served_watched_and_killed_as_ever() {
    assert!(geteuid().is_root(), "only root can prove this: nothing was tested");
    let (_directory, program) = fixture::public();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let lines = "workers = 2\nuser = \"nobody\"\nrequest_timeout = \"500ms\"\nkill_grace = \"1s\"\nbody_memory = \"1KiB\"\nsettle = \"0s\"\n\
                 prepare = [\"/bin/sh\", \"-c\", \"id -u > /var/tmp/ratoon-$PPID\"]";
    let config = fixture::pool("web", lines).replace(fixture::program().to_str().unwrap(), &program);
    let config = config.replace("127.0.0.1:0\"", "127.0.0.1:0\", \"unix:DIR/web\"")
        + &fixture::pool("own", "workers = 1\nsettle = \"0s\"");
    let ratoon = Ratoon::serving(&config);
    let workers = ratoon.ready_workers("web", 2);
    let prepared = format!("/var/tmp/ratoon-{}", ratoon.pid());
    assert_eq!(std::fs::read_to_string(&prepared).unwrap().trim(), nobody.uid.to_string());
    std::fs::remove_file(prepared).unwrap();
    let members = everybody(&ratoon, "web");
    assert!(members.len() >= 3, "{members:?}");
    members.into_iter().for_each(|pid| assert_is(pid, &nobody));
    assert_eq!(status(ratoon.workers("own")[0], "Uid"), "0 0 0 0");
    for (name, value) in
        [("HOME", nobody.dir.display().to_string()), ("USER", "nobody".into()), ("LOGNAME", "nobody".into())]
    {
        assert_eq!(get(ratoon.address(), &format!("/environment:{name}")).text(), value);
    }
    // A body that is put into a file.
    let mut client = Client::connect_unix(&ratoon.directory().join("web")).unwrap();
    let body = "x".repeat(100_000);
    client.send(
        format!("POST /echo:0 HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
    );
    assert_eq!(client.response().text(), body);
    // A deadline: last words, then the end.
    let mut stuck = Client::connect(ratoon.address());
    stuck.send(b"GET /spin HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(stuck.response().status, 504);
    ratoon.logged("killing", &[]);
    ratoon.logged("died", &[]);
    ratoon.ready_workers("web", 2);
    // A connection that changes hands in a reload.
    let mut kept = Client::connect(ratoon.address());
    assert_eq!(kept.get("/ok").status, 200);
    ratoon.signal(Signal::SIGHUP);
    ratoon.logged("reloaded", &[]);
    let after = kept.get("/ok").text();
    assert!(!workers.iter().any(|pid| pid.to_string() == after));
    // The new ones are its user's, too.
    ratoon.ready_workers("web", 2).into_iter().for_each(|pid| assert_is(pid, &nobody));
}

#[test]
fn a_group_of_its_own_and_a_mere_number_are_taken_too() {
    assert!(geteuid().is_root(), "only root can prove this: nothing was tested");
    let (_directory, program) = fixture::public();
    let lines = "workers = 1\nuser = \"4711\"\ngroup = \"4712\"";
    let config = fixture::pool("web", lines).replace(fixture::program().to_str().unwrap(), &program);
    // Of a supervisor that has what a change of the user alone would leave: groups, capabilities to inherit, and a kernel
    // that takes none away.
    let ratoon = Ratoon::start_with(&config, |command| {
        wrap(command, &["setpriv", "--groups=0,4", "--inh-caps=+chown", "--securebits=+no_setuid_fixup", "--"]);
    });
    ratoon.logged("serving: every pool has a ready worker", &[]);
    let worker = ratoon.workers("web")[0];
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(worker, set), "0000000000000000", "{set}");
    }
    assert_eq!(
        (status(worker, "Uid"), status(worker, "Gid")),
        ("4711 4711 4711 4711".into(), "4712 4712 4712 4712".into())
    );
    assert_eq!(status(worker, "Groups"), "4712");
    assert_eq!(get(ratoon.address(), "/environment:HOME").text(), "unset");
}

#[test]
fn who_is_not_root_is_told_that_he_cannot_become_another() {
    let directory = unprivileged::directory();
    let path = directory.path().join("config.toml");
    let check = |lines: &str| {
        std::fs::write(&path, format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\n{lines}\n")).unwrap();
        let program = directory.path().join("ratoon");
        if !program.exists() {
            install(Path::new(RATOON), &program, "0755");
        }
        let checked = unprivileged::command(Path::new(&program), directory.path(), "KILL")
            .args(["check", "--config"])
            .arg(&path)
            .output();
        String::from_utf8(checked.unwrap().stderr).unwrap()
    };
    let said = check("user = \"daemon\"");
    assert!(
        said.contains("config.toml:3: pool.web.user: user ")
            && said.contains("cannot become \"daemon\": start ratoon as root"),
        "{said}"
    );
    assert!(check("user = \"nobody-here\"").contains("no user \"nobody-here\" on this system"));
    assert!(check("user = \"3999999\"").contains("no user has the number 3999999 here: name its group, too"));
    assert!(check("group = \"daemon\"").contains("cannot become"));
}

/// "`check` judges as the pool's user what that user must be able to."
#[test]
fn what_a_pools_user_may_not_execute_or_write_is_found_out_before_it_is_started() {
    assert!(geteuid().is_root(), "only root can prove this: nothing was tested");
    let directory = tempfile::tempdir().unwrap();
    let open = |mode: u32| {
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
    };
    let place = |name: &str, mode: u32| {
        let path = directory.path().join(name);
        if name == "bodies" {
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        } else {
            install(Path::new("/bin/true"), &path, &format!("{mode:o}"));
        }
        path.display().to_string()
    };
    let (program, prepare, bodies) = (place("program", 0o750), place("prepare", 0o750), place("bodies", 0o750));
    let path = directory.path().join("config.toml");
    let lines = format!("program = [{program:?}]\nprepare = [{prepare:?}]\nbody_dir = {bodies:?}\n");
    let check = |user: &str, lines: &str| {
        std::fs::write(&path, format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nuser = {user}\n{lines}")).unwrap();
        let checked = Command::new(RATOON).args(["check", "--config"]).arg(&path).output().unwrap();
        String::from_utf8(checked.stderr).unwrap()
    };
    let refused = |line: usize, key: &str, path: &str, what: &str| {
        let config = directory.path().join("config.toml").display().to_string();
        format!("{config}:{line}: pool.web.{key}: {path} is not {what}\n")
    };
    let run = "executable for the user \"nobody\": Permission denied: let that user execute it and pass every directory \
               above, or put it elsewhere";
    let write = "writable for the user \"nobody\": Permission denied: name another directory";
    let all = refused(4, "program", &program, run)
        + &refused(5, "prepare", &prepare, run)
        + &refused(6, "body_dir", &bodies, write);
    open(0o755);
    assert_eq!(check("\"root\"", &lines), "");
    assert_eq!(check("\"nobody\"", &lines), all);
    // Everybody may, but for a directory on the way.
    for each in [&program, &prepare, &bodies] {
        std::fs::set_permissions(each, PermissionsExt::from_mode(0o777)).unwrap();
    }
    assert_eq!(check("\"nobody\"", &lines), "");
    open(0o700);
    assert_eq!(check("\"nobody\"", &lines), all);
    assert_eq!(check("\"4711\"\ngroup = \"0\"", &lines).matches("is not").count(), 3, "a mere number is judged, too");
    open(0o710);
    assert_eq!(check("\"4711\"\ngroup = \"0\"", &lines), "", "and so is its group");
    // A reload changes nothing, and says why.
    open(0o755);
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 1"));
    open(0o700);
    ratoon.configure(&format!("[pool.web]\nlisten = [\"127.0.0.1:0\"]\nuser = \"nobody\"\n{lines}"));
    ratoon.signal(Signal::SIGHUP);
    let failed = ratoon.logged("reload failed: everything is as it was", &[]);
    assert!(failed["reason"].as_str().unwrap().contains("is not executable for the user \"nobody\""), "{failed}");
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}

/// "Secrets of one pool are not visible in another's workers", where they have users of their own.
#[test]
fn a_worker_cannot_look_into_another_pools() {
    assert!(geteuid().is_root(), "only root can prove this: nothing was tested");
    let (_directory, program) = fixture::public();
    let pool = |name: &str, user: &str| {
        let lines = format!("workers = 1\nuser = {user:?}\nenv = {{ SECRET = \"{name}\" }}");
        fixture::pool(name, &lines).replace(fixture::program().to_str().unwrap(), &program)
    };
    let ratoon = Ratoon::serving(&(pool("web", "nobody") + &pool("api", "daemon")));
    let (web, api) = (ratoon.ready_workers("web", 1)[0], ratoon.ready_workers("api", 1)[0]);
    let tries = |pid: Pid, place: &str| get(ratoon.address_of("web"), &format!("/try:read:~proc~{pid}~{place}")).text();
    for place in ["environ", "mem", "maps"] {
        assert_eq!(tries(web, place), "yes", "its own {place}");
        assert_eq!(tries(api, place), "no: Permission denied (os error 13)", "{place}");
        assert_eq!(tries(ratoon.pid(), place), "no: Permission denied (os error 13)", "the supervisor's {place}");
    }
}
