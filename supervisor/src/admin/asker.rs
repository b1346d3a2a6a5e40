//! Asks the supervisor how everything is, seldom and one question at a time.
//!
//! Owns the line and the newest answer. However many ask here, the supervisor is asked once in [`FRESH`]; and one that
//! does not answer is waited for once in a while only, so that nobody is held up for longer than [`PATIENCE`].

use std::fmt;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::control::{Answer, Ask, Status};

/// How long an answer counts as the present state, and how long a silence is believed without listening again.
pub const FRESH: Duration = Duration::from_millis(200);

/// How long an answer is waited for. The supervisor never waits for anybody: it answers within milliseconds, if at all.
const PATIENCE: Duration = Duration::from_secs(1);

/// No answer is longer, in bytes: more than every pool and worker that a configuration can have.
const LONGEST: usize = 64 << 20;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Asker {
    line: UnixStream,
    /// What has arrived of an answer.
    arrived: Vec<u8>,
    /// Whether an answer is due.
    is_asking: bool,
    newest: Option<(Instant, Outcome)>,
}

/// How everything is, or why that is not known.
pub(super) type Outcome = Result<Rc<Status>, Silence>;

/// The supervisor does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence(String);

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Asker {
    pub(super) fn new(line: UnixStream) -> Asker {
        Asker { line, arrived: Vec::new(), is_asking: false, newest: None }
    }

    /// How everything is now, or was [`FRESH`] ago at most.
    pub(super) fn ask(&mut self) -> Outcome {
        if let Some((at, outcome)) = &self.newest
            && at.elapsed() < FRESH
        {
            return outcome.clone();
        }
        let outcome = self.ask_anew();
        self.newest = Some((Instant::now(), outcome.clone()));
        outcome
    }

    fn ask_anew(&mut self) -> Outcome {
        let broken = |error: std::io::Error| Silence(format!("the supervisor cannot be asked: {error}"));
        if self.is_asking {
            // An answer to what was asked long ago tells how it was then.
            self.line.set_nonblocking(true).map_err(broken)?;
            let late = self.take();
            self.line.set_nonblocking(false).map_err(broken)?;
            late?;
        }
        if !self.is_asking {
            self.line.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
            Ask::Status.write(&self.line).map_err(broken)?;
            self.is_asking = true;
        }
        let until = Instant::now() + PATIENCE;
        while self.is_asking {
            let patience = until.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                return Err(Silence(format!("the supervisor has not answered within {} s", PATIENCE.as_secs())));
            }
            self.line.set_read_timeout(Some(patience)).map_err(broken)?;
            if let Some(status) = self.take()? {
                return Ok(status);
            }
        }
        Err(Silence("the supervisor answers what it was not asked".into()))
    }

    /// The answer, if all of it has come by now.
    fn take(&mut self) -> Result<Option<Rc<Status>>, Silence> {
        let mut piece = [0; 64 << 10];
        loop {
            let length = match self.line.read(&mut piece) {
                Ok(0) => return Err(Silence("the supervisor has hung up".into())),
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Silence(format!("the supervisor cannot be heard: {error}"))),
            };
            self.arrived.extend_from_slice(&piece[..length]);
            if self.arrived.len() > LONGEST {
                return Err(Silence("the supervisor does not come to an end".into()));
            }
            if !self.arrived.ends_with(b"\n") {
                continue;
            }
            self.is_asking = false;
            let answer = Answer::read(&std::mem::take(&mut self.arrived));
            return match answer {
                Ok(Answer::Status(status)) => Ok(Some(Rc::new(*status))),
                Ok(other) => Err(Silence(format!("the supervisor answers what it was not asked: {other:?}"))),
                Err(error) => Err(Silence(format!("the supervisor's answer is not understood: {error}"))),
            };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::thread;

    use super::*;
    use crate::control::status::{Phase, Reloads};

    fn status(pid: u32) -> Answer {
        Answer::Status(Box::new(Status {
            version: "1".into(),
            time_ms: 0,
            pid,
            start_time: 0,
            start_since_ms: 0,
            state: Phase::Serving,
            reload_stage: None,
            last_reload: None,
            log_lines_lost: 0,
            reloads: Reloads::default(),
            upgrades: 0,
            admin_deaths: 0,
            pools: Vec::new(),
        }))
    }

    #[test]
    fn many_who_ask_at_once_are_one_question() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let supervisor = thread::spawn(move || {
            let mut asked = BufReader::new(&theirs);
            (1..)
                .map_while(|number| {
                    let mut line = String::new();
                    asked.read_line(&mut line).unwrap();
                    (!line.is_empty()).then(|| status(number).write(&theirs).unwrap())
                })
                .count()
        });
        let mut asker = Asker::new(ours);
        let begun = Instant::now();
        let first = asker.ask().unwrap();
        for _ in 0..1000 {
            let again = asker.ask().unwrap();
            assert!(again.pid == first.pid || begun.elapsed() >= FRESH);
        }
        let most = 1 + begun.elapsed().as_millis() / FRESH.as_millis();
        drop(asker);
        assert!(supervisor.join().unwrap() as u128 <= most);
    }

    #[test]
    fn a_silence_is_told_in_time_and_a_late_answer_is_not_passed_off_as_a_new_one() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut asker = Asker::new(ours);
        let begun = Instant::now();
        let silence = asker.ask().unwrap_err().to_string();
        assert_eq!(silence, "the supervisor has not answered within 1 s");
        let told = Instant::now();
        while told.elapsed() < FRESH / 2 {
            assert_eq!(asker.ask().unwrap_err().to_string(), silence);
        }
        assert!(begun.elapsed() >= PATIENCE);
        status(1).write(&theirs).unwrap();
        thread::sleep(FRESH);
        let supervisor = thread::spawn(move || {
            let mut asked = BufReader::new(&theirs);
            let mut line = String::new();
            asked.read_line(&mut line).unwrap();
            line.clear();
            asked.read_line(&mut line).unwrap();
            status(2).write(&theirs).unwrap();
        });
        assert_eq!(asker.ask().unwrap().pid, 2);
        supervisor.join().unwrap();
    }
}
