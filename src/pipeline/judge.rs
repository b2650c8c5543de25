//! Judge: a cheap model is asked for one word on how hard a request is, where config wants that and the word matters.
//!
//! Its call is an attempt of the request, with a hold and records of its own, and stands in the request's entry; so it is
//! billed exactly once, under the same caps. It is asked once, for as long as config lets a request wait, and what it said
//! is remembered for the same ask of the same tenant. Whatever goes wrong, the request goes on, and doubt means medium.
//!
//! Invariant: nothing of a caller goes to a judge that its key may not ask, and no client's credential pays for one.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{HeaderName, Request};
use http_body::Body as _;
use tokio::time::Instant;

use super::arrive::Arrival;
use super::flight::{Answer, fly};
use super::identify::Caller;
use super::parcel::{chat_limit, pack};
use super::permit;
use super::read::Call;
use super::reserve::{MAX_COST, reserve};
use super::route::{Candidate, Decision};
use super::settle::{Bill, End};
use crate::app::App;
use crate::bank::tab::Tab;
use crate::cache::{Key, KeyMaker, Namespace};
use crate::domain::near;
use crate::domain::price::Cap;
use crate::domain::refusal::Refusal;
use crate::domain::routing::Verdict;
use crate::drain::Phase;
use crate::protocol::ask::Reader;
use crate::protocol::endpoint::{Endpoint, Hints};
use crate::protocol::excerpt::excerpt;
use crate::protocol::meter::{Head, Meter};
use crate::protocol::question::{Question, verdict};
use crate::upstream::breaker::{Health, Need, Topic};
use crate::upstream::provider::Provider;

/// The version of Anthropic's API that the judge's answer is read in.
const ANTHROPIC_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));

/// The rule in the ledger while the judge is asked.
const REASON: &str = "judge";

/// Bytes of an answer of one word.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A judge and what it is asked.
struct Case {
    candidate: Candidate,
    arrival: Arrival,
    call: Call,
    key: Key,
}

/// What came of asking.
struct Asked {
    verdict: Verdict,
    /// The word in the metrics.
    told: &'static str,
    /// The request's tab; gone where the request has its entry.
    tab: Option<Tab>,
}

/// Asks the judge about a request that would go where `decision` says without its word.
///
/// # Errors
/// The ledger has failed in the middle. The request has its entry.
pub async fn judge(
    app: &Arc<App>,
    arrival: &Arrival,
    caller: &Caller,
    call: &Call,
    decision: &Decision,
    tab: Tab,
) -> Result<(Verdict, Tab), Refusal> {
    let Some(case) = case(app, arrival, caller, call, decision) else { return Ok((Verdict::Unknown, tab)) };
    if let Some(tier) = app.judge.recall(&case.key) {
        app.metrics.note_judge("remembered");
        return Ok((Verdict::Tier(tier), tab));
    }
    let Asked { verdict, told, tab } = ask(app, case, tab).await;
    app.metrics.note_judge(told);
    let Some(mut tab) = tab else { return Err(End::BrokenOff.refusal()) };
    // What comes next says where the request itself goes and what it can cost.
    let entry = tab.entry();
    (entry.upstream, entry.model, entry.reason, entry.quote) = (Arc::default(), Arc::default(), Box::default(), None);
    Ok((verdict, tab))
}

/// The judge and its question; nothing where nobody can be asked.
fn case(app: &App, arrival: &Arrival, caller: &Caller, call: &Call, decision: &Decision) -> Option<Case> {
    let snapshot = &arrival.snapshot;
    let policy = &snapshot.config.routing.judge;
    let provider = match &policy.upstream {
        Some(name) => snapshot.provider(name)?,
        None => &decision.first.provider,
    };
    let pays_for_itself = provider.has_credential() || provider.config.free;
    // Who limits what a request may cost pays for no second one.
    if !caller.is_trusted || !pays_for_itself || arrival.head.headers.contains_key(MAX_COST) {
        return None;
    }
    let model = match &policy.model {
        Some(model) => model.clone(),
        None => snapshot.config.routing.tiers.get(&provider.config.name)?[0].clone()?,
    };
    let reason = REASON.into();
    let candidate = Candidate { provider: provider.clone(), model, reason, trace: None, output_limit: None };
    permit::candidate(arrival, &caller.policy, &candidate).ok()?;
    let words = excerpt(call.plain.as_ref().unwrap_or(&call.pieces), &call.ask.spoken.ask).text;
    let text = String::from_utf8_lossy(&words);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let known = snapshot.book.find(&provider.config.provider, None, &candidate.model);
    let question = Question {
        dialect: provider.config.dialect,
        model: &candidate.model,
        text,
        tokens_max: policy.tokens_max,
        chat_limit: chat_limit(&provider.config),
        thinks: known.is_some_and(|model| model.can(Cap::Thinking)),
    };
    let key = key(caller, &candidate, text);
    let path = question.path()?;
    let (arrival, call) = request(app, arrival, provider, path, question.body())?;
    Some(Case { candidate, arrival, call, key })
}

/// The name of an ask, however it is spelled, in front of this judge for this tenant.
fn key(caller: &Caller, candidate: &Candidate, text: &str) -> Key {
    let account = &caller.account;
    let namespace = match &account.team {
        Some(team) => Namespace::Team(team.clone()),
        None => Namespace::Key(account.key.clone()),
    };
    let mut key = KeyMaker::new(&namespace);
    key.part(REASON.as_bytes());
    key.part(candidate.provider.config.name.as_bytes());
    key.part(candidate.model.as_bytes());
    match near::canonical(text) {
        Some(form) => key.part(form.as_bytes()),
        None => [b"", text.as_bytes()].into_iter().for_each(|part| key.part(part)),
    }
    key.finish()
}

