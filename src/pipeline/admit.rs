//! Admit: requests and tokens a minute, requests a day, requests in flight.
//!
//! Tokens are reserved by an estimate and corrected when the usage is known. The estimate has none of the quote's
//! margins, since too high a one would refuse what fits.

use std::fmt::Write;

use bytes::BytesMut;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::arrive::Arrival;
use super::conversation::conversation;
use super::identify::Caller;
use super::learn::{alike, text};
use super::read::Call;
use crate::alerts::Loop;
use crate::app::App;
use crate::bank::tab::Tab;
use crate::domain::account::{Account, Scope};
use crate::domain::limit::{Level, Limited, Standing};
use crate::domain::operation::Operation;
use crate::domain::price::Cap;
use crate::domain::refusal::{Cause, Refusal};
use crate::limits::{Denied, Need};
use crate::protocol::ask::Ask;

/// Bytes of a token of English text or code, on average over today's tokenizers.
const TOKEN_BYTES: u64 = 4;

/// Tokens of an answer without a limit: more than most answers have, far less than a model's maximum.
const OUTPUT_TOKENS: u64 = 1_000;

/// The same of a model that thinks, whose thoughts count as well.
const THINKING_OUTPUT_TOKENS: u64 = 4_000;

/// How a caller stands with its limits after its request was admitted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Admission {
    standing: Standing,
    /// Whether nothing was taken, since no tokens are left: only a kept answer may be given.
    pub is_short: bool,
}

/// What the limit of tokens is called.
const TOKENS_A_MINUTE: &str = "tokens_per_minute";

/// Digits of a limit, on average; more only take another piece of memory.
const USUAL_DIGITS: usize = 8;

/// Names of headers, in the order of what they tell: the limit, what is left, and when all of it is there again.
static REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-tollgate-ratelimit-limit-requests"),
    HeaderName::from_static("x-tollgate-ratelimit-remaining-requests"),
    HeaderName::from_static("x-tollgate-ratelimit-reset-requests"),
];
static REQUESTS_DAY: [HeaderName; 3] = [
    HeaderName::from_static("x-tollgate-ratelimit-limit-requests-day"),
    HeaderName::from_static("x-tollgate-ratelimit-remaining-requests-day"),
    HeaderName::from_static("x-tollgate-ratelimit-reset-requests-day"),
];
static TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-tollgate-ratelimit-limit-tokens"),
    HeaderName::from_static("x-tollgate-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-tollgate-ratelimit-reset-tokens"),
];
static IN_FLIGHT: [HeaderName; 2] = [
    HeaderName::from_static("x-tollgate-ratelimit-limit-in-flight"),
    HeaderName::from_static("x-tollgate-ratelimit-remaining-in-flight"),
];

/// Counts a request that generates among those like it, and one that follows a call of a tool among those of its conversation that
/// follow the same call.
///
/// # Errors
/// It has come so often that it is a loop, and config does not let loops pass.
pub fn no_loop(app: &App, arrival: &Arrival, caller: &Caller, call: &Call) -> Result<(), Refusal> {
    if !arrival.endpoint.operation.generates() {
        return Ok(());
    }
    let key = &caller.account.key;
    let body = call.pieces.iter().map(|piece| &piece[..]);
    app.alerts.repeat(key, &arrival.path, body).map_err(|seen| looping("the same request has come", &seen))?;
    let rope = call.plain.as_ref().unwrap_or(&call.pieces);
    // Most agents never do the same thing twice in a row, and cost no more than this.
    let Some(last) = call.ask.calls.last().filter(|_| alike(&call.ask, rope) > 1) else { return Ok(()) };
    let talk = conversation(&app.pins, &arrival.head.headers, caller, call);
    let seen = app.alerts.repeat_call(key, (talk, last.name), &text(rope, &last.arguments));
    seen.map_err(|seen| looping("the model has made the same call of a tool", &seen))
}

