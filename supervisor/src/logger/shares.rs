//! Whose the bytes are that wait for a slow destination, in their order.
//!
//! Owns the count, which is as long as there are turns of different pools in the queue. Never sees a byte.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Shares {
    turns: VecDeque<(Rc<str>, usize)>,
    of: HashMap<Rc<str>, usize>,
}

impl Shares {
    /// How many bytes of this pool wait.
    pub(super) fn of(&self, pool: &str) -> usize {
        self.of.get(pool).copied().unwrap_or_default()
    }

    /// So many more, at the end.
    pub(super) fn add(&mut self, pool: &str, bytes: usize) {
        let pool = self.of.get_key_value(pool).map_or_else(|| Rc::from(pool), |(known, _)| known.clone());
        match self.turns.back_mut() {
            Some((last, its)) if *last == pool => *its += bytes,
            _ => self.turns.push_back((pool.clone(), bytes)),
        }
        *self.of.entry(pool).or_default() += bytes;
    }

    /// So many have gone, from the front.
    pub(super) fn pass(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let Some((pool, its)) = self.turns.front_mut() else { return };
            let gone = bytes.min(*its);
            (*its, bytes) = (*its - gone, bytes - gone);
            if let Some(all) = self.of.get_mut(pool) {
                *all = all.saturating_sub(gone);
                if *all == 0 {
                    self.of.remove(pool);
                }
            }
            if *its == 0 {
                self.turns.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_the_order_in_which_they_came_and_each_is_its_pools() {
        let mut shares = Shares::default();
        for (pool, bytes) in [("a", 10), ("a", 5), ("b", 7), ("a", 1)] {
            shares.add(pool, bytes);
        }
        assert_eq!((shares.of("a"), shares.of("b"), shares.of("c")), (16, 7, 0));
        shares.pass(12);
        assert_eq!((shares.of("a"), shares.of("b")), (4, 7));
        shares.pass(4);
        assert_eq!((shares.of("a"), shares.of("b")), (1, 6));
        shares.pass(100);
        assert!((shares.of("a"), shares.of("b")) == (0, 0) && shares.of.is_empty() && shares.turns.is_empty());
    }
}
