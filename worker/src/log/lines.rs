//! Lines that have their form already, such as those of the access log: where they go, and what is lost of them.

use tracing::Level;

use super::sink::{self, Sink};
use super::{Form, SPEAKER, Said, journal};

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Whether they are for the journal.
    to_journal: bool,
    sink: Sink,
}

impl Lines {
    /// Into a file of their own.
    pub fn into_file(sink: Sink) -> Lines {
        Lines { to_journal: false, sink }
    }

    /// Where every other line goes, which has this form.
    pub fn into_log(form: Form, sink: Sink) -> Lines {
        Lines { to_journal: form == Form::Journal, sink }
    }

    /// Writes one, which has its end. One that is not taken is counted, and reported by the next line of the log.
    pub fn write(&self, line: &str) {
        sink::note((self.to_journal && takes(line)) || self.sink.write_line(line.as_bytes()));
    }
}

fn takes(line: &str) -> bool {
    let mut said = Said::new(Level::INFO);
    if let Ok(speaker) = SPEAKER.read() {
        // MESSAGE is the line alone, and whose it is stands beside it.
        said.rest.extend(speaker.0.iter().cloned());
    }
    said.message = line.trim_end().to_owned();
    journal::takes_as_it_is(&said)
}
