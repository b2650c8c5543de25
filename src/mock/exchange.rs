//! One request, from its head to the answer that is then played.
//!
//! Invariant: whatever comes, an answer in the dialect's shape goes out, unless a fault was asked for.

use super::ask::{Ask, Block};
use super::bill::{Counted, Line, Tab};
use super::brain;
use super::coding::{self, Unreadable};
use super::faults::{Framing, Plan, Reply, plan};
use super::memory::{CacheRule, Writes};
use super::problem::Problem;
use super::route::{Api, Target, Work, has_credential};
use super::script::{Act, Play, Plug, Pull};
use super::settings::{Fault, Settings};
use super::{Mock, Sheet, anthropic, control, gemini, openai, prices, responses, sse};
use crate::domain::money::Usd;
use crate::domain::operation::Dialect;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Model names with this start do not exist.
const UNKNOWN_MODEL: &str = "no-such";

/// No model has a longer name, in bytes: names are kept on the bill.
const MODEL_BYTES_MAX: usize = 256;

/// What is known of a request while it is answered.
struct Exchange<'a> {
    mock: &'a Arc<Mock>,
    plug: &'a Arc<Plug>,
    number: u64,
    dialect: Dialect,
    settings: Settings,
}

/// Answers a request.
pub(super) async fn answer(mock: &Arc<Mock>, plug: &Arc<Plug>, request: http::Request<Incoming>) -> Response<Play> {
    let (head, body) = request.into_parts();
    if let Some(path) = head.uri.path().strip_prefix("/_mock/") {
        return control::answer(mock, plug, path, &head, body).await;
    }
    if head.uri.path() == "/" && (head.method == Method::HEAD || head.method == Method::GET) {
        return Response::new(Play::new(Vec::new(), None, Arc::clone(plug)));
    }
    let number = mock.stats.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let _in_flight = Counter::up(&mock.stats.in_flight);
    let (dialect, target) = match Target::of(&head) {
        Ok(target) => (target.dialect, Ok(target)),
        Err((dialect, problem)) => (dialect, Err(problem)),
    };
    let mut exchange = Exchange { mock, plug, number, dialect, settings: Settings::default() };
    match exchange.run(&head, body, target).await {
        Ok(response) => response,
        Err(problem) => exchange.refuse(&problem),
    }
}

/// Reads a body that may be so long.
pub(super) async fn collect(body: Incoming, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        ..Problem::invalid(None, format!("the body is larger than {bytes_max} bytes"))
    };
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(why) if why.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Problem::invalid(None, "the body ended early")),
    }
}

/// Counts up while it lives.
pub(super) struct Counter<'a>(&'a AtomicU64);

