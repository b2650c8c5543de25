//! One plausible [`Entry`], for the tests of everything that is said about entries. Tests change what they look at.

use super::account::Account;
use super::entry::{Attempt, CacheUse, Entry, FEATURE_BYTES, Outcome, PriceRef, Tier};
use super::ids::RequestId;
use super::money::Usd;
use super::operation::{Dialect, Operation};
use super::tokens::{Usage, UsageSource};

/// A streamed, complete, priced request of the key `ci` of team `search`.
#[must_use]
pub fn entry() -> Entry {
    let cost = Some(Usd::from_pico(1_234_500_000));
    Entry {
        id: RequestId::new(1_795_352_400_123, 1),
        at_ms: 1_795_352_400_123,
        account: account(),
        dialect: Dialect::Anthropic,
        operation: Operation::Messages,
        upstream: "anthropic".into(),
        requested_model: "claude-opus-5-5".into(),
        model: "claude-haiku-5-5".into(),
        served_model: Some("claude-haiku-5-5-20261001".into()),
        tier: Some(Tier::Simple),
        reason: "tier".into(),
        cache: CacheUse::Miss,
        stream: true,
        status: 200,
        outcome: Outcome::Complete,
        requested_service_tier: None,
        service_tier: Some("default".into()),
        geo: None,
        speed: None,
        usage: Usage { input: 100, cache_read: 20, cache_write_5m: 7, output: 30, reasoning: 4, ..Usage::default() },
        usage_source: UsageSource::Reported,
        overrun: false,
        cost,
        saved: Usd::ZERO,
        baseline: None,
        price: Some(PriceRef { version: "2026-11-20".into(), row: 7 }),
        quote: Some(Usd::from_pico(20_000_000_000)),
        latency_ms: 812,
        first_byte_ms: Some(240),
        attempts: vec![Attempt {
            ordinal: 0,
            upstream: "anthropic".into(),
            model: "claude-haiku-5-5".into(),
            status: 200,
            outcome: Outcome::Complete,
            usage_source: UsageSource::Reported,
            cost,
        }],
        features: [0; FEATURE_BYTES],
        requests: 1,
    }
}

fn account() -> Account {
    let tags = [("env".into(), "prod".into()), ("feature".into(), "search".into())];
    Account { key: "ci".into(), user: None, team: Some("search".into()), tags: tags.into() }
}
