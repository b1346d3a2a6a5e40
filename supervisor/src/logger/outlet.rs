//! Where captured lines go: a bounded queue before a destination that may take them slowly, or not at all.
//!
//! Never waits. What finds no room is dropped, counted for its pool, and reported before the next line that does. A pool that
//! floods takes only a part of the room: what it costs are lines of its own.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;

use nix::libc::PIPE_BUF;
use ratoon_worker::log::{Form, Said, Sink, journal};

use super::shares::Shares;

/// How much waits for the destination at most, in bytes: a burst is no reason to lose lines.
const ROOM: usize = 1 << 20;
/// How much of it may be one pool's: three quarters, so that nobody else is without any.
const SHARE: usize = ROOM / 4 * 3;
/// The room that a pipe is given when there are long lines, in bytes: as much as anybody may.
const PIPE: u32 = 1 << 20;

/// See the module's header.
pub(super) struct Outlet {
    form: Form,
    sink: Sink,
    queue: VecDeque<u8>,
    /// Whose the bytes in it are.
    shares: Shares,
    /// Lost and not said yet.
    unsaid: u64,
    /// Lost and not asked for yet, by pool.
    lost: BTreeMap<Option<String>, u64>,
}

impl Outlet {
    pub(super) fn new(form: Form, sink: Sink) -> Outlet {
        if form == Form::Journal {
            journal::renew();
        }
        Outlet {
            form,
            sink,
            queue: VecDeque::with_capacity(ROOM),
            shares: Shares::default(),
            unsaid: 0,
            lost: BTreeMap::new(),
        }
    }

    /// Writes the line, which is a pool's; `""` if it is our own.
    pub(super) fn write(&mut self, said: &Said, pool: &str) {
        if self.unsaid > 0 && self.is_taken(&Said::of_losses(self.unsaid)) {
            self.unsaid = 0;
        }
        if self.unsaid == 0 && self.is_taken(said) {
            return;
        }
        // Losses are said only together with a line that is none, or a flood would be one of such lines.
        let losses = (self.unsaid > 0).then(|| self.form.line(&Said::of_losses(self.unsaid)));
        let line = losses.unwrap_or_default() + &self.form.line(said);
        self.flush();
        let has_room = self.queue.len() + line.len() <= ROOM && self.shares.of(pool) + line.len() <= SHARE;
        if has_room {
            if line.len() > PIPE_BUF {
                // So that it goes in one piece, too.
                self.sink.widen(PIPE);
            }
            self.unsaid = 0;
            self.queue.extend(line.as_bytes());
            self.shares.add(pool, line.len());
        } else {
            self.unsaid += 1;
            let pool = (!pool.is_empty()).then(|| pool.to_owned());
            *self.lost.entry(pool).or_default() += 1;
        }
    }

    /// Whether this has gone to the journal, which needs no room of ours.
    fn is_taken(&self, said: &Said) -> bool {
        self.form == Form::Journal && journal::takes(said)
    }

