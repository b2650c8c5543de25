//! What stands in the labels of a request's numbers.

use super::family::Label;
use crate::domain::entry::{CacheUse, Entry, Outcome};

/// The class of a status.
pub(super) const fn status_class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "none",
    }
}

/// The cause of a refusal; of other failures the outcome says it all.
pub(super) fn error_reason(entry: &Entry) -> Label<'_> {
    if entry.outcome == Outcome::Refused { Label::Open(&entry.reason) } else { Label::Known(entry.outcome.name()) }
}

/// Who saved what an entry says was saved.
pub(super) const fn saved_by(entry: &Entry) -> &'static str {
    match entry.cache {
        CacheUse::Hit | CacheUse::Near | CacheUse::Stale | CacheUse::Joined => "cache",
        CacheUse::Miss | CacheUse::Bypass | CacheUse::Confirmed | CacheUse::FalseHit => "routing",
    }
}
