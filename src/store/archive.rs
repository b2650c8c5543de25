//! Archives: what a segment came to that retention has dropped, so that reports of the past, and the
//! caps that count it, stay what they were.
//!
//! One file for each dropped segment, written and made durable before the segment goes. It carries the hash of the
//! archive before it and of the segment's last frame, and the journal names its own hash, so that the chain of hashes
//! from the first entry to the last is never broken, only abridged.
//!
//! Invariant: a segment that is there wins over its archive; one or the other is always there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::codec::CodecError;
use super::disk::Disk;
use super::frame::{self, FrameFault, Hash};
use super::index::{put_subject, put_sums, quarter_of, take_subject, take_sums};
use super::moved::{Moved, put_aside, take_aside};
use super::read::ReadError;
use super::segment::BadFrame;
use super::wire::{Put, Take};
use crate::domain::account::Scope;
use crate::domain::money::Usd;
use crate::domain::subject::Subject;
use crate::domain::sums::Sums;

/// The folder of the archives within the store's.
pub const FOLDER: &str = "archive";

/// What every archive begins with, and then its version: the first kept only rows.
const MAGIC: &[u8; 3] = b"TgA";

/// The version in which archives are written today.
const VERSION: u8 = 2;

/// What is left of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// The number of the segment's first record.
    pub first_seq: u64,
    /// The number of the first record after it.
    pub next_seq: u64,
    /// The hash of its last frame.
    pub head: Hash,
    /// The hash of the archive before; zeros in the first.
    pub previous: Hash,
    /// The latest time of anything counted in it, unix milliseconds.
    pub latest_ms: u64,
    /// What was posted to the whole organisation as unsettled, and is in no row.
    pub unsettled: Usd,
    /// By quarter of an hour since 1970 and subject: what was there.
    pub rows: Vec<(u32, Subject, Sums)>,
    /// What counts elsewhere in caps than in rows.
    pub moved: Vec<Moved>,
    /// By quarter and scope: what was posted as unsettled.
    pub posted: Vec<(u32, Scope, Usd)>,
    /// By quarter: the reasons of entries that may have billed a batch.
    pub reasons: Vec<(u32, Box<str>)>,
}

/// Writes an archive and makes it durable. Returns its hash.
pub fn write(disk: &dyn Disk, folder: &Path, archive: &Archive) -> io::Result<Hash> {
    let archives = folder.join(FOLDER);
    fs::create_dir_all(&archives)?;
    let bytes = encode(archive);
    let path = path_of(&archives, archive.first_seq);
    let beside = path.with_extension("new");
    match disk.remove(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // What an interrupted attempt left there is gone.
        Ok(()) | Err(_) => {}
    }
    let file = disk.create(&beside)?;
    let written = file.write(&bytes)?;
    if written != bytes.len() {
        return Err(io::Error::other(format!("short write of {written} of {} bytes", bytes.len())));
    }
    file.sync()?;
    disk.rename(&beside, &path)?;
    disk.sync_folder(&archives)?;
    disk.sync_folder(folder)?;
    Ok(frame::hash(&bytes))
}

/// Reads the archive of the segment that began with record `first_seq`, with its hash.
pub fn read(folder: &Path, first_seq: u64) -> Result<(Archive, Hash), ReadError> {
    let path = path_of(&folder.join(FOLDER), first_seq);
    let bytes = fs::read(&path).map_err(|error| ReadError::Io { path: path.clone(), error })?;
    let archive = decode(&bytes)
        .and_then(|archive| if archive.first_seq == first_seq { Ok(archive) } else { Err(FrameFault::Sequence) });
    let archive = archive.map_err(|why| ReadError::Bad(bad(folder, first_seq, why)))?;
    Ok((archive, frame::hash(&bytes)))
}

/// What is wrong with the archive of the segment that began with record `first_seq`.
pub fn bad(folder: &Path, first_seq: u64, why: FrameFault) -> BadFrame {
    BadFrame { segment: path_of(&folder.join(FOLDER), first_seq), offset: 0, why }
}

/// The numbers of the first records of all archived segments, in order.
pub fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let files = match folder.join(FOLDER).read_dir() {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for file in files {
        let name = file?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_suffix(".sums")).and_then(|digits| digits.parse().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

fn path_of(folder: &Path, first_seq: u64) -> PathBuf {
    folder.join(format!("{first_seq:020}.sums"))
}

fn encode(archive: &Archive) -> Vec<u8> {
    let mut body = Vec::new();
    let mut put = Put(&mut body);
    for number in [archive.first_seq, archive.next_seq, archive.latest_ms] {
        put.number(number);
    }
    put.raw(&archive.head);
    put.raw(&archive.previous);
    put.amount(archive.unsettled.pico());
    put.number(archive.rows.len() as u64);
    for (quarter, subject, sums) in &archive.rows {
        put.number(u64::from(*quarter));
        put_subject(&mut put, subject);
        put_sums(&mut put, sums);
    }
    put_aside(&mut put, archive);
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn decode(bytes: &[u8]) -> Result<Archive, FrameFault> {
    let (magic, rest) = bytes.split_first_chunk::<3>().ok_or(FrameFault::Incomplete)?;
    let (version, rest) = rest.split_first().ok_or(FrameFault::Incomplete)?;
    let (crc, body) = rest.split_first_chunk::<4>().ok_or(FrameFault::Incomplete)?;
    if magic != MAGIC {
        return Err(FrameFault::NoFrame);
    }
    if u32::from_le_bytes(*crc) != crc32fast::hash(body) {
        return Err(FrameFault::Checksum);
    }
    fields(body, *version).map_err(FrameFault::Record)
}

fn fields(body: &[u8], version: u8) -> Result<Archive, CodecError> {
    if !(1..=VERSION).contains(&version) {
        return Err(CodecError::NewerVersion { kind: 0, version });
    }
    let mut take = Take(body);
    let (first_seq, next_seq, latest_ms) = (take.number()?, take.number()?, take.number()?);
    let mut archive = Archive {
        first_seq,
        next_seq,
        latest_ms,
        head: take.raw()?,
        previous: take.raw()?,
        unsettled: Usd::from_pico(take.amount()?),
        rows: take.list(|take| Ok((take.narrow()?, take_subject(take)?, take_sums(take)?)))?,
        ..Archive::default()
    };
    match version {
        1 => archive.posted = vec![(quarter_of(latest_ms), Scope::Organisation, archive.unsettled)],
        _ => take_aside(&mut take, &mut archive)?,
    }
    take.end()?;
    Ok(archive)
}
