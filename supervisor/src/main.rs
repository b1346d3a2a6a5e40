//! The `ratoon` program: the supervisor, or, executed by one, the template of the sample application.

use std::process::ExitCode;

fn main() -> ExitCode {
    if ratoon_worker::is_template() {
        return ratoon_worker::main::<ratoon::sample::Sample>();
    }
    ratoon::cli::main()
}