impl<'a> Counter<'a> {
    pub(super) fn up(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Exchange<'_> {
    async fn run(
        &mut self,
        head: &Parts,
        body: Incoming,
        target: Result<Target, Problem>,
    ) -> Result<Response<Play>, Problem> {
        let settings = self.mock.settings().with_headers(&head.headers);
        self.settings = settings.map_err(|why| Problem::invalid(None, why))?;
        if self.settings.fault == Some(Fault::ResetBefore) && self.mock.struck(&self.settings, "").is_some() {
            return self.pull(Pull::Reset).await;
        }
        let bytes_max = self.mock.options.body_bytes_max;
        let bytes = collect(body, bytes_max).await?;
        self.mock.stats.bytes_in.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.mock.seen.push(self.number, head, &bytes);
        let target = target?;
        if !has_credential(head, self.dialect) {
            return Err(Problem::no_credential());
        }
        if target.work == Work::Models {
            return self.models(&target);
        }
        let plain = coding::decode(&head.headers, bytes, bytes_max).map_err(|why| match why {
            Unreadable::Garbled => Problem::invalid(None, "the body is not in its content coding"),
            Unreadable::TooLarge => Problem::invalid(None, "the body is too large when decoded"),
        })?;
        let json: Value = serde_json::from_slice(&plain).map_err(|why| {
            Problem::invalid(None, format!("We could not parse the JSON body of your request: {why}"))
        })?;
        drop(plain);
        if self.dialect == Dialect::Anthropic && !head.headers.contains_key("anthropic-version") {
            return Err(Problem::invalid(None, "anthropic-version: header is required"));
        }
        self.operate(&target, &json).await
    }

    async fn operate(&self, target: &Target, body: &Value) -> Result<Response<Play>, Problem> {
        let named = target.model.as_deref().or_else(|| body.get("model").and_then(Value::as_str)).unwrap_or("");
        let fault = self.mock.struck(&self.settings, named);
        if let Some(Fault::Status(status)) = fault {
            if let Some(gate) = &self.settings.gate {
                self.mock.gate(gate).pass().await;
            }
            return Err(Problem::fault(status));
        }
        self.exists(named, target.work)?;
        let (reply, tab) = match target.work {
            Work::Answer(api) => self.generate(api, named, body, fault)?,
            Work::Embed => self.embed(named, body, fault)?,
            Work::Count => (self.count(body)?, None),
            Work::Models => return self.models(target),
        };
        self.perform(reply, tab, fault).await
    }

    fn exists(&self, model: &str, work: Work) -> Result<(), Problem> {
        if model.len() > MODEL_BYTES_MAX {
            return Err(Problem::invalid(Some("model"), "the model's name is too long"));
        }
        if !model.trim_start_matches("models/").starts_with(UNKNOWN_MODEL) {
            return Ok(());
        }
        let problem = Problem::unknown_model(model);
        Err(match self.dialect {
            // Recorded: this endpoint says 400, the others say 404.
            Dialect::OpenAi if work == Work::Answer(Api::Responses) => {
                Problem { status: StatusCode::BAD_REQUEST, param: Some("model"), ..problem }
            }
            Dialect::Anthropic => Problem { message: format!("model: {model}"), ..problem },
            Dialect::OpenAi | Dialect::Gemini => problem,
        })
    }

    fn generate(
        &self,
        api: Api,
        model: &str,
        body: &Value,
        fault: Option<Fault>,
    ) -> Result<(Reply, Option<Tab>), Problem> {
        let mut ask = match api {
            Api::Chat => openai::read(body)?,
            Api::Responses => responses::read(body)?,
            Api::Messages => anthropic::read(body, anthropic::Purpose::Answer)?,
            Api::Gemini | Api::GeminiStream(_) => gemini::read(body, model)?,
        };
        ask.stream |= matches!(api, Api::GeminiStream(_));
        let answer = brain::answer(&ask, &self.settings);
        if let Some(model) = self.settings.served_model.as_deref() {
            model.clone_into(&mut ask.model);
        }
        ask.service_tier = self.settings.served_tier.clone().or(ask.service_tier);
        let counted = Counted { reasoning: answer.reasoning, ..self.split(&ask.model, &ask.blocks.list) };
        let tier = (self.dialect == Dialect::OpenAi).then(|| prices::served_tier(ask.service_tier.as_deref()));
        let tab = self.tab(&ask.model, tier, counted);
        let sheet = Sheet {
            number: self.number,
            created_s: (self.mock.options.now_ms)() / 1_000,
            model: &ask.model,
            service_tier: ask.service_tier.as_deref(),
            answer: &answer,
            usage: (fault != Some(Fault::NoUsage)).then_some(&counted),
            chunks: self.settings.chunks_each(ask.count),
        };
        Ok((self.render(api, &ask, &sheet, body), Some(tab)))
    }

    fn render(&self, api: Api, ask: &Ask, sheet: &Sheet<'_>, body: &Value) -> Reply {
        let failure = self.failure(api, ask, sheet, body);
        if !ask.stream {
            let text = match api {
                Api::Chat => openai::whole(sheet).to_string(),
                Api::Responses => responses::whole(sheet, body).to_string(),
                Api::Messages => anthropic::whole(sheet, ask).to_string(),
                Api::Gemini | Api::GeminiStream(_) => gemini::whole(sheet),
            };
            return Reply { failure, ..Reply::whole(StatusCode::OK, text, sheet.answer.tokens()) };
        }
        self.mock.stats.streams.fetch_add(1, Ordering::Relaxed);
        let events = match api {
            Api::Chat => openai::stream(sheet, ask.include_usage),
            Api::Responses => responses::stream(sheet, body),
            Api::Messages => anthropic::stream(sheet, ask),
            Api::Gemini => Vec::new(),
            Api::GeminiStream(frames) => gemini::stream(sheet, frames),
        };
        let kind = match api {
            Api::Chat | Api::Responses | Api::Messages => "text/event-stream; charset=utf-8",
            Api::Gemini | Api::GeminiStream(gemini::Frames::Array) => "application/json; charset=UTF-8",
            Api::GeminiStream(gemini::Frames::Events) => "text/event-stream",
        };
        Reply::stream(kind, events, failure)
    }

    /// What the dialect sends when it fails inside an answer.
    fn failure(&self, api: Api, ask: &Ask, sheet: &Sheet<'_>, body: &Value) -> Bytes {
        let problem = Problem::late();
        let error = problem.body(self.dialect, &self.request_id());
        if !ask.stream {
            return error.to_string().into();
        }
        match api {
            Api::Chat => sse::data(&error),
            Api::Responses => responses::failure(sheet, body, &problem),
            Api::Messages => sse::event("error", &error),
            Api::Gemini | Api::GeminiStream(gemini::Frames::Events) => sse::crlf(&error),
            Api::GeminiStream(gemini::Frames::Array) => format!(",\r\n{error}\n]\n").into(),
        }
    }

    fn count(&self, body: &Value) -> Result<Reply, Problem> {
        let json = match self.dialect {
            Dialect::OpenAi | Dialect::Anthropic => {
                let ask = anthropic::read(body, anthropic::Purpose::Count)?;
                serde_json::json!({ "input_tokens": ask.blocks.tokens() })
            }
            Dialect::Gemini => gemini::count(body)?,
        };
        Ok(Reply::whole(StatusCode::OK, json.to_string(), 0))
    }

    fn embed(&self, model: &str, body: &Value, fault: Option<Fault>) -> Result<(Reply, Option<Tab>), Problem> {
        let show_usage = fault != Some(Fault::NoUsage);
        let (text, input) = match self.dialect {
            Dialect::OpenAi | Dialect::Anthropic => openai::embeddings(body, show_usage)?,
            Dialect::Gemini => gemini::embeddings(body, model, show_usage)?,
        };
        let failure = Problem::late().body(self.dialect, &self.request_id()).to_string();
        let reply = Reply { failure: failure.into(), ..Reply::whole(StatusCode::OK, text, 0) };
        Ok((reply, Some(self.tab(model, None, Counted { input, ..Counted::default() }))))
    }

    fn split(&self, model: &str, blocks: &[Block]) -> Counted {
        let billed = ["gpt-5.6", "gpt-6"].iter().any(|family| model.starts_with(family));
        let rule = match self.dialect {
            Dialect::OpenAi => CacheRule::Stepped(if billed { Writes::Billed } else { Writes::Free }),
            Dialect::Anthropic => CacheRule::Marked,
            Dialect::Gemini => CacheRule::Automatic,
        };
        self.mock.memory.split(rule, model, blocks, (self.mock.options.now_ms)())
    }

    fn tab(&self, model: &str, service_tier: Option<&'static str>, counted: Counted) -> Tab {
        let request_id = self.request_id();
        let model = model.to_owned();
        let cost = Usd::ZERO;
        self.mock.bill.open(Line {
            number: self.number,
            request_id,
            model,
            service_tier,
            counted,
            cost,
            aborted: false,
        })
    }

    fn models(&self, target: &Target) -> Result<Response<Play>, Problem> {
        if let Some(Fault::Status(status)) = self.mock.struck(&self.settings, target.model.as_deref().unwrap_or("")) {
            return Err(Problem::fault(status));
        }
        let one = target.model.as_deref();
        self.exists(one.unwrap_or(""), Work::Models)?;
        let list = match self.dialect {
            Dialect::OpenAi => openai::models(one),
            Dialect::Anthropic => anthropic::models(one),
            Dialect::Gemini => gemini::models(one),
        };
        Ok(self.play(Reply::whole(StatusCode::OK, list.to_string(), 0), None, None))
    }

    /// Waits as long as asked, then plays the answer.
    async fn perform(
        &self,
        reply: Reply,
        mut tab: Option<Tab>,
        fault: Option<Fault>,
    ) -> Result<Response<Play>, Problem> {
        if reply.framing == Framing::Whole {
            // A whole answer is generated to its end, whether or not anybody is still there to hear it.
            tab.iter_mut().for_each(|tab| tab.generated(reply.output()));
        }
        if self.settings.latency_ms > 0 {
            tokio::time::sleep(self.settings.latency()).await;
        }
        if let Some(Fault::Hang | Fault::Reset) = fault {
            tab.iter_mut().for_each(Tab::abort);
        }
        match fault {
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::Reset) => return self.pull(Pull::Reset).await,
            Some(_) | None => {}
        }
        let gate = self.settings.gate.as_deref().map(|name| self.mock.gate(name));
        if let Some(gate) = gate.filter(|_| reply.framing == Framing::Whole) {
            gate.pass().await;
        }
        Ok(self.play(reply, tab, fault))
    }

