//! What the loop waits for, as the kernel gives it back: a signal, somebody's channel, or the control socket.

use std::os::fd::BorrowedFd;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

/// Whose event it is: a signal's, the template's of a pool, the worker's of a pool and slot, an operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Signal,
    Template(u32),
    Worker(u32, u32),
    Control,
}

impl Token {
    pub(super) fn pack(self) -> u64 {
        match self {
            Token::Signal => 0,
            Token::Template(pool) => 1 << 62 | u64::from(pool),
            Token::Worker(pool, slot) => 2 << 62 | u64::from(slot) << 31 | u64::from(pool),
            Token::Control => 3 << 62,
        }
    }

    pub(super) fn unpack(packed: u64) -> Token {
        let low = (packed & 0x7fff_ffff) as u32;
        match packed >> 62 {
            1 => Token::Template(low),
            2 => Token::Worker(low, (packed >> 31 & 0x7fff_ffff) as u32),
            3 => Token::Control,
            _ => Token::Signal,
        }
    }
}

/// Has the kernel say when there is something to read.
pub(super) fn wait_for(epoll: &Epoll, descriptor: BorrowedFd<'_>, token: Token) -> nix::Result<()> {
    epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, token.pack()))
}
