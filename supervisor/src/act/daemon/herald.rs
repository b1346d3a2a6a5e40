//! What the service manager is told, and when: that we serve, reload or stop, how things stand, and that the loop turns.
//!
//! A sign of life is sent by the loop alone, in a turn that it wakes up for: one that hangs sends none. How things stand
//! is looked at soon after something has happened and now and then beside, and told only if it differs. Times are those of
//! the clock of all, in which the manager counts, too.

use std::time::Duration;

use ratoon_worker::clock;

use super::Daemon;
use crate::act::notify::{self, Manager};
use crate::control::summary;
use crate::decide::Phase;
use crate::decide::note::Note;

/// Between two looks after something has happened: nobody reads faster.
const SOON: Duration = Duration::from_secs(1);

/// Between two looks while nothing happens that the supervisor is told of: workers become busy without a word.
const LATER: Duration = Duration::from_secs(5);

/// How long until what the manager had no room for is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// How much longer than the longest that we allow ourselves the manager is asked to wait.
const MARGIN: Duration = Duration::from_secs(5);

/// See the module's header.
pub(super) struct Herald {
    manager: Manager,
    /// Between two signs of life, and when the next is due.
    beat: Option<(Duration, u64)>,
    /// When things were last looked at, and are to be looked at next.
    looked: u64,
    look: u64,
    /// How things stood when it was last told.
    told: String,
}

impl Herald {
    /// That of a daemon whose predecessor owes the manager these.
    pub(super) fn new(owed: Vec<String>) -> Herald {
        let manager = Manager::from_environment(owed);
        // Twice within its patience, as sd_watchdog_enabled(3) has it.
        let beat = notify::patience_of_watchdog().filter(|_| manager.is_there()).map(|patience| (patience / 2, 0));
        Herald { manager, beat, looked: 0, look: 0, told: String::new() }
    }

    /// What the manager must know and has not been told.
    pub(super) fn owed(&self) -> Vec<String> {
        self.manager.owed()
    }

    /// How long the loop may sleep for our part.
    pub(super) fn patience(&self) -> Option<Duration> {
        let now = clock::now();
        let again = self.manager.is_owed().then(|| later(now, AGAIN));
        let look = self.manager.is_there().then_some(self.look);
        let due = [self.beat.map(|(_, due)| due), look, again].into_iter().flatten().min()?;
        Some(Duration::from_nanos(due.saturating_sub(now)))
    }

    /// Something has happened: how things stand is worth a look, though no more often than anybody reads.
    pub(super) fn stir(&mut self) {
        self.look = self.look.min(later(self.looked, SOON));
    }

    pub(super) fn ready(&mut self) {
        self.manager.insist("READY=1".into());
    }

    /// A stop has begun that takes no longer than this.
    pub(super) fn stopping(&mut self, most: Duration) {
        self.manager.insist(format!("STOPPING=1\n{}", extension(most)));
    }
}

impl Daemon {
    /// One turn of the loop: a sign of life if one is due, and how things stand.
    pub(super) fn proclaim(&mut self) {
        let now = clock::now();
        if let Some((pause, due)) = &mut self.herald.beat
            && *due <= now
        {
            // Where there is no room for it, it is tried again with what must arrive.
            let pause = if self.herald.manager.mention("WATCHDOG=1") { *pause } else { AGAIN };
            *due = later(now, pause);
        }
        self.herald.manager.flush();
        if !self.herald.manager.is_there() || now < self.herald.look {
            return;
        }
        (self.herald.looked, self.herald.look) = (now, later(now, LATER));
        // A reload has as many steps as it has workers, each with a deadline of its own: none is without an end.
        if self.deciding.reloading().is_some() {
            self.herald.manager.mention(&extension(LATER));
        }
        let line = summary::of(&self.status());
        if line != self.herald.told && self.herald.manager.mention(&format!("STATUS={line}")) {
            self.herald.told = line;
        }
    }

    /// A start takes no longer than this, or it has failed: as long as each command, program and worker may take.
    pub(super) fn announce_start(&mut self) {
        let longest = self.config.pools.iter().map(|pool| pool.boot_timeout * (2 + u32::from(pool.prepare.is_some())));
        let longest = longest.max().unwrap_or_default();
        self.herald.manager.insist(extension(longest));
    }

    /// A stop takes no longer than this, since what is left is killed then.
    pub(super) fn announce_stop(&mut self) {
        let longest = self.pools.iter().map(|pool| pool.config.drain_delay + pool.config.stop_timeout);
        let longest = longest.max().unwrap_or_default();
        self.herald.stopping(longest);
    }

    /// What the manager is to know of this.
    pub(super) fn announce(&mut self, note: &Note) {
        self.herald.stir();
        // Before it serves, and on its way out, being ready is not what it would be said to be.
        if self.deciding.phase() != Phase::Serving {
            return;
        }
        match note {
            Note::Reloading(_) => {
                let now = clock::now() / 1_000;
                self.herald.manager.insist(format!("RELOADING=1\nMONOTONIC_USEC={now}\n{}", extension(LATER)));
            }
            Note::Reloaded(..) => self.herald.ready(),
            _ => {}
        }
    }
}

/// Asks the manager to wait for at least so long, whatever it has been told to.
fn extension(most: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}", most.saturating_add(MARGIN).as_micros())
}

fn later(moment: u64, span: Duration) -> u64 {
    moment.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}
