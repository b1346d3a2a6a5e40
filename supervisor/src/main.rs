//! The `ratoon` program: the supervisor, or, executed by one, the template of the sample application
//! or the process that serves the status page.

use std::process::ExitCode;

fn main() -> ExitCode {
    if ratoon_worker::is_template() {
        return ratoon_worker::main::<ratoon::sample::Sample>();
    }
    if let Some(commission) = ratoon::admin::commission() {
        return ratoon::admin::main(&commission);
    }
    if ratoon::logger::is_one() {
        return ratoon::logger::main();
    }
    ratoon::cli::main()
}
