//! What the present price book would say of entries that were charged by another one.
//!
//! Invariant: nothing that was charged is changed by it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Config, Upstream};
use crate::domain::entry::Entry;
use crate::domain::operation::Dialect;
use crate::domain::price::{Book, Origin, again};
use crate::domain::report::Repriced;

/// The price book of a config, and what its upstreams are.
#[derive(Clone, Debug)]
pub struct Prices {
    book: Book,
    upstreams: HashMap<Arc<str>, Arc<Upstream>>,
}

impl Prices {
    /// Those of `config`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let book = Book::builtin().with_overrides(config.prices.iter().map(|(name, price)| (&**name, price)));
        let upstreams = config.upstreams.iter().map(|upstream| (upstream.name.clone(), upstream.clone())).collect();
        Self { book, upstreams }
    }

    /// What `entry` would come to. An upstream that is configured no more is taken for the one of its wire API.
    #[must_use]
    pub fn again(&self, entry: &Entry) -> Repriced {
        let cost = match self.upstreams.get(&entry.upstream) {
            Some(upstream) => {
                let origin =
                    Origin { provider: &upstream.provider, is_free: upstream.free, residency: upstream.residency() };
                again(&self.book, entry, &origin)
            }
            None => {
                let provider = match entry.dialect {
                    Dialect::OpenAi => "openai",
                    Dialect::Anthropic => "anthropic",
                    Dialect::Gemini => "google",
                };
                again(&self.book, entry, &Origin { provider, ..Origin::default() })
            }
        };
        let unpriced = if cost.is_none() { u64::from(entry.requests) } else { 0 };
        Repriced { spend: cost.unwrap_or_default(), unpriced }
    }
}
