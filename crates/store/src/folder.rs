//! Folders that are there after a crash of the machine: what is synced inside of a folder is lost with a folder that is not.

use crate::error::StoreError;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes a folder, and those above it, where they are missing, and makes their names durable.
///
/// # Errors
/// Where one cannot be made or synced.
pub fn make_durable(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return fs::create_dir_all(folder),
    };
    make_durable(above)?;
    // Another process may have made it meanwhile.
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => {
            return Err(error);
        }
        _ => {}
    }
    File::open(above)?.sync_all()
}

/// Makes the names in a folder durable: those that were given, and that others were taken.
///
/// # Errors
/// Where it cannot be opened or synced.
pub fn sync(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(StoreError::io(folder, "synced"))
}

#[cfg(test)]
mod tests {
    use super::make_durable;

    #[test]
    fn a_folder_is_made_with_all_above_it_and_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b/c");
        make_durable(&folder).unwrap();
        make_durable(&folder).unwrap();
        assert!(folder.is_dir());
        let file = root.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(make_durable(&file).is_err());
        assert!(make_durable(&file.join("below")).is_err());
    }
}
