//! What can be told of a record from its bytes without owning any of it: what kind it is, and [`Brief`], what of an entry
//! counts. Whoever sums a journal while it is written reads nothing else of nearly all of it. The rules of `codec` apply.
//!
//! Invariant: a brief says what the whole entry says, and whatever is cut short in the entry is an error in the brief.

use super::codec::{
    CLOSE, CodecError, ENTRY, OPEN, VERSION, cache_of, code_of_cache, code_of_tier, outcome_of, source_of, take_money,
    tier_of,
};
use super::entry_codec::{COMPARED, skip_attempt, take_brief_usage};
use super::wire::Take;
use crate::domain::account::Payer;
use crate::domain::entry::{CacheUse, FEATURE_BYTES, Outcome, Tier};
use crate::domain::fault::Fault;
use crate::domain::ids::RequestId;
use crate::domain::money::Usd;
use crate::domain::sums::Figures;
use crate::domain::tokens::{Usage, UsageSource};

/// The names in a response that sums do not tell apart: tiers, region and speed.
const NAMES_SKIPPED: usize = 4;

/// What of an entry counts in totals and reports.
#[derive(Clone, Debug)]
pub struct Brief<'a> {
    /// The request.
    pub id: RequestId,
    /// When it arrived, unix milliseconds.
    pub at_ms: u64,
    /// Who pays.
    pub payer: Payer<'a>,
    /// The model that was sent.
    pub model: &'a str,
    /// What the provider bills, if it has a price.
    pub cost: Option<Usd>,
    /// Account, dialect, operation, upstream and models, as they are written.
    names: &'a [u8],
    requested_model: &'a str,
    tier: Option<Tier>,
    cache: CacheUse,
    status: u16,
    outcome: Outcome,
    usage: Usage,
    usage_source: UsageSource,
    saved: Usd,
    baseline: Option<Usd>,
    attempts: u64,
    requests: u32,
}

/// The request whose entry `bytes` are, without decoding the rest; `None` for every other kind of record.
pub fn entry_id(bytes: &[u8]) -> Option<RequestId> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (id, _) = rest.split_first_chunk()?;
    (head[0] == ENTRY).then(|| RequestId(u128::from_be_bytes(*id)))
}

/// Whether `bytes` are an open or a close, without decoding them: most of a journal, and nothing to a report.
pub fn is_attempt(bytes: &[u8]) -> bool {
    matches!(bytes, [OPEN | CLOSE, VERSION, ..])
}

/// The request of an open or a close, and the time in it; `None` for every other kind of record.
pub fn attempt_of(bytes: &[u8]) -> Result<Option<(RequestId, u64)>, CodecError> {
    if !is_attempt(bytes) {
        return Ok(None);
    }
    let mut take = Take(bytes);
    take.raw::<2>()?;
    let id = RequestId(u128::from_be_bytes(take.raw()?));
    take.byte()?;
    Ok(Some((id, take.number()?)))
}

impl<'a> Brief<'a> {
    /// Reads the entry in `bytes`; `None` if they are another kind of record.
    pub fn of(bytes: &'a [u8]) -> Result<Option<Self>, CodecError> {
        let [kind, version, fields @ ..] = bytes else { return Err(CodecError::Short) };
        match (*kind, *version) {
            (ENTRY, VERSION | COMPARED) => Self::take(&mut Take(fields), *version).map(Some),
            (ENTRY, version) => Err(CodecError::NewerVersion { kind: ENTRY, version }),
            _ => Ok(None),
        }
    }

    /// In the order of `put_entry`.
    fn take(take: &mut Take<'a>, version: u8) -> Result<Self, CodecError> {
        let (id, at_ms) = (RequestId(u128::from_be_bytes(take.raw()?)), take.number()?);
        let named = take.0;
        let payer = take_payer(take)?;
        take.raw::<2>()?;
        take.skip_text()?;
        let (requested_model, model) = (take.text()?, take.text()?);
        let names = &named[..named.len() - take.0.len()];
        take.maybe(Take::skip_text)?;
        let tier = take.maybe(|take| tier_of(take.byte()?))?;
        take.skip_text()?;
        let cache = cache_of(take.byte()?)?;
        take.flag()?;
        let (status, outcome) = (take.narrow()?, outcome_of(take.byte()?)?);
        for _ in 0..NAMES_SKIPPED {
            take.maybe(Take::skip_text)?;
        }
        let (usage, usage_source) = (take_brief_usage(take)?, source_of(take.byte()?)?);
        take.flag()?;
        let (cost, saved) = (take_money(take)?, Usd::from_pico(take.amount()?));
        take.maybe(|take| take.skip_text().and_then(|()| take.number()))?;
        take_money(take)?;
        take.number()?;
        take.maybe(Take::number)?;
        let attempts = take.number()?;
        for _ in 0..attempts {
            skip_attempt(take)?;
        }
        take.maybe(Take::raw::<FEATURE_BYTES>)?;
        let requests = take.narrow()?;
        let baseline = if version == COMPARED { Some(Usd::from_pico(take.amount()?)) } else { None };
        take.end()?;
        Ok(Self {
            id,
            at_ms,
            payer,
            model,
            cost,
            names,
            requested_model,
            tier,
            cache,
            status,
            outcome,
            usage,
            usage_source,
            saved,
            baseline,
            attempts,
            requests,
        })
    }

