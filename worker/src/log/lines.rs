//! Lines that have their form already, such as those of the access log: where they go, and what is lost of them.

use tracing::Level;

use super::sink::{self, Sink};
use super::{Form, Said, journal};

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Lines(Way);

#[derive(Debug, Clone)]
enum Way {
    /// A file of their own: nothing else stands in it.
    File(Sink),
    /// Where every other line goes, which has this form.
    Log(Form, Sink),
}

impl Lines {
    /// Into a file of their own.
    pub fn into_file(sink: Sink) -> Lines {
        Lines(Way::File(sink))
    }

    /// Where every other line goes, which has this form.
    pub fn into_log(form: Form, sink: Sink) -> Lines {
        Lines(Way::Log(form, sink))
    }

    /// Writes one, which has its end. One that is not taken is counted, and reported before the next line of the log: of a
    /// worker that serves and says nothing, that is its next request's.
    pub fn write(&self, line: &str) {
        match &self.0 {
            Way::File(sink) => sink::note(sink.write_line(line.as_bytes())),
            Way::Log(form, sink) => sink::count(
                |lost| Said::of_own_losses(lost).passes(*form, sink),
                || (*form == Form::Journal && takes(line)) || sink.write_line(line.as_bytes()),
            ),
        }
    }
}

fn takes(line: &str) -> bool {
    let mut said = Said::new(Level::INFO);
    // MESSAGE is the line alone, and whose it is stands beside it.
    said.rest = super::speaker();
    said.message = line.trim_end().to_owned();
    journal::takes_as_it_is(&said)
}
