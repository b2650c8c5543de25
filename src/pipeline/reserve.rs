//! Reserve: the worst case is worked out, held in every scope with a cap, and written down before anything is sent.
//!
//! Invariant: nothing leaves for a capped scope whose worst case is not held.

use std::sync::Arc;

use http::HeaderName;

use super::arrive::Arrival;
use super::metered::Metered;
use super::parcel::chat_limit;
use super::pricing::Pricing;
use super::read::Call;
use super::route::Candidate;
use super::settle::Bill;
use crate::app::App;
use crate::bank::booked::Claim;
use crate::bank::tab::{NotOpened, Tab};
use crate::domain::cap::{Capped, Enforcement, Exceeded, OnExceed};
use crate::domain::money::Usd;
use crate::domain::operation::Operation;
use crate::domain::price::{self, Cap, Context, Model, Prompt};
use crate::domain::refusal::{Cause, Refusal};
use crate::protocol::ask::Ask;
use crate::protocol::bounds::{Bounds, ModelFacts, Unbounded};
use crate::protocol::splice::set_output_limit;

/// The longest name of a batch or file that is told apart from others; providers' have about 40 bytes.
const BATCH_ID_BYTES_MAX: usize = 256;

/// After how many seconds a client may ask again whose request the ledger could not serve.
const STORE_RETRY_S: u32 = 5;

/// Tokens below which an answer is of no use, so that a request is refused rather than limited further.
const OUTPUT_MIN: u64 = 256;

/// How often a limit is worked out anew, since others take from the same room meanwhile.
const SHRINKS_MAX: usize = 8;

/// A header by which a request limits its own cost.
pub const MAX_COST: HeaderName = HeaderName::from_static("x-tollgate-max-cost-usd");

/// A header by which Google's APIs take another method than the request's own
/// (<https://gsuite-developers.googleblog.com/2012/03/making-patch-requests-from-app-engine.html>).
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// What a request can cost.
#[derive(Clone, Copy, Debug)]
struct Worst {
    quote: Usd,
    input: u64,
    /// The limit for one answer that the quote counts on.
    limit: Option<u64>,
}

/// All that a quote depends on.
struct Case<'a> {
    call: &'a Call,
    candidate: &'a Candidate,
    operation: Operation,
    model: Option<Arc<Model>>,
    facts: ModelFacts,
    context: Context<'a>,
    /// The output limit that config sets, where the body takes one and it is below the model's own.
    own_limit: Option<u64>,
}

/// Why an attempt has no bill.
#[derive(Debug)]
pub struct Denied {
    /// What the client is told.
    pub refusal: Refusal,
    /// The request's tab; gone where the request has its entry.
    pub tab: Option<Tab>,
}

/// Quotes an attempt, holds the quote in every scope with a cap, and opens the attempt.
///
/// # Errors
/// A cap has no room, what it would cost cannot be known in front of a cap, or the ledger cannot be written. Nothing is
/// held then.
pub async fn reserve(
    app: &App,
    arrival: &Arrival,
    call: &Call,
    candidate: &Candidate,
    mut tab: Tab,
) -> Result<Bill, Denied> {
    let claim = match claim(app, arrival, candidate).await {
        Ok(claim) => claim,
        Err(refusal) => return Err(Denied { refusal, tab: Some(tab) }),
    };
    let snapshot = &arrival.snapshot;
    let case = Case::of(arrival, call, candidate);
    let operation = case.operation;
    let mut capped = case.capped(app, &mut tab);
    let mut worst = match case.admit(arrival, &capped) {
        Ok(worst) => worst,
        Err(refusal) => return Err(Denied { refusal, tab: Some(tab) }),
    };
    let mut tries = 0;
    let (debt, metered) = loop {
        tries += 1;
        // A limit that was imposed is held for in full: there is no room for more.
        let metered =
            worst.filter(|worst| worst.limit.is_none()).and_then(|worst| case.metered(arrival, worst, &capped));
        let first = metered.map(|metered| metered.first());
        match tab.open_metered(worst.map(|worst| worst.quote), first, &capped).await {
            Ok(debt) => break (debt, metered),
            Err(NotOpened::Changed(same)) => {
                tab = *same;
                capped = case.capped(app, &mut tab);
                worst = match case.admit(arrival, &capped) {
                    Ok(worst) => worst,
                    Err(refusal) => return Err(Denied { refusal, tab: Some(tab) }),
                };
            }
            Err(NotOpened::Refused(refusal)) => return Err(Denied { refusal, tab: None }),
            Err(NotOpened::Unwritten(same, refusal)) => return Err(Denied { refusal, tab: Some(*same) }),
            Err(NotOpened::Exceeded(same, exceeded)) => {
                tab = *same;
                // A cheaper model is looked for by whoever knows the others.
                let smaller = match exceeded.on_exceed {
                    OnExceed::Shrink if tries < SHRINKS_MAX => case.affordable(exceeded.room()),
                    OnExceed::Shrink | OnExceed::Refuse | OnExceed::CacheOnly | OnExceed::Downgrade(_) => None,
                };
                let Some(smaller) = smaller else {
                    let refusal = Refusal::exceeded(*exceeded, snapshot.config.money.refusal_status);
                    return Err(Denied { refusal, tab: Some(tab) });
                };
                worst = Some(smaller);
            }
        }
    };
    let pricing = Pricing {
        snapshot: snapshot.clone(),
        provider: candidate.provider.clone(),
        operation,
        model: candidate.model.clone(),
        known: case.model.clone(),
        input_bound: worst.map_or_else(|| case.bounds(None).input_tokens, |worst| worst.input),
        may_reason: call.ask.features.reasoning,
        thinks: case.model.as_deref().is_some_and(|model| model.can(Cap::Thinking)),
        is_stream: call.ask.stream,
        is_many: call.ask.choices > 1,
        service_tier: call.ask.service_tier.clone(),
        is_capped: !capped.is_empty(),
        output_limit: worst.map_or(case.own_limit, |worst| worst.limit),
        claim,
        metered,
        trace: candidate.trace.clone(),
    };
    Ok(Bill::new(debt, pricing, app.bank.clone()))
}

