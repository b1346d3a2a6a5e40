//! Whatever bytes stand in the scoreboard, it can be read: numbers may be any, and none leads anywhere.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::FileExt;

use super::*;
use crate::protocol::{LONGEST, Order};
use crate::sys::shared::Shared;

#[test]
fn a_scoreboard_of_random_bytes_is_read_without_harm() {
    let board: Shared<Scoreboard> = Shared::create("test").unwrap();
    let file = std::fs::File::from(board.file().try_clone_to_owned().unwrap());
    let mut rng = fastrand::Rng::with_seed(3);
    for round in 0..20 {
        // All ones is what sums overflow with first.
        let byte = |rng: &mut fastrand::Rng| if round == 0 { u8::MAX } else { rng.u8(..) };
        let bytes: Vec<u8> = (0..size_of::<Scoreboard>()).map(|_| byte(&mut rng)).collect();
        file.write_all_at(&bytes, 0).unwrap();
        assert!(board.slots() <= SLOTS);
        for slot in 0..SLOTS as u32 {
            let cell = board.cell(slot).unwrap();
            assert!(cell.read().line.len() <= LINE);
            assert!(cell.line().len() <= LINE);
            let _ = (cell.take_waited(), cell.traffic(), cell.database(), cell.requests());
            if let Some(words) = cell.last_words() {
                let order = Order::Name { slot, pid: i32::MIN, words };
                assert!(serde_json::to_vec(&order).unwrap().len() <= LONGEST);
            }
        }
        let _ = (board.requests(), board.database(), board.traffic(), board.has_freer(usize::MAX));
        let cell = board.cell(rng.u32(..SLOTS as u32)).unwrap();
        let _ = board.reserve_disk(cell, rng.u64(..), rng.u64(..));
        cell.assign(1, 2);
        assert_eq!((cell.life(), cell.deadline(), cell.last_words()), (1, 2, None));
    }
    assert!(board.cell(SLOTS as u32).is_none());
}
