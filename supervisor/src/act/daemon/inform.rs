//! What operators ask over the control socket, answered.

use std::time::Duration;

use nix::errno::Errno;

use super::{Daemon, now};
use crate::act::listener;
use crate::act::pool::Pool;
use crate::act::queue;
use crate::config::Address;
use crate::control::status::{Doing, Health, Listener, Phase, Status, Worker};
use crate::control::{Answer, Ask, status};
use crate::decide::event::{PoolId, Time};
use crate::decide::lifecycle::State;
use crate::sys;

impl Daemon {
    /// Answers whoever has asked, and sees to those who take their time.
    pub(super) fn inform(&mut self) {
        let asked = self.control.as_mut().map(|control| control.serve(now())).unwrap_or_default();
        for (client, ask) in asked {
            let answer = match ask {
                Ask::Status => Answer::Status(Box::new(self.status())),
                Ask::Reload { .. } => Answer::Failed("this version cannot reload: restart it".into()),
            };
            if let Some(control) = &mut self.control {
                control.answer(client, &answer, now());
            }
        }
    }

    fn status(&self) -> Status {
        let now = now();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            start_time: self.started.1,
            start_since_ms: millis(now.since(self.started.0)),
            state: match (self.deciding.is_stopping(), self.deciding.is_starting()) {
                (true, _) => Phase::Stopping,
                (false, true) => Phase::Starting,
                (false, false) => Phase::Serving,
            },
            last_reload: None,
            pools: (0..).map(PoolId).zip(&self.pools).map(|(id, pool)| self.pool_status(id, pool, now)).collect(),
        }
    }

    fn pool_status(&self, id: PoolId, pool: &Pool, now: Time) -> status::Pool {
        let config = &pool.config;
        let mut processes: Vec<Worker> = (0..config.workers).map(|slot| self.worker_status(id, pool, slot)).collect();
        let mut generations = Vec::new();
        for (who, state, generation) in self.deciding.workers().filter(|(who, ..)| who.pool == id) {
            if let Some(worker) = processes.get_mut(who.slot as usize) {
                describe(worker, state, now);
                worker.generation = Some(generation.0);
            }
            generations.push(generation.0);
        }
        generations.sort_unstable();
        generations.dedup();
        let count = |wanted: &[Doing]| processes.iter().filter(|worker| wanted.contains(&worker.state)).count() as u32;
        status::Pool {
            pool: config.name.clone(),
            process_manager: "static".into(),
            health: self.deciding.failed_until(id).map_or(Health::Sound, |next| Health::Failed {
                retry_in_ms: (next > now).then(|| millis(next.since(now))),
            }),
            generations,
            wanted_processes: config.workers,
            idle_processes: count(&[Doing::Idle]),
            active_processes: count(&[Doing::Busy]),
            starting_processes: count(&[Doing::Starting]),
            retiring_processes: count(&[Doing::Retiring, Doing::Draining, Doing::Dying]),
            total_processes: processes.len() as u32 - count(&[Doing::Vacant]),
            max_children_reached: 0,
            listeners: pool
                .listeners
                .iter()
                .zip(&config.listen)
                .map(|(listener, listen)| Listener {
                    address: listener.address().to_string(),
                    listen_queue: waiting(listener).ok(),
                    listen_queue_len: listen.backlog,
                })
                .collect(),
            deaths: self.obituaries.of(id),
            processes,
        }
    }

    /// What is known of a slot without knowing whether anybody lives there.
    fn worker_status(&self, id: PoolId, pool: &Pool, slot: u32) -> Worker {
        let reading = pool.scoreboard.cell(slot).map(|cell| cell.read());
        let reading = reading.as_ref();
        let busy_since = reading.map(|reading| Time(reading.busy_since)).filter(|since| since.0 != 0);
        let line = reading.map(|reading| String::from_utf8_lossy(&reading.line).into_owned());
        Worker {
            slot,
            pid: None,
            generation: None,
            state: Doing::Vacant,
            start_since_ms: None,
            requests: reading.map_or(0, |reading| reading.requests),
            request_duration_ms: busy_since.map(|since| millis(now().since(since))),
            request_line: line.filter(|line| !line.is_empty()),
            connections: reading.map_or(0, |reading| reading.connections),
            memory_bytes: None,
            last_death: self.obituaries.last(id, slot).map(str::to_owned),
        }
    }
}

/// What its life says of a worker.
fn describe(worker: &mut Worker, state: &State, now: Time) {
    worker.pid = state.pid().map(|pid| pid.0);
    let (doing, ready) = match state {
        State::Ordered { .. } | State::Starting { .. } | State::Refused { .. } => (Doing::Starting, None),
        State::Serving { ready, .. } if worker.request_duration_ms.is_some() => (Doing::Busy, Some(ready)),
        State::Serving { ready, .. } => (Doing::Idle, Some(ready)),
        State::Draining { ready, .. } | State::Leaving { ready, .. } => (Doing::Retiring, Some(ready)),
        State::Doomed { ready, .. } => (Doing::Dying, ready.as_ref()),
    };
    worker.state = doing;
    worker.start_since_ms = ready.map(|ready| millis(now.since(*ready)));
}

fn waiting(listener: &listener::Listener) -> Result<u32, Errno> {
    match listener.address() {
        Address::Tcp(_) => sys::queue::waiting(listener),
        Address::Unix(_) => queue::waiting(listener),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
