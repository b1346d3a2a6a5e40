//! `ratoon status --watch`: the table again every second, in place on a terminal, one after the other in a pipe.
//!
//! Owns the terminal while it runs, and leaves it as it was: at Ctrl-C, TERM, HUP, and when nobody reads any more. A
//! supervisor that does not answer for a while is said in the table's place, and asked on.

use std::io::{self, ErrorKind, IsTerminal, Read, Write, stdout};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ExitCode, exit};
use std::thread::{sleep, spawn};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use terminal_size::terminal_size;

use super::plain::{cut, plain};
use super::table::table;
use super::{complain, status, undelivered};

/// Between two looks.
const BEAT: Duration = Duration::from_secs(1);

/// The alternate screen, and no cursor on it.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The size of a terminal that does not say its own.
const USUAL: (usize, usize) = (80, 24);

/// Shows it until somebody has seen enough.
pub(super) fn main(place: &Path) -> ExitCode {
    // One that cannot be asked at all is an error and no spectacle.
    let first = match status::ask(place) {
        Ok(status) => table(&status),
        Err(reason) => return complain(&reason),
    };
    let terminal = stdout().is_terminal();
    if let Err(error) = leave_at_a_signal(terminal) {
        return complain(&format!("cannot listen to signals: {error}"));
    }
    let mut shown = if terminal { write(ENTER) } else { Ok(()) };
    let mut text = first;
    while shown.is_ok() {
        shown = write(&if terminal { screen(&text) } else { format!("{text}\n\n") });
        sleep(BEAT);
        text = status::ask(place).map_or_else(|reason| plain(&reason), |status| table(&status));
    }
    match shown {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => undelivered(&error),
        // Nobody reads any more.
        _ => ExitCode::SUCCESS,
    }
}

/// The text in the place of what was on the screen, as much of it as there is room for.
fn screen(text: &str) -> String {
    let (columns, rows) = terminal_size().map_or(USUAL, |(width, height)| (width.0.into(), height.0.into()));
    let mut lines: Vec<String> = text.lines().map(|line| cut(line, columns)).collect();
    if lines.len() > rows {
        let hidden = lines.len() - rows + 1;
        lines.truncate(rows - 1);
        lines.push(cut(&format!("… and {hidden} lines more"), columns));
    }
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A thread of its own waits for the signal: the other one may be waiting for a supervisor that does not answer.
fn leave_at_a_signal(terminal: bool) -> io::Result<()> {
    let (mut heard, told) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        pipe::register(signal, told.try_clone()?)?;
    }
    spawn(move || {
        let _ = heard.read(&mut [0]);
        // Held to the end: nothing is drawn on a screen that has been left.
        let mut out = stdout().lock();
        if terminal {
            let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
        }
        exit(0);
    });
    Ok(())
}
