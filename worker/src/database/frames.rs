//! The frames of the PostgreSQL protocol, as they pass in both directions: whether the session is at rest, in what
//! transaction, and what has become of the work it was given.
//!
//! Reads types, lengths, the status in a ReadyForQuery and the names in a Bind, wherever a read or a write happens to end.
//! Never holds anything back.

/// What passes, seen from the client.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    sent: Cut<BIND>,
    received: Cut<1>,
    /// Answers that the server owes: each ends with its ReadyForQuery.
    owed: u32,
    /// The server waits for lines of a COPY.
    copying: bool,
    transaction: Transaction,
    /// More answers have come than were owed: nobody knows any more to what the next one belongs.
    astray: bool,
    /// An answer has ended with an error, and the ReadyForQuery behind it is on its way.
    failed: bool,
    /// A statement has begun to be executed since one was last sent.
    bound: bool,
    /// A statement has been completed since the last ReadyForQuery.
    worked: bool,
    /// How often that became final.
    settled: u64,
    tally: Tally,
    /// How the body of the last Bind begins.
    last_bind: [u8; BIND],
}

/// As much of a Bind as holds two names of the engine's making: none, and `s` with a number.
const BIND: usize = 24;

/// What has passed, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    binds: u64,
    executions: u64,
    /// What else was sent that the server does anything about.
    others: u64,
    errors: u64,
    /// How often the server said that a setting has another value.
    changes: u64,
}

impl Tally {
    /// Whether the server said since then that a setting has another value, of those it tells its clients.
    pub(crate) fn has_changed_since(&self, then: &Tally) -> bool {
        self.changes != then.changes
    }

    /// How many prepared statements were executed since then, if nothing else was asked and nothing else came of it.
    pub(crate) fn only_executions_since(&self, then: &Tally) -> Option<u64> {
        let executions = self.executions - then.executions;
        let expected = Tally { binds: then.binds + executions, executions: self.executions, ..*then };
        (*self == expected).then_some(executions)
    }
}

/// The state of the transaction, as the last ReadyForQuery had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Transaction {
    /// None is open.
    #[default]
    None,
    /// One is open.
    Open,
    /// One is open and has failed.
    Failed,
}

impl Frames {
    /// These bytes go to the server, behind its startup.
    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        let Frames { sent, owed, copying, bound, tally, last_bind, .. } = self;
        sent.follow(bytes, |kind, body| {
            match kind {
                b'B' => tally.binds += 1,
                b'E' => tally.executions += 1,
                b'S' | b'H' => {}
                _ => tally.others += 1,
            }
            match kind {
                b'Q' | b'S' | b'F' => *owed = owed.saturating_add(1),
                b'P' => *bound = false,
                b'B' => {
                    *bound = false;
                    *last_bind = [0; BIND];
                    last_bind[..body.len()].copy_from_slice(body);
                }
                // The Sync that came with the COPY is ignored, since it is read as one of the lines: unless the COPY has
                // failed before, and then one more answer comes than is owed.
                b'c' | b'f' if *copying => (*owed, *copying) = (0, false),
                _ => {}
            }
        });
    }

    /// These bytes come from the server, behind its first ReadyForQuery.
    pub(crate) fn receives(&mut self, bytes: &[u8]) {
        let Frames { received, owed, copying, transaction, astray, failed, bound, worked, settled, tally, .. } = self;
        received.follow(bytes, |kind, body| match kind {
            b'Z' => {
                *astray |= *owed == 0;
                *failed = false;
                *owed = owed.saturating_sub(1);
                *transaction = match body {
                    b"I" => Transaction::None,
                    b"T" => Transaction::Open,
                    _ => Transaction::Failed,
                };
                let has_worked = std::mem::take(worked);
                if *transaction == Transaction::None && has_worked {
                    *settled += 1;
                }
            }
            b'C' | b's' => *worked = true,
            b'E' => {
                *failed = true;
                tally.errors += 1;
            }
            b'S' => tally.changes += 1,
            b'2' => *bound = true,
            b'G' | b'W' => *copying = true,
            _ => {}
        });
    }

    /// Whether nothing is on its way, in either direction, and no transaction is open.
    pub(crate) fn are_at_rest(&self) -> bool {
        self.owe_nothing() && self.transaction == Transaction::None
    }

    /// Whether nothing is on its way, in either direction.
    pub(crate) fn owe_nothing(&self) -> bool {
        self.owed == 0 && !self.copying && !self.astray && self.sent.is_between() && self.received.is_between()
    }

    /// The state of the transaction.
    pub(crate) fn transaction(&self) -> Transaction {
        self.transaction
    }

    /// Whether nothing is on its way, or only the end of an answer that was an error.
    pub(crate) fn owe_no_more_than_an_end(&self) -> bool {
        self.owe_nothing() || (self.failed && self.owed == 1 && !self.copying && !self.astray)
    }

    /// Whether a statement has begun to be executed since one was last sent: before that, nothing has come of it.
    pub(crate) fn have_bound(&self) -> bool {
        self.bound
    }

    /// Whether a statement has been completed, and the server has not said yet in what that leaves the transaction.
    pub(crate) fn have_worked(&self) -> bool {
        self.worked
    }

    /// What has passed so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The name under which the server knows the statement that was bound last, if it has one that is the engine's.
    pub(crate) fn last_bound(&self) -> Option<&str> {
        let [0, names @ ..] = &self.last_bind else { return None };
        let name = names.split(|byte| *byte == 0).next()?;
        let is_whole = name.len() < names.len();
        let is_ours = name.len() > 1 && name[0] == b's' && name[1..].iter().all(u8::is_ascii_digit);
        std::str::from_utf8(name).ok().filter(|_| is_whole && is_ours)
    }

    /// How often work became final: a statement of its own, or a transaction's end.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }
}

