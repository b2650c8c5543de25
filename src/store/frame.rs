//! Frames: records that were written together, with what proves that they are whole and in order.
//!
//! ```text
//! 0   "TgJ"   kind   3 + 1 bytes; the kind is the version of this layout too
//! 4   length         u32, of the body
//! 8   crc32          u32, of the frame with these four bytes zero
//! 12  count          u32, of the records
//! 16  first_seq      u64, the number of the first record, or of the next one in a frame without records
//! 24  synced         u64, bytes of this file that were known to be durable when this frame was made
//! 32  previous       SHA-256 of the whole frame before this one, also across files; zeros in the very first
//! 64  body           for each record its length (u32) and the record; or a snapshot
//! ```
//! Numbers are little-endian. A frame's own hash is nowhere in it: it stands in the next.
//!
//! Invariant: a frame is the atomic unit: all of its records are read back, or none of them.

use std::fmt;

use ring::digest;

use super::codec::{CodecError, Line, encode};

/// Bytes before a frame's body.
pub const HEADER: usize = 64;

/// What every frame begins with.
pub const MAGIC: &[u8; 3] = b"TgJ";

/// Bytes before each record: its length.
const LENGTH: usize = 4;

/// The hash of a frame.
pub type Hash = [u8; 32];

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Records.
    Batch,
    /// What all records so far sum to.
    Snapshot,
}

/// The numbers in front of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body holds.
    pub kind: FrameKind,
    /// How many records.
    pub count: u32,
    /// The number of the first.
    pub first_seq: u64,
    /// Bytes of the file known to be durable when the frame was made.
    pub synced: u64,
    /// The hash of the frame before.
    pub previous: Hash,
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The file ends within it.
    Incomplete,
    /// There is no frame.
    NoFrame,
    /// Its bytes are not those that were written.
    Checksum,
    /// A newer Tollgate wrote it.
    UnknownKind(u8),
    /// It does not follow the frame before it.
    Chain,
    /// Its records are not numbered on from those before it.
    Sequence,
    /// The file does not begin with the snapshot that its name promises.
    FirstFrame,
    /// Its checksum holds, but a record in it cannot be read.
    Record(CodecError),
    /// The snapshot is not the sum of the records before it.
    Snapshot,
}

impl FrameFault {
    /// Whether a write that was cut off can look like this.
    pub const fn may_be_torn(&self) -> bool {
        matches!(self, Self::Incomplete | Self::NoFrame | Self::Checksum)
    }
}