fn looping(what: &str, seen: &Loop) -> Refusal {
    let Loop { count, window_s, wait_s } = *seen;
    let message = format!(
        "{what} {count} times within {window_s} s, which looks like a loop; it may be sent again in {wait_s} s"
    );
    Refusal::new(Cause::Looping, message).after(wait_s)
}

/// Takes of the caller's limits what the request needs. The tab gives it back when the request is settled. Where nothing but
/// tokens is short and an answer may be kept, which takes none, the refusal is for later: it holds if there is no such answer.
///
/// # Errors
/// A limit is reached, or the prompt is above what a minute may hold.
pub fn admit(
    app: &App,
    arrival: &Arrival,
    account: &Account,
    ask: &Ask,
    tab: &mut Tab,
) -> Result<(Admission, Option<Refusal>), Refusal> {
    let book = &arrival.snapshot.config.limits;
    if !book.any {
        return Ok(Default::default());
    }
    let parties = book.parties(account);
    if parties.iter().all(Option::is_none) {
        return Ok(Default::default());
    }
    let is_by_tokens = parties.iter().flatten().any(|party| party.limits.tokens_per_minute.is_some());
    let unsaid = if is_by_tokens && ask.output_limit.is_none() { usual_output(arrival, ask) } else { OUTPUT_TOKENS };
    let may_be_kept = arrival.snapshot.config.cache.is_on();
    match app.limiter.admit(&parties, need(arrival.endpoint.operation, ask, unsaid)) {
        Ok((grant, standing)) => {
            tab.limit(grant);
            Ok((Admission { standing, is_short: false }, None))
        }
        Err(Denied::Later(limited)) if may_be_kept && *limited.name == *TOKENS_A_MINUTE => {
            Ok((Admission { standing: limited.standing, is_short: true }, Some(later(limited))))
        }
        Err(denied) => Err(refused(app, denied)),
    }
}

/// Counts a request for which no tokens were left, and which is answered with what is kept.
///
/// # Errors
/// Another limit is reached as well.
pub fn admit_kept(app: &App, arrival: &Arrival, account: &Account, tab: &mut Tab) -> Result<Admission, Refusal> {
    let parties = arrival.snapshot.config.limits.parties(account);
    let need = Need { operation: arrival.endpoint.operation, input_tokens: 0, output_tokens: 0 };
    let (grant, standing) = app.limiter.admit(&parties, need).map_err(|denied| refused(app, denied))?;
    tab.limit(grant);
    Ok(Admission { standing, is_short: false })
}

/// No answer is kept that would have taken no tokens: the request is refused as it would have been before.
pub fn refuse(app: &App, refusal: &Refusal, tab: Tab) {
    if let Some(limited) = &refusal.limited {
        app.metrics.note_rate_limited(limited.scope.kind(), &limited.name);
    }
    tab.refuse(refusal);
}

fn refused(app: &App, denied: Denied) -> Refusal {
    match denied {
        Denied::Later(limited) => {
            app.metrics.note_rate_limited(limited.scope.kind(), &limited.name);
            later(limited)
        }
        Denied::Never(scope, limit) => {
            app.metrics.note_rate_limited(scope.kind(), TOKENS_A_MINUTE);
            never(&scope, limit)
        }
    }
}

impl Admission {
    /// Adds how the limits stand.
    pub fn write(&self, headers: &mut HeaderMap) {
        write_standing(&self.standing, headers);
    }
}

