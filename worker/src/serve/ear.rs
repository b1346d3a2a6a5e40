//! The ear for the bell of the database's connections: whoever holds one and has nothing to do listens whether another worker waits.
//!
//! Workers that hold none are not woken for it.

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::BELL;
use crate::database::Database;

/// Whether the loop listens.
#[derive(Debug, Default)]
pub(super) struct Ear {
    is_heard: bool,
}

impl Ear {
    /// From now on the loop listens if there is something to let go of. What rang before is heard again when it begins to.
    pub(super) fn wait_if(&mut self, database: Option<&Database>, epoll: &Epoll) {
        let Some(database) = database else { return };
        if database.is_holding() == self.is_heard {
            return;
        }
        self.is_heard = match self.is_heard {
            true => epoll.delete(database.bell()).is_err(),
            false => {
                let rings = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, BELL);
                epoll.add(database.bell(), rings).is_ok()
            }
        };
    }
}
