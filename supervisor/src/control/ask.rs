//! A question to the supervisor: `{"version":1,"ask":"status"}`.
//!
//! Owns the words an operator's command can send and how they are written in a line. A question that is not understood
//! becomes a sentence that says why. Never says what is done about one.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::decide::event::Size;

/// The version of the protocol. It grows when an older side would misunderstand a newer one, not with every new word.
pub const VERSION: u32 = 1;

/// The longest question, in bytes with its newline: every pool a configuration can hold fits by name.
pub const LONGEST: usize = 64 << 10;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// How are you? Answered with one [`Status`](super::Status).
    Status,
    /// Load everything anew. Answered with progress and, when it is over, with the outcome.
    Reload {
        /// The pools that get a new generation; none named means all.
        #[serde(default)]
        pools: Vec<String>,
    },
    /// Have this pool be of another size. Answered with progress and, when it is, or cannot be, with the outcome.
    Scale {
        /// The pool.
        pool: String,
        /// Its size.
        size: Size,
    },
    /// Replace the workers of this pool by fresh ones. Answered as a reload.
    Restart {
        /// The pool.
        pool: String,
        /// The slot, if it is only the worker in that one.
        #[serde(default)]
        slot: Option<u32>,
    },
    /// Stop. Answered with progress, and with the outcome at the last moment.
    Stop {
        /// Whether at once, or when what was accepted or queued is served.
        #[serde(default)]
        now: bool,
    },
    /// Become the program that now stands at your path. Answered with progress and the outcome: that it is done says the
    /// new program.
    Upgrade,
    /// Open the log files anew. Answered with the outcome.
    ReopenLogs,
}

#[derive(Serialize)]
struct Envelope<'a> {
    version: u32,
    #[serde(flatten)]
    ask: &'a Ask,
}

impl Ask {
    /// Writes the question as one line, at once: who is refused while he writes is reset, and does not hear why.
    ///
    /// # Errors
    /// What `to` says.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Envelope { version: VERSION, ask: self })?;
        line.push(b'\n');
        to.write_all(&line)
    }

    /// Reads a question from its line. One without a version was written by hand and means the present one.
    ///
    /// # Errors
    /// A sentence for whoever asked.
    pub fn read(line: &[u8]) -> Result<Ask, String> {
        let mut question: Map<String, Value> = serde_json::from_slice(line)
            .map_err(|error| format!(r#"this is no question ({error}): ask with a line such as {{"ask":"status"}}"#))?;
        if let Some(version) = question.remove("version").filter(|version| *version != VERSION) {
            return Err(format!(
                "the question is in version {version} of the protocol, this supervisor speaks version {VERSION}: use \
                 the `ratoon` that it was started from"
            ));
        }
        serde_json::from_value(question.into()).map_err(|error| {
            format!("this supervisor ({}) does not understand the question: {error}", env!("CARGO_PKG_VERSION"))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(ask: &Ask) -> String {
        let mut line = Vec::new();
        ask.write(&mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_question_is_sent_at_once() {
        let mut writes = Writes(Vec::new());
        Ask::Reload { pools: vec!["web".into()] }.write(&mut writes).unwrap();
        assert_eq!(writes.0, [&b"{\"version\":1,\"ask\":\"reload\",\"pools\":[\"web\"]}\n"[..]]);
    }

    /// What was written, each time.
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_question_is_one_line_with_its_version() {
        assert_eq!(line(&Ask::Status), "{\"version\":1,\"ask\":\"status\"}\n");
        let reload = Ask::Reload { pools: vec!["web".into()] };
        assert_eq!(line(&reload), "{\"version\":1,\"ask\":\"reload\",\"pools\":[\"web\"]}\n");
        let scale = Ask::Scale { pool: "web".into(), size: Size::By(-1) };
        assert_eq!(line(&scale), "{\"version\":1,\"ask\":\"scale\",\"pool\":\"web\",\"size\":{\"by\":-1}}\n");
        let restart = Ask::Restart { pool: "web".into(), slot: Some(3) };
        for ask in [Ask::Status, reload, scale, restart, Ask::Stop { now: true }, Ask::Upgrade, Ask::ReopenLogs] {
            assert_eq!(Ask::read(line(&ask).as_bytes()), Ok(ask));
        }
    }

    #[test]
    fn a_question_written_by_hand_may_leave_out_what_has_a_default() {
        assert_eq!(Ask::read(br#"{"ask":"status"}"#), Ok(Ask::Status));
        assert_eq!(Ask::read(br#"{"ask":"reload"}"#), Ok(Ask::Reload { pools: Vec::new() }));
        let restart = Ask::Restart { pool: "web".into(), slot: None };
        assert_eq!(Ask::read(br#"{"ask":"restart","pool":"web"}"#), Ok(restart));
        assert_eq!(Ask::read(br#"{"ask":"stop"}"#), Ok(Ask::Stop { now: false }));
    }

    #[test]
    fn what_is_not_understood_is_told_why() {
        for (line, why) in [
            (&b"GET / HTTP/1.1\r"[..], "this is no question (expected value"),
            (b"\xff\n", "this is no question"),
            (b"[]", "this is no question"),
            (br#"{"ask":"dance"}"#, "unknown variant `dance`, expected one of `status`, `reload`, "),
            (br#"{"ask":"reload","pool":"web"}"#, "unknown field `pool`, expected `pools`"),
            (br#"{"version":2,"ask":"status"}"#, "version 2 of the protocol, this supervisor speaks version 1"),
        ] {
            let said = Ask::read(line).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
