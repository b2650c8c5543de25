//! Recorded provider traffic through the whole of Tollgate: a fake upstream serves the recorded bytes, streams cut at
//! random; request and answer must arrive as they were, and the ledger must hold the usage that the record expects.
//!
//! Reads `$TOLLGATE_DATA/recordings.tar.gz`; without that variable it says so and passes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};
use tollgate::domain::entry::{Entry, Outcome};
use tollgate::domain::operation::Dialect;
use tollgate::domain::tokens::UsageSource;

use crate::tapes::{buckets, each_record, expected_buckets, without_usage_events};
use crate::wire::{Fake, Reply};
use crate::world::{self, World};

/// The endpoints that are served, and the dialect of each.
const ENDPOINTS: [(&str, &str); 12] = [
    ("chat.completions", "openai"),
    ("responses", "openai"),
    ("responses.compact", "openai"),
    ("responses.input_tokens", "openai"),
    ("embeddings", "openai"),
    ("messages", "anthropic"),
    ("messages.count_tokens", "anthropic"),
    ("generateContent", "gemini"),
    ("streamGenerateContent", "gemini"),
    ("countTokens", "gemini"),
    ("embedContent", "gemini"),
    ("batchEmbedContents", "gemini"),
];

/// Headers that say how the bytes were framed when they were recorded, or that we add.
const FRAMING: [&str; 9] = [
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "trailer",
    "upgrade",
    "te",
    "date",
];

/// Records whose usage in the ledger differs on purpose, and why.
const KNOWN: [(&str, &str); 5] = [
    ("d05736807586f0a5", "modalities came as numbers, which usage_expected does not read: 258 of its tokens are image"),
    ("e0725c506bb5ce8e", "modalities came as numbers, which usage_expected does not read: 516 of its tokens are image"),
    ("90548607fa136526", "reasoning is told as 11 of 10 tokens; it is clamped to the output"),
    ("d16d5f46bb39f8ba", "thoughts stand only in total_tokens, and are billed as output"),
    ("3e8c75564d0d8c51", "thoughts stand only in total_tokens, and are billed as output"),
];

/// Searches of Gemini's grounding, which the ledger bills by query and the records do not count.
const QUERIES: &str = "web_search_queries";

/// Upstreams that are asked for usage where the client did not ask, as is the default for them.
const SPLICED: [&str; 2] = ["openai-openai", "azure-openai"];

struct Case {
    name: String,
    record: Value,
    /// The upstream's name in config.
    upstream: String,
}

fn cases() -> Option<Vec<Case>> {
    let mut cases = Vec::new();
    let was_run = each_record(&[], |name, record| {
        let endpoint = record["endpoint"].as_str().unwrap();
        if let Some((_, dialect)) = ENDPOINTS.iter().find(|(served, _)| *served == endpoint) {
            let upstream = format!("{}-{dialect}", record["provider"].as_str().unwrap());
            cases.push(Case { name: name.to_owned(), record: record.clone(), upstream });
        }
    });
    was_run.then_some(cases)
}

/// An upstream for each provider and dialect.
fn config(cases: &[Case]) -> String {
    let mut names: Vec<&str> = cases.iter().map(|case| &*case.upstream).collect();
    names.sort_unstable();
    names.dedup();
    let upstream = |name: &&str| {
        let (provider, dialect) = name.rsplit_once('-').unwrap();
        let splice = if SPLICED.contains(name) { "include_usage = \"splice\"" } else { "" };
        format!(
            "[upstreams.{name}]\ndialect = \"{dialect}\"\nprovider = \"{provider}\"\n{splice}\nbase_url = \"http://PROVIDER\"\n"
        )
    };
    names.iter().map(upstream).collect()
}

/// Cuts at random, into as few as one and as many as some hundred pieces.
fn pieces<'a>(body: &'a [u8], random: &mut u64) -> Vec<&'a [u8]> {
    let mut next = |below: usize| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*random >> 33).unwrap() % below.max(1) + 1
    };
    let longest = next(body.len() / 60 + 40);
    let (mut rest, mut pieces) = (body, Vec::new());
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(next(longest).min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces
}

