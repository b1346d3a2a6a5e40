//! The state of a pool and its slots, put together from what is decided and what its scoreboard says.

use std::collections::BTreeMap;

use ratoon_worker::scoreboard::{self, CLASSES, Stale, Times};

use crate::act::daemon::Daemon;
use crate::act::obituaries::Death;
use crate::act::pool::Pool;
use crate::config::Scaling;
use crate::control::status::{self, Doing, Health, Listener, Worker};
use crate::decide::Phase;
use crate::decide::event::{Generation, Time};
use crate::decide::lifecycle::State;
use crate::decide::restart;
use crate::span::millis;

impl Daemon {
    pub(super) fn pool_status(&self, pool: &Pool, now: Time) -> status::Pool {
        let view = self.deciding.pool(pool.id);
        let wanted = view.map_or(0, |view| view.wanted) as u32;
        let alive: BTreeMap<u32, (&State, Generation)> = self
            .deciding
            .workers()
            .filter(|(who, ..)| who.pool == pool.id)
            .map(|(who, state, generation)| (who.slot, (state, generation)))
            .collect();
        let slots = alive.last_key_value().map_or(0, |(slot, _)| slot + 1).max(wanted);
        // Of the slots that nobody has, as many are shown as workers are missing.
        let mut missing = wanted.saturating_sub(alive.len() as u32);
        let mut is_shown = |slot: &u32| {
            let is_missing = !alive.contains_key(slot) && missing > 0;
            missing -= u32::from(is_missing);
            is_missing || alive.contains_key(slot)
        };
        let shown: Vec<u32> = (0..slots).filter(&mut is_shown).collect();
        let processes: Vec<Worker> =
            shown.into_iter().map(|slot| self.worker_status(pool, slot, alive.get(&slot).copied(), now)).collect();
        let mut generations: Vec<u32> = alive.values().map(|(_, generation)| generation.0).collect();
        generations.sort_unstable();
        generations.dedup();
        let count = |wanted: &[Doing]| processes.iter().filter(|worker| wanted.contains(&worker.state)).count() as u32;
        status::Pool {
            pool: pool.config.name.clone(),
            process_manager: match pool.config.scaling {
                Scaling::Static => "static".into(),
                Scaling::Dynamic => "dynamic".into(),
                Scaling::Ondemand => "ondemand".into(),
            },
            health: match view.map(|view| view.health) {
                Some(restart::Health::Failed { next }) => {
                    Health::Failed { retry_in_ms: (next > now).then(|| millis(next.since(now))) }
                }
                Some(restart::Health::Sound) | None => Health::Sound,
            },
            stopping: view.is_none_or(|view| view.is_ending) || self.deciding.phase() == Phase::Stopping,
            generations,
            wanted_processes: wanted,
            max_processes: view.map_or(0, |view| view.most),
            scaled_by: view.map_or(0, |view| view.offset),
            renewed_processes: view.and_then(|view| view.reload).map(|step| step.done as u32),
            idle_processes: count(&[Doing::Idle]),
            active_processes: count(&[Doing::Busy, Doing::Deferred]),
            starting_processes: count(&[Doing::Starting]),
            retiring_processes: count(&[Doing::Retiring, Doing::Draining, Doing::Dying]),
            total_processes: alive.len() as u32,
            max_children_reached: self.obituaries.max_children_reached(pool.id),
            log_lines_lost: self.lost_by(pool),
            listeners: pool
                .sockets
                .queues()
                .map(|(address, queue)| Listener {
                    address: address.to_string(),
                    listen_queue: queue.ok().map(|queue| queue.waiting),
                    listen_queue_len: queue.map_or(0, |queue| queue.limit),
                })
                .collect(),
            deaths: self.obituaries.of(pool.id),
            last_deaths: self.obituaries.unwanted(pool.id).map(|death| death_status(death, now)).collect(),
            request_timeout_ms: millis(pool.config.request_timeout),
            starts: self.tallies.of(pool.id),
            traffic: traffic(pool),
            database: pool.config.database.as_ref().map(|_| database_status(pool)),
            metrics: pool.metrics(),
            processes,
        }
    }

