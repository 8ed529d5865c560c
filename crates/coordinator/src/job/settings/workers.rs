//! Who computes: workers of this process, or daemons, and how those are found. Nothing here looks for them.

use serde::Serialize;
use std::path::PathBuf;

/// Who computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workers {
    /// So many in this process.
    Embedded(u32),
    /// Daemons, each HOST:PORT.
    Addresses(Vec<String>),
    /// All that a name resolves to.
    Dns {
        /// The name.
        service: String,
        /// The port.
        port: u16,
    },
    /// Daemons whose addresses stand in a file, which may change while the run lasts.
    File(PathBuf),
}
