//! The binary `worker`: everything is in the library, so that a wheel runs the same code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(worker::daemon::exit_code(std::env::args_os()))
}
