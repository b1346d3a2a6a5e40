//! The command line: `ratoon [run]`, `ratoon check`, and what is asked of a running supervisor.
//!
//! Exit statuses: 0 done as asked, 2 something to be corrected first, said in one line each on standard error; 1
//! anything else.

mod call;
mod errand;
mod figure;
mod plain;
mod progress;
mod size;
mod status;
mod table;
mod unit;
mod watch;

use std::io::{ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use nix::errno::Errno;
use ratoon_worker::log;

use crate::act::{self, Daemon, Passed, StartError, upgrade};
use crate::config::{self, Config, Control, Errors};
use crate::control::{Ask, place};
use crate::decide::event::{Size, Verdict};
use crate::sys;

/// A preforking process supervisor: keeps pools of reusable, single-threaded worker processes alive.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file; by default ./config.toml, else /etc/ratoon/config.toml
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the supervisor in the foreground (what happens without a command, too)
    Run,
    /// Read the configuration and say what is wrong with it: exit status 0 or 2
    Check {
        /// The unit it is meant for: a warning if systemd would not wait for as long as a stop may take
        #[arg(long, value_name = "NAME", default_value = "ratoon.service")]
        unit: String,
    },
    /// Say how the running supervisor, its pools and its workers are
    Status {
        /// The whole document, for programs
        #[arg(long)]
        json: bool,
        /// Again every second, until Ctrl-C
        #[arg(long, conflicts_with = "json")]
        watch: bool,
        #[command(flatten)]
        whom: Whom,
    },
    /// Load configuration and programs anew and wait for the outcome: exit status 0 if all is well, 1 if the old
    /// generation serves on
    Reload {
        /// The pools that get a new generation; by default all
        #[arg(value_name = "POOL")]
        pools: Vec<String>,
        #[command(flatten)]
        whom: Whom,
    },
    /// Change the size of a pool, as TTIN and TTOU do, and wait until it is reached; lasts until the daemon stops
    Scale {
        /// The pool
        pool: String,
        /// N: the workers of a static pool, the most of any other; +N or -N: so many more or fewer
        #[arg(value_parser = size::parse, allow_hyphen_values = true)]
        size: Size,
        #[command(flatten)]
        whom: Whom,
    },
    /// Replace the workers of a pool, or the one in a slot, each for a fresh one that is ready; loads nothing anew
    Restart {
        /// The pool
        pool: String,
        /// The slot, by default all
        #[arg(value_parser = size::slot)]
        slot: Option<u32>,
        #[command(flatten)]
        whom: Whom,
    },
    /// Stop the supervisor and wait until it is gone: by default what was accepted or queued is served first
    Stop {
        /// Serve nothing more
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        whom: Whom,
    },
    /// Have the supervisor become the program that now stands at its path; workers and connections stay
    Upgrade {
        #[command(flatten)]
        whom: Whom,
    },
    /// Show what a configuration means: every value in force, and where it comes from
    Config {
        /// What is in force where a file says nothing
        #[arg(long)]
        defaults: bool,
    },
    /// Write the completions for a shell to standard output
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual page to standard output
    Man,
    /// See to the log files
    Logs {
        #[command(subcommand)]
        what: Logs,
    },
}

#[derive(Debug, Subcommand)]
enum Logs {
    /// Open them anew, after they have been moved away: what USR1 does
    Reopen {
        #[command(flatten)]
        whom: Whom,
    },
}

/// Which supervisor is asked.
#[derive(Debug, Args)]
struct Whom {
    /// The supervisor's control socket; by default $RATOON_SOCKET, else where the configuration says, else
    /// $RUNTIME_DIRECTORY/control.sock, else /run/ratoon/control.sock
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    let socket = |whom: Whom| place::to_ask(whom.socket, || configured(line.config.clone()));
    let errand = |whom: Whom, ask: Ask| match socket(whom) {
        Ok(socket) => errand::main(&socket, &ask),
        Err(reason) => complain(&reason),
    };
    let asked = |whom: Whom, ask: &dyn Fn(&Path) -> ExitCode| match socket(whom) {
        Ok(socket) => ask(&socket),
        Err(reason) => complain(&reason),
    };
    match line.command.unwrap_or(Command::Run) {
        Command::Run => match upgrade::inherited() {
            Some(Err(reason)) => complain(&reason),
            Some(Ok(estate)) => {
                log::install(estate.config().log.level, estate.log_form(), estate.log_sink());
                run(Daemon::resume(estate))
            }
            None => match Passed::take() {
                Ok(passed) => begin(line.config, passed),
                Err(what) => complain(&what),
            },
        },
        Command::Check { unit } => match read(line.config) {
            Ok(config) => match upgrade::inherited() {
                Some(Err(reason)) => complain(&reason),
                Some(Ok(_)) => {
                    say(&format!("{}: good\n{}", config.origin.file(), upgrade::UNDERSTOOD));
                    ExitCode::SUCCESS
                }
                None => {
                    if let Some(warning) = unit::impatience(&config, &unit) {
                        hint(&warning);
                    }
                    say(&format!("{}: good", config.origin.file()));
                    ExitCode::SUCCESS
                }
            },
            Err(errors) => complain(&errors),
        },
        Command::Config { defaults: true } => {
            let pool = config::Pool { name: "NAME".into(), ..Default::default() };
            show(&Config { pools: vec![pool], ..Config::default() }, "no file: the defaults")
        }
        Command::Config { defaults: false } => match read(line.config) {
            Ok(config) => show(&config, config.origin.file()),
            Err(errors) => complain(&errors),
        },
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "ratoon", &mut text);
            deliver(String::from_utf8_lossy(&text).trim_end())
        }
        Command::Man => match manual() {
            Ok(text) => deliver(text.trim_end()),
            Err(error) => complain(&error),
        },
        Command::Status { watch: true, whom, .. } => asked(whom, &watch::main),
        Command::Status { json, whom, .. } => asked(whom, &|socket| status::main(socket, json)),
        Command::Reload { pools, whom } => errand(whom, Ask::Reload { pools }),
        Command::Scale { pool, size, whom } => errand(whom, Ask::Scale { pool, size }),
        Command::Restart { pool, slot, whom } => errand(whom, Ask::Restart { pool, slot }),
        Command::Stop { now, whom } => errand(whom, Ask::Stop { now }),
        Command::Upgrade { whom } => errand(whom, Ask::Upgrade),
        Command::Logs { what: Logs::Reopen { whom } } => errand(whom, Ask::ReopenLogs),
    }
}

