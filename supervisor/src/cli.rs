//! The command line: `ratoon [run]` and `ratoon check`.
//!
//! Exit statuses: 0 done as asked, 2 something to be corrected first, said in one line each on standard error; 1
//! anything else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::act::Daemon;
use crate::config::{self, Config, Errors};
use crate::decide::event::Verdict;

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

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Run the supervisor in the foreground (what happens without a command, too)
    Run,
    /// Read the configuration and say what is wrong with it: exit status 0 or 2
    Check,
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let line = CommandLine::parse();
    let config = match read(line.config) {
        Ok(config) => config,
        Err(errors) => return complain(&errors),
    };
    match line.command.unwrap_or(Command::Run) {
        Command::Run => run(config),
        Command::Check => {
            say(&format!("{}: good", config.origin.file()));
            ExitCode::SUCCESS
        }
    }
}

fn read(path: Option<PathBuf>) -> Result<Config, Errors> {
    let config = config::load(&config::find(path)?)?;
    config.examine()?;
    Ok(config)
}

fn run(config: Config) -> ExitCode {
    ratoon_worker::log::install(config.log.level, config.log.format);
    match Daemon::open(config) {
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

#[allow(clippy::print_stderr)]
fn complain(what: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{what}");
    ExitCode::from(2)
}

#[allow(clippy::print_stdout)]
fn say(what: &str) {
    println!("{what}");
}
