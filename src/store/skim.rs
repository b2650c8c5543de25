//! [`Skim`]: what caps count of an entry, read from its bytes without the rest of it.
//!
//! Whoever counts a journal for caps reads every entry of it and needs of each only whose it is, when it was, and what its
//! attempts cost. The rest is stepped over, and nothing is copied.
//!
//! Invariant: of every entry it says what decoding all of it says.

use super::codec::{CodecError, ENTRY, VERSION};
use super::entry_codec::{COMPARED, PRICED, SAME_MODEL, SAME_UPSTREAM, attempt_flags};
use super::wire::Take;
use crate::domain::money::Usd;

/// What caps count of an entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Skim<'a> {
    /// When it arrived, unix milliseconds.
    pub at_ms: u64,
    /// Its key.
    pub key: &'a str,
    /// Its user.
    pub user: Option<&'a str>,
    /// Its team.
    pub team: Option<&'a str>,
    /// The models of its attempts, and what they cost; `None` is unpriced.
    pub attempts: Vec<(&'a str, Option<Usd>)>,
}

impl<'a> Skim<'a> {
    /// Of the bytes of a record; `None` if it is no entry.
    ///
    /// # Errors
    /// The bytes are no entry of a version that is known.
    pub fn of(bytes: &'a [u8]) -> Result<Option<Self>, CodecError> {
        let take = &mut Take(bytes);
        let [kind, version] = take.raw()?;
        if kind != ENTRY {
            return Ok(None);
        }
        if !matches!(version, VERSION | COMPARED) {
            return Err(CodecError::NewerVersion { kind, version });
        }
        take.raw::<16>()?;
        let at_ms = take.number()?;
        let (key, user, team) = (take.text()?, take.maybe(Take::text)?, take.maybe(Take::text)?);
        for _ in 0..take.number()? {
            steps(take, 2)?;
        }
        take.raw::<2>()?;
        steps(take, 2)?;
        let model = take.text()?;
        take.maybe(Take::skip_text)?;
        take.maybe(Take::byte)?;
        take.skip_text()?;
        take.raw::<2>()?;
        take.number()?;
        take.byte()?;
        for _ in 0..4 {
            take.maybe(Take::skip_text)?;
        }
        usage(take)?;
        take.raw::<2>()?;
        take.maybe(Take::amount)?;
        take.amount()?;
        take.maybe(|take| take.skip_text().and_then(|()| take.number()))?;
        take.maybe(Take::amount)?;
        take.number()?;
        take.maybe(Take::number)?;
        let attempts = take.list(|take| attempt(take, model))?;
        Ok(Some(Self { at_ms, key, user, team, attempts }))
    }
}

fn steps(take: &mut Take<'_>, texts: usize) -> Result<(), CodecError> {
    (0..texts).try_for_each(|_| take.skip_text())
}

fn usage(take: &mut Take<'_>) -> Result<(), CodecError> {
    for _ in 0..take.number()?.count_ones() {
        take.number()?;
    }
    for _ in 0..take.number()? {
        take.skip_text()?;
        take.number()?;
    }
    Ok(())
}

fn attempt<'a>(take: &mut Take<'a>, model: &'a str) -> Result<(&'a str, Option<Usd>), CodecError> {
    let flags = attempt_flags(take)?;
    take.byte()?;
    if flags & SAME_UPSTREAM == 0 {
        take.skip_text()?;
    }
    let model = if flags & SAME_MODEL == 0 { take.text()? } else { model };
    take.number()?;
    take.raw::<2>()?;
    let cost = if flags & PRICED == 0 { None } else { Some(Usd::from_pico(take.amount()?)) };
    Ok((model, cost))
}