    fn play(&self, reply: Reply, tab: Option<Tab>, fault: Option<Fault>) -> Response<Play> {
        let gate = self.settings.gate.as_deref().map(|name| self.mock.gate(name));
        let (status, content_type) = (reply.status, reply.content_type);
        let Plan { length, coding, acts } = plan(reply, &self.settings, fault, gate);
        let mut response = self.response(status, content_type, acts, tab);
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(coding) = coding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        response
    }

    fn refuse(&self, problem: &Problem) -> Response<Play> {
        let body = Bytes::from(problem.body(self.dialect, &self.request_id()).to_string());
        let length = HeaderValue::from(body.len());
        let mut response = self.response(problem.status, "application/json", vec![Act::Send(body, 0)], None);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length);
        if let Some(value) = self.settings.retry_after.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(header::RETRY_AFTER, value);
        }
        response
    }

    fn response(&self, status: StatusCode, kind: &'static str, acts: Vec<Act>, tab: Option<Tab>) -> Response<Play> {
        let mut response = Response::new(Play::new(acts, tab, Arc::clone(self.plug)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        // Sent twice on purpose: what a proxy must keep apart.
        headers.append("x-mock-repeated", HeaderValue::from_static("one"));
        headers.append("x-mock-repeated", HeaderValue::from_static("two"));
        let names: &[&str] = match self.dialect {
            Dialect::Anthropic => &["x-request-id", "request-id"],
            Dialect::OpenAi | Dialect::Gemini => &["x-request-id"],
        };
        if let Ok(id) = HeaderValue::from_str(&self.request_id()) {
            names.iter().for_each(|name| _ = headers.insert(HeaderName::from_static(name), id.clone()));
        }
        response
    }

    fn request_id(&self) -> String {
        format!("req_mock{:016x}", self.number)
    }

    async fn pull<T>(&self, how: Pull) -> T {
        self.plug.pull(how);
        std::future::pending().await
    }
}
