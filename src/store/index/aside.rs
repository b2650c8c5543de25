//! What becomes of an index that cannot be trusted: it is set aside for whoever wants to know why, and begun anew.
//!
//! Invariant: at most one such index is kept, so that a disk cannot fill with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the index within the store's.
pub const FOLDER: &str = "index";

/// Where an index goes that could not be trusted.
const ASIDE: &str = "index-set-aside";

/// The folder of the index of the store in `folder`.
pub fn path(folder: &Path) -> PathBuf {
    folder.join(FOLDER)
}

/// Renames the index. Nothing may have it open.
pub fn set_aside(folder: &Path) -> io::Result<()> {
    let aside = folder.join(ASIDE);
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            // What cannot be removed as a folder is something else that somebody put there.
            fs::remove_file(&aside)?;
        }
        Ok(()) | Err(_) => {}
    }
    match fs::rename(path(folder), aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

/// Bytes of all files in `folder` and its folders.
pub fn bytes_in(folder: &Path) -> u64 {
    let Ok(files) = folder.read_dir() else { return 0 };
    let bytes_of = |file: io::Result<fs::DirEntry>| {
        let file = file.ok()?;
        let about = file.metadata().ok()?;
        Some(if about.is_dir() { bytes_in(&file.path()) } else { about.len() })
    };
    files.filter_map(bytes_of).sum()
}
