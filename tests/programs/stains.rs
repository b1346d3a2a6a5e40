//! The fixture's words for what a request may leave behind, and for seeing what the one before it has left.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use ratoon_worker::{Body, Context, Request, Response, Result, request_local};
use serde_json::json;

request_local! {
    static COUNT: Cell<u32> = Cell::new(0);
    static NAMES: RefCell<Vec<String>> = RefCell::new(Vec::new());
    static WITNESS: Witness = Witness;
    static OUTRAGE: Outrage = Outrage
}

/// Says in the log that it is dropped.
struct Witness;

impl Drop for Witness {
    fn drop(&mut self) {
        tracing::info!(count = COUNT.get(), "a request-local value is dropped");
    }
}

/// Panics when it is dropped.
struct Outrage;

impl Drop for Outrage {
    fn drop(&mut self) {
        panic!("the fixture's request-local value panics when it is dropped");
    }
}

/// An extension that says in the log that it is dropped.
#[derive(Clone)]
struct Attached(String);

impl Drop for Attached {
    fn drop(&mut self) {
        tracing::info!(name = self.0, "an extension is dropped");
    }
}

/// What the application opens when it is first asked for, and keeps for as long as its worker lives.
#[derive(Default)]
pub(crate) struct Companions {
    peer: Option<BufReader<TcpStream>>,
    notes: Option<rusqlite::Connection>,
}

/// The answer to a word, if it is one of these.
pub(crate) fn answer(
    word: &str,
    request: &mut Request,
    context: &mut Context,
    companions: &mut Companions,
) -> Result<Option<Response>> {
    let (verb, argument) = word.split_once(':').unwrap_or((word, ""));
    let mut words = argument.split(':');
    match verb {
        // What a request finds: request-local values, extensions, process.
        "soil" => return state(context).map(Some),
        // Spoils these, each as it can be.
        "spoil" => words.try_for_each(|what| spoil(what, context))?,
        // The same, and panics.
        "spoil-panic" => {
            words.try_for_each(|what| spoil(what, context))?;
            panic!("the fixture panics");
        }
        "spoil-error" => {
            words.try_for_each(|what| spoil(what, context))?;
            return Err(ratoon_worker::Error::msg("the fixture fails"));
        }
        "leak" => words.try_for_each(leak)?,
        // Defers these, in this order.
        "defer" => words.for_each(|what| defer(what, context)),
        // The same, and a body of a megabyte that the application itself produces, or of 64 that it does not.
        "defer-reader" | "defer-large" => {
            words.for_each(|what| defer(what, context));
            let body = match verb {
                "defer-reader" => Body::reader(std::io::repeat(b'r').take(1 << 20)),
                _ => Body::repeat(&[b'l'; 65536][..], 64 << 20),
            };
            return Ok(Some(Response::new(body)));
        }
        "defer-error" => {
            words.for_each(|what| defer(what, context));
            return Err(ratoon_worker::Error::msg("the fixture fails"));
        }
        "defer-panic" => {
            words.for_each(|what| defer(what, context));
            panic!("the fixture panics");
        }
        // The body back, as it came.
        "mirror" => return Ok(Some(Response::new(std::mem::take(request.body_mut())))),
        // One more note, and one more answer of whoever listens on that port.
        "companions" => return companions.ask(argument.parse()?).map(Some),
        _ => return Ok(None),
    }
    Ok(Some(Response::new(context.worker().pid().to_string().into())))
}

fn state(context: &Context) -> Result<Response> {
    COUNT.set(COUNT.get() + 1);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let state = json!({
        "pid": context.worker().pid(),
        "count": COUNT.get(),
        "names": NAMES.with_borrow(Clone::clone),
        "extensions": context.extensions().len(),
        "directory": std::env::current_dir()?,
        "umask": field("Umask:"),
        "blocked": field("SigBlk:"),
        "environment": environment,
    });
    Ok(Response::new(state.to_string().into()))
}

fn spoil(what: &str, context: &mut Context) -> Result<()> {
    match what {
        "extension" => {
            let name = context.request_id();
            context.extensions_mut().insert(Attached(name));
            Ok(())
        }
        _ => spoil_process(what),
    }
}

