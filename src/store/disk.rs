//! [`Disk`]: the seven things that journal and archives ask of a file system, as a seam where tests let them fail.
//!
//! Reading needs no seam: tests damage real files.
//!
//! Invariant: nothing is durable before [`LogFile::sync`] has returned, and a new file not before
//! [`Disk::sync_folder`] has.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A file system.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a new file to append to; an error if it exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;

    /// Opens a file to append to.
    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in its folder, in place of a file that may have it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// A file that only grows.
pub trait LogFile: Send + Sync + fmt::Debug {
    /// Appends, and returns how many of the bytes were appended.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes all that was appended durable.
    fn sync(&self) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

impl LogFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut &*self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
