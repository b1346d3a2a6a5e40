//! A document for tests: one pool with a worker in every state.

use crate::control::Status;
use crate::control::status::{
    Database, Death, Doing, Health, Listener, Outcome, Phase, Pool, Reload, Reloads, Starts, Traffic, Worker,
};

const STATES: [Doing; 8] = [
    Doing::Idle,
    Doing::Busy,
    Doing::Starting,
    Doing::Retiring,
    Doing::Draining,
    Doing::Dying,
    Doing::Deferred,
    Doing::Vacant,
];

pub(super) fn status() -> Status {
    Status {
        version: "1.2.3".into(),
        time_ms: 1_795_382_144_123,
        pid: 4700,
        start_time: 1_795_300_000,
        start_since_ms: 7_500_000,
        state: Phase::Serving,
        reload_stage: None,
        log_lines_lost: 0,
        last_reload: Some(Reload {
            outcome: Outcome::Failed,
            reason: "pool web: <boot> failed".into(),
            ended_since_ms: 60_000,
        }),
        reloads: Reloads::default(),
        upgrades: 0,
        admin_deaths: 0,
        pools: vec![pool()],
    }
}

fn pool() -> Pool {
    Pool {
        pool: "web".into(),
        process_manager: "static".into(),
        health: Health::Sound,
        stopping: false,
        generations: vec![3],
        wanted_processes: 8,
        max_processes: 8,
        scaled_by: 0,
        renewed_processes: None,
        idle_processes: 1,
        active_processes: 2,
        starting_processes: 1,
        retiring_processes: 3,
        total_processes: 7,
        max_children_reached: 1,
        listeners: vec![Listener { address: "127.0.0.1:8080".into(), listen_queue: Some(5), listen_queue_len: 1024 }],
        starts: Starts::default(),
        deaths: [("killed from outside".into(), 2), ("recycled by requests".into(), 40)].into(),
        last_deaths: vec![Death {
            slot: 1,
            pid: Some(99),
            generation: 2,
            cause: "killed from outside".into(),
            died_since_ms: 4_000,
            lived_ms: 60_000,
            request_duration_ms: Some(12),
            request_line: Some("GET /<b>dead</b> HTTP/1.1".into()),
        }],
        request_timeout_ms: 30_000,
        log_lines_lost: 0,
        traffic: Traffic { requests: 1234, ..Traffic::default() },
        metrics: Vec::new(),
        database: Some(Database {
            connections: 10,
            open: 3,
            connects: 20,
            reconnects: [("closed".into(), 2)].into(),
            failures: 1,
            waits: 4,
            waited_longest_ms: 12,
            exhausted: 0,
            leases: 7,
        }),
        processes: (0..).zip(STATES).map(|(slot, state)| worker(slot, state)).collect(),
    }
}

fn worker(slot: u32, state: Doing) -> Worker {
    let is_there = state != Doing::Vacant;
    let is_busy = matches!(state, Doing::Busy | Doing::Retiring | Doing::Deferred);
    Worker {
        slot,
        pid: is_there.then_some(5000 + slot as i32),
        generation: is_there.then_some(3),
        state,
        start_since_ms: is_there.then_some(90_000),
        requests: 154,
        request_duration_ms: is_busy.then_some(2_300),
        request_line: Some(format!("GET /<script>{slot} HTTP/1.1")),
        connections: 2,
        last_death: (!is_there).then(|| "exited 3".into()),
    }
}