    fn worker_status(&self, pool: &Pool, slot: u32, alive: Option<(&State, Generation)>, now: Time) -> Worker {
        let reading = pool.scoreboard.cell(slot).map(|cell| cell.read());
        let reading = reading.as_ref();
        let busy_since = reading.map(|reading| reading.busy_since).filter(|since| *since != 0);
        let busy = busy_since.map(|since| millis(now.since(self.clock.own(since, since))));
        let line = reading.map(|reading| String::from_utf8_lossy(&reading.line).into_owned());
        let serves = reading.map_or(Doing::Idle, |reading| match reading.state {
            scoreboard::State::Deferred => Doing::Deferred,
            _ if busy.is_some() => Doing::Busy,
            _ => Doing::Idle,
        });
        let (state, ready) = alive.map_or((Doing::Vacant, None), |(state, _)| doing(state, serves));
        Worker {
            slot,
            pid: alive.and_then(|(state, _)| state.pid()).map(|pid| pid.0),
            generation: alive.map(|(_, generation)| generation.0),
            state,
            start_since_ms: ready.map(|ready| millis(now.since(ready))),
            requests: reading.map_or(0, |reading| reading.requests),
            request_duration_ms: busy,
            request_line: line.filter(|line| !line.is_empty()),
            connections: reading.map_or(0, |reading| reading.connections),
            last_death: self.obituaries.last(pool.id, slot).map(str::to_owned),
        }
    }
}

fn death_status(death: &Death, now: Time) -> status::Death {
    let request = death.request.clone();
    status::Death {
        slot: death.slot,
        pid: death.pid,
        generation: death.generation,
        cause: death.cause.clone(),
        died_since_ms: millis(now.since(death.at)),
        lived_ms: millis(death.lived),
        request_duration_ms: request.as_ref().map(|(_, running)| millis(*running)),
        request_line: request.map(|(line, _)| line),
    }
}

fn traffic(pool: &Pool) -> status::Traffic {
    let read = pool.scoreboard.traffic();
    status::Traffic {
        requests: read.requests,
        answers: by_class(read.answers),
        lost: read.lost,
        late: read.late,
        gone: read.gone,
        refused: by_class(read.refused),
        accepted_conn: read.accepted,
        handed_over_conn: read.handed_over,
        received_bytes: read.received,
        sent_bytes: read.sent,
        request_duration: times(&read.duration),
        queue_time: times(&read.queue),
    }
}

fn by_class(counts: [u64; CLASSES]) -> BTreeMap<String, u64> {
    counts.into_iter().zip(1..).map(|(count, class)| (format!("{class}xx"), count)).collect()
}

fn times(read: &Times) -> status::Times {
    status::Times { sum_ns: read.sum, buckets: read.buckets.to_vec() }
}

fn database_status(pool: &Pool) -> status::Database {
    let reading = pool.scoreboard.database();
    let reconnects = Stale::ALL.into_iter().zip(reading.reconnects).filter(|(_, times)| *times > 0);
    status::Database {
        connections: pool.config.connections(),
        open: reading.open,
        connects: reading.connects,
        reconnects: reconnects.map(|(cause, times)| (cause.name().to_owned(), times)).collect(),
        failures: reading.failures,
        waits: reading.waits,
        waited_longest_ms: reading.waited_longest / 1_000_000,
        exhausted: reading.exhausted,
        leases: reading.leases,
    }
}

/// What a worker is at, and since when it is ready; `serves` is what one does that serves.
fn doing(state: &State, serves: Doing) -> (Doing, Option<Time>) {
    match state {
        State::Ordered { .. } | State::Starting { .. } | State::Refused { .. } => (Doing::Starting, None),
        State::Serving { ready, .. } => (serves, Some(*ready)),
        State::Leaving { ready, .. } | State::Draining { ready, .. } => (Doing::Retiring, Some(*ready)),
        State::Trailing { ready, .. } => (Doing::Draining, Some(*ready)),
        State::Doomed { ready, .. } => (Doing::Dying, *ready),
    }
}
