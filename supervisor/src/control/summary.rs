//! The state of the whole daemon in one line: what `systemctl status` shows.
//!
//! Owns its words. Made of nothing but the [status document](super::Status), so that both say the same.

use super::status::{Health, Outcome, Phase, Pool, Status};

/// No line is longer, in bytes: a reader has a screen.
const LONGEST: usize = 1000;

/// How much of the reason why a reload failed is said, in characters.
const REASON: usize = 200;

/// The line.
pub fn of(status: &Status) -> String {
    let phase = match status.state {
        Phase::Starting => "starting: ",
        Phase::Serving => "",
        Phase::Reloading => "reloading: ",
        Phase::Stopping => "stopping: ",
    };
    let pools: Vec<String> = status.pools.iter().map(pool).collect();
    let mut line = format!("{phase}{}", pools.join("; "));
    if let Some(reload) = &status.last_reload
        && reload.outcome == Outcome::Failed
    {
        let reason: String = reload.reason.chars().take(REASON).collect();
        line.push_str(&format!("; last reload failed: {reason}"));
    }
    let line = line.replace(char::is_control, " ");
    match line.char_indices().map(|(place, _)| place).take_while(|place| *place <= LONGEST).last() {
        Some(place) if line.len() > LONGEST => format!("{} …", &line[..place]),
        _ => line,
    }
}

fn pool(pool: &Pool) -> String {
    let mut parts = Vec::new();
    match pool.health {
        Health::Failed { retry_in_ms: Some(pause) } => {
            parts.push(format!("failed, retry in {} s", pause.div_ceil(1_000)));
        }
        Health::Failed { retry_in_ms: None } => parts.push("failed, being tried".into()),
        Health::Sound => {}
    }
    let serving = pool.idle_processes + pool.active_processes;
    if serving > 0 || parts.is_empty() {
        let waiting: u32 = pool.listeners.iter().filter_map(|listener| listener.listen_queue).sum();
        parts.push(format!("{}/{serving} busy, {waiting} waiting", pool.active_processes));
        let generations: Vec<String> = pool.generations.iter().map(u32::to_string).collect();
        if !generations.is_empty() {
            parts.push(format!("gen {}", generations.join("+")));
        }
    }
    for (count, what) in [(pool.starting_processes, "starting"), (pool.retiring_processes, "leaving")] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    format!("{}: {}", pool.pool, parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{Listener, Reload};

    fn pool(name: &str) -> Pool {
        let listener = Listener { address: "127.0.0.1:80".into(), listen_queue: Some(2), listen_queue_len: 9 };
        Pool {
            pool: name.into(),
            generations: vec![3],
            idle_processes: 4,
            active_processes: 4,
            listeners: vec![listener],
            ..Pool::default()
        }
    }

    fn line(state: Phase, pools: Vec<Pool>) -> String {
        of(&Status { state, pools, ..Status::default() })
    }

    #[test]
    fn the_line_says_of_every_pool_how_busy_it_is_or_that_it_failed() {
        let health = Health::Failed { retry_in_ms: Some(7_001) };
        let failed = Pool { health, idle_processes: 0, active_processes: 0, ..pool("jobs") };
        assert_eq!(
            line(Phase::Serving, vec![pool("web"), failed]),
            "web: 4/8 busy, 2 waiting, gen 3; jobs: failed, retry in 8 s"
        );
    }

    #[test]
    fn what_is_on_its_way_in_or_out_is_said_too() {
        let busy = Pool { generations: vec![3, 4], starting_processes: 1, retiring_processes: 2, ..pool("web") };
        assert_eq!(
            line(Phase::Reloading, vec![busy]),
            "reloading: web: 4/8 busy, 2 waiting, gen 3+4, 1 starting, 2 leaving"
        );
    }

    #[test]
    fn a_failed_reload_stays_in_the_line_and_nothing_in_it_begins_another() {
        let failed = Reload { outcome: Outcome::Failed, reason: "pool web: no\nREADY=1".into(), ended_since_ms: 1 };
        let status =
            Status { state: Phase::Serving, last_reload: Some(failed), pools: vec![pool("web")], ..Status::default() };
        assert_eq!(of(&status), "web: 4/8 busy, 2 waiting, gen 3; last reload failed: pool web: no READY=1");
        let many = (0..500).map(|each| pool(&format!("p{each}"))).collect();
        assert!(line(Phase::Serving, many).len() < LONGEST + 10);
    }
}
