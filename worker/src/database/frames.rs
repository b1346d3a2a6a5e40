//! The frames of the PostgreSQL protocol, as they pass in both directions: whether the session is at rest, in what
//! transaction, and what has become of the work it was given.
//!
//! Reads types, lengths and the status in a ReadyForQuery, wherever a read or a write happens to end. Never holds
//! anything back.

/// What passes, seen from the client.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    sent: Cut,
    received: Cut,
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
    /// How often the server said that a setting has another value.
    changed: u64,
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
        let Frames { sent, owed, copying, bound, .. } = self;
        sent.follow(bytes, |kind, _| match kind {
            b'Q' | b'S' | b'F' => *owed = owed.saturating_add(1),
            b'P' | b'B' => *bound = false,
            // The Sync that came with the COPY is ignored, since it is read as one of the lines: unless the COPY has failed
            // before, and then one more answer comes than is owed.
            b'c' | b'f' if *copying => (*owed, *copying) = (0, false),
            _ => {}
        });
    }

    /// These bytes come from the server, behind its first ReadyForQuery.
    pub(crate) fn receives(&mut self, bytes: &[u8]) {
        let Frames { received, owed, copying, transaction, astray, failed, bound, worked, settled, changed, .. } = self;
        received.follow(bytes, |kind, first| match kind {
            b'Z' => {
                *astray |= *owed == 0;
                *failed = false;
                *owed = owed.saturating_sub(1);
                *transaction = match first {
                    b'I' => Transaction::None,
                    b'T' => Transaction::Open,
                    _ => Transaction::Failed,
                };
                let has_worked = std::mem::take(worked);
                if *transaction == Transaction::None && has_worked {
                    *settled += 1;
                }
            }
            b'C' | b's' => *worked = true,
            b'E' => *failed = true,
            b'S' => *changed += 1,
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

    /// How often the server said that a setting has another value, of those it tells its clients.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// How often work became final: a statement of its own, or a transaction's end.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }
}

/// Where one direction is: in a header, of which some bytes may be here, or in a body, of which some bytes are awaited.
#[derive(Debug, Default)]
struct Cut {
    header: [u8; 6],
    /// Bytes of the header that are here: a type, a length, and the body's first byte if there is one.
    have: usize,
    /// Bytes of the body that are still to come, once the header is whole.
    left: usize,
}

impl Cut {
    /// Calls `each` with the type of every frame and the first byte of its body (0 without one), once both are here.
    fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(u8, u8)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have < 5 {
                continue;
            }
            let [kind, length @ .., first] = self.header;
            let body = (u32::from_be_bytes(length) as usize).saturating_sub(4);
            if self.have == 5 && body > 0 {
                continue;
            }
            each(kind, if body > 0 { first } else { 0 });
            self.left = body.saturating_sub(1);
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
        frames.receives(&[frame(b'S', b"TimeZone\0Asia/Tokyo\0"), frame(b'C', b"SET\0")].concat());
        assert_eq!(frames.changed(), 1);
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