    /// Bytes that differ wherever the subjects of two entries differ. `name` is emptied first.
    pub fn put_name(&self, name: &mut Vec<u8>) {
        name.clear();
        name.extend_from_slice(self.names);
        name.extend([self.tier.map_or(u8::MAX, code_of_tier), code_of_cache(self.cache)]);
    }

    /// How it counts in reports.
    pub fn figures(&self) -> Figures<'_> {
        Figures {
            requests: self.requests,
            is_error: Fault::judge(self.outcome, self.status, self.payer.key).is_some(),
            usage: &self.usage,
            cost: self.cost,
            is_estimated: self.usage_source.is_estimated(),
            saved: self.saved,
            cache: self.cache,
            is_replaced: self.tier.is_some() && self.model != self.requested_model && self.attempts > 0,
            baseline: self.baseline,
        }
    }
}

/// As `take_account`, and nothing is copied.
fn take_payer<'a>(take: &mut Take<'a>) -> Result<Payer<'a>, CodecError> {
    Ok(Payer {
        key: take.text()?,
        user: take.maybe(Take::text)?,
        team: take.maybe(Take::text)?,
        tags: take.list(|take| Ok((take.text()?, take.text()?)))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::entry::{Attempt, Entry};
    use crate::domain::sample;
    use crate::domain::sums::Sums;
    use crate::store::codec::{Line, encode};

    fn bytes_of(entry: &Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(Line::Entry(entry), &mut bytes);
        bytes
    }

    fn entries() -> Vec<Entry> {
        let whole = sample::entry();
        let other = Attempt { upstream: "b".into(), model: "c".into(), cost: None, ..whole.attempts[0].clone() };
        let mut tools = whole.clone();
        tools.usage.add_server_tool("web_search", 3);
        vec![
            Entry { baseline: Some(Usd::from_pico(1 << 70)), ..whole.clone() },
            Entry { cost: None, attempts: vec![whole.attempts[0].clone(), other], features: [3; 32], ..whole.clone() },
            Entry { outcome: Outcome::UpstreamError, status: 401, requests: 300, price: None, ..whole.clone() },
            Entry { usage_source: UsageSource::Counted, cache: CacheUse::Hit, saved: Usd::from_pico(7), ..whole },
            Entry { geo: Some("eu".into()), first_byte_ms: None, quote: None, ..tools },
            Entry::blank(),
        ]
    }

    #[test]
    fn a_brief_counts_as_its_entry_does() {
        for entry in entries() {
            let bytes = bytes_of(&entry);
            let brief = Brief::of(&bytes).unwrap().unwrap();
            assert_eq!(
                (brief.id, brief.at_ms, brief.model, brief.cost),
                (entry.id, entry.at_ms, &*entry.model, entry.cost)
            );
            assert_eq!(brief.payer, entry.account.payer());
            let mut sums = Sums::default();
            sums.count(&brief.figures());
            assert_eq!(sums, Sums::of(&entry));
        }
    }

    #[test]
    fn what_is_cut_short_is_no_brief() {
        for bytes in entries().iter().map(bytes_of) {
            for length in 0..bytes.len() {
                assert!(Brief::of(&bytes[..length]).is_err(), "{length} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn subjects_that_differ_have_other_names() {
        let whole = sample::entry();
        let mut names: Vec<Vec<u8>> = Vec::new();
        for entry in [
            whole.clone(),
            Entry { tier: None, ..whole.clone() },
            Entry { cache: CacheUse::Hit, ..whole.clone() },
            Entry { model: "claude-haiku-5-".into(), served_model: Some("5".into()), ..whole.clone() },
            Entry { upstream: "b".into(), ..whole.clone() },
            Entry { operation: crate::domain::operation::Operation::Embeddings, ..whole },
        ] {
            let mut name = vec![1];
            Brief::of(&bytes_of(&entry)).unwrap().unwrap().put_name(&mut name);
            assert!(!names.contains(&name));
            names.push(name);
        }
    }
}
