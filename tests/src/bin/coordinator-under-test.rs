//! The binary `coordinator` as this package sees it: cargo builds only a package's own binaries for its tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    coordinator::cli::main(std::env::args_os())
}
