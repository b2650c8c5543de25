//! The pieces of the hot path, one by one: `cargo bench --bench hot`.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tollgate::bank::local::{Local, Wish};
use tollgate::domain::account::{Account, Scope};
use tollgate::domain::cap::{Capped, Limit, Policy, Share, Window};
use tollgate::domain::classify::Weights;
use tollgate::domain::entry::Entry;
use tollgate::domain::ids::{AttemptId, RequestId};
use tollgate::domain::money::Usd;
use tollgate::domain::operation::{Dialect, Operation};
use tollgate::domain::price::{self, Book, Context};
use tollgate::domain::tokens::Usage;
use tollgate::protocol::ask::Reader;
use tollgate::protocol::endpoint::{Endpoint, Hints};
use tollgate::protocol::excerpt::traits_of;
use tollgate::protocol::meter::{Head, Meter};
use tollgate::protocol::splice::{ask_for_usage, splice};
use tollgate::protocol::strip::{UsageEvents, Watch};
use tollgate::store::{Close, Journal, Open, Options};

/// A chat of about `bytes` bytes in messages of 600.
fn chat(bytes: usize) -> Bytes {
    let mut text = String::from(r#"{"model":"gpt-4o-mini","stream":true,"max_tokens":256,"messages":["#);
    while text.len() + 640 < bytes {
        text.push_str(&format!(r#"{{"role":"user","content":"{}"}},"#, "the ledger adds up. ".repeat(28)));
    }
    text.push_str(&format!(
        r#"{{"role":"user","content":"{}"}}]}}"#,
        "a".repeat(bytes.saturating_sub(text.len() + 33))
    ));
    text.into()
}

fn read(criterion: &mut Criterion) {
    let endpoint = Endpoint::of("POST", "/v1/chat/completions", Hints::default()).expect("a known path");
    let mut group = criterion.benchmark_group("read");
    for bytes in [512, 20_000, 200_000] {
        let body = chat(bytes);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{bytes} bytes"), |bencher| {
            bencher.iter(|| {
                let mut reader = Reader::new(&endpoint);
                reader.feed(black_box(&body)).expect("JSON");
                reader.finish().expect("an ask")
            });
        });
    }
    group.finish();
}

/// An ask of about `words` words in several lines, such as people write, as it stands in JSON.
fn question(words: usize) -> String {
    let sentence = "If Ada sells 12 crates of \\\"apples\\\" for $3.50 each and half of the rest the next day, how much does she \
                    earn?\\n ";
    sentence.split_inclusive(' ').cycle().take(words).collect()
}

/// What routing adds to a request: the ask's words out of the body, counted and weighed.
fn classifying(criterion: &mut Criterion) {
    let endpoint = Endpoint::of("POST", "/v1/chat/completions", Hints::default()).expect("a known path");
    let mut group = criterion.benchmark_group("classify");
    for words in [80, 350, 2_000] {
        let text = question(words);
        let body = Bytes::from(format!(r#"{{"model":"auto","messages":[{{"role":"user","content":"{text}"}}]}}"#));
        let mut reader = Reader::new(&endpoint);
        reader.feed(&body).expect("JSON");
        let ask = reader.finish().expect("an ask");
        let weights = Weights::builtin();
        group.bench_function(format!("{words} words, {} bytes", body.len()), |bencher| {
            bencher.iter(|| weights.score(&traits_of(black_box(std::slice::from_ref(&body)), &ask)));
        });
    }
    group.finish();
}

fn splicing(criterion: &mut Criterion) {
    let endpoint = Endpoint::of("POST", "/v1/chat/completions", Hints::default()).expect("a known path");
    let body = chat(200_000);
    let mut reader = Reader::new(&endpoint);
    reader.feed(&body).expect("JSON");
    let ask = reader.finish().expect("an ask");
    criterion.bench_function("splice, 200000 bytes", |bencher| {
        bencher.iter(|| splice(black_box(std::slice::from_ref(&body)), vec![ask_for_usage(&ask).expect("an edit")]));
    });
}

fn meter(criterion: &mut Criterion) {
    let chat = "data: {\"id\":\"chatcmpl-0\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" the\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
    let messages = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" the ledger\"}}\n\n";
    let responses = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"item_id\":\"msg_0\",\"output_index\":0,\"content_index\":0,\"delta\":\" the\",\"logprobs\":[]}\n\n";
    let gemini = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\" the\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":1,\"totalTokenCount\":9},\"modelVersion\":\"gemini-2.5-flash\"}\r\n\r\n";
    let mut group = criterion.benchmark_group("meter, an event");
    for (name, operation, event) in [
        ("chat", Operation::ChatCompletions, chat),
        ("messages", Operation::Messages, messages),
        ("responses", Operation::Responses, responses),
        ("gemini", Operation::GenerateContent, gemini),
    ] {
        let event = Bytes::from_static(event.as_bytes());
        for (kind, events) in [("", UsageEvents::Pass), (", stripped", UsageEvents::Drop)] {
            let head = Head { status: 200, content_type: "text/event-stream", content_encoding: "" };
            let mut watch = Watch::new(Meter::new(operation, head), events);
            let mut out = VecDeque::new();
            group.bench_function(format!("{name}{kind}"), |bencher| {
                bencher.iter(|| {
                    watch.feed(event.clone(), &mut out);
                    out.clear();
                });
            });
        }
    }
    group.finish();
}

fn pricing(criterion: &mut Criterion) {
    let book = Book::builtin();
    let usage = Usage { input: 1_000, cache_read: 2_000, output: 300, ..Usage::default() };
    criterion.bench_function("price: find and charge", |bencher| {
        bencher.iter(|| {
            let model = book.find("openai", Some("gpt-4o-mini"), "gpt-4o-mini").expect("a known model");
            price::charge(model.row(), black_box(&usage), &Context::default())
        });
    });
}

fn journal(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(folder.path(), Options::default(), 0).expect("a journal");
    let account = Account { key: "ci".into(), user: None, team: Some("search".into()), tags: [].into() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut next = 0;
    criterion.bench_function("journal: open, write, settle", |bencher| {
        bencher.iter_batched(
            || {
                next += 1;
                let attempt = AttemptId { request: RequestId::new(0, next), ordinal: 0 };
                let open = Open {
                    attempt,
                    at_ms: 0,
                    account: account.clone(),
                    upstream: "openai".into(),
                    model: "gpt-4o-mini".into(),
                    quote: None,
                    operation: Operation::ChatCompletions,
                    dialect: Dialect::OpenAi,
                };
                let entry = Entry { id: attempt.request, account: account.clone(), ..Entry::blank() };
                (open, entry)
            },
            |(open, entry)| {
                runtime.block_on(async {
                    let seat = journal.admit(&open).expect("room");
                    journal.written(seat).await.expect("a disk");
                });
                let close = Close {
                    attempt: open.attempt,
                    at_ms: 0,
                    status: 200,
                    outcome: entry.outcome,
                    usage_source: entry.usage_source,
                    cost: None,
                };
                journal.settle(&close, &entry)
            },
            BatchSize::SmallInput,
        );
    });
}

/// A hold and its settlement, of a request that counts in so many scopes with a cap each.
fn holds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hold and settle");
    for scopes in [1_u32, 4, 16] {
        let limits = vec![Limit { window: Window::Day, usd: Usd::parse("1000000").expect("an amount") }];
        let policy = std::sync::Arc::new(Policy { limits, ..Policy::default() });
        let capped: Vec<Capped> = (0..scopes)
            .map(|number| Capped { scope: Scope::Key(number.to_string().into()), policy: policy.clone() })
            .collect();
        let local = Local::new(jiff::tz::TimeZone::UTC, &capped, Share::default());
        let mut number = 0;
        group.bench_function(format!("{scopes} scopes"), |bencher| {
            bencher.iter(|| {
                number += 1;
                let quote = Usd::from_pico(1_000_000_000);
                let wish = Wish { capped: &capped, at_ms: 1_790_000_000_000, quote, metered: None, unsynced: number };
                let (held, ()) = local.hold(black_box(wish), || Ok::<_, ()>((number, ()))).expect("room");
                local.settle(held, Usd::from_pico(1));
            });
        });
    }
    group.finish();
}

fn keys(criterion: &mut Criterion) {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"pepper");
    criterion.bench_function("key: SHA-256", |bencher| {
        bencher.iter(|| ring::digest::digest(&ring::digest::SHA256, black_box(b"tg_0123456789abcdefghij")));
    });
    criterion.bench_function("key: HMAC of a credential that passes through", |bencher| {
        bencher.iter(|| ring::hmac::sign(&key, black_box(b"sk-0123456789abcdefghij0123456789abcdefghij")));
    });
}

criterion_group!(benches, read, classifying, splicing, meter, pricing, journal, holds, keys);
criterion_main!(benches);