/// The most that an attempt at `candidate` can cost; `None` where that has no bound or no price.
#[must_use]
pub fn quoted(arrival: &Arrival, call: &Call, candidate: &Candidate) -> Option<Usd> {
    Case::of(arrival, call, candidate).worst(None).map(|worst| worst.quote)
}

impl Denied {
    /// Ends the request with our own no, which costs nothing and stands in the ledger, if a client has asked.
    pub fn refuse(self, app: &App) -> Refusal {
        let is_asked = self.tab.as_ref().is_none_or(|tab| !tab.is_unasked());
        if is_asked && matches!(self.refusal.cause, Cause::CapExceeded | Cause::Unpriced | Cause::Unbounded) {
            app.bank.note_cap_refusal();
        }
        if let Some(tab) = self.tab {
            tab.refuse(&self.refusal);
        }
        self.refusal
    }
}

impl<'a> Case<'a> {
    fn of(arrival: &'a Arrival, call: &'a Call, candidate: &'a Candidate) -> Self {
        let model = match candidate.model.is_empty() {
            true => None,
            false => arrival.snapshot.book.find(&candidate.provider.config.provider, None, &candidate.model),
        };
        // What it really asks for is said elsewhere then.
        let (own, said) = (arrival.head.method.as_str(), arrival.head.headers.get_all(METHOD_OVERRIDE));
        let operation = if said.iter().any(|said| said.as_bytes() != own.as_bytes()) {
            Operation::Unknown
        } else {
            arrival.endpoint.operation
        };
        let facts = model.as_deref().map_or_else(ModelFacts::default, |model| facts(model, candidate, operation));
        let context = Context {
            at_ms: arrival.at_ms,
            requested_service_tier: call.ask.service_tier.as_deref(),
            geo: call.ask.geo.as_deref(),
            speed: call.ask.speed.as_deref(),
            residency: candidate.provider.residency(),
            ..Context::default()
        };
        let own_limit = candidate.output_limit.filter(|limit| facts.max_output.is_none_or(|most| *limit < most));
        let own_limit = own_limit.filter(|limit| {
            let text = call.plain.as_ref().unwrap_or(&call.pieces);
            set_output_limit(&call.ask, text, operation, chat_limit(&candidate.provider.config), *limit).is_some()
        });
        Self { call, candidate, operation, model, facts, context, own_limit }
    }

    /// Whether it costs nothing, whatever it asks for.
    fn is_free(&self) -> bool {
        self.operation.is_free() || self.candidate.provider.config.free
    }

    /// The scopes with caps that the request counts in: by the caps of this moment, which nobody outruns by arriving early.
    fn capped(&self, app: &App, tab: &mut Tab) -> Vec<Capped> {
        tab.count_by(app.bank.mark());
        match self.is_free() {
            true => Vec::new(),
            false => app.snapshot.load().config.capped(&tab.entry().account, &self.candidate.model),
        }
    }

