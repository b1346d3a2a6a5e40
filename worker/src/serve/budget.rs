//! How many requests a worker may still take up.
//!
//! A permit is taken when a head is whole and spent when the handler begins. Who gets none leaves the head where it
//! is, unread, for a sibling: so no worker ever holds more requests than it may serve. One that is not spent (the body
//! never came, the client went away) comes back by itself.

use std::cell::Cell;
use std::rc::Rc;

#[derive(Clone)]
pub(super) struct Budget {
    shared: Rc<Counts>,
}

struct Counts {
    /// Permits to be had.
    left: Cell<u64>,
    /// Requests that may yet begin.
    unbegun: Cell<u64>,
    /// Whether somebody was refused a permit since this was last asked.
    refused: Cell<bool>,
}

/// One request may be served.
pub(super) struct Permit {
    budget: Budget,
    spent: bool,
}

impl Budget {
    /// For so many requests; `None`: any number.
    pub(super) fn new(most: Option<u64>) -> Budget {
        let most = most.unwrap_or(u64::MAX);
        let counts = Counts { left: Cell::new(most), unbegun: Cell::new(most), refused: Cell::new(false) };
        Budget { shared: Rc::new(counts) }
    }

    /// Whether there is no permit left: those that were taken may still come back.
    pub(super) fn is_used_up(&self) -> bool {
        self.shared.left.get() == 0
    }

    /// Whether the last request has begun.
    pub(super) fn is_over(&self) -> bool {
        self.shared.unbegun.get() == 0
    }

    /// Whether somebody was refused a permit since this was last asked.
    pub(super) fn has_refused(&self) -> bool {
        self.shared.refused.take()
    }

    /// Whether a request may be taken up.
    pub(super) fn allows(&self) -> bool {
        let allows = !self.is_used_up();
        self.shared.refused.set(self.shared.refused.get() || !allows);
        allows
    }

    pub(super) fn permit(&self) -> Permit {
        self.shared.left.set(self.shared.left.get() - 1);
        Permit { budget: self.clone(), spent: false }
    }
}

impl Permit {
    /// The request begins.
    pub(super) fn spend(&mut self) {
        if !std::mem::replace(&mut self.spent, true) {
            let unbegun = &self.budget.shared.unbegun;
            unbegun.set(unbegun.get() - 1);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.spent {
            let left = &self.budget.shared.left;
            left.set(left.get() + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn permits_come_back_unless_they_are_spent() {
        let budget = Budget::new(Some(2));
        let (mut one, other) = (budget.permit(), budget.permit());
        assert!(!budget.allows() && budget.is_used_up() && !budget.is_over());
        assert!(budget.has_refused() && !budget.has_refused());
        drop(other);
        assert!(budget.allows());
        one.spend();
        drop(one);
        let mut last = budget.permit();
        last.spend();
        last.spend();
        assert!(budget.is_over() && budget.is_used_up());
    }

    #[test]
    fn without_a_bound_there_is_always_a_permit() {
        let budget = Budget::new(None);
        (0..1000).for_each(|_| budget.permit().spend());
        assert!(budget.allows() && !budget.is_over());
    }
}
