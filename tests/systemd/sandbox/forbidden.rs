//! "Each directive is proven by a worker that tries": refused by the shipped unit, and possible without that directive alone.
//!
//! Where several directives forbid the same, the others are taken back for both halves of the comparison: so it is known
//! which of them it was.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::machine::{CONFIG, Machine};
use crate::harness::root;
use crate::systemd::{WEB, pool};

/// What a worker tries, and what decides about it.
struct Attempt {
    directive: &'static str,
    /// In the words of the fixture's `/try:`.
    what: &'static str,
    /// What takes the directive away.
    without: &'static str,
    /// What else must be taken away, for the directive alone to decide.
    besides: &'static str,
}

const fn attempt(directive: &'static str, what: &'static str, without: &'static str, besides: &'static str) -> Attempt {
    Attempt { directive, what, without, besides }
}

/// A user that is always there, so that nothing follows from the user.
const ROOT: &str = "DynamicUser=no";

/// `DynamicUser=` brings five of the others with it.
const ATTEMPTS: &[Attempt] = &[
    attempt("DynamicUser", "be-root", ROOT, ""),
    attempt("CapabilityBoundingSet", "give-away", "CapabilityBoundingSet=CAP_CHOWN", ROOT),
    // Empty as it is by default: it is there to stay so.
    attempt("AmbientCapabilities", "give-away", "AmbientCapabilities=CAP_CHOWN", "CapabilityBoundingSet=CAP_CHOWN"),
    // Whoever may administer the system is not bound by what the other directives imply.
    attempt(
        "NoNewPrivileges",
        "gain-privileges:~opt~id",
        "NoNewPrivileges=no",
        "DynamicUser=no\nCapabilityBoundingSet=~",
    ),
    attempt("RestrictSUIDSGID", "make-setuid", "RestrictSUIDSGID=no", ROOT),
    attempt("UMask", "make-readable", "UMask=0022", ""),
    attempt("ProtectSystem", "write:~opt~open~probe", "ProtectSystem=no", ROOT),
    attempt("PrivateTmp", "read:~tmp~theirs", "PrivateTmp=no", ROOT),
    attempt("ProtectHome", "read:~home~theirs", "ProtectHome=no", ROOT),
    attempt("PrivateDevices", "read:~dev~probe", "PrivateDevices=no", ""),
    attempt("ProtectProc", "read:~proc~1~status", "ProtectProc=default", ""),
    attempt("ProtectKernelTunables", "read:~proc~kallsyms", "ProtectKernelTunables=no", ""),
    attempt("ProtectKernelModules", "list:~usr~lib~modules", "ProtectKernelModules=no", ""),
    attempt(
        "ProtectKernelLogs",
        "system-call:kernel-log",
        "ProtectKernelLogs=no",
        "DynamicUser=no\nCapabilityBoundingSet=CAP_SYSLOG\nSystemCallFilter=",
    ),
    attempt("ProtectClock", "system-call:clock", "ProtectClock=no", "SystemCallFilter="),
    attempt(
        "ProtectHostname",
        "system-call:hostname",
        "ProtectHostname=no",
        "DynamicUser=no\nCapabilityBoundingSet=CAP_SYS_ADMIN\nSystemCallFilter=",
    ),
    attempt("ProtectControlGroups", "make-cgroup", "ProtectControlGroups=no", ROOT),
    attempt(
        "RestrictAddressFamilies",
        "system-call:packets",
        "RestrictAddressFamilies=",
        "DynamicUser=no\nCapabilityBoundingSet=CAP_NET_RAW",
    ),
    attempt("RestrictNamespaces", "system-call:user-namespace", "RestrictNamespaces=no", ""),
    attempt(
        "RestrictRealtime",
        "system-call:real-time",
        "RestrictRealtime=no",
        "DynamicUser=no\nCapabilityBoundingSet=CAP_SYS_NICE",
    ),
    attempt("LockPersonality", "system-call:personality", "LockPersonality=no", ""),
    #[cfg(target_arch = "x86_64")]
    attempt("SystemCallArchitectures", "system-call:other-architecture", "SystemCallArchitectures=", ""),
    attempt("MemoryDenyWriteExecute", "system-call:write-and-execute", "MemoryDenyWriteExecute=no", ""),
    attempt("SystemCallFilter", "system-call:debug", "SystemCallFilter=", ""),
    attempt(
        "SystemCallFilter",
        "system-call:mount",
        "SystemCallFilter=",
        "DynamicUser=no\nCapabilityBoundingSet=CAP_SYS_ADMIN",
    ),
];