    fn bounds(&self, limit: Option<u64>) -> Bounds {
        let generates = self.operation.generates() || self.operation.is_media();
        let bounds = Bounds::of(&self.call.ask, &self.facts, generates, limit);
        // Each text or list of tokens in a list of prompts gets answers of its own.
        let prompts = match self.operation == Operation::Completions {
            true => u64::from(self.call.ask.features.messages).max(1),
            false => 1,
        };
        Bounds { output_tokens: bounds.output_tokens.map(|tokens| tokens.saturating_mul(prompts)), ..bounds }
    }

    /// The worst case; `None` where it has no bound or no price.
    fn worst(&self, limit: Option<u64>) -> Option<Worst> {
        let limit = limit.into_iter().chain(self.own_limit).min();
        let bounds = self.bounds(limit);
        let input = bounds.input_tokens;
        if self.is_free() {
            return Some(Worst { quote: Usd::ZERO, input, limit });
        }
        let quote = quote(self.model.as_deref()?, &bounds, &self.call.ask, &self.context)?;
        Some(Worst { quote, input, limit })
    }

    /// How the hold of a stream grows, where it need not be held in full.
    fn metered(&self, arrival: &Arrival, worst: Worst, capped: &[Capped]) -> Option<Metered> {
        if !capped.iter().any(|capped| capped.policy.enforcement == Enforcement::Metered) {
            return None;
        }
        let bounds = self.bounds(None);
        let none = Bounds { output_tokens: Some(0), ..bounds };
        let base = quote(self.model.as_deref()?, &none, &self.call.ask, &self.context)?;
        let quotes = (base, worst.quote, bounds.output_tokens?);
        Metered::of(arrival, self.call, &self.candidate.model, quotes)
    }

    /// The worst case of a request that may go on to be held.
    fn admit(&self, arrival: &Arrival, capped: &[Capped]) -> Result<Option<Worst>, Refusal> {
        let own_max = max_cost(arrival)?;
        let worst = self.worst(None);
        if capped.is_empty() && own_max.is_none() {
            return Ok(worst);
        }
        let bounded = worst.filter(|_| self.is_free() || boundless(self.operation).is_none());
        let Some(worst) = bounded else { return Err(self.unknown(capped)) };
        let Some(cap) = own_max.filter(|max| worst.quote > *max) else { return Ok(Some(worst)) };
        let shrinks = !capped.is_empty() && capped.iter().all(|capped| capped.policy.on_exceed == OnExceed::Shrink);
        let smaller = shrinks.then(|| self.affordable(cap)).flatten();
        smaller.map(Some).ok_or_else(|| {
            let (spent, held) = (Usd::ZERO, Usd::ZERO);
            let (scope, window, resets_ms, on_exceed) = (None, None, None, OnExceed::Refuse);
            let exceeded = Exceeded { scope, window, cap, spent, held, quote: worst.quote, resets_ms, on_exceed };
            Refusal::exceeded(exceeded, arrival.snapshot.config.money.refusal_status)
        })
    }

    /// Why there is no quote, which a capped caller needs.
    fn unknown(&self, capped: &[Capped]) -> Refusal {
        let whose = capped.first().map_or_else(
            || "this request limits its cost".to_owned(),
            |capped| match capped.scope.name() {
                "" => format!("the {} has a spend cap", capped.scope.kind()),
                name => format!("the {} {name:?} has a spend cap", capped.scope.kind()),
            },
        );
        let why = self.bounds(None).unbounded.filter(|_| self.model.is_some()).map(Unbounded::name);
        if let Some(why) = boundless(self.operation).or(why) {
            let message = format!("unbounded: {why}: the cost of this request has no upper bound, and {whose}");
            return Refusal::new(Cause::Unbounded, message);
        }
        let message =
            format!("model_unpriced: model {:?} has no price for this request, and {whose}", self.candidate.model);
        Refusal::new(Cause::Unpriced, message).about("model")
    }

    /// The largest output limit with which the request costs no more than `room`, if it is of use.
    fn affordable(&self, room: Usd) -> Option<Worst> {
        if !self.operation.generates() {
            return None;
        }
        let fits = |limit: u64| self.worst(Some(limit)).filter(|worst| worst.quote <= room);
        let asked = [self.call.ask.output_limit, self.facts.max_output, self.own_limit].into_iter().flatten().min()?;
        let mut best = fits(OUTPUT_MIN).filter(|_| OUTPUT_MIN < asked)?;
        // The body must take a limit, before anybody counts on it.
        let config = &self.candidate.provider.config;
        let text = self.call.plain.as_ref().unwrap_or(&self.call.pieces);
        set_output_limit(&self.call.ask, text, self.operation, chat_limit(config), OUTPUT_MIN)?;
        let (mut low, mut high) = (OUTPUT_MIN, asked);
        while low + 1 < high {
            let middle = low.midpoint(high);
            match fits(middle) {
                Some(worst) => (best, low) = (worst, middle),
                None => high = middle,
            }
        }
        Some(best)
    }
}

