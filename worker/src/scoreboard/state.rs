//! What a worker says that it does.

/// The state of a worker as it says itself; the supervisor's own view is its life table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// No worker has the slot.
    Vacant = 0,
    /// Ordered, forked or running the application's `start`.
    Starting = 1,
    /// Waits for work.
    Idle = 2,
    /// Runs a request.
    Busy = 3,
    /// Serves what it holds, then leaves.
    Draining = 4,
    /// Runs what a request that has been answered has deferred.
    Deferred = 5,
}

impl State {
    /// The state that stands in a cell; a number nobody knows counts as idle, which presses nobody.
    pub(super) fn read(number: u32) -> State {
        match number {
            0 => State::Vacant,
            1 => State::Starting,
            3 => State::Busy,
            4 => State::Draining,
            5 => State::Deferred,
            _ => State::Idle,
        }
    }
}