/// The configuration that says where the control socket is. Of one that is wrong that is all that counts: to ask how things
/// are, and to hear why a reload fails, must be possible nevertheless.
///
/// # Errors
/// Not even that can be read in it: another daemon may not be asked in place of the one that is meant.
fn configured(path: Option<PathBuf>) -> Result<Control, Errors> {
    match config::find(path.clone()) {
        Ok(path) => config::control_of(&path),
        Err(_) if path.is_none() => Ok(Control::default()),
        Err(errors) => Err(errors),
    }
}

fn read(path: Option<PathBuf>) -> Result<Config, Errors> {
    let config = config::load(&config::find(path)?)?;
    config.examine()?;
    Ok(config)
}

/// The first supervisor of a service, with what systemd has opened for it.
fn begin(path: Option<PathBuf>, passed: Passed) -> ExitCode {
    let config = match read(path) {
        Ok(config) => config,
        Err(errors) => return complain(&errors),
    };
    match act::Logs::open(&config.log) {
        Ok(logs) => {
            log::install(config.log.level, logs.form(), logs.sink());
            run(Daemon::open(config, logs, passed))
        }
        Err(what) => complain(&config.origin.complaint("log.file", what)),
    }
}

fn run(opened: Result<Daemon, StartError>) -> ExitCode {
    match opened {
        Err(error) => complain(&error),
        Ok(daemon) => match daemon.run() {
            Ok(Verdict::Asked) => ExitCode::SUCCESS,
            Ok(Verdict::Failed) => ExitCode::FAILURE,
            Err(error) => {
                tracing::error!(%error, "the supervisor cannot wait for events");
                ExitCode::FAILURE
            }
        },
    }
}

/// What this configuration means, and which it is.
fn show(config: &Config, which: &str) -> ExitCode {
    let control = place::to_open(config);
    deliver(&format!("# {which}\n{}", plain::plain(&config.account(control.as_deref()))))
}

/// One page with every command: what a package installs as ratoon(1).
fn manual() -> std::io::Result<String> {
    let command = CommandLine::command();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for each in command.get_subcommands().filter(|each| !each.is_hide_set()) {
        let man = clap_mangen::Man::new(each.clone().bin_name(format!("ratoon {}", each.get_name())));
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        let section = String::from_utf8_lossy(&section).replace("\n.SH ", "\n.SS ");
        let section = section.strip_prefix(".SH ").map_or(section.clone(), |rest| format!(".SS {rest}"));
        page.extend_from_slice(format!(".SH \"ratoon {}\"\n{section}", each.get_name()).as_bytes());
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn complain(what: &dyn std::fmt::Display) -> ExitCode {
    hint(what);
    ExitCode::from(2)
}

/// Writes a line for whoever wonders.
#[allow(clippy::print_stderr)]
fn hint(what: &dyn std::fmt::Display) {
    eprintln!("{what}");
}

/// Writes a line for whoever reads; nobody need: what counts is said by the exit status.
fn say(what: &str) {
    let _ = writeln!(stdout(), "{what}");
}

/// Writes what was asked for, and nothing else was.
fn deliver(what: &str) -> ExitCode {
    let written = match sys::output::was_open() {
        true => writeln!(stdout(), "{what}").and_then(|()| stdout().flush()),
        false => Err(Errno::EBADF.into()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => undelivered(&error),
    }
}

/// What was asked for could not be written. Who has read enough need not be told.
fn undelivered(error: &std::io::Error) -> ExitCode {
    if error.kind() != ErrorKind::BrokenPipe {
        hint(&format!("cannot write to standard output: {error}"));
    }
    ExitCode::FAILURE
}
