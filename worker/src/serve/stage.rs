//! Why a worker stays.

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// It leaves once its requests are served; its siblings get the rest.
    Retiring {
        /// Whether the supervisor knows that only bytes of responses are left to be sent.
        only_sends: bool,
    },
    /// Nobody goes on. It leaves once what it holds, and what the quota and the inbox give it, is served; at `until` in
    /// any case, since without a supervisor nobody else sees to it.
    Leaving {
        since: u64,
        until: u64,
    },
}
