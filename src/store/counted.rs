//! [`Counted`]: what caps had counted when the journal was at some place, kept in a file so that a start reads only what
//! follows. It can be thrown away at any time: then everything is read.
//!
//! Invariant: it is believed only if it is whole, and of caps that count the same, and of this journal.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::codec::{CodecError, put_scope, take_scope};
use super::frame::{self, Hash};
use super::index::{Place, put_place, take_place};
use super::wire::{Put, Take};
use crate::domain::account::Scope;
use crate::domain::cap::Window;
use crate::domain::money::Usd;

/// The file in the store's folder.
const FILE: &str = "caps";

/// What it begins with; the last byte is its version.
const MAGIC: &[u8; 4] = b"TgC\x01";

/// What was counted in a part of a window: its name, charges and credits.
pub type Part = (u64, Usd, Usd);

/// What a scope has spent, by window.
pub type Sums = Vec<(Window, Vec<Part>)>;

/// What caps had counted up to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// What the caps count: those that differ count something else.
    pub shape: Hash,
    /// Up to where the journal was read.
    pub place: Place,
    /// What each scope has spent.
    pub scopes: Vec<(Scope, Sums)>,
}

impl Counted {
    /// Reads what is kept in `folder`; `None` if there is nothing that can be believed.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        let bytes = fs::read(folder.join(FILE)).ok()?;
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (hash, body) = rest.split_first_chunk::<32>()?;
        let is_whole = magic == MAGIC && *hash == frame::hash(body);
        is_whole.then(|| decode(body).ok()).flatten()
    }

    /// Keeps it in `folder` in place of what was there.
    ///
    /// # Errors
    /// The file system refuses. What was there is there still.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let (path, beside): (PathBuf, PathBuf) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
        let body = self.encode();
        let mut file = File::create(&beside)?;
        file.write_all(MAGIC)?;
        file.write_all(&frame::hash(&body))?;
        file.write_all(&body)?;
        file.sync_all()?;
        // Should the power fail before the name is durable, the file of before is as good.
        fs::rename(beside, path)
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut put = Put(&mut body);
        put.raw(&self.shape);
        put_place(&mut put, &self.place);
        put.number(self.scopes.len() as u64);
        for (scope, windows) in &self.scopes {
            put_scope(&mut put, scope);
            put.number(windows.len() as u64);
            for (window, parts) in windows {
                put_window(&mut put, *window);
                put.number(parts.len() as u64);
                for (part, charged, credited) in parts {
                    put.number(*part);
                    put.amount(charged.pico());
                    put.amount(credited.pico());
                }
            }
        }
        body
    }
}

fn decode(body: &[u8]) -> Result<Counted, CodecError> {
    let mut take = Take(body);
    let (shape, place) = (take.raw()?, take_place(&mut take)?);
    let part =
        |take: &mut Take<'_>| Ok((take.number()?, Usd::from_pico(take.amount()?), Usd::from_pico(take.amount()?)));
    let window = |take: &mut Take<'_>| Ok((take_window(take)?, take.list(part)?));
    let scopes = take.list(|take| Ok((take_scope(take)?, take.list(window)?)))?;
    take.end()?;
    Ok(Counted { shape, place, scopes })
}

fn put_window(put: &mut Put<'_>, window: Window) {
    match window {
        Window::Day => put.byte(1),
        Window::Week => put.byte(2),
        Window::Month => put.byte(3),
        Window::Total => put.byte(4),
        Window::Rolling { hours } => {
            put.byte(5);
            put.number(u64::from(hours));
        }
    }
}

fn take_window(take: &mut Take<'_>) -> Result<Window, CodecError> {
    match take.byte()? {
        1 => Ok(Window::Day),
        2 => Ok(Window::Week),
        3 => Ok(Window::Month),
        4 => Ok(Window::Total),
        5 => Ok(Window::Rolling { hours: take.narrow()? }),
        code => Err(CodecError::UnknownCode { what: "window", code }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { segment: 1, frame: 2, offset: 300, next_seq: 4, head: [5; 32] };
        let parts = vec![(7, Usd::from_pico(1 << 90), Usd::from_pico(3))];
        let windows = [Window::Day, Window::Week, Window::Month, Window::Total, Window::Rolling { hours: 5 }];
        let sums: Sums = windows.into_iter().map(|window| (window, parts.clone())).collect();
        let scopes = vec![(Scope::Organisation, sums), (Scope::User("ada".into()), Vec::new())];
        let counted = Counted { shape: [9; 32], place, scopes };
        assert_eq!(Counted::read(folder.path()), None);
        counted.write(folder.path()).unwrap();
        assert_eq!(Counted::read(folder.path()), Some(counted));
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert_eq!(Counted::read(folder.path()), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(Counted::read(folder.path()), None, "cut at {at}");
        }
    }
}