/// What of the unit's `[Service]` no attempt is about, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("SystemCallErrorNumber", "a_forbidden_system_call_is_answered_and_not_deadly"),
    ("RemoveIPC", "what_a_worker_leaves_in_shared_memory_vanishes_with_the_service"),
    #[cfg(not(target_arch = "x86_64"))]
    ("SystemCallArchitectures", "there is no other that this machine could run"),
    ("LimitNOFILE", "a limit that the service needs, and reads back: what_the_service_needs_it_can_do"),
    ("RuntimeDirectory", "given and not forbidden: what_the_service_needs_it_can_do"),
    ("RuntimeDirectoryMode", "says what others may, and no worker"),
    ("StateDirectory", "given and not forbidden: what_the_service_needs_it_can_do"),
    ("LogsDirectory", "given and not forbidden: what_the_service_needs_it_can_do"),
    ("LogsDirectoryMode", "says what others may, and no worker"),
    ("Type", "how the service is started, watched and stopped: the chapter's other pages"),
    ("NotifyAccess", "the same"),
    ("ExecStart", "the same"),
    ("ExecReload", "the same"),
    ("TimeoutStartSec", "the same"),
    ("WatchdogSec", "the same"),
    ("KillMode", "the same"),
    ("TimeoutStopSec", "the same"),
    ("Restart", "the same"),
    ("RestartSec", "the same"),
    ("OOMPolicy", "the same"),
];

#[test]
fn every_directive_of_the_unit_is_tried_or_has_a_reason_why_not() {
    let unit = std::fs::read_to_string(root().join("systemd/ratoon.service")).unwrap();
    let service = unit.split_once("[Service]").unwrap().1.split_once("[Install]").unwrap().0;
    let lines = service.lines().filter(|line| !line.starts_with('#'));
    let shipped: BTreeSet<&str> = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let known: BTreeSet<&str> =
        ATTEMPTS.iter().map(|attempt| attempt.directive).chain(OTHERWISE.iter().map(|(name, _)| *name)).collect();
    let nothing: [&str; 0] = [];
    assert_eq!(shipped.difference(&known).copied().collect::<Vec<_>>(), nothing, "in the unit, and never tried");
    assert_eq!(known.difference(&shipped).copied().collect::<Vec<_>>(), nothing, "tried, and not in the unit");
}

/// Instances of the shipped unit, each with lines of its own, some at a time.
struct Instances<'a> {
    machine: &'a Machine,
    /// The lines, and what was tried there with what came of it.
    answers: BTreeMap<String, BTreeMap<&'static str, String>>,
}

impl Instances<'_> {
    /// As many of them as run beside each other.
    const AT_ONCE: usize = 6;

    fn try_all(&mut self) {
        let mut instances: Vec<_> = self.answers.iter_mut().zip(8100..).collect();
        for some in instances.chunks_mut(Self::AT_ONCE) {
            let units: Vec<String> = some.iter().map(|(_, port)| format!("ratoon@i{port}.service")).collect();
            for (((lines, _), port), unit) in some.iter().zip(&units) {
                // Without a /var/tmp of its own it has none to write in.
                let config = pool("web", *port, &format!("body_dir = \"/var/lib/ratoon-i{port}\""));
                self.machine.write(&format!("/etc/ratoon/i{port}.toml"), &config);
                self.machine
                    .write(&format!("/etc/systemd/system/{unit}.d/test.conf"), &format!("[Service]\n{lines}\n"));
            }
            let all = |verb| [vec!["systemctl", verb], units.iter().map(String::as_str).collect()].concat();
            self.machine.succeeds(&["systemctl", "daemon-reload"]);
            let started = self.machine.run(&all("start"));
            assert!(started.status.success(), "{}", self.machine.journal("ratoon@*"));
            for ((_, answers), port) in some {
                for (what, answer) in answers.iter_mut() {
                    *answer = self.machine.get(&format!("127.0.0.1:{port}"), &format!("/try:{what}")).text();
                }
            }
            self.machine.succeeds(&all("stop"));
        }
    }
}

