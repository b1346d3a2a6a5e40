//! The lobbies of a pool: where its workers lease connections to their database.
//!
//! A lobby belongs to a database and not to an edition: those of a reload that changes nothing about the connections share
//! one, and so never have more open together than one of them may. A database that is changed has a lobby of its own,
//! and until the last process of the editions before is gone both exist.

use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;
use ratoon_worker::lease::Lobby;
use ratoon_worker::protocol::DatabaseRules;
use serde::{Deserialize, Serialize};

use crate::act::upgrade::estate::{Heirlooms, Inventory};
use crate::decide::event::Edition;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Lobbies {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    database: DatabaseRules,
    /// Those whose workers meet here.
    editions: Vec<Edition>,
    lobby: Lobby,
}

/// A lobby as it is written down for the supervisor's successor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LobbyEstate {
    database: DatabaseRules,
    editions: Vec<Edition>,
    parts: [RawFd; Lobby::PARTS],
}

impl Lobbies {
    /// Has one for this edition: that of an earlier one whose connections are as good, or its own.
    ///
    /// # Errors
    /// What could not be made.
    pub(super) fn open(&mut self, pool: &str, edition: Edition, database: DatabaseRules) -> Result<(), Errno> {
        match self.open.iter_mut().find(|open| open.database.has_the_connections_of(&database)) {
            Some(open) => open.editions.push(edition),
            None => {
                let lobby = Lobby::new(&format!("ratoon-{pool}-leases"), database.connections)?;
                self.open.push(Open { database, editions: vec![edition], lobby });
            }
        }
        Ok(())
    }

    /// That of this edition, if it has a database.
    pub(super) fn of(&self, edition: Edition) -> Option<&Lobby> {
        let found = self.open.iter().find(|open| open.editions.contains(&edition));
        found.map(|open| &open.lobby)
    }

    /// Gives back what the dead had in any of them.
    pub(super) fn bury(&self, is_dead: impl Fn(u64) -> bool) {
        self.open.iter().for_each(|open| open.lobby.bury(&is_dead));
    }

    /// Gives up those of editions that are needed no more, and with them the connections that nobody has taken: they are
    /// the caller's, who closes them where nobody waits for that.
    #[must_use]
    pub(super) fn close_unneeded(&mut self, is_needed: impl Fn(Edition) -> bool) -> Vec<Lobby> {
        self.open.iter_mut().for_each(|open| open.editions.retain(|edition| is_needed(*edition)));
        self.open.extract_if(.., |open| open.editions.is_empty()).map(|open| open.lobby).collect()
    }

    /// Writes them down.
    pub(super) fn bequeath(&self, inventory: &mut Inventory<'_>) -> Vec<LobbyEstate> {
        let written = self.open.iter().map(|open| LobbyEstate {
            database: open.database.clone(),
            editions: open.editions.clone(),
            parts: open.lobby.parts().map(|part| inventory.descriptor(&part)),
        });
        written.collect()
    }

    /// Reads them again.
    ///
    /// # Errors
    /// A part was not passed on, or is not what it should be.
    pub(super) fn inherit(estate: Vec<LobbyEstate>, heirlooms: &Heirlooms) -> io::Result<Lobbies> {
        let open = estate.into_iter().map(|LobbyEstate { database, editions, parts: [board, give, take, bell] }| {
            let part = |number| heirlooms.descriptor(number);
            let lobby = Lobby::from_parts([part(board)?, part(give)?, part(take)?, part(bell)?])?;
            Ok(Open { database, editions, lobby })
        });
        Ok(Lobbies { open: open.collect::<io::Result<_>>()? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsRawFd;

    use ratoon_worker::protocol::Secret;

    use super::*;

    fn board_of(lobbies: &Lobbies, edition: u32) -> RawFd {
        lobbies.of(Edition(edition)).unwrap().parts()[0].as_raw_fd()
    }

    #[test]
    fn editions_with_the_same_connections_share_a_lobby_and_others_have_their_own() {
        let database = DatabaseRules::at(Secret::new("postgres://one"));
        let mut lobbies = Lobbies::default();
        lobbies.open("web", Edition(1), database.clone()).unwrap();
        lobbies.open("web", Edition(2), DatabaseRules { connect_timeout: 1, ..database.clone() }).unwrap();
        lobbies.open("web", Edition(3), DatabaseRules { connections: 3, ..database.clone() }).unwrap();
        lobbies.open("web", Edition(4), DatabaseRules { url: Secret::new("postgres://two"), ..database }).unwrap();
        assert_eq!(board_of(&lobbies, 1), board_of(&lobbies, 2));
        assert_ne!(board_of(&lobbies, 1), board_of(&lobbies, 3));
        assert_ne!(board_of(&lobbies, 3), board_of(&lobbies, 4));
        assert!(lobbies.of(Edition(5)).is_none());
    }

    #[test]
    fn a_lobby_stays_for_as_long_as_one_of_its_editions_is_needed() {
        let database = DatabaseRules::at(Secret::new("postgres://one"));
        let mut lobbies = Lobbies::default();
        lobbies.open("web", Edition(1), database.clone()).unwrap();
        lobbies.open("web", Edition(2), database).unwrap();
        let board = board_of(&lobbies, 1);
        assert!(lobbies.close_unneeded(|edition| edition == Edition(2)).is_empty());
        assert_eq!(board_of(&lobbies, 2), board);
        assert!(lobbies.of(Edition(1)).is_none());
        assert_eq!(lobbies.close_unneeded(|_| false).len(), 1);
        assert!(lobbies.of(Edition(2)).is_none());
    }
}