/// Where one direction is: in the head of a frame, of which some bytes may be here, or in the rest of its body, of which some
/// bytes are awaited. The head is type and length, and as many bytes of the body as are of interest, if it has so many.
#[derive(Debug)]
struct Cut<const BODY: usize> {
    kind_and_length: [u8; 5],
    body: [u8; BODY],
    /// Bytes of the head that are here.
    have: usize,
    /// Bytes of the body that are still to come, once the head is whole.
    left: usize,
}

impl<const BODY: usize> Default for Cut<BODY> {
    fn default() -> Cut<BODY> {
        Cut { kind_and_length: [0; 5], body: [0; BODY], have: 0, left: 0 }
    }
}

impl<const BODY: usize> Cut<BODY> {
    /// Calls `each` with the type of every frame and how its body begins, once both are here.
    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(u8, &[u8])) {
        while let [first, rest @ ..] = bytes {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            match self.have {
                0..5 => self.kind_and_length[self.have] = *first,
                beyond => self.body[beyond - 5] = *first,
            }
            self.have += 1;
            bytes = rest;
            if self.have < 5 {
                continue;
            }
            let [kind, length @ ..] = self.kind_and_length;
            let body = (u32::from_be_bytes(length) as usize).saturating_sub(4);
            let wanted = body.min(BODY);
            if self.have < 5 + wanted {
                continue;
            }
            each(kind, &self.body[..wanted]);
            self.left = body - wanted;
            self.have = 0;
        }
    }

    fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind];
        frame.extend((body.len() as u32 + 4).to_be_bytes());
        frame.extend(body);
        frame
    }

    #[test]
    fn a_query_is_owed_until_the_server_is_ready_wherever_its_answer_is_cut() {
        let answer = [frame(b'D', &[7; 300]), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat();
        for cut in 0..=answer.len() {
            let mut frames = Frames::default();
            frames.sends(&frame(b'Q', b"select 1\0"));
            assert!(!frames.are_at_rest());
            frames.receives(&answer[..cut]);
            assert_eq!(frames.are_at_rest(), cut == answer.len(), "cut at {cut}");
            frames.receives(&answer[cut..]);
            assert!(frames.are_at_rest());
            assert_eq!(frames.settled(), 1);
        }
    }

    #[test]
    fn half_a_frame_sent_is_no_rest() {
        let query = frame(b'Q', b"select 1\0");
        for cut in 1..query.len() {
            let mut frames = Frames::default();
            frames.sends(&query[..cut]);
            assert!(!frames.are_at_rest(), "cut at {cut}");
        }
    }

    #[test]
    fn half_a_notice_received_is_no_rest() {
        let mut frames = Frames::default();
        frames.receives(&frame(b'N', b"SNOTICE\0\0")[..7]);
        assert!(!frames.are_at_rest());
    }

    #[test]
    fn an_open_or_failed_transaction_is_no_rest() {
        for (status, expected) in [(b"T", Transaction::Open), (b"E", Transaction::Failed)] {
            let mut frames = Frames::default();
            frames.sends(&frame(b'Q', b"begin\0"));
            frames.receives(&[frame(b'C', b"BEGIN\0"), frame(b'Z', status)].concat());
            assert!(frames.owe_nothing() && !frames.are_at_rest());
            assert_eq!(frames.transaction(), expected);
            assert_eq!(frames.settled(), 0);
        }
    }

    #[test]
    fn a_copy_in_that_was_asked_for_with_a_sync_owes_one_answer_when_it_is_done() {
        let mut frames = Frames::default();
        frames.sends(&[frame(b'B', b"\0"), frame(b'E', b"\0"), frame(b'S', b"")].concat());
        frames.receives(&[frame(b'2', b""), frame(b'G', b"\0\0\0")].concat());
        assert!(!frames.owe_nothing());
        frames.sends(&frame(b'd', b"1\n"));
        frames.sends(&[frame(b'c', b""), frame(b'S', b"")].concat());
        assert!(!frames.owe_nothing());
        frames.receives(&[frame(b'C', b"COPY 1\0"), frame(b'Z', b"I")].concat());
        assert!(frames.are_at_rest());
    }

    #[test]
    fn a_copy_in_that_nobody_ends_is_never_at_rest() {
        let mut frames = Frames::default();
        frames.sends(&frame(b'Q', b"copy t from stdin\0"));
        frames.receives(&frame(b'G', b"\0\0\0"));
        assert!(!frames.owe_nothing() && !frames.are_at_rest());
    }

    #[test]
    fn a_copy_in_that_fails_before_its_sync_is_read_leaves_a_session_that_is_never_at_rest() {
        let mut frames = Frames::default();
        frames.sends(&[frame(b'B', b"\0"), frame(b'E', b"\0"), frame(b'S', b"")].concat());
        frames.receives(&[frame(b'2', b""), frame(b'G', b"\0\0\0")].concat());
        frames.sends(&[frame(b'f', b"\0"), frame(b'S', b"")].concat());
        frames.receives(&[frame(b'E', b"\0"), frame(b'Z', b"I")].concat());
        frames.sends(&frame(b'Q', b"select 1\0"));
        frames.receives(&frame(b'Z', b"I"));
        frames.receives(&[frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat());
        assert!(!frames.are_at_rest());
    }

    #[test]
    fn an_error_is_followed_by_no_more_than_its_end() {
        let mut frames = Frames::default();
        frames.sends(&frame(b'Q', b"select 1/0\0"));
        assert!(!frames.owe_no_more_than_an_end());
        frames.receives(&frame(b'E', b"\0"));
        assert!(frames.owe_no_more_than_an_end() && !frames.owe_nothing());
        frames.receives(&frame(b'Z', b"I"));
        frames.sends(&frame(b'Q', b"select 1\0"));
        assert!(!frames.owe_no_more_than_an_end());
    }

    #[test]
    fn a_statement_has_begun_to_be_executed_once_it_is_bound() {
        let mut frames = Frames::default();
        frames.sends(&[frame(b'B', b"\0"), frame(b'E', b"\0"), frame(b'S', b"")].concat());
        assert!(!frames.have_bound());
        frames.receives(&frame(b'2', b""));
        assert!(frames.have_bound());
        frames.sends(&frame(b'B', b"\0"));
        assert!(!frames.have_bound());
    }

    #[test]
    fn a_commit_among_other_statements_has_worked_before_the_server_is_ready() {
        let mut frames = Frames::default();
        frames.sends(&frame(b'Q', b"begin; insert; commit; select\0"));
        frames.receives(&[frame(b'C', b"BEGIN\0"), frame(b'C', b"INSERT 0 1\0"), frame(b'C', b"COMMIT\0")].concat());
        assert!(frames.have_worked());
        assert_eq!(frames.settled(), 0);
    }

    #[test]
    fn a_setting_that_the_server_tells_of_is_counted() {
        let mut frames = Frames::default();
        let before = frames.tally();
        frames.receives(&[frame(b'S', b"TimeZone\0Asia/Tokyo\0"), frame(b'C', b"SET\0")].concat());
        assert!(frames.tally().has_changed_since(&before));
    }

    fn run(name: &[u8]) -> Vec<u8> {
        let bind = [b"\0", name, b"\0\0\0\0\0\0\0and what the parameters are, at some length"].concat();
        [frame(b'B', &bind), frame(b'E', b"\0\0\0\0\0"), frame(b'S', b"")].concat()
    }

    #[test]
    fn executions_are_counted_if_nothing_else_happens() {
        let mut frames = Frames::default();
        frames.sends(&frame(b'Q', b"set role joe\0"));
        frames.receives(&[frame(b'C', b"SET\0"), frame(b'Z', b"I")].concat());
        let before = frames.tally();
        assert_eq!(frames.tally().only_executions_since(&before), Some(0));
        for _ in 0..2 {
            frames.sends(&run(b"s7"));
            frames.receives(&[frame(b'2', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat());
        }
        assert_eq!(frames.tally().only_executions_since(&before), Some(2));
        for other in [b'Q', b'P', b'D', b'F', b'C', b'd', b'B', b'E'] {
            let mut frames = Frames::default();
            let before = frames.tally();
            frames.sends(&[run(b"s7"), frame(other, b"\0\0\0\0\0")].concat());
            assert_eq!(frames.tally().only_executions_since(&before), None, "{}", other as char);
        }
        for (kind, body) in [(b'E', &b"\0"[..]), (b'S', b"TimeZone\0Asia/Tokyo\0")] {
            let before = frames.tally();
            frames.receives(&frame(kind, body));
            assert_eq!(frames.tally().only_executions_since(&before), None, "{}", kind as char);
        }
    }

    #[test]
    fn the_name_of_the_statement_that_was_bound_last_is_known_wherever_the_frame_is_cut() {
        let sent = run(b"s12345");
        for cut in 0..sent.len() {
            let mut frames = Frames::default();
            assert_eq!(frames.last_bound(), None);
            frames.sends(&sent[..cut]);
            frames.sends(&sent[cut..]);
            assert_eq!(frames.last_bound(), Some("s12345"), "cut at {cut}");
            assert!(frames.sent.is_between());
            frames.sends(&run(b"s1"));
            assert_eq!(frames.last_bound(), Some("s1"));
        }
        for foreign in [&b""[..], b"s", b"mine", b"s1\"; drop table x", b"s1234567890123456789012345"] {
            let mut frames = Frames::default();
            frames.sends(&run(foreign));
            assert_eq!(frames.last_bound(), None);
        }
        let mut frames = Frames::default();
        frames.sends(&frame(b'B', b"portal\0s7\0"));
        assert_eq!(frames.last_bound(), None);
    }

    #[test]
    fn preparing_a_statement_settles_nothing() {
        let mut frames = Frames::default();
        frames.sends(&[frame(b'P', b"s0\0select 1\0\0\0"), frame(b'D', b"Ss0\0"), frame(b'S', b"")].concat());
        frames.receives(&[frame(b'1', b""), frame(b't', b"\0\0"), frame(b'n', b""), frame(b'Z', b"I")].concat());
        assert!(frames.are_at_rest());
        assert_eq!(frames.settled(), 0);
    }
}
