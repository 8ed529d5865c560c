//! The binary `coordinator`: everything is in the library, so that tests run the same code.

use std::process::ExitCode;

fn main() -> ExitCode {
    coordinator::cli::main(std::env::args_os())
}
