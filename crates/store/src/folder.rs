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
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made: Vec<&Path> = folder.ancestors().take_while(missing).collect();
    fs::create_dir_all(folder)?;
    for folder in made {
        let above = folder
            .parent()
            .filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
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
