#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

mod model;
pub(super) mod stage;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::desk::TimedOut;
use super::*;
use crate::clock;

/// The parts of this lobby, as another process has them.
fn parts(lobby: &Lobby) -> [OwnedFd; Lobby::PARTS] {
    lobby.parts().map(|part| part.try_clone_to_owned().unwrap())
}

fn desk(lobby: &Lobby, slot: u32, life: u64) -> Desk {
    Desk::new(Lobby::from_parts(parts(lobby)).unwrap(), slot, life)
}

fn travelling<'a>(socket: &'a impl AsFd, startup: &[u8]) -> Travelling<BorrowedFd<'a>> {
    Travelling { socket: socket.as_fd(), startup: startup.to_vec(), expires: u64::MAX, idle_since: 3 }
}

/// What can be had at once.
fn at_once(desk: &mut Desk) -> Option<(Token, Option<Travelling<OwnedFd>>)> {
    desk.obtain(1).ok().map(|Obtained { token, connection, .. }| (token, connection))
}

/// What can be had at once, and comes without a connection.
fn bare(desk: &mut Desk) -> Option<Token> {
    at_once(desk).map(|(token, connection)| {
        assert!(connection.is_none());
        token
    })
}

#[test]
fn there_are_as_many_tokens_as_connections() {
    let lobby = Lobby::new("test", 3).unwrap();
    let mut desk = desk(&lobby, 0, 1);
    let tokens: Vec<Token> = std::iter::from_fn(|| bare(&mut desk)).collect();
    assert_eq!(tokens.len(), 3);
    for token in tokens {
        desk.release(token, None);
    }
    assert_eq!(std::iter::from_fn(|| bare(&mut desk)).count(), 3);
}

#[test]
fn a_connection_arrives_as_it_was_sent() {
    let lobby = Lobby::new("test", 1).unwrap();
    let (mut one, mut other) = (desk(&lobby, 0, 1), desk(&lobby, 1, 2));
    let (ours, _theirs) = UnixStream::pair().unwrap();
    for startup in [vec![], vec![7; 600], vec![8; 8000]] {
        let token = bare(&mut one).unwrap();
        one.release(token, Some(travelling(&ours, &startup)));
        let (token, connection) = at_once(&mut other).unwrap();
        let Travelling { socket, startup: arrived, expires, idle_since } = connection.unwrap();
        assert_eq!((arrived, expires, idle_since), (startup, u64::MAX, 3));
        let inode = |socket: BorrowedFd<'_>| nix::sys::stat::fstat(socket).unwrap().st_ino;
        assert_eq!(inode(socket.as_fd()), inode(ours.as_fd()));
        other.release(token, None);
    }
}

#[test]
fn a_connection_that_cannot_be_sent_is_ended_and_its_token_is_free() {
    let lobby = Lobby::new("test", 1).unwrap();
    let (mut one, mut other) = (desk(&lobby, 0, 1), desk(&lobby, 1, 2));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let token = bare(&mut one).unwrap();
    one.release(token, Some(travelling(&ours, &[0; 20_000])));
    assert!(is_ended(&theirs));
    assert!(bare(&mut other).is_some());
}

#[test]
fn a_full_queue_costs_connections_and_no_token() {
    let lobby = Lobby::new("test", 300).unwrap();
    let mut desk = desk(&lobby, 0, 1);
    let tokens: Vec<Token> = std::iter::from_fn(|| bare(&mut desk)).collect();
    let pairs: Vec<_> = tokens.iter().map(|_| UnixStream::pair().unwrap()).collect();
    for (token, (ours, _)) in tokens.into_iter().zip(&pairs) {
        desk.release(token, Some(travelling(ours, &[9; 8000])));
    }
    let all: Vec<_> = std::iter::from_fn(|| at_once(&mut desk)).collect();
    let with = all.iter().filter(|(_, connection)| connection.is_some()).count();
    let ended = pairs.iter().filter(|(_, theirs)| is_ended(theirs)).count();
    assert_eq!((all.len(), with + ended), (300, 300));
    assert!(with > 0 && ended > 0);
}

#[test]
fn a_connection_in_the_queue_that_belongs_to_nobody_is_closed_before_its_token_is_used() {
    let lobby = Lobby::new("test", 1).unwrap();
    let mut late = desk(&lobby, 0, 1);
    let token = bare(&mut late).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    // It dies when it has sent, and has not yet said so.
    let label = queue::Label { token: 0, sequence: 2, from: 1 };
    lobby.queue.give(label, &travelling(&ours, b"")).unwrap();
    drop((late, token, ours));
    lobby.bury(|life| life == 1);
    assert!(!is_ended(&theirs));
    assert!(bare(&mut desk(&lobby, 1, 2)).is_some());
    assert!(is_ended(&theirs));
}