/// Adds how the limits of a request stand: of each kind the limit, what is left of it, and the seconds until all of it
/// is there again, which nobody knows of requests in flight. The numbers share one piece of memory.
pub fn write_standing(standing: &Standing, headers: &mut HeaderMap) {
    let kinds = [
        (&REQUESTS[..], standing.requests),
        (&REQUESTS_DAY[..], standing.requests_day),
        (&TOKENS[..], standing.tokens),
        (&IN_FLIGHT[..], standing.in_flight),
    ];
    let told = || kinds.iter().filter_map(|(names, level)| Some((*names, (*level)?)));
    let count = told().map(|(names, _)| names.len()).sum();
    if count == 0 {
        return;
    }
    headers.reserve(count);
    let mut text = BytesMut::with_capacity(count * USUAL_DIGITS);
    for (names, Level { limit, remaining, reset_ms }) in told() {
        for (name, number) in names.iter().zip([limit, remaining, reset_ms.div_ceil(1000)]) {
            // Writing to memory cannot fail.
            let _done = write!(text, "{number}");
            if let Ok(value) = HeaderValue::from_maybe_shared(text.split().freeze()) {
                headers.insert(name, value);
            }
        }
    }
}

/// Tokens that are reserved for an answer without a limit, by the model that is asked for.
fn usual_output(arrival: &Arrival, ask: &Ask) -> u64 {
    let in_path = || arrival.endpoint.model(&arrival.path).map(|model| model.to_string());
    let Some(name) = ask.model.as_ref().map(|model| model.text.to_string()).or_else(in_path) else {
        return OUTPUT_TOKENS;
    };
    let snapshot = &arrival.snapshot;
    let provider = arrival.named.as_ref().or_else(|| snapshot.provider_for(arrival.endpoint.dialect, &name));
    let model = provider.and_then(|provider| snapshot.book.find(&provider.config.provider, None, &name));
    let Some(model) = model else { return OUTPUT_TOKENS };
    let usual = if model.can(Cap::Thinking) { THINKING_OUTPUT_TOKENS } else { OUTPUT_TOKENS };
    usual.min(model.max_output().unwrap_or(usual))
}

/// What a request needs, as far as anybody can tell before it was served; an answer without a limit has `unsaid` tokens.
fn need(operation: Operation, ask: &Ask, unsaid: u64) -> Need {
    let features = &ask.features;
    let text_bytes = u64::from(features.text_bytes) + u64::from(features.tool_bytes);
    // Inputs of embeddings may be lists of token numbers, which take about as many bytes as their text.
    let text_bytes = match operation == Operation::Embeddings && text_bytes == 0 {
        true => u64::from(features.bytes),
        false => text_bytes,
    };
    let output_tokens = match operation.generates() {
        true => ask.output_limit.unwrap_or(unsaid).saturating_mul(ask.choices.max(1)),
        false => 0,
    };
    let input_tokens = if operation.is_free() { 0 } else { text_bytes.div_ceil(TOKEN_BYTES) };
    Need { operation, input_tokens, output_tokens }
}

fn later(limited: Box<Limited>) -> Refusal {
    let Level { limit, remaining, .. } = limited.level;
    let (whose, wait_s) = (whose(&limited.scope), limited.wait_s());
    let mut message = format!("{whose} is limited to {} and has {remaining} left", allowed(&limited.name, limit));
    // Writing to a string cannot fail.
    let _done = write!(message, "; try again in {wait_s} s");
    let mut refusal = Refusal::new(Cause::RateLimited, message).after(wait_s);
    refusal.limited = Some(limited);
    refusal
}

fn never(scope: &Scope, limit: u64) -> Refusal {
    let whose = whose(scope);
    let message = format!("the prompt alone is above the {limit} tokens a minute that {whose} is limited to");
    Refusal::new(Cause::TooLarge, message)
}

fn whose(scope: &Scope) -> String {
    match scope {
        Scope::Organisation => "the organisation".to_owned(),
        named => format!("the {} {:?}", named.kind(), named.name()),
    }
}

fn allowed(name: &str, limit: u64) -> String {
    match name {
        "requests_per_minute" => format!("{limit} requests a minute"),
        "requests_per_day" => format!("{limit} requests a day"),
        "tokens_per_minute" => format!("{limit} tokens a minute"),
        "in_flight" => format!("{limit} requests in flight"),
        other => format!("{limit} requests a minute ({other})"),
    }
}
