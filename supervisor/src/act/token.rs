//! What the loop waits for, as the kernel gives it back: a signal, somebody's channel, a listener, the control socket,
//! the admin process.

use std::os::fd::BorrowedFd;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use crate::decide::event::PoolId;

/// Whose event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Signal,
    /// A template or a worker, by its life.
    Process(u64),
    /// A listener of a pool that has no worker.
    Listener(PoolId),
    /// The control socket or one of its clients.
    Control,
    /// The line to the admin process.
    Admin,
    /// The log process.
    Log,
}

const KIND: u32 = 60;

impl Token {
    pub(super) fn pack(self) -> u64 {
        match self {
            Token::Signal => 0,
            Token::Process(life) => 1 << KIND | life,
            Token::Listener(pool) => 2 << KIND | u64::from(pool.0),
            Token::Control => 3 << KIND,
            Token::Admin => 4 << KIND,
            Token::Log => 5 << KIND,
        }
    }

    pub(super) fn unpack(packed: u64) -> Token {
        let low = packed & ((1 << KIND) - 1);
        match packed >> KIND {
            1 => Token::Process(low),
            2 => Token::Listener(PoolId(low as u32)),
            3 => Token::Control,
            4 => Token::Admin,
            5 => Token::Log,
            _ => Token::Signal,
        }
    }
}

/// Has the kernel say when there is something to read.
pub(super) fn wait_for(epoll: &Epoll, descriptor: BorrowedFd<'_>, token: Token) -> nix::Result<()> {
    epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, token.pack()))
}
