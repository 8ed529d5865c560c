//! The module `strata._engine`: what the package `strata` cannot do in Python. A verb of the command line run inside the process,
//! Arrow tables taken in for it and read back, and the command line itself.
//!
//! **Invariant:** nothing is decided here: settings are merged and checked, and results made, by the code of the command line.
//! The GIL is never held while the engine works.

mod attend;
mod table;
mod verbs;

use pyo3::prelude::*;
use std::ffi::OsString;

/// Runs the command line with these arguments, the program's name first; gives its exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| coordinator::cli::exit_code(arguments))
}

/// Runs a worker daemon with these arguments, the program's name first, until it is told to end; gives its exit code.
#[pyfunction]
#[pyo3(name = "worker")]
fn daemon(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| worker::daemon::exit_code(arguments))
}

/// Every setting: its path, its default, and what it does.
#[pyfunction]
fn keys() -> Vec<(&'static str, Option<&'static str>, &'static str)> {
    let keys = coordinator::job::keys::KEYS.iter();
    keys.map(|key| (key.path, key.default, key.help)).collect()
}

/// The engine.
#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<table::Table>()?;
    module.add_class::<verbs::Resident>()?;
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(daemon, module)?)?;
    module.add_function(wrap_pyfunction!(keys, module)?)?;
    module.add_function(wrap_pyfunction!(verbs::perform, module)?)?;
    module.add_function(wrap_pyfunction!(verbs::hold, module)?)?;
    module.add_function(wrap_pyfunction!(verbs::room, module)?)?;
    module.add_function(wrap_pyfunction!(verbs::take, module)?)
}
