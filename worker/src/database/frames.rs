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
            // Nearly always the whole head is here; what follows puts together one that is cut.
            if let [kind, a, b, c, d, behind @ ..] = bytes
                && self.have == 0
            {
                let body = (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_sub(4);
                if let Some(head) = behind.get(..body.min(BODY)) {
                    each(*kind, head);
                    self.left = body - head.len();
                    bytes = &behind[head.len()..];
                    continue;
                }
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
mod tests;