/// Appends one record to the body of a frame.
pub fn put_record(line: Line<'_>, frame: &mut Vec<u8>) {
    let start = frame.len();
    frame.extend_from_slice(&[0; LENGTH]);
    encode(line, frame);
    let length = u32::try_from(frame.len() - start - LENGTH).unwrap_or(u32::MAX);
    frame[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
}

/// Appends a record that is bytes already to the body of a frame.
pub fn put_bytes(record: &[u8], frame: &mut Vec<u8>) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    frame.reserve(LENGTH + record.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(record);
}

/// Fills in the header of a frame whose first [`HEADER`] bytes were left free, and returns the frame's hash.
pub fn seal(frame: &mut [u8], header: &Header) -> Hash {
    let length = u32::try_from(frame.len() - HEADER).unwrap_or(u32::MAX);
    frame[..3].copy_from_slice(MAGIC);
    frame[3] = match header.kind {
        FrameKind::Batch => 1,
        FrameKind::Snapshot => 2,
    };
    frame[4..8].copy_from_slice(&length.to_le_bytes());
    frame[8..12].fill(0);
    frame[12..16].copy_from_slice(&header.count.to_le_bytes());
    frame[16..24].copy_from_slice(&header.first_seq.to_le_bytes());
    frame[24..32].copy_from_slice(&header.synced.to_le_bytes());
    frame[32..64].copy_from_slice(&header.previous);
    let crc = crc32fast::hash(frame);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    hash(frame)
}

/// The length of the body after `header`, if it is the header of a frame.
pub fn body_length(header: &[u8; HEADER]) -> Result<u32, FrameFault> {
    if !header.starts_with(MAGIC) {
        return Err(FrameFault::NoFrame);
    }
    Ok(u32::from_le_bytes(part(header, 4)))
}

/// Checks a whole frame's checksum and reads its header.
pub fn check(frame: &[u8]) -> Result<Header, FrameFault> {
    let header: &[u8; HEADER] = frame.first_chunk().ok_or(FrameFault::Incomplete)?;
    let length = body_length(header)?;
    if frame.len() - HEADER != length as usize {
        return Err(FrameFault::Incomplete);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&frame[..8]);
    crc.update(&[0; 4]);
    crc.update(&frame[12..]);
    if crc.finalize() != u32::from_le_bytes(part(header, 8)) {
        return Err(FrameFault::Checksum);
    }
    let kind = match header[3] {
        1 => FrameKind::Batch,
        2 => FrameKind::Snapshot,
        kind => return Err(FrameFault::UnknownKind(kind)),
    };
    Ok(Header {
        kind,
        count: u32::from_le_bytes(part(header, 12)),
        first_seq: u64::from_le_bytes(part(header, 16)),
        synced: u64::from_le_bytes(part(header, 24)),
        previous: part(header, 32),
    })
}

/// The hash by which the next frame, or an auditor, names these bytes.
pub fn hash(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// A hash in hexadecimal.
pub fn hex(hash: &Hash) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    hash.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The records in a body, each as its bytes.
pub fn records(mut body: &[u8]) -> impl Iterator<Item = Result<&[u8], CodecError>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let split = body.split_first_chunk::<LENGTH>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        let Some((record, rest)) = split else {
            body = &[];
            return Some(Err(CodecError::Short));
        };
        body = rest;
        Some(Ok(record))
    })
}

/// `N` bytes of a header from `at`, which lies within it.
fn part<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[at..at + N]);
    bytes
}

impl fmt::Display for FrameFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => out.write_str("the file ends within a frame"),
            Self::NoFrame => out.write_str("no frame begins here"),
            Self::Checksum => out.write_str("the checksum of the frame is wrong"),
            Self::UnknownKind(kind) => write!(out, "a newer version of tollgate wrote this frame (kind {kind})"),
            Self::Chain => out.write_str("the frame does not carry the hash of the frame before it"),
            Self::Sequence => out.write_str("the frame's records are not numbered on from those before it"),
            Self::FirstFrame => out.write_str("the file does not begin with the snapshot that its name promises"),
            Self::Record(error) => write!(out, "{error}"),
            Self::Snapshot => out.write_str("the snapshot is not the sum of the records before it"),
        }
    }
}

impl std::error::Error for FrameFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut frame = vec![0; HEADER];
        frame.extend_from_slice(b"\x03\0\0\0abc");
        let header = Header { kind: FrameKind::Batch, count: 1, first_seq: 7, synced: 9, previous: [5; 32] };
        let sealed = seal(&mut frame, &header);
        assert_eq!(check(&frame), Ok(header));
        assert_eq!(sealed, hash(&frame));
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&bad).is_err(), "bit {bit}");
        }
        for cut in 0..frame.len() {
            assert_eq!(check(&frame[..cut]), Err(FrameFault::Incomplete), "{cut}");
        }
    }

    #[test]
    fn a_body_is_split_into_its_records() {
        let split = |body| records(body).collect::<Result<Vec<_>, _>>();
        assert_eq!(split(b""), Ok(vec![]));
        assert_eq!(split(b"\x01\0\0\0a\0\0\0\0"), Ok(vec![&b"a"[..], b""]));
        assert_eq!(split(b"\x02\0\0\0a"), Err(CodecError::Short));
        assert_eq!(split(b"\x02\0"), Err(CodecError::Short));
    }
}
