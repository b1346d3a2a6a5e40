//! What the kernel allows: rlimits, nice, oom_score_adj.

use nix::unistd::Pid;

use crate::harness::{Ratoon, fixture, get, process, wrap};

const GIVEN: &str = "workers = 2\nnice = 5\noom_score_adj = 200\n\
                     rlimits = { nofile = 300, core = \"0B\", as = \"2GiB\", cpu = \"77s\" }";

/// A limit as `/proc/PID/limits` has it, soft and hard.
fn limit(pid: Pid, name: &str) -> [String; 2] {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

fn nice(pid: Pid) -> i32 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

fn oom_score_adj(pid: Pid) -> i32 {
    std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap()
}

/// "rlimits per pool (`nofile`, `core`, `as`, `cpu`), `nice`, `oom_score_adj`": of the template and of every worker, and
/// of nobody else.
#[test]
fn the_kernels_limits_are_in_force_in_the_template_and_in_every_worker() {
    let ratoon = Ratoon::serving(&(fixture::pool("web", GIVEN) + &fixture::pool("jobs", "workers = 1")));
    let mut limited = ratoon.ready_workers("web", 2);
    limited.extend(process::children(ratoon.pid(), "ratoon: web template"));
    assert_eq!(limited.len(), 3);
    for pid in limited {
        let bytes = (2u64 << 30).to_string();
        for (name, soft) in [
            ("Max open files", "300"),
            ("Max core file size", "0"),
            ("Max address space", &bytes),
            ("Max cpu time", "77"),
        ] {
            assert_eq!(limit(pid, name)[0], soft, "{name}");
        }
        assert_eq!((nice(pid), oom_score_adj(pid)), (5, 200));
    }
    for pid in [ratoon.pid(), ratoon.ready_workers("jobs", 1)[0]] {
        assert_eq!((nice(pid), oom_score_adj(pid)), (nice(Pid::this()), oom_score_adj(Pid::this())));
        assert_ne!(limit(pid, "Max cpu time")[0], "77");
    }
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}

/// "`cpu`": the kernel says so itself, by the signal that is meant for it.
#[test]
fn a_worker_that_uses_up_its_processor_time_dies_of_it() {
    let ratoon = Ratoon::serving(&fixture::pool("web", "workers = 2\nrlimits = { cpu = \"1s\", core = \"0B\" }"));
    let (mut client, pid) = ratoon.engage(ratoon.address(), "spin");
    let died = ratoon.logged("died", &[("pid", pid.as_raw().into())]);
    assert_eq!((&died["cause"], &died["request"]), (&"signal SIGXCPU".into(), &"GET /spin HTTP/1.1".into()));
    assert!(client.try_response().is_err());
    ratoon.ready_workers("web", 2);
}

/// What the kernel refuses is said, and no reason not to serve.
#[test]
fn what_may_not_be_set_is_logged_and_the_pool_serves() {
    let lines = "workers = 1\nnice = -5\noom_score_adj = -200\nrlimits = { core = \"unlimited\", cpu = \"77s\" }";
    let ratoon = Ratoon::start_with(&fixture::pool("web", lines), |command| {
        let bounded = "ulimit -Hc 0; exec setpriv --inh-caps=-all --bounding-set=-sys_nice,-sys_resource \"$@\"";
        wrap(command, &["/bin/sh", "-c", bounded, "sh"]);
    });
    let worker = ratoon.ready_workers("web", 1)[0];
    for what in ["nice", "oom_score_adj", "RLIMIT_CORE"] {
        ratoon.logged(&format!("cannot set {what}: the template has the supervisor's own"), &[("pool", "web".into())]);
    }
    assert_eq!(nice(worker), nice(ratoon.pid()));
    assert_eq!(limit(worker, "Max core file size"), ["0", "0"]);
    assert_eq!(limit(worker, "Max cpu time")[0], "77");
    assert_eq!(get(ratoon.address(), "/ok").status, 200);
}
