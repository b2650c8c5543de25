//! A kept answer as a file: a checked head, a description in JSON, and the answer's bytes as they came.
//!
//! What was learned from the answer is not in it: it is learned again from the bytes, by the same meter.
//!
//! Invariant: whatever differs from what was written in as much as a bit, or was written by another version, is no answer.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::kept::{About, Kept};
use super::key::{Key, Namespace};
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::protocol::facts::Facts;
use crate::protocol::meter::{Head, Meter};

/// What a file begins with.
const MAGIC: &[u8; 8] = b"tgcache3";

/// Bytes in front of what is checked: the magic and the SHA-256 of the rest.
const CHECKED_FROM: usize = MAGIC.len() + 32;

/// Bytes in front of the description: two keys, two times and its length.
pub(super) const HEAD_BYTES: usize = CHECKED_FROM + 32 + 32 + 8 + 8 + 4;

/// What the head of a file says, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) near: Option<Key>,
    pub(super) kept_ms: u64,
    pub(super) expires_ms: u64,
}

/// A file that has been checked.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) near: Option<Key>,
    /// The answer, of which nothing has been learned yet.
    pub(super) kept: Kept,
}

#[derive(Deserialize, Serialize)]
struct Described {
    /// Another version may make its keys of something else.
    version: Box<str>,
    scope: Box<str>,
    name: Box<str>,
    key: Box<str>,
    team: Option<Box<str>>,
    upstream: Box<str>,
    model: Box<str>,
    operation: Box<str>,
    headers: Vec<(Box<str>, Box<str>)>,
    cost_pico: Option<Box<str>>,
}

/// The file of an answer; nothing where one of its headers is no text.
pub(super) fn write(key: &Key, near: Option<&Key>, kept: &Kept) -> Option<Vec<u8>> {
    let about = &kept.about;
    let (scope, name) = about.namespace.words();
    let text = |(name, value): &(HeaderName, HeaderValue)| Some((name.as_str().into(), value.to_str().ok()?.into()));
    let described = Described {
        version: env!("CARGO_PKG_VERSION").into(),
        scope: scope.into(),
        name: name.into(),
        key: (*about.key).into(),
        team: about.team.as_deref().map(Into::into),
        upstream: (*about.upstream).into(),
        model: (*about.model).into(),
        operation: about.operation.name().into(),
        headers: kept.headers.iter().map(text).collect::<Option<_>>()?,
        cost_pico: kept.cost.map(|cost| cost.pico().to_string().into()),
    };
    let described = serde_json::to_vec(&described).ok()?;
    let mut file = Vec::with_capacity(HEAD_BYTES + described.len() + kept.bytes.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&[0; 32]);
    file.extend_from_slice(key.bytes());
    file.extend_from_slice(near.map_or(&[0; 32][..], |near| near.bytes()));
    file.extend_from_slice(&kept.kept_ms.to_be_bytes());
    file.extend_from_slice(&kept.expires_ms.to_be_bytes());
    file.extend_from_slice(&u32::try_from(described.len()).ok()?.to_be_bytes());
    file.extend_from_slice(&described);
    file.extend_from_slice(&kept.bytes);
    let sum = digest(&SHA256, &file[CHECKED_FROM..]);
    file[MAGIC.len()..CHECKED_FROM].copy_from_slice(sum.as_ref());
    Some(file)
}

/// What a head says, which has to be checked before anybody is given the answer.
pub(super) fn label(head: &[u8], key: &Key) -> Option<Label> {
    let (magic, mut rest) = (head.get(..MAGIC.len())?, head.get(CHECKED_FROM..HEAD_BYTES)?);
    let own = take::<32>(&mut rest)?;
    let near = take::<32>(&mut rest)?;
    let (kept_ms, expires_ms) = (u64::from_be_bytes(take(&mut rest)?), u64::from_be_bytes(take(&mut rest)?));
    let near = (near != [0; 32]).then(|| Key::of_bytes(near));
    (magic == MAGIC && own == *key.bytes()).then_some(Label { near, kept_ms, expires_ms })
}

/// The answer in a file that lies under `key`.
pub(super) fn read(file: &[u8], key: &Key) -> Option<Stored> {
    let label = label(file, key)?;
    let sum = file.get(MAGIC.len()..CHECKED_FROM)?;
    if digest(&SHA256, file.get(CHECKED_FROM..)?).as_ref() != sum {
        return None;
    }
    let mut rest = file.get(HEAD_BYTES - 4..)?;
    let length = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
    let (described, bytes) = rest.split_at_checked(length)?;
    let described: Described = serde_json::from_slice(described).ok()?;
    if *described.version != *env!("CARGO_PKG_VERSION") {
        return None;
    }
    let about = About {
        namespace: Namespace::of_words(&described.scope, &described.name)?,
        key: described.key.into(),
        team: described.team.map(Into::into),
        upstream: described.upstream.into(),
        model: described.model.into(),
        operation: Operation::ALL.into_iter().find(|known| known.name() == &*described.operation)?,
    };
    let bytes = Bytes::copy_from_slice(bytes);
    let mut kept = Kept::new(about, bytes, Facts::default(), label.kept_ms, label.expires_ms);
    let header = |(name, value): &(Box<str>, Box<str>)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    };
    kept.headers = described.headers.iter().map(header).collect::<Option<_>>()?;
    kept.cost = match described.cost_pico {
        Some(pico) => Some(Usd::from_pico(pico.parse().ok()?)),
        None => None,
    };
    Some(Stored { near: label.near, kept })
}

/// Learns from an answer what was learned when it came.
pub(super) fn learn(kept: &mut Kept) {
    let header = |name: HeaderName| {
        kept.headers.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.to_str().ok())
    };
    let head = Head {
        status: 200,
        content_type: header(http::header::CONTENT_TYPE).unwrap_or_default(),
        content_encoding: header(http::header::CONTENT_ENCODING).unwrap_or_default(),
    };
    let mut meter = Meter::new(kept.about.operation, head);
    meter.feed(&kept.bytes);
    kept.facts = meter.end();
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}
