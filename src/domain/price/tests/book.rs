//! How models are found, what is known about them, and what an operator's prices change.

use std::time::Instant;

use super::*;
use crate::domain::price::book::BUILTIN_TEXT;

fn found(provider: &str, served: Option<&str>, sent: &str) -> Option<String> {
    Book::builtin().find(provider, served, sent).map(|model| model.id().to_owned())
}

#[test]
fn a_model_is_found_by_its_exact_name_or_a_documented_rule() {
    for (provider, served, sent, expected) in [
        ("openai", Some("gpt-4o-2024-08-06"), "gpt-4o", Some("gpt-4o-2024-08-06")),
        ("openai", Some("gpt-4o-2031-01-01"), "gpt-4o", Some("gpt-4o")),
        ("openai", Some(""), "gpt-4o", Some("gpt-4o")),
        ("openai", None, "gpt-4o-2031-01-01", None),
        ("openai", None, "gpt-4", Some("gpt-4")),
        ("openai", None, "gpt-", None),
        ("openai", None, "GPT-4o", None),
        ("openai", Some("ft:gpt-4o-2024-08-06:acme::abc"), "x", Some("ft:gpt-4o-2024-08-06")),
        ("openai", None, "claude-opus-5-5", None),
        ("anthropic", None, "claude-opus-4-8[1m]", Some("claude-opus-4-8")),
        ("anthropic", None, "claude-opus-4.1", None),
        ("google", Some("models/gemini-2.5-flash"), "x", Some("gemini-2.5-flash")),
        ("gemini", Some("gemini-2.5-flash"), "x", Some("gemini-2.5-flash")),
        ("vertex", None, "publishers/google/models/gemini-2.5-pro", Some("gemini-2.5-pro")),
        ("groq", None, "openai/gpt-oss-120b", Some("openai/gpt-oss-120b")),
        ("openrouter", None, "openai/gpt-4o", None),
        ("", None, "", None),
    ] {
        assert_eq!(found(provider, served, sent).as_deref(), expected, "{provider} {served:?} {sent}");
    }
}

#[test]
fn every_line_is_read_in_order_and_in_time() {
    let started = Instant::now();
    let book = Book::builtin();
    assert!(book.find("openai", None, "gpt-4o").is_some());
    let opened = started.elapsed();
    let lines = BUILTIN_TEXT.lines().filter(|line| line.starts_with("{\"model\":")).count();
    let models: Vec<_> = (0..).map_while(|number| book.by_number(number)).collect();
    println!("opened in {opened:?}, read {lines} models in {:?}", started.elapsed());
    assert_eq!(models.len(), lines);
    assert!(models.is_sorted_by_key(|model| format!("{}/{}", model.provider(), model.id())));
    for (number, model) in models.iter().enumerate() {
        let found = book.find(model.provider(), None, model.id()).unwrap();
        assert_eq!((found.number() as usize, found.id()), (number, model.id()));
        assert!(book.source(model).is_some(), "{}", model.id());
    }
    assert_eq!(book.models("deepseek").count(), 10);
    assert_eq!(["x", "openrouter", "open"].map(|provider| book.models(provider).count()), [0, 0, 0]);
    assert!(book.version().starts_with("2026-11-22-"));
}

#[test]
fn facts_are_known() {
    let model = Book::builtin().find("openai", None, "gpt-5.6-sol").unwrap();
    assert_eq!((model.provider(), model.mode(), model.cache_min_tokens()), ("openai", "chat", None));
    assert_eq!((model.context_window(), model.max_output()), (Some(922_000), Some(128_000)));
    assert_eq!((model.context_total(), model.released()), (Some(1_050_000), Some("2026-07-09")));
    assert!(model.can(Cap::Tools) && model.can(Cap::Thinking) && !model.can(Cap::AudioOut));
    assert!(model.endpoints().any(|path| path == "responses"));
    assert_eq!(model.conflicts().collect::<Vec<_>>(), ["llm-prices"]);
    assert_eq!(Book::builtin().source(&model), Some("https://developers.openai.com/api/docs/pricing"));
}

fn change(fields: &[(&str, &str)]) -> Override {
    let mut change = Override::default();
    fields.iter().for_each(|(field, price)| change.set(field, price).unwrap());
    change
}

#[test]
fn an_override_changes_only_what_it_names() {
    let cheap = change(&[("input", "1"), ("search", "0.5")]);
    let mine = Override {
        max_output: Some(16_000),
        context: Some(128_000),
        ..change(&[("input", "1.20"), ("output", "4.80")])
    };
    let builtin = Book::builtin();
    let book = builtin.with_overrides([("gpt-5.6-sol", &cheap), ("my-finetune", &mine), ("xai/grok-4", &mine)]);
    let cost = |provider, id, usage: &Usage, service| {
        let model = book.find(provider, None, id).unwrap();
        charge(model.row(), usage, &Context { service_tier: service, ..now() }).unwrap().cost
    };
    let usage = |input| Usage { input, output: 1_000_000, ..Usage::default() };
    assert_eq!(cost("openai", "gpt-5.6-sol", &usage(100_000), None), usd("20.1"));
    assert_eq!(cost("azure", "gpt-5.6-sol", &usage(100_000), None), usd("20.1"));
    // Tiers and services keep their own prices.
    assert_eq!(cost("openai", "gpt-5.6-sol", &usage(1_000_000), None), usd("38"));
    assert_eq!(cost("openai", "gpt-5.6-sol", &usage(100_000), Some("flex")), usd("10.2"));
    let searched = Usage { server_tools: vec![("web_search_call".into(), 1)], ..Usage::default() };
    assert_eq!(cost("openai", "gpt-5.6-sol", &searched, None), usd("0.5"));
    for provider in ["openai", "anything"] {
        assert_eq!(cost(provider, "my-finetune", &usage(1_000_000), None), usd("6"));
    }
    let mine = book.find("openai", None, "my-finetune").unwrap();
    assert_eq!((mine.context_window(), mine.max_output(), mine.provider()), (Some(128_000), Some(16_000), ""));
    assert_eq!(book.by_number(mine.number()).unwrap().id(), "my-finetune");
    assert_eq!(cost("xai", "grok-4", &usage(0), None), usd("4.8"));
    assert_eq!(builtin.find("openai", None, "my-finetune").map(|model| model.number()), None);
    assert_ne!(book.version(), builtin.version());
    assert_eq!(builtin.with_overrides([]).version(), builtin.version());
    let again = builtin
        .with_overrides([("gpt-5.6-sol", &cheap)])
        .with_overrides([("gpt-5.6-sol", &change(&[("output", "2")]))]);
    let model = again.find("openai", None, "gpt-5.6-sol").unwrap();
    assert_eq!(charge(model.row(), &usage(100_000), &now()).unwrap().cost, usd("2.1"));
    // A book that never knew the model has no output price to invent.
    let half = builtin.with_overrides([("half-known", &cheap)]).find("openai", None, "half-known").unwrap();
    assert_eq!(charge(half.row(), &usage(1), &now()), Err(Unpriced::NoRate(Bucket::Output)));
}

#[test]
fn an_override_names_a_price_that_exists() {
    let mut change = Override::default();
    assert_eq!(change.set("inptu", "1"), Err(BadOverride::UnknownField));
    assert!(matches!(change.set("input", "-1"), Err(BadOverride::Price(_))));
    assert!(Override::fields().all(|field| change.set(field, "1.50").is_ok()));
    assert!(change.prices().eq(Override::fields().map(|field| (field, usd("1.5")))), "as they were set");
}