/// What needs no request.
pub(crate) fn spoil_process(what: &str) -> Result<()> {
    match what {
        "request_local" => {
            COUNT.set(COUNT.get() + 41);
            NAMES.with_borrow_mut(|names| names.push("spoilt".into()));
        }
        "witness" => WITNESS.with(|_| COUNT.set(7)),
        "outrage" => OUTRAGE.with(|_| ()),
        "directory" => std::env::set_current_dir("/tmp")?,
        "umask" => drop(umask(Mode::from_bits_truncate(0o777))),
        "mask" => {
            let mut blocked = SigSet::empty();
            blocked.add(Signal::SIGUSR1);
            blocked.add(Signal::SIGCHLD);
            blocked.thread_block()?;
        }
        "environment" => wild::spoil_the_environment(),
        _ => return Err(ratoon_worker::Error::msg(format!("the fixture cannot spoil {what:?}"))),
    }
    Ok(())
}

/// All of it is meant to stay until the worker's end.
fn leak(what: &str) -> Result<()> {
    match what {
        "descriptor" => std::mem::forget(File::open("/dev/null")?),
        "child" => drop(Command::new("sleep").arg("3600").spawn()?),
        "zombie" => drop(Command::new("true").spawn()?),
        "thread" => drop(std::thread::spawn(|| sleep(Duration::from_secs(3600)))),
        "signal" => wild::ignore(Signal::SIGALRM),
        "timer" => drop(nix::unistd::alarm::set(3600)),
        _ => return Err(ratoon_worker::Error::msg(format!("the fixture cannot leak {what:?}"))),
    }
    Ok(())
}

/// `say=TEXT` logs it, `await=PATH` returns once there is such a file (with ~ for each slash), `again=TEXT` defers one more
/// that says it, `later=MILLIS` moves the deadline, `touch` counts in a request-local, `panic` and `spin` do so.
fn defer(what: &str, context: &mut Context) {
    let what = what.to_owned();
    context.defer(move |context| {
        let (verb, argument) = what.split_once('=').unwrap_or((&what, ""));
        match verb {
            "say" => tracing::info!(text = argument, "deferred"),
            "await" => {
                tracing::info!("deferred work waits");
                let file = argument.replace('~', "/");
                while !Path::new(&file).exists() {
                    sleep(Duration::from_millis(1));
                }
            }
            "again" => defer(&format!("say={argument}"), context),
            "later" => context.extend_deadline(Duration::from_millis(argument.parse().expect("a number"))),
            "touch" => {
                COUNT.set(COUNT.get() + 1);
                tracing::info!(count = COUNT.get(), extensions = context.extensions().len(), "deferred work counts");
            }
            "panic" => panic!("the fixture's deferred work panics"),
            "spin" => spin_in_deferred_work(),
            _ => tracing::error!(what, "the fixture cannot defer this"),
        }
    });
}

#[inline(never)]
fn spin_in_deferred_work() {
    loop {
        std::hint::spin_loop();
    }
}

impl Companions {
    fn ask(&mut self, port: u16) -> Result<Response> {
        if self.peer.is_none() {
            self.peer = Some(BufReader::new(TcpStream::connect(("127.0.0.1", port))?));
        }
        if self.notes.is_none() {
            let notes = rusqlite::Connection::open("notes.sqlite")?;
            // Nobody reads them after the machine has crashed, and a disk may take its time.
            notes.pragma_update(None, "synchronous", "OFF")?;
            notes.execute("CREATE TABLE note (text TEXT)", [])?;
            self.notes = Some(notes);
        }
        let (Some(peer), Some(notes)) = (&mut self.peer, &self.notes) else {
            unreachable!("both are there");
        };
        peer.get_mut().write_all(b"GET /hello HTTP/1.1\r\nHost: peer\r\n\r\n")?;
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            peer.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        peer.read_exact(&mut body)?;
        notes.execute("INSERT INTO note VALUES (?1)", [String::from_utf8(body)?])?;
        let count: i64 =
            notes.query_row("SELECT count(*) FROM note WHERE text = 'Hello, world!'", [], |row| row.get(0))?;
        Ok(Response::new(count.to_string().into()))
    }
}

#[allow(unsafe_code)]
mod wild {
    use nix::sys::signal::{SigHandler, Signal, signal};

    /// One new, one changed, one gone.
    pub(super) fn spoil_the_environment() {
        // SAFETY: the fixture has no thread that looks at the environment.
        unsafe {
            std::env::set_var("SPOILT", "yes");
            std::env::set_var("PATH", "/nowhere");
            std::env::remove_var("HOME");
        }
    }

    pub(super) fn ignore(which: Signal) {
        // SAFETY: no handler is installed, so none can run at a bad moment.
        unsafe { signal(which, SigHandler::SigIgn) }.expect("it can be ignored");
    }
}
