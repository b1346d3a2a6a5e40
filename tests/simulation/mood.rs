//! How the processes of one release are disposed to behave.

/// How likely each kind of trouble is, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mood {
    pub(super) prepare_fails: f64,
    pub(super) prepare_hangs: f64,
    pub(super) load_fails: f64,
    pub(super) load_hangs: f64,
    pub(super) fork_fails: f64,
    pub(super) fork_hangs: f64,
    pub(super) fork_kills_template: f64,
    pub(super) start_fails: f64,
    pub(super) start_hangs: f64,
    pub(super) crashes: f64,
    /// Of those that do not crash: how many leave after a while, for a limit of their own or a signal.
    pub(super) leaves: f64,
    pub(super) request_hangs: f64,
    pub(super) leave_hangs: f64,
    /// Of those that leave: how many have slow clients.
    pub(super) trails: f64,
    pub(super) drain_hangs: f64,
    /// How many are found to have more memory than they may.
    pub(super) bloats: f64,
}

impl Mood {
    pub(super) const CALM: Mood = Mood {
        prepare_fails: 0.0,
        prepare_hangs: 0.0,
        load_fails: 0.0,
        load_hangs: 0.0,
        fork_fails: 0.0,
        fork_hangs: 0.0,
        fork_kills_template: 0.0,
        start_fails: 0.0,
        start_hangs: 0.0,
        crashes: 0.0,
        leaves: 0.0,
        request_hangs: 0.0,
        leave_hangs: 0.0,
        trails: 0.0,
        drain_hangs: 0.0,
        bloats: 0.0,
    };
    pub(super) const PREPARE_FAILS: Mood = Mood { prepare_fails: 1.0, ..Mood::CALM };
    pub(super) const PREPARE_HANGS: Mood = Mood { prepare_hangs: 1.0, ..Mood::CALM };
    pub(super) const LOAD_FAILS: Mood = Mood { load_fails: 1.0, ..Mood::CALM };
    pub(super) const LOAD_HANGS: Mood = Mood { load_hangs: 1.0, ..Mood::CALM };
    pub(super) const START_FAILS: Mood = Mood { start_fails: 1.0, ..Mood::CALM };
    pub(super) const START_HANGS: Mood = Mood { start_hangs: 1.0, ..Mood::CALM };
    pub(super) const FORK_FAILS: Mood = Mood { fork_fails: 1.0, ..Mood::CALM };
    pub(super) const FORK_HANGS: Mood = Mood { fork_hangs: 1.0, ..Mood::CALM };
    pub(super) const FORK_KILLS_TEMPLATE: Mood = Mood { fork_kills_template: 1.0, ..Mood::CALM };
    pub(super) const CRASHES: Mood = Mood { crashes: 1.0, ..Mood::CALM };
    pub(super) const DRAIN_HANGS: Mood = Mood { drain_hangs: 1.0, ..Mood::CALM };
    pub(super) const LEAVE_HANGS: Mood = Mood { leave_hangs: 1.0, drain_hangs: 1.0, ..Mood::CALM };

    pub(super) fn random(rng: &mut fastrand::Rng) -> Mood {
        let mut any = || rng.choice([0.0, 0.0, 0.0, 0.1, 0.5, 1.0]).unwrap_or(0.0);
        Mood {
            prepare_fails: any() / 2.0,
            prepare_hangs: any() / 5.0,
            load_fails: any() / 2.0,
            load_hangs: any() / 4.0,
            fork_fails: any() / 2.0,
            fork_hangs: any() / 5.0,
            fork_kills_template: any() / 5.0,
            start_fails: any() / 2.0,
            start_hangs: any() / 4.0,
            crashes: any(),
            leaves: any(),
            request_hangs: any() / 2.0,
            leave_hangs: any(),
            trails: any(),
            drain_hangs: any(),
            bloats: any() / 5.0,
        }
    }
}
