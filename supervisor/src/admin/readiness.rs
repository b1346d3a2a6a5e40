//! Whether requests should be sent here: for load balancers and orchestrators.
//!
//! Owns what ready means, and the line that says why it is not so. Never asks anybody.

use crate::control::Status;
use crate::control::status::{Health, Phase, Pool};

/// Why a pool, or if none is named any of them, is not ready; `None` if it is.
///
/// # Errors
/// There is no such pool.
pub(super) fn obstacle(status: &Status, named: Option<&str>) -> Result<Option<String>, String> {
    let pools: Vec<&Pool> = status.pools.iter().filter(|pool| named.is_none_or(|name| pool.pool == name)).collect();
    if let (Some(name), true) = (named, pools.is_empty()) {
        let names: Vec<&str> = status.pools.iter().map(|pool| pool.pool.as_str()).collect();
        return Err(format!("there is no pool {name:?}: there are {}", names.join(", ")));
    }
    if status.state == Phase::Stopping {
        return Ok(Some("the daemon is stopping".into()));
    }
    // A pool that was removed is asked for by nobody but by name.
    let mut concerned = pools.into_iter().filter(|pool| named.is_some() || !pool.stopping);
    Ok(concerned.find_map(|pool| missing(pool).map(|why| format!("pool {}: {why}", pool.pool))))
}

/// What a pool lacks.
fn missing(pool: &Pool) -> Option<&'static str> {
    let serves = pool.idle_processes + pool.active_processes > 0;
    match pool.health {
        _ if pool.stopping => Some("it is stopping"),
        _ if serves => None,
        Health::Failed { .. } => Some("failed: it is tried again, slowly"),
        // Its workers come with the clients.
        Health::Sound if pool.process_manager == "ondemand" => None,
        Health::Sound if pool.starting_processes > 0 => Some("no worker is ready, some are starting"),
        Health::Sound => Some("no worker is ready"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::specimen;
    use super::*;

    #[test]
    fn a_pool_that_was_removed_is_no_reason_to_stay_away() {
        let mut status = specimen::status();
        assert_eq!(obstacle(&status, None), Ok(None));
        let removed = Pool { pool: "old".into(), stopping: true, ..status.pools[0].clone() };
        status.pools.push(removed);
        assert_eq!(obstacle(&status, None), Ok(None));
        assert_eq!(obstacle(&status, Some("old")), Ok(Some("pool old: it is stopping".into())));
        assert_eq!(obstacle(&status, Some("ol")), Err("there is no pool \"ol\": there are web, old".into()));
    }
}