/// The headers of a record as lines, values in their order.
fn headers(record: &Value, side: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (name, value) in record[side].as_object().into_iter().flatten() {
        let name = name.to_lowercase();
        let values = value.as_array().map_or_else(|| vec![value.clone()], Clone::clone);
        let values = values.iter().filter_map(Value::as_str).map(str::trim);
        let values = values.filter(|value| HeaderValue::from_str(value).is_ok() && !value.contains("tg_"));
        let is_framing = FRAMING.contains(&&*name) || HeaderName::try_from(&*name).is_err();
        lines.extend(values.filter(|_| !is_framing).map(|value| (name.clone(), value.to_owned())));
    }
    lines.sort();
    lines
}

/// The recorded request, or one that asks for the recorded answer where only that was recorded.
fn request_body(record: &Value) -> String {
    let body = record["request_body"].as_str().unwrap();
    if !body.is_empty() || record["method"] != "POST" {
        return body.to_owned();
    }
    let options = json!({ "include_usage": true });
    json!({ "model": record["model"], "stream": record["stream"], "stream_options": options }).to_string()
}

fn reply(record: &Value, random: &mut u64) -> Reply {
    let lines = headers(record, "response_headers");
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let body = record["response_body"].as_str().unwrap().as_bytes();
    let status = format!("{} Recorded", record["status"]);
    match record["stream"] == true {
        true => Reply::chunked(&status, &lines, pieces(body, random)),
        false => Reply::whole(&status, &lines, body),
    }
}

