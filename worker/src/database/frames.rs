//! The frames of the PostgreSQL protocol, as they pass in both directions: whether the session is at rest, in what
//! transaction, and what has become of the work it was given.
//!
//! Reads types and lengths and nothing else, wherever a read or a write happens to end. Never holds anything back.

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
    /// A statement has been completed since the last ReadyForQuery outside a transaction.
    worked: bool,
    /// How often that became final.
    settled: u64,
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
        let Frames { sent, owed, copying, .. } = self;
        sent.follow(bytes, |kind, _| match kind {
            b'Q' | b'S' | b'F' => *owed = owed.saturating_add(1),
            // What was asked together with the COPY was ignored, since it came before the lines.
            b'c' | b'f' if *copying => (*owed, *copying) = (0, false),
            _ => {}
        });
    }

    /// These bytes come from the server, behind its first ReadyForQuery.
    pub(crate) fn receives(&mut self, bytes: &[u8]) {
        let Frames { received, owed, copying, transaction, worked, settled, .. } = self;
        received.follow(bytes, |kind, first| match kind {
            b'Z' => {
                *owed = owed.saturating_sub(1);
                *transaction = match first {
                    b'I' => Transaction::None,
                    b'T' => Transaction::Open,
                    _ => Transaction::Failed,
                };
                if *transaction == Transaction::None && std::mem::take(worked) {
                    *settled += 1;
                }
            }
            b'C' | b's' => *worked = true,
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
        self.owed == 0 && !self.copying && self.sent.is_between() && self.received.is_between()
    }

    /// Whether the server waits for lines of a COPY.
    pub(crate) fn are_copying(&self) -> bool {
        self.copying
    }

    /// The state of the transaction.
    pub(crate) fn transaction(&self) -> Transaction {
        self.transaction
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
        assert!(frames.are_copying() && !frames.owe_nothing());
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
    fn preparing_a_statement_settles_nothing() {
        let mut frames = Frames::default();
        frames.sends(&[frame(b'P', b"s0\0select 1\0\0\0"), frame(b'D', b"Ss0\0"), frame(b'S', b"")].concat());
        frames.receives(&[frame(b'1', b""), frame(b't', b"\0\0"), frame(b'n', b""), frame(b'Z', b"I")].concat());
        assert!(frames.are_at_rest());
        assert_eq!(frames.settled(), 0);
    }
}
