#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::os::unix::net::UnixStream;

use nix::sys::socket::{recv, send};

use super::*;

fn label() -> Label {
    Label {
        is_announced: true,
        peer: "[2001:db8::1]:65535".parse().ok(),
        quiet_since: u64::MAX,
        head_by: Some(u64::MAX),
    }
}

fn parcel_of<'a>(socket: &'a UnixStream, leftover: &[u8]) -> Parcel<BorrowedFd<'a>> {
    Parcel { socket: socket.as_fd(), label: label(), leftover: leftover.to_vec() }
}

fn taken(inbox: &Inbox) -> Taken {
    inbox.take(&mut [0; LONGEST])
}

fn parcels(taken: Taken) -> Vec<Parcel<OwnedFd>> {
    match taken {
        Taken::Parcels(parcels) => parcels,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_comes_out_as_it_was_put_in() {
    let inbox = Inbox::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"read by nobody yet").unwrap();
    for leftover in [vec![], b"GET / HT".to_vec(), vec![7; INLINE], vec![8; INLINE + 1], vec![9; 1 << 20]] {
        assert_eq!(inbox.give(&[parcel_of(&ours, &leftover)]).unwrap(), 1);
        let [parcel] = &parcels(taken(&inbox))[..] else { panic!("not one") };
        assert_eq!((&parcel.label, &parcel.leftover), (&label(), &leftover));
        let mut room = [0; 64];
        let peeked = recv(parcel.socket.as_raw_fd(), &mut room, MsgFlags::MSG_PEEK).unwrap();
        assert_eq!(&room[..peeked], b"read by nobody yet");
    }
    assert!(matches!(taken(&inbox), Taken::Nothing));
}

#[test]
fn an_entry_never_takes_more_room_than_is_reckoned_with() {
    let entry = postcard::to_allocvec(&(label(), Leftover::Here(vec![0; INLINE]))).unwrap();
    assert!(entry.len() <= ENTRY + INLINE);
    let entry = postcard::to_allocvec(&(label(), Leftover::Beside(u64::MAX))).unwrap();
    assert!(entry.len() <= ENTRY);
}

#[test]
fn as_many_as_fit_are_given_at_a_time_in_their_order() {
    let inbox = Inbox::new().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    for length in [0, 10, INLINE, INLINE + 1] {
        let all: Vec<_> = (0..=255).map(|number| parcel_of(&ours, &vec![number; length])).collect();
        let (mut given, mut found) = (0, Vec::new());
        while given < all.len() {
            given += inbox.give(&all[given..]).unwrap();
            found.extend(parcels(taken(&inbox)).into_iter().map(|parcel| parcel.leftover));
        }
        assert!(found.iter().eq(all.iter().map(|parcel| &parcel.leftover)));
    }
}

#[test]
fn a_full_inbox_says_so_and_loses_nothing() {
    let inbox = Inbox::new().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut given = 0;
    let full = loop {
        match inbox.give(&[parcel_of(&ours, &[])]) {
            Ok(more) => given += more,
            Err(error) => break error,
        }
    };
    let full = (full.kind(), full.raw_os_error());
    assert!(full.0 == io::ErrorKind::WouldBlock || full.1 == Some(Errno::ETOOMANYREFS as i32), "{full:?}");
    assert!(given > 250, "only {given}");
    (0..given).for_each(|_| assert_eq!(parcels(taken(&inbox)).len(), 1));
    assert!(matches!(taken(&inbox), Taken::Nothing));
}

/// Puts these bytes and descriptors in, whatever they are.
fn put(inbox: &Inbox, text: &[u8], descriptors: &[&dyn AsRawFd]) {
    let numbers: Vec<RawFd> = descriptors.iter().map(|each| each.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let beside = if numbers.is_empty() { &[][..] } else { &rights[..] };
    sendmsg::<()>(inbox.give.as_raw_fd(), &[IoSlice::new(text)], beside, MsgFlags::empty(), None).unwrap();
}

fn message(entries: &[(Label, Leftover)]) -> Vec<u8> {
    let mut text = vec![VERSION];
    text.extend(postcard::to_allocvec(entries).unwrap());
    text
}

#[test]
fn a_message_of_another_version_or_of_none_is_broken() {
    let inbox = Inbox::new().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut other = message(&[(label(), Leftover::Here(vec![]))]);
    other[0] = VERSION + 1;
    for text in [other, vec![VERSION], vec![VERSION, 1], vec![VERSION; 100], vec![0xff; LONGEST], vec![b'{'; 10]] {
        put(&inbox, &text, &[&ours]);
        assert!(matches!(taken(&inbox), Taken::Broken(_, saved) if saved.is_empty()), "{text:?}");
    }
}

#[test]
fn what_came_whole_is_saved_of_a_message_that_did_not() {
    let inbox = Inbox::new().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let short = File::from(memfd_create("short", MFdFlags::MFD_CLOEXEC).unwrap());
    let here = || (label(), Leftover::Here(vec![1]));
    put(&inbox, &message(&[here(), here(), here()]), &[&ours, &ours]);
    assert!(matches!(taken(&inbox), Taken::Broken(_, saved) if saved.len() == 2));
    for length in [1, LONGEST_LEFTOVER + 1, u64::MAX] {
        put(&inbox, &message(&[here(), (label(), Leftover::Beside(length))]), &[&ours, &ours, &short]);
        assert!(matches!(taken(&inbox), Taken::Broken(_, saved) if saved.len() == 1));
    }
    // No file, but a socket that has nothing to read: nobody waits for it.
    put(&inbox, &message(&[(label(), Leftover::Beside(1))]), &[&ours, &ours]);
    assert!(matches!(taken(&inbox), Taken::Broken(..)));
}

#[test]
fn random_bytes_break_nothing() {
    let inbox = Inbox::new().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut random = 1_u64;
    for _ in 0..20_000 {
        let mut text = message(&[(label(), Leftover::Here(vec![5; 20])), (label(), Leftover::Beside(3))]);
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (random >> 40) as usize % text.len();
            text[place] = (random >> 33) as u8;
        }
        text.truncate(1 + (random >> 45) as usize % text.len());
        send(inbox.give.as_raw_fd(), &text, MsgFlags::empty()).unwrap();
        assert!(!matches!(taken(&inbox), Taken::Nothing));
    }
    assert_eq!(inbox.give(&[parcel_of(&ours, b"well")]).unwrap(), 1);
    assert_eq!(parcels(taken(&inbox)).len(), 1);
}
