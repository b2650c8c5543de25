//! `tollgate explain`: what would happen to a request, without sending it.
//!
//! It reads requests as JSON lines `{"id", "path", "body"}`, `body` an object or the text of one, with the `headers` that matter
//! where some do, and writes one line for each. A request that cannot be read gets a line with an `error`, and the exit code says that there was one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::args::explain::Explain;
use super::args::{EXIT_FAILED, EXIT_OK};
use super::past::learned;
use super::{load_without_secrets, tell};
use crate::admin::routes::write_outcomes;
use crate::app::Snapshot;
use crate::app::routes::Routes;
use crate::app::scores::Scores;
use crate::clock::Clock;
use crate::config::{Config, Permit};
use crate::domain::account::Account;
use crate::domain::classify::{self, Part, Score, Traits, Weights};
use crate::domain::evidence::{Outcomes, drawn};
use crate::domain::json_text::Object;
use crate::domain::money::Usd;
use crate::domain::refusal::Refusal;
use crate::domain::routing::Considered;
use crate::pipeline::foresee::{self, Foreseen};
use crate::pipeline::identify::Caller;
use crate::pipeline::learn::{Memory, route_of};
use crate::protocol::excerpt::traits_of;
use crate::upstream::names::Names;

/// The most bytes of a line: a body of 64 MiB with every byte escaped would not be classified otherwise than its ends.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// A request on a line.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// What is made of a request.
struct Explained {
    traits: Traits,
    score: Score,
    top: [Part; 3],
    route: u64,
    learned: Option<[Outcomes; 3]>,
    /// What would become of it, or why nothing would.
    foreseen: Result<Foreseen, Refusal>,
}

/// What requests are explained by.
struct Desk {
    snapshot: Arc<Snapshot>,
    weights: Weights,
    scores: Scores,
    caller: Caller,
    routes: Arc<Routes>,
    now_ms: u64,
}

/// Explains, and returns the exit code.
#[must_use]
pub async fn run(args: &Explain) -> u8 {
    let config = match load_without_secrets(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match desk(args, config).await.and_then(|desk| all(args, &desk)) {
        Ok(true) => EXIT_OK,
        Ok(false) => EXIT_FAILED,
        Err(message) => {
            tell(&message);
            EXIT_FAILED
        }
    }
}

async fn desk(args: &Explain, mut config: Config) -> Result<Desk, String> {
    let (weights, caller) = (weights(args.weights.as_deref())?, caller(args, &config)?);
    let now_ms = Clock::system().now_ms();
    let routes = Arc::new(learned(&config.store.path, now_ms).await?);
    // Nobody connects, so that no certificate is needed.
    config.server.tls = None;
    let snapshot = Arc::new(Snapshot::new(config, Names::System).map_err(|error| error.to_string())?);
    Ok(Desk { snapshot, weights, scores: Scores::default(), caller, routes, now_ms })
}

/// As whom the requests are explained.
fn caller(args: &Explain, config: &Config) -> Result<Caller, String> {
    let known = args.key.as_deref().map(|name| config.keys.get(name).ok_or(format!("the config has no key {name:?}")));
    let (mut account, policy) = match known.transpose()? {
        Some(key) => (key.account.clone(), key.permit()),
        None => {
            let account = Account { key: "local".into(), user: None, team: None, tags: Arc::default() };
            (account, Permit::new(None, config.default_rights.key.clone()))
        }
    };
    if let Some(team) = &args.team {
        account.team = Some(team.as_str().into());
    }
    Ok(Caller { account, is_trusted: true, policy })
}

/// The weights of a file, or those inside the binary.
fn weights(file: Option<&Path>) -> Result<Weights, String> {
    let Some(file) = file else { return Ok(Weights::builtin().clone()) };
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Weights::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Explains every line; whether each could be read.
fn all(args: &Explain, desk: &Desk) -> Result<bool, String> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut good = true;
    let mut explain = |line: &[u8]| {
        let (text, is_good) = answer(line, desk, args.traits);
        good &= is_good;
        out.write_all(text.as_bytes())
    };
    let done = match (&args.request, &args.batch) {
        (Some(file), _) => {
            let line = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            explain(&line)
        }
        (None, Some(file)) => {
            let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
            each_line(BufReader::with_capacity(1 << 16, opened), explain)
        }
        (None, None) => Ok(()),
    };
    match done.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("cannot go on: {error}")),
        Ok(()) | Err(_) => Ok(good),
    }
}

fn each_line(mut input: impl BufRead, mut explain: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut line = Vec::new();
    while io::Read::take(&mut input, LINE_BYTES_MAX).read_until(b'\n', &mut line)? > 0 {
        if !line.trim_ascii().is_empty() {
            explain(&line)?;
        }
        line.clear();
    }
    Ok(())
}

/// The line for a request, and whether the request could be read.
fn answer(line: &[u8], desk: &Desk, shows_traits: bool) -> (String, bool) {
    let mut text = String::with_capacity(512);
    let mut object = Object::open(&mut text);
    let line = serde_json::from_slice::<Line<'_>>(line);
    object.number("id", line.as_ref().ok().and_then(|line| line.id).map_or("null", RawValue::get));
    let explained = line.map_err(|error| error.to_string()).and_then(|line| explained(&line, desk));
    match &explained {
        Ok(explained) if shows_traits => write_traits(explained, &mut object),
        Ok(explained) => write(explained, &mut object),
        Err(error) => {
            object.text("error", error);
        }
    }
    drop(object);
    text.push('\n');
    (text, explained.is_ok())
}