/// The question as if it had arrived with the request, so that it is held, sent and billed as any other.
fn request(app: &App, arrival: &Arrival, provider: &Provider, path: String, body: Vec<u8>) -> Option<(Arrival, Call)> {
    let endpoint = Endpoint::of("POST", &path, Hints::default()).ok()?;
    let (mut head, ()) = Request::post(&*path).body(()).ok()?.into_parts();
    head.headers = headers(provider);
    let mut reader = Reader::new(&endpoint);
    reader.feed(&body).ok()?;
    let ask = reader.finish().ok()?;
    let call = Call { pieces: vec![body.into()], plain: None, ask, memory: app.body_memory.empty() };
    let asked = Arrival {
        id: arrival.id,
        at_ms: arrival.at_ms,
        at_us: arrival.at_us,
        snapshot: arrival.snapshot.clone(),
        head,
        body: None,
        peer: arrival.peer,
        endpoint,
        path: path.into(),
        named: None,
    };
    Some((asked, call))
}

fn headers(provider: &Provider) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let (name, version) = ANTHROPIC_VERSION;
    if provider.config.dialect == crate::domain::operation::Dialect::Anthropic {
        headers.insert(name, version);
    }
    headers
}

/// Holds, sends, waits and settles.
async fn ask(app: &Arc<App>, case: Case, mut tab: Tab) -> Asked {
    let Case { candidate, mut arrival, call, key } = case;
    let silent = |told, tab| Asked { verdict: Verdict::Unknown, told, tab };
    let breakers = &app.judge.breakers;
    let topic = Topic { model: &candidate.model, operation: arrival.endpoint.operation };
    let Ok(probe) = breakers.ask(topic, Need::OneOfSeveral, app.clock.ticks_us()) else {
        return silent("left alone", Some(tab));
    };
    candidate.note(tab.entry());
    let mut bill = match reserve(app, &arrival, &call, &candidate, tab).await {
        Ok(bill) => bill,
        Err(denied) => return silent("not affordable", denied.tab),
    };
    let lease = candidate.provider.credentials.lease_any(&candidate.model, app.clock.ticks_us());
    bill.equip(None, lease);
    bill.keep_from_breakers();
    let deadline = Instant::now() + arrival.snapshot.config.routing.judge.deadline;
    let pack = |bill: &Bill| pack(&mut arrival, &call, &candidate.model, &candidate, bill);
    let (health, asked) = match fly(app, pack, &candidate.provider, bill, deadline).await {
        Ok(answer) => hear(app, answer, &candidate, deadline).await,
        Err(failure) => {
            let told = if failure.end() == End::Silent { "late" } else { "failed" };
            (Health::Failing, silent(told, failure.close().0))
        }
    };
    let topic = Topic { model: &candidate.model, operation: arrival.endpoint.operation };
    breakers.note(topic, health, probe.as_ref(), app.clock.ticks_us());
    if let Verdict::Tier(tier) = asked.verdict {
        app.judge.keep(key, tier);
    }
    asked
}

/// Reads the answer and settles it.
async fn hear(app: &App, answer: Answer, candidate: &Candidate, deadline: Instant) -> (Health, Asked) {
    let (head, mut body) = answer.response.into_parts();
    let reading = tokio::time::timeout_at(deadline, read(&mut body));
    let read = tokio::select! {
        read = reading => read.map_err(|_| End::Silent).and_then(|read| read.ok_or(End::BrokenOff)),
        () = app.drain.reached(Phase::Cutting) => Err(End::Cut),
    };
    let dialect = candidate.provider.config.dialect;
    let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let head_told = Head {
        status: head.status.as_u16(),
        content_type: text(CONTENT_TYPE),
        content_encoding: text(CONTENT_ENCODING),
    };
    let mut meter = Meter::new(answer.bill.operation(), head_told);
    let (end, bytes) = match read {
        Ok(bytes) => (End::Complete, bytes),
        Err(end) => (end, Bytes::new()),
    };
    meter.feed(&bytes);
    let tab = answer.bill.close(end, &meter.end());
    let word = if head.status.is_success() { verdict(dialect, &bytes) } else { None };
    let (told, verdict) = match (word, end) {
        (Some(tier), _) => (tier.name(), Verdict::Tier(tier)),
        (None, End::Silent) => ("late", Verdict::Unknown),
        (None, End::Complete) if head.status.is_success() => ("unknown", Verdict::Unknown),
        (None, _) => ("failed", Verdict::Unknown),
    };
    let is_well = end == End::Complete && head.status.is_success();
    (if is_well { Health::Well } else { Health::Failing }, Asked { verdict, told, tab })
}

/// The whole of a short body; `None` where it breaks off or is long.
async fn read(body: &mut hyper::body::Incoming) -> Option<Bytes> {
    let mut text = Vec::new();
    while !body.is_end_stream() {
        let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await else { break };
        if let Ok(piece) = frame.ok()?.into_data() {
            text.extend_from_slice(&piece);
        }
        if text.len() > ANSWER_BYTES_MAX {
            return None;
        }
    }
    Some(text.into())
}
