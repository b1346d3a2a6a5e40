//! How much a process has to say: as much as it is asked, and a little of its own accord.
//!
//! What it says beyond that is a flood, whatever stands in it: nobody listens any more, so that it costs neither time nor
//! lines in the log. Owns the count. Never asks anything.

/// See the module's header.
#[derive(Debug)]
pub(in crate::act) struct Allowance {
    left: u32,
}

impl Allowance {
    /// A worker's: that it is ready, or not, that it leaves, that only responses are left; and what a predecessor of ours may
    /// have asked.
    pub(in crate::act) fn of_a_worker() -> Allowance {
        Allowance { left: 16 }
    }

    /// A template's: its version, that it has loaded, or not, and before that the metrics that its application declares.
    pub(in crate::act) fn of_a_template() -> Allowance {
        Allowance { left: 4096 }
    }

    /// It was asked something, which has one answer.
    pub(in crate::act) fn ask(&mut self) {
        self.left = self.left.saturating_add(1);
    }

    /// It says something; whether it may.
    pub(in crate::act) fn spend(&mut self) -> bool {
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}
