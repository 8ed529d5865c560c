//! What all targets share: the doors of the tests, by name.

use std::panic::{PanicHookInfo, set_hook};

/// A panic that is caught where a library is known to panic at damaged bytes is none of ours: only one that comes out of a door ends
/// the process. (libFuzzer's own hook ends it at once.)
pub fn begin() {
    set_hook(Box::new(|_: &PanicHookInfo<'_>| {}));
}

/// Lets bytes in.
///
/// # Panics
/// Where there is no such door, and where there is a fault behind it.
pub fn enter(name: &str, bytes: &[u8]) {
    let door = tests::doors::DOORS.iter().find(|door| door.name == name);
    (door.expect("a door").enter)(bytes);
}