/// Sends the recorded request; gives the id of its entry, or what did not pass as it should.
async fn pass(world: &World, fake: &Fake, index: usize, case: &Case) -> Result<String, String> {
    let record = &case.record;
    let body = &request_body(record);
    let path = format!("/u/{}{}", case.upstream, record["path"].as_str().unwrap());
    let mut request = world.post(&path, body.to_owned());
    *request.method_mut() = Method::from_bytes(record["method"].as_str().unwrap().as_bytes()).unwrap();
    for (name, value) in headers(record, "request_headers") {
        if !["host", "expect", "authorization", "accept-encoding"].contains(&&*name) {
            request.headers_mut().append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
    }
    request.headers_mut().insert("x-record", index.into());
    let answer = world.send(request).await;
    let Some(seen) = fake.last() else { return Err(format!("refused: {} {}", answer.status, answer.text())) };
    let sent = String::from_utf8(seen.body).unwrap();
    let spliced = r#""stream_options":{"include_usage":true},"#;
    let is_spliced = sent.len() > body.len();
    if is_spliced && (sent.replacen(spliced, "", 1) != *body || !SPLICED.contains(&&*case.upstream))
        || !is_spliced && sent != *body
    {
        return Err(format!("the request was changed: {body} {sent}"));
    }
    if seen.target != record["path"].as_str().unwrap() {
        return Err(format!("the target was changed: {}", seen.target));
    }
    let recorded = record["response_body"].as_str().unwrap();
    let expect = if is_spliced { without_usage_events(recorded) } else { recorded.to_owned() };
    if answer.body != expect {
        let same = answer.body.iter().zip(expect.as_bytes()).take_while(|(found, wanted)| found == wanted).count();
        let (found, wanted) = (&answer.body[same..], &expect.as_bytes()[same..]);
        let (found, wanted) = (String::from_utf8_lossy(found), String::from_utf8_lossy(wanted));
        return Err(format!("the answer was changed at {same} of {}: {found:.300?} for {wanted:.300?}", expect.len()));
    }
    if u64::from(answer.status.as_u16()) != record["status"].as_u64().unwrap() {
        return Err(format!("the status was changed: {}", answer.status));
    }
    let is_ours = |name: &str| name.starts_with("x-tollgate-") || FRAMING.contains(&name);
    let found = answer.headers.iter().filter(|(name, _)| !is_ours(name.as_str()));
    let mut found: Vec<_> = found.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    found.sort();
    if found != headers(record, "response_headers") {
        return Err(format!("the headers were changed: {found:?}"));
    }
    Ok(answer.header("x-tollgate-request-id").to_owned())
}

/// Why an answer is not kept that somebody else could get: it is no whole text that ended by itself.
fn is_kept_for_nobody(record: &Value) -> bool {
    const SIGNS: [&str; 24] = [
        "tool_use",
        "\"tool_calls\":[{",
        "\"tool_calls\": [",
        "function_call",
        "functionCall",
        "\"length\"",
        "max_tokens",
        "MAX_TOKENS",
        "incomplete",
        "content_filter",
        "SAFETY",
        "server_tool_use",
        "web_search",
        "grounding",
        "_call\"",
        "\"error\": {",
        "refusal",
        "citations",
        "search_results",
        "blockReason",
        "\"finish_reason\": 1",
        "\"finishReason\": 2",
        "finishMessage",
        "response.compaction",
    ];
    let (body, asked) = (record["response_body"].as_str().unwrap(), record["request_body"].as_str().unwrap());
    // Some do not say that a stream is over.
    let is_open = record["endpoint"] == "chat.completions" && record["stream"] == true && !body.contains("[DONE]");
    record["status"] != 200
        || is_open
        || body.is_empty()
        || SIGNS.iter().any(|sign| body.contains(sign))
        || asked.is_empty()
}

#[tokio::test]
async fn recorded_answers_are_given_again_byte_for_byte() {
    let Some(cases) = cases() else { return };
    let cases: Arc<Vec<Case>> = Arc::new(cases);
    let (served, random) = (cases.clone(), Mutex::new(0x9e37_79b9_7f4a_7c15_u64));
    let fake = Fake::start(move |seen| {
        let index: usize = seen.header("x-record").parse().unwrap();
        reply(&served[index].record, &mut random.lock().unwrap())
    })
    .await;
    let cache = "[cache]\nmode = \"exact\"\nstore_sampled = true\nanswer_kib_max = 65536\nrequest_kib_max = 65536\n";
    let mock = world::provider().await.1;
    let world = World::before(fake.address, mock, &format!("{}{cache}", config(&cases)), Duration::from_secs(60)).await;
    let (mut kept, mut asked, mut failed) = (BTreeMap::<String, usize>::new(), 0, Vec::new());
    for (index, case) in cases.iter().enumerate().filter(|(_, case)| case.record["method"] == "POST") {
        let path = format!("/u/{}{}", case.upstream, case.record["path"].as_str().unwrap());
        // Records with the same request have answers of their own.
        let path = format!("{path}{}case={index}", if path.contains('?') { '&' } else { '?' });
        let mut answers = Vec::new();
        for _ in 0..2 {
            let mut request = world.post(&path, request_body(&case.record));
            request.headers_mut().insert("x-record", index.into());
            answers.push(world.send(request).await);
            // The answer is kept with its last byte, which the client may have before that.
            while world.app.metrics.in_flight.get() > 0 {
                tokio::task::yield_now().await;
            }
        }
        let [first, again] = &answers[..] else { unreachable!("two were sent") };
        let (before, cache) = (first.header("x-tollgate-cache"), again.header("x-tollgate-cache"));
        match (before, cache) {
            ("miss", "hit") => {
                let kind = |answer: &world::Answer| answer.header("content-type").to_owned();
                if (first.status, &first.body, kind(first)) != (again.status, &again.body, kind(again)) {
                    failed.push(format!("{}: another answer", case.name));
                }
                let mode = if case.record["stream"] == true { "stream" } else { "whole" };
                *kept.entry(format!("{} {mode}", case.record["endpoint"].as_str().unwrap())).or_default() += 1;
            }
            ("miss", "miss") if is_kept_for_nobody(&case.record) => {}
            ("bypass", "bypass") => asked += 1,
            _ => failed.push(format!(
                "{}: {before:?} {cache:?} {:.200}",
                case.name,
                case.record["response_body"].to_string()
            )),
        }
    }
    println!("given again byte for byte: {kept:?}; never looked up: {asked}");
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
    assert!(kept.len() >= 8 && kept.values().sum::<usize>() > 100, "{kept:?}");
}

/// Whether the ledger's usage is what the record expects.
fn grade(entry: &Entry, record: &Value) -> Result<(), String> {
    let expected = &record["usage_expected"];
    let same = |what: &str, found: String, wanted: String| match found == wanted {
        true => Ok(()),
        false => Err(format!("{what}: {found}, expected {wanted}")),
    };
    let (found, wanted) = (buckets(&entry.usage), expected_buckets(expected));
    same("usage", format!("{found:?}"), format!("{wanted:?}"))?;
    let is_counted = |name: &str| name != QUERIES || entry.dialect != Dialect::Gemini;
    let tools = entry.usage.server_tools.iter().filter(|(name, _)| is_counted(name));
    let tools: BTreeMap<_, _> = tools.map(|(name, calls)| (name.to_string(), *calls)).collect();
    let wanted: BTreeMap<String, u64> = serde_json::from_value(expected["server_tools"].clone()).unwrap_or_default();
    same("server tools", format!("{tools:?}"), format!("{wanted:?}"))?;
    for (what, found) in [("service_tier", &entry.service_tier), ("geo", &entry.geo), ("speed", &entry.speed)] {
        same(what, format!("{:?}", found.as_deref()), format!("{:?}", expected[what].as_str()))?;
    }
    if record["response_model"].is_string() {
        let wanted = record["response_model"].as_str();
        same("model", format!("{:?}", entry.served_model.as_deref()), format!("{wanted:?}"))?;
    }
    same("source", entry.usage_source.name().into(), UsageSource::Reported.name().into())?;
    same("outcome", entry.outcome.name().into(), Outcome::Complete.name().into())
}

#[tokio::test]
async fn recorded_traffic_passes_and_is_metered() {
    let Some(cases) = cases() else { return };
    let cases: Arc<Vec<Case>> = Arc::new(cases);
    let (served, random) = (cases.clone(), Mutex::new(0x9e37_79b9_7f4a_7c15_u64));
    let fake = Fake::start(move |seen| {
        let index: usize = seen.header("x-record").parse().unwrap();
        reply(&served[index].record, &mut random.lock().unwrap())
    })
    .await;
    let mock = world::provider().await.1;
    let world = World::before(fake.address, mock, &config(&cases), Duration::from_secs(60)).await;
    let (mut ids, mut failed) = (Vec::new(), Vec::new());
    for (index, case) in cases.iter().enumerate() {
        match pass(&world, &fake, index, case).await {
            Ok(id) => ids.push((id, case)),
            Err(why) => failed.push(format!("{}: {why}", case.name)),
        }
    }
    let entries: HashMap<String, Entry> =
        world.entries().await.into_iter().map(|entry| (entry.id.to_string(), entry)).collect();
    let (mut gradable, mut passed) = (0, 0);
    for (id, case) in &ids {
        let expected = &case.record["usage_expected"];
        // A stored response that is looked up is not billed again.
        if expected.is_null() || !expected["anomaly"].is_null() || case.record["method"] == "GET" {
            continue;
        }
        gradable += 1;
        match grade(&entries[id], &case.record) {
            Ok(()) => passed += 1,
            Err(why) => failed.push(format!("{}: {why}", case.name)),
        }
    }
    println!(
        "{} of {} pass byte for byte, {passed} of {gradable} gradable are metered exactly",
        ids.len(),
        cases.len()
    );
    for (id, why) in KNOWN {
        println!("{id} is not: {why}");
        assert!(failed.iter().any(|name| name.contains(id)), "{id} is by now");
    }
    failed.retain(|name| !KNOWN.iter().any(|(id, _)| name.contains(id)));
    assert!(failed.is_empty(), "{} fail:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(entries.len(), cases.len(), "an entry for each request");
}
