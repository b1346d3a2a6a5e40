//! Where captured lines go: a bounded queue before a destination that may take them slowly, or not at all.
//!
//! Never waits. What finds no room is dropped, counted for its pool, and reported before the next line that does.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;

use ratoon_worker::log::{Form, Said, Sink, journal};

/// How much waits for the destination at most, in bytes: a burst is no reason to lose lines.
const ROOM: usize = 1 << 20;

/// See the module's header.
pub(super) struct Outlet {
    form: Form,
    sink: Sink,
    queue: VecDeque<u8>,
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
        Outlet { form, sink, queue: VecDeque::new(), unsaid: 0, lost: BTreeMap::new() }
    }

    /// Writes the line, which is a pool's; `""` if it is our own.
    pub(super) fn write(&mut self, said: &Said, pool: &str) {
        if self.unsaid > 0 && self.pass_on(&Said::of_losses(self.unsaid)) {
            self.unsaid = 0;
        }
        if self.unsaid > 0 || !self.pass_on(said) {
            self.unsaid += 1;
            let pool = (!pool.is_empty()).then(|| pool.to_owned());
            *self.lost.entry(pool).or_default() += 1;
        }
    }

    fn pass_on(&mut self, said: &Said) -> bool {
        if self.form == Form::Journal && journal::takes(said) {
            return true;
        }
        let line = self.form.line(said);
        self.flush();
        if self.queue.len() + line.len() > ROOM {
            return false;
        }
        self.queue.extend(line.as_bytes());
        true
    }

    /// Passes on what the destination takes now.
    pub(super) fn flush(&mut self) {
        while !self.queue.is_empty() {
            match self.sink.put(self.queue.as_slices().0) {
                Ok(0) => return,
                Ok(count) => drop(self.queue.drain(..count.min(self.queue.len()))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Nobody will ever take it.
                Err(_) => {
                    let lines = self.queue.iter().filter(|byte| **byte == b'\n').count() as u64;
                    self.queue.clear();
                    self.unsaid += lines;
                    *self.lost.entry(None).or_default() += lines;
                }
            }
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
        let written = (ROOM + (256 << 10)) / length;
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
}