/// A machine with what a worker might want.
fn machine() -> Machine {
    let machine = Machine::boot();
    for (place, mode) in [("/opt/open", "0777"), ("/usr/lib/modules", "0755")] {
        machine.succeeds(&["mkdir", "-p", "-m", mode, place]);
    }
    for place in ["/tmp/theirs", "/home/theirs"] {
        machine.write(place, "");
    }
    machine.succeeds(&["mknod", "-m", "0666", "/dev/probe", "c", "1", "3"]);
    machine.succeeds(&["install", "-m", "4755", "/usr/bin/id", "/opt/id"]);
    machine
}

#[test]
fn each_directive_forbids_what_it_says_and_without_it_alone_it_can_be_done() {
    let machine = machine();
    let mut instances = Instances { machine: &machine, answers: BTreeMap::new() };
    let less = |attempt: &Attempt| format!("{}\n{}", attempt.besides, attempt.without);
    for attempt in ATTEMPTS {
        for lines in [String::new(), attempt.besides.to_owned(), less(attempt)] {
            instances.answers.entry(lines).or_default().insert(attempt.what, String::new());
        }
    }
    instances.try_all();
    let mut wrong = Vec::new();
    for attempt in ATTEMPTS {
        let answer = |lines: &str| instances.answers[lines][attempt.what].as_str();
        let Attempt { directive, what, besides, .. } = attempt;
        if !answer("").starts_with("no: ") {
            wrong.push(format!("{directive}: {what} by the shipped unit: {}", answer("")));
        }
        if !answer(besides).starts_with("no: ") {
            wrong.push(format!("{directive}: {what} with it, though without others: {}", answer(besides)));
        }
        if answer(&less(attempt)) != "yes" {
            wrong.push(format!("{directive}: {what} is refused without it, too: {}", answer(&less(attempt))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_forbidden_system_call_is_answered_and_not_deadly() {
    let machine = Machine::boot();
    machine.write(CONFIG, &pool("web", 8080, "").replace("workers = 2", "workers = 1"));
    machine.succeeds(&["systemctl", "daemon-reload"]);
    machine.succeeds(&["systemctl", "start", "ratoon"]);
    let worker = machine.get(WEB, "/ok").text();
    assert_eq!(machine.get(WEB, "/try:system-call:debug").text(), "no: Operation not permitted (os error 1)");
    assert_eq!(machine.get(WEB, "/ok").text(), worker, "it lives");

    machine.drop_in("ratoon.service", "[Service]\nSystemCallErrorNumber=kill");
    machine.succeeds(&["systemctl", "restart", "ratoon"]);
    let mut client = machine.in_its_network(|| crate::harness::Client::connect(WEB.parse().unwrap()));
    client.send(b"GET /try:system-call:debug HTTP/1.1\r\nHost: test\r\n\r\n");
    machine.said("ratoon", "SIGSYS");
}

/// A user of the service's own that stays, since what a dynamic one leaves behind would be removed without the directive.
#[test]
fn what_a_worker_leaves_in_shared_memory_vanishes_with_the_service() {
    let machine = Machine::boot();
    for (user, more, is_left) in [("daemon", "", false), ("games", "RemoveIPC=no", true)] {
        machine.write(CONFIG, &pool("web", 8080, ""));
        machine.drop_in("ratoon.service", &format!("[Service]\nDynamicUser=no\nUser={user}\n{more}"));
        machine.succeeds(&["systemctl", "start", "ratoon"]);
        assert_eq!(machine.get(WEB, &format!("/try:leave-behind:{user}")).text(), "yes");
        let place = machine.path(&format!("/dev/shm/{user}"));
        assert!(place.exists());
        machine.succeeds(&["systemctl", "stop", "ratoon"]);
        assert_eq!(place.exists(), is_left, "{user}");
    }
}