#[test]
fn nonsense_in_the_queue_costs_nobody_a_token() {
    let lobby = Lobby::new("test", 1).unwrap();
    let [_, give, ..] = lobby.parts();
    for nonsense in [&b""[..], b"nonsense", &[0xff; 9000]] {
        nix::unistd::write(give, nonsense).unwrap();
    }
    let label = queue::Label { token: u32::MAX, sequence: u64::MAX, from: u64::MAX };
    lobby.queue.give(label, &travelling(&give, b"")).unwrap();
    assert!(bare(&mut desk(&lobby, 0, 1)).is_some());
}

#[test]
fn whoever_waits_too_long_is_told_so_and_is_in_nobodys_way() {
    let lobby = Lobby::new("test", 1).unwrap();
    let (mut one, mut other, mut third) = (desk(&lobby, 0, 1), desk(&lobby, 1, 2), desk(&lobby, 2, 3));
    let token = bare(&mut one).unwrap();
    let until = clock::now() + 20_000_000;
    assert_eq!(other.obtain(until).err(), Some(TimedOut));
    assert!(clock::now() >= until);
    one.release(token, None);
    assert!(bare(&mut third).is_some());
}

#[test]
fn it_is_wanted_while_more_wait_than_are_free() {
    let lobby = Lobby::new("test", 1).unwrap();
    let mut one = desk(&lobby, 0, 1);
    assert!(!one.promises());
    let token = bare(&mut one).unwrap();
    assert!(!one.promises());
    std::thread::scope(|scope| {
        let parts = parts(&lobby);
        let wait = || Desk::new(Lobby::from_parts(parts).unwrap(), 1, 2).obtain(u64::MAX).is_ok();
        let waiting = scope.spawn(wait);
        wait_until(|| one.promises());
        one.release(token, None);
        assert!(waiting.join().unwrap());
    });
    assert!(!one.promises());
}

#[test]
fn as_many_promise_their_token_as_are_waited_for_and_the_dead_break_no_promise() {
    let lobby = Lobby::new("test", 3).unwrap();
    let mut holders = [1, 2, 3].map(|life| desk(&lobby, life as u32 - 1, life));
    let mut tokens = holders.each_mut().map(bare);
    let [one, other, third] = &mut holders;
    std::thread::scope(|scope| {
        let wait = |slot, life| {
            let mut desk = desk(&lobby, slot, life);
            scope.spawn(move || desk.obtain(clock::now() + 10_000_000_000).is_ok())
        };
        let waiting = wait(4, 5);
        wait_until(|| one.promises());
        assert!(!other.promises() && !third.promises());
        let more = wait(5, 6);
        wait_until(|| third.promises());
        assert!(!other.promises());
        lobby.bury(|life| life == 1);
        assert!(waiting.join().unwrap());
        third.release(tokens[2].take().unwrap(), None);
        assert!(more.join().unwrap());
        let last = wait(6, 7);
        wait_until(|| other.promises());
        other.release(tokens[1].take().unwrap(), None);
        assert!(last.join().unwrap());
    });
}

#[test]
fn the_dead_give_back_their_tokens_and_their_place_in_the_line() {
    let lobby = Lobby::new("test", 2).unwrap();
    let (mut one, mut other) = (desk(&lobby, 0, 1), desk(&lobby, 1, 2));
    let _ = (bare(&mut one).unwrap(), bare(&mut other).unwrap());
    // One more has died while it waited, with its hand in the queue.
    let place = lobby.board.place(3);
    lobby.board.queue_up(place, 4);
    assert!(lobby.board.reach_in(4));
    lobby.bury(|life| life == 4);
    assert!(!other.promises());
    assert!(at_once(&mut other).is_none());
    lobby.bury(|life| life == 1);
    assert!(bare(&mut other).is_some());
    assert!(at_once(&mut other).is_none());
}

#[test]
fn a_board_of_any_bits_harms_nobody() {
    let lobby = Lobby::new("test", 3).unwrap();
    let file = std::fs::File::from(lobby.parts()[0].try_clone_to_owned().unwrap());
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..size_of::<Board>()).map(|_| random.u8(..)).collect();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        lobby.bury(|life| life % 2 == 0);
        let mut desk = desk(&lobby, 5, 6);
        if let Some((token, _)) = at_once(&mut desk) {
            desk.release(token, None);
        }
        let _ = desk.promises();
    }
}

/// Whether the other end has said goodbye.
fn is_ended(socket: &UnixStream) -> bool {
    use nix::sys::socket::{MsgFlags, recv};
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(std::os::fd::AsRawFd::as_raw_fd(socket), &mut [0], flags) != Err(nix::errno::Errno::EAGAIN)
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 10, "it never came to be");
        std::thread::yield_now();
    }
}
