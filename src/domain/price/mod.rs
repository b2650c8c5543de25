//! What a call costs and what it can cost at most: the price book, the charge and the quote.
//!
//! [`Book`] finds a [`Model`], whose [`RateRow`] holds every rate that a charge needs. [`charge`] prices what was metered;
//! [`quote`] bounds it before the call, through the same selection of rates. A cost that the provider itself reports
//! (OpenRouter and Perplexity `cost`, xAI ticks) is exact and goes before a charge; that is the caller's business.
//!
//! Invariant: unknown is never zero. Without a rate there is no charge but an [`Unpriced`] with its reason; a rate of
//! zero is a price.
//! Invariant: for usage within its bounds and the tiers it allows for, a quote is never below the charge.

mod rates;
mod schedule;
mod row;
mod overrides;
mod model;
mod book;
mod select;
mod tools;
mod charge;
mod quote;
mod apiece;
mod again;

pub use again::{Origin, again};
pub use apiece::{Apiece, apiece};
pub use book::Book;
pub use charge::{Charge, Context, Note, Unpriced, charge};
pub use model::{Cap, Caps, Model};
pub use overrides::{BadOverride, Override};
pub use quote::{Bounds, OpenChoices, Prompt, quote};
pub use rates::{Bucket, Rates};
pub use row::{BadRow, RateRow};
pub use select::Service;
pub use tools::Fee;

#[cfg(test)]
mod tests;