/// Why nothing in a request bounds what the operation costs.
const fn boundless(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::ImageGenerations
        | Operation::ImageEdits
        | Operation::ImageVariations
        | Operation::Transcriptions
        | Operation::Translations
        | Operation::Speech => Some("media"),
        Operation::Batches | Operation::FileContent | Operation::BatchResults => Some("batch"),
        Operation::CachedContents => Some("stored_cache"),
        Operation::Interactions => Some("interactions"),
        Operation::Unknown => Some("unknown_path"),
        Operation::ChatCompletions
        | Operation::Completions
        | Operation::Responses
        | Operation::StoredResponse
        | Operation::ResponsesInputTokens
        | Operation::Embeddings
        | Operation::Messages
        | Operation::CountTokens
        | Operation::GenerateContent
        | Operation::GeminiCountTokens
        | Operation::EmbedContent
        | Operation::Moderations
        | Operation::Files
        | Operation::StoredBatch
        | Operation::StoredCache
        | Operation::StoredInteraction
        | Operation::Models => None,
    }
}

/// What the request says that it may cost.
fn max_cost(arrival: &Arrival) -> Result<Option<Usd>, Refusal> {
    let Some(value) = arrival.head.headers.get(MAX_COST) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| Usd::parse(text.trim()).ok());
    let odd = || Refusal::new(Cause::Malformed, "x-tollgate-max-cost-usd is no amount such as 0.05");
    parsed.map(Some).ok_or_else(odd)
}

/// Leave to bill the batch whose results are asked for. The id is what stands in front of the last step of the path, as in
/// `/v1/messages/batches/ID/results`.
async fn claim(app: &App, arrival: &Arrival, candidate: &Candidate) -> Result<Option<Claim>, Refusal> {
    if !arrival.endpoint.operation.may_tell_a_batch() {
        return Ok(None);
    }
    let mut steps = arrival.path.rsplit('/').skip(1);
    let Some(id) = steps.next().filter(|id| id.len() <= BATCH_ID_BYTES_MAX) else { return Ok(None) };
    let name = format!("{}/{id}", candidate.provider.config.name);
    app.booked.claim(&name, arrival.at_ms).await.map_err(|error| {
        Refusal::new(Cause::StoreUnavailable, format!("the ledger cannot be read: {error}")).after(STORE_RETRY_S)
    })
}

fn facts(model: &Model, candidate: &Candidate, operation: Operation) -> ModelFacts {
    ModelFacts {
        context: model.context_total().or(model.context_window()),
        max_output: model.max_output(),
        image_tokens: None,
        // Its chat completions bill reasoning beside the completion tokens, its responses within them (PROTOCOLS).
        runs_on_its_own: runs_on_its_own(&candidate.provider.config.provider, model.id()),
        reasoning_outside: &*candidate.provider.config.provider == "xai" && operation == Operation::ChatCompletions,
    }
}

/// Whether a model searches although nobody asked: Perplexity's all do
/// (<https://docs.perplexity.ai/docs/getting-started/models>), Groq's compound systems too
/// (<https://console.groq.com/docs/compound>).
#[must_use]
pub fn runs_on_its_own(provider: &str, model: &str) -> bool {
    provider == "perplexity" || provider == "groq" && model.contains("compound")
}

/// The most that the request can cost; `None` where that has no bound or no price.
fn quote(model: &Model, bounds: &Bounds, ask: &Ask, context: &Context<'_>) -> Option<Usd> {
    if bounds.unbounded.is_some() {
        return None;
    }
    let calls = bounds.server_tool_calls;
    let tools: Vec<(&str, u64)> = ask.server_tools.iter().map(|tool| (undated(&tool.kind), calls)).collect();
    let has_media = ask.features.images + ask.features.audios + ask.features.videos + ask.features.documents > 0;
    let bounds = price::Bounds {
        input: bounds.input_tokens,
        output: bounds.output_tokens?,
        tools: &tools,
        prompt: if has_media || ask.features.stored_context { Prompt::Any } else { Prompt::Text },
        ..price::Bounds::default()
    };
    price::quote(model.row(), &bounds, context).ok()
}

/// A server tool's name without the date of its version, as in `web_search_20250305`.
fn undated(kind: &str) -> &str {
    match kind.rsplit_once('_') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => kind,
    }
}