fn explained(line: &Line<'_>, desk: &Desk) -> Result<Explained, String> {
    let body = match serde_json::from_str::<String>(line.body.get()) {
        Ok(text) => Bytes::from(text),
        Err(_) => Bytes::copy_from_slice(line.body.get().as_bytes()),
    };
    let headers = headers(&line.headers)?;
    let said = |refusal: Refusal| refusal.message.into_owned();
    let arrival = foresee::arrival(&desk.snapshot, &line.path, &headers, desk.now_ms).map_err(said)?;
    let call = foresee::call(&arrival, body).map_err(said)?;
    let traits = traits_of(&call.pieces, &call.ask);
    let route = route_of(&desk.routes, &desk.caller, &call);
    let learned = desk.routes.of(route, desk.now_ms).filter(|_| route != 0);
    let score = desk.weights.score(&traits);
    let score = learned.map_or(score, |learned| drawn(score, &learned));
    // Each line is a conversation of its own.
    let pins = Arc::default();
    let memory = Memory { pins: &pins, routes: &desk.routes, weights: &desk.weights, scores: &desk.scores };
    let foreseen = foresee::foresee(memory, &arrival, &desk.caller, &call);
    Ok(Explained { traits, score, top: desk.weights.top(&traits), route, learned, foreseen })
}

fn headers(said: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let header = |(name, value): (&String, &String)| {
        let odd = || format!("{name:?} cannot be a header");
        let value = HeaderValue::from_str(value).map_err(|_| odd())?;
        Ok((HeaderName::try_from(name).map_err(|_| odd())?, value))
    };
    said.iter().map(header).collect()
}

fn write(explained: &Explained, object: &mut Object<'_>) {
    let (score, foreseen) = (&explained.score, explained.foreseen.as_ref());
    let decision = foreseen.ok().map(|foreseen| &foreseen.decision);
    object.text("tier", decision.and_then(|decision| decision.tier).unwrap_or(score.tier).name());
    object.number("score", millionths(score.failure_ppm));
    object.text_or_null("model", decision.map(|decision| &*decision.first.model));
    object.text_or_null("rule", decision.map(|decision| &*decision.first.reason));
    write_top(explained, object);
    let candidates = foreseen.map_or(&[][..], |foreseen| &foreseen.considered);
    write_candidates(candidates, object);
    let quote = foreseen.ok().and_then(|foreseen| foreseen.quote);
    object.text_or_null("quote_usd", quote.map(Usd::fixed).as_deref());
    let keys = foreseen.map_or([None; 2], |foreseen| foreseen.keys);
    for (name, key) in ["cache_key", "near_key"].into_iter().zip(keys) {
        object.text_or_null(name, key.map(|key| key.to_string()).as_deref());
    }
    object.truth("cached", foreseen.is_ok_and(|foreseen| foreseen.is_kept));
    if let Err(refusal) = foreseen {
        object.text("refused", &refusal.message);
    }
}

fn write_top(explained: &Explained, object: &mut Object<'_>) {
    let score = &explained.score;
    let mut top = object.list("top");
    for part in explained.top.iter().filter(|part| part.sum != 0) {
        top.text(&format!("{} {}{}", part.name, if part.sum < 0 { '-' } else { '+' }, hundredths(part.sum)));
    }
    drop(top);
    let mut tiers = object.object("tiers");
    for (name, ppm) in ["simple", "medium", "complex"].into_iter().zip(score.tier_ppm) {
        tiers.number(name, millionths(ppm));
    }
    drop(tiers);
    object.truth("sure", score.is_sure);
    match explained.learned {
        Some(learned) => write_learned(explained.route, &learned, object),
        None => {
            object.null("route");
        }
    }
}

/// The tiers' models: what the request likely costs there, and why one cannot take it.
fn write_candidates(considered: &[Considered], object: &mut Object<'_>) {
    let mut list = object.list("candidates");
    for candidate in considered {
        let mut of = list.object();
        of.text("tier", candidate.tier.name()).text("model", &candidate.model);
        of.text_or_null("likely_usd", candidate.cost.map(Usd::fixed).as_deref());
        of.text_or_null("lack", candidate.lack.map(|lack| lack.to_string()).as_deref());
    }
}

fn write_learned(route: u64, learned: &[Outcomes; 3], object: &mut Object<'_>) {
    let mut of = object.object("route");
    of.text("id", &format!("{route:012x}"));
    for (name, outcomes) in ["simple", "medium", "complex"].into_iter().zip(learned) {
        write_outcomes(&mut of, name, *outcomes);
    }
}

fn write_traits(explained: &Explained, object: &mut Object<'_>) {
    let mut traits = object.object("traits");
    for (place, value) in explained.traits.iter().enumerate() {
        traits.number(classify::name(place), value);
    }
}

fn millionths(ppm: u32) -> String {
    format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000)
}

/// A sum of 65,536 to the unit, without its sign.
fn hundredths(sum: i64) -> String {
    let hundredths = sum.unsigned_abs() * 100 / 65_536;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