    /// Passes on what the destination takes now.
    pub(super) fn flush(&mut self) {
        let mut scratch = [0; PIPE_BUF];
        while !self.queue.is_empty() && !self.sink.is_crowded() {
            if self.begins_long() {
                // A line that lies in two parts would be written in two.
                self.queue.make_contiguous();
            }
            let next = self.next(&mut scratch);
            // Once it is wider than the pipe will ever be nothing is gained by waiting.
            if !self.sink.takes_whole(next.len()) && self.sink.holds(next.len()) {
                return;
            }
            match self.sink.put(next) {
                Ok(0) => return,
                Ok(count) => {
                    drop(self.queue.drain(..count.min(self.queue.len())));
                    self.shares.pass(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Nobody will ever take it.
                Err(_) => {
                    let lines = self.queue.iter().filter(|byte| **byte == b'\n').count() as u64;
                    self.queue.clear();
                    self.shares = Shares::default();
                    self.unsaid += lines;
                    *self.lost.entry(None).or_default() += lines;
                }
            }
        }
    }

    /// Whether the next line is longer than a pipe takes in one piece, as far as can be seen without looking for its end.
    fn begins_long(&self) -> bool {
        self.queue.len() > PIPE_BUF && !self.queue.iter().take(PIPE_BUF).any(|byte| *byte == b'\n')
    }

    /// What goes next: whole lines, as many as a pipe takes in one piece, so that nothing of somebody else's who writes there
    /// gets between; or one line that is longer, as far as it is at hand.
    fn next<'a>(&'a self, scratch: &'a mut [u8; PIPE_BUF]) -> &'a [u8] {
        let (front, back) = self.queue.as_slices();
        let length = scratch.len().min(self.queue.len());
        let (first, second) = scratch[..length].split_at_mut(length.min(front.len()));
        first.copy_from_slice(&front[..first.len()]);
        second.copy_from_slice(&back[..second.len()]);
        match scratch[..length].iter().rposition(|byte| *byte == b'\n') {
            Some(end) => &scratch[..=end],
            None => front.iter().position(|byte| *byte == b'\n').map_or(front, |end| &front[..=end]),
        }
    }

    /// Whether everything has been passed on.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many lines were lost since this was last asked, by pool.
    pub(super) fn take_lost(&mut self) -> BTreeMap<Option<String>, u64> {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use tracing::Level;

    use super::*;

    #[test]
    fn a_burst_waits_for_a_slow_reader_and_what_is_beyond_the_queue_is_counted() {
        let (mut read, write) = std::io::pipe().unwrap();
        let mut outlet = Outlet::new(Form::Json, Sink::to(OwnedFd::from(write)));
        let said = Said { message: "x".repeat(1000), ..Said::new(Level::INFO) };
        let length = Form::Json.line(&said).len();
        let written = (SHARE + (256 << 10)) / length;
        (0..written).for_each(|_| outlet.write(&said, "web"));
        let lost = outlet.take_lost().remove(&Some("web".to_owned())).unwrap();
        assert!(lost > 0 && (lost as usize) < written / 4, "{lost} of {written}");
        outlet.write(&said, "web");
        let (mut text, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        for last in [false, true] {
            if last {
                outlet.write(&said, "web");
            }
            while !outlet.is_empty() {
                let count = read.read(&mut piece).unwrap();
                text.extend_from_slice(&piece[..count]);
                outlet.flush();
            }
        }
        drop(outlet);
        read.read_to_end(&mut text).unwrap();
        let lines: Vec<serde_json::Value> =
            text.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
        let said: u64 = lines.iter().filter_map(|line| line["lost"].as_u64()).sum();
        let taken = lines.iter().filter(|line| line["lost"].is_null()).count();
        assert_eq!((said, taken as u64), (lost + 1, written as u64 + 2 - lost - 1));
    }
    /// "One pool's trouble never touches another's": whoever floods loses lines of its own.
    #[test]
    fn a_pool_that_floods_leaves_the_others_room() {
        let (mut read, write) = std::io::pipe().unwrap();
        let mut outlet = Outlet::new(Form::Json, Sink::to(OwnedFd::from(write)));
        let flood = Said { message: "x".repeat(200), ..Said::new(Level::INFO) };
        let honest = Said { message: "honest".into(), ..Said::new(Level::INFO) };
        for _ in 0..100 {
            (0..1000).for_each(|_| outlet.write(&flood, "bad"));
            outlet.write(&honest, "web");
        }
        assert!(outlet.queue.len() <= ROOM);
        let lost = outlet.take_lost();
        assert_eq!(lost.keys().collect::<Vec<_>>(), [&Some("bad".to_owned())]);
        let (mut text, mut piece) = (String::new(), vec![0; 64 << 10]);
        while !outlet.is_empty() {
            let count = read.read(&mut piece).unwrap();
            text.push_str(str::from_utf8(&piece[..count]).unwrap());
            outlet.flush();
        }
        drop(outlet);
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text.matches("honest").count(), 100);
    }
}
