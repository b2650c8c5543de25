//! [`again`]: what an entry of the ledger would cost under another price book.
//!
//! Only what was priced by a book's row is priced again, from the same metered usage at the same time; what was charged
//! at its worst case, by a provider's own word, or not at all, keeps its charge.
//!
//! Invariant: an entry's own charge is never changed; this only says another number beside it.

use super::book::Book;
use super::charge::{Context, charge};
use crate::domain::entry::Entry;
use crate::domain::money::Usd;
use crate::domain::tokens::UsageSource;

/// DeepSeek prices a request by the time at which it ends.
const DEEPSEEK: &str = "deepseek";

/// Where an entry's request went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The provider's name in the book.
    pub provider: &'a str,
    /// Whether its models cost nothing.
    pub is_free: bool,
    /// See [`Context::residency`].
    pub residency: Option<&'a str>,
}

/// What `entry` costs by `book`; `None` if it has no price there.
#[must_use]
pub fn again(book: &Book, entry: &Entry, origin: &Origin<'_>) -> Option<Usd> {
    let is_priced = entry.price.is_some() && !entry.attempts.is_empty();
    // Usage that the client's leaving cut short was charged at its quote, or at most at it.
    let is_at_quote = entry.usage_source != UsageSource::Reported && entry.cost == entry.quote;
    // The usage of several attempts is one sum, which has one price only where all of them were of one model.
    let mut billed = entry.attempts.iter().filter(|attempt| attempt.cost != Some(Usd::ZERO));
    let first = billed.next().map(|first| (&first.upstream, &first.model));
    let is_mixed = billed.any(|other| Some((&other.upstream, &other.model)) != first);
    if !is_priced || is_at_quote || is_mixed {
        return entry.cost;
    }
    if origin.is_free {
        return Some(Usd::ZERO);
    }
    let ended_ms = entry.at_ms.saturating_add(entry.latency_ms.into());
    let is_batch = entry.reason.starts_with("batch results ");
    let context = Context {
        at_ms: if origin.provider == DEEPSEEK { ended_ms } else { entry.at_ms },
        service_tier: if is_batch { Some("batch") } else { entry.service_tier.as_deref() },
        requested_service_tier: entry.requested_service_tier.as_deref(),
        geo: entry.geo.as_deref(),
        speed: entry.speed.as_deref(),
        residency: origin.residency,
    };
    let model = book.find(origin.provider, entry.served_model.as_deref(), &entry.model)?;
    let charge = charge(model.row(), &entry.usage, &context).ok()?;
    charge.unpriced.is_empty().then_some(charge.cost)
}
