//! Random bytes that outlive the process: a file in the store's folder that only its owner may read.
//!
//! What is there already is used again and never changed. A file that does not hold what it should is an error: making
//! another secret would lock out whoever has the old one.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::AppError;
use crate::clock::Mint;

/// Bytes of each secret that is made.
const BYTES: usize = 32;

/// What an admin token that was made begins with, so that whoever finds one knows what it opens.
const TOKEN_PREFIX: &str = "tga_";

/// Only the owner may read and write.
const MODE: u32 = 0o600;

/// The key of the names of callers whose credential passes through, kept at `path`.
pub(super) fn pepper(path: &Path, mint: &Mint) -> Result<[u8; BYTES], AppError> {
    let kept = keep(path, || Ok(secret(mint)?.to_vec()))?;
    kept.try_into().map_err(|_| AppError::Damaged(path.to_owned()))
}

/// The admin token that is kept at `path`, as `tga_` and hexadecimal digits.
pub(super) fn admin_token(path: &Path, mint: &Mint) -> Result<String, AppError> {
    let make = || {
        let digits: String = secret(mint)?.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{TOKEN_PREFIX}{digits}\n").into_bytes())
    };
    let kept = String::from_utf8(keep(path, make)?).unwrap_or_default();
    let token = kept.trim_end();
    let digits = token.strip_prefix(TOKEN_PREFIX).unwrap_or_default();
    let whole = digits.len() == 2 * BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if whole { Ok(token.to_owned()) } else { Err(AppError::Damaged(path.to_owned())) }
}

fn secret(mint: &Mint) -> Result<[u8; BYTES], AppError> {
    mint.secret().map_err(|_| AppError::NoRandomness)
}

/// What `path` holds; made first, and made durable, if there is no such file.
fn keep(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, AppError>) -> Result<Vec<u8>, AppError> {
    let failed = |error| AppError::File { path: path.to_owned(), error };
    let mut held = Vec::new();
    match fs::File::open(path) {
        Ok(mut file) => file.read_to_end(&mut held).map(drop).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            held = make()?;
            write_new(path, &held).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(held)
}

/// Writes a file that is there whole or not at all: a process that dies half way leaves no half secret.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mint) = (folder.path().join("admin-token"), Mint::seeded(1));
        let token = admin_token(&path, &mint).unwrap();
        assert!(token.starts_with(TOKEN_PREFIX) && token.len() == TOKEN_PREFIX.len() + 64, "{token}");
        assert_eq!(admin_token(&path, &mint).unwrap(), token);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let other = folder.path().join("pepper");
        assert_eq!(pepper(&other, &mint).unwrap(), pepper(&other, &mint).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside them");
    }

    #[test]
    fn a_damaged_secret_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for held in ["", "tga_", "tga_12", "other"] {
            let path = folder.path().join("damaged");
            fs::write(&path, held).unwrap();
            assert!(matches!(admin_token(&path, &Mint::seeded(1)), Err(AppError::Damaged(_))), "{held}");
            assert!(matches!(pepper(&path, &Mint::seeded(1)), Err(AppError::Damaged(_))), "{held}");
            assert_eq!(fs::read_to_string(&path).unwrap(), held);
        }
    }
}
