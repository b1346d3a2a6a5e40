//! An answer of the supervisor: any number of lines of progress, then one last line.
//!
//! Owns the forms an answer can have and how they are written in a line. Never knows which question it belongs to.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::Status;

/// One line of an answer: `{"done":"all pools are in their new generation"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How far it is, for a person who waits; more follows.
    Progress(String),
    /// The whole state.
    Status(Box<Status>),
    /// It was done; what was done, in a sentence.
    Done(String),
    /// It was tried and has failed; why, in a sentence.
    Failed(String),
    /// It was not even tried; why, in a sentence.
    Refused(String),
}

impl Answer {
    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        match self {
            Answer::Progress(_) => false,
            Answer::Status(_) | Answer::Done(_) | Answer::Failed(_) | Answer::Refused(_) => true,
        }
    }

    /// Writes the answer as one line.
    ///
    /// # Errors
    /// What `to` says.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut to, self)?;
        to.write_all(b"\n")
    }

    /// Reads an answer from its line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(line: &[u8]) -> Result<Answer, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_whatever_is_in_it() {
        let answer = Answer::Failed("two\nlines".into());
        let mut line = Vec::new();
        answer.write(&mut line).unwrap();
        assert_eq!(line, b"{\"failed\":\"two\\nlines\"}\n");
        assert_eq!(Answer::read(&line).unwrap(), answer);
    }
}
