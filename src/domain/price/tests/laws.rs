//! Laws over the whole book: a quote is never below a charge, and a row is what its text says.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;

static MODELS: LazyLock<Vec<Arc<Model>>> =
    LazyLock::new(|| (0..).map_while(|number| Book::builtin().by_number(number)).collect());

const TOOLS: [&str; 7] = [
    "web_search_requests",
    "web_search_call",
    "web_search_queries",
    "google_maps",
    "web_fetch_requests",
    "code_interpreter_call",
    "mcp_call",
];

const SERVICES: [Option<&str>; 6] =
    [None, Some("default"), Some("flex"), Some("priority"), Some("batch"), Some("ultrafast")];

fn any_tokens() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..2000_u64, 90_000..110_000_u64, 190_000..280_000_u64, 0..5_000_000_u64]
}

prop_compose! {
    fn any_usage()(
        whole in prop::array::uniform6(any_tokens()),
        output in any_tokens(),
        part in prop::array::uniform7(0..300_000_u64),
        counted in prop::array::uniform2(prop_oneof![Just(0), 1..5000_u64]),
        tools in prop::collection::vec((prop::sample::select(&TOOLS[..]), 0..5_u64), 0..3),
    ) -> Usage {
        let [input, cache_read, cache_write, cache_write_5m, cache_write_1h, cache_write_12h] = whole;
        let [audio_in, image_in, video_in, audio_cached, image_cached, audio_out, image_out] = part;
        let [seconds, search_units] = counted;
        let mut usage = Usage {
            input, cache_read, cache_write, cache_write_5m, cache_write_1h, cache_write_12h, output, audio_in, image_in,
            video_in, audio_cached, image_cached, audio_out, image_out, seconds, search_units, ..Usage::default()
        };
        tools.iter().for_each(|(name, calls)| usage.add_server_tool(name, *calls));
        usage
    }
}

prop_compose! {
    fn any_context()(
        at_ms in prop_oneof![ms("2025-01-01T00:00:00Z")..ms("2027-06-01T00:00:00Z"), ms("2026-09-01T00:00:00Z")..ms("2026-12-01T00:00:00Z")],
        asked in prop::sample::select(&SERVICES[..]),
        geo in prop::sample::select(&[None, Some("us"), Some("global"), Some("eu")][..]),
        residency in prop::sample::select(&[None, Some("us"), Some("regional"), Some("jp")][..]),
        speed in prop::sample::select(&[None, Some("fast"), Some("standard")][..]),
    ) -> Context<'static> {
        Context { at_ms, service_tier: None, requested_service_tier: asked, geo, residency, speed }
    }
}

/// What the upstream may do with what was asked for.
fn served(asked: Context<'static>, choice: u8, later_ms: u64) -> Context<'static> {
    let open = asked.requested_service_tier.is_none();
    let service_tier = match choice % 4 {
        0 => Some("default"),
        1 => asked.requested_service_tier,
        2 if open => Some("priority"),
        3 if open => Some("flex"),
        _ => None,
    };
    let geo = asked.geo.or((choice > 100).then_some("us"));
    // The answer ends later, in the same span of dated prices.
    Context { service_tier, geo, at_ms: asked.at_ms + later_ms, ..asked }
}

fn bounds_of<'a>(usage: &Usage, tools: &'a [(&'a str, u64)], slack: u64) -> Bounds<'a> {
    Bounds {
        // Slack only where there is a price: a bound on what has none is refused, rightly.
        input: usage.input_total() + if usage.input_total() > 0 { slack } else { 0 },
        output: usage.output + if usage.output > 0 { slack } else { 0 },
        seconds: usage.seconds,
        search_units: usage.search_units,
        tools,
        ..Bounds::default()
    }
}

/// Whether a dated price ended between two instants: then no quote could know.
fn is_repriced(row: &RateRow, from_ms: u64, until_ms: u64) -> bool {
    row.past.iter().any(|(ended_ms, _)| (from_ms..until_ms).contains(&ended_ms.saturating_sub(1)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_charge_within_its_bounds_is_never_above_its_quote(
        usage in any_usage(), asked in any_context(), choice: u8, slack in prop_oneof![Just(0), 0..300_000_u64],
        later_ms in 0..3_600_000_u64,
    ) {
        let context = served(asked, choice, later_ms);
        let all: Vec<(&str, u64)> = usage.server_tools.iter().map(|(name, calls)| (&**name, *calls)).collect();
        for model in MODELS.iter().filter(|model| !is_repriced(model.row(), asked.at_ms, context.at_ms)) {
            let tools: Vec<_> = all.iter().copied().filter(|tool| super::super::tools::bounded(model.row(), tool.0, 1).is_some()).collect();
            let Ok(charge) = charge(model.row(), &usage, &context) else { continue };
            let quote = quote(model.row(), &bounds_of(&usage, &tools, slack), &asked);
            prop_assert!(quote.as_ref().is_ok_and(|quote| *quote >= charge.cost),
                "{}/{}: charge {:?}, quote {:?}", model.provider(), model.id(), charge, quote);
        }
    }

    #[test]
    fn a_cached_prompt_is_never_dearer_than_a_fresh_one(tokens in 1..5_000_000_u64, asked in any_context()) {
        // Some past prices of the catalogues were wrong in this (gpt-3.5-turbo); those in force are not.
        let asked = Context { at_ms: ms(NOW), ..asked };
        for model in MODELS.iter() {
            let cold = charge(model.row(), &Usage { input: tokens, ..Usage::default() }, &asked);
            let hot = charge(model.row(), &Usage { cache_read: tokens, ..Usage::default() }, &asked);
            if let (Ok(cold), Ok(hot)) = (cold, hot) {
                prop_assert!(hot.cost <= cold.cost, "{}/{}", model.provider(), model.id());
            }
        }
    }
}

#[test]
fn a_row_read_from_its_text_charges_the_same() {
    let usage = Usage {
        input: 300_000,
        cache_read: 5,
        cache_write_1h: 7,
        output: 11,
        seconds: 13,
        search_units: 17,
        ..Usage::default()
    };
    for model in MODELS.iter() {
        let text = model.row().to_text();
        let restored = RateRow::from_text(&text).unwrap();
        assert_eq!(&restored, model.row(), "{text}");
        assert_eq!(restored.to_text(), text);
        assert_eq!(charge(&restored, &usage, &now()), charge(model.row(), &usage, &now()));
    }
    for text in [
        "",
        "base input",
        "base input x",
        "base inptu 1",
        "warp input 1",
        "base > 9 input 1 > 8 input 1",
        "past x",
        "off_peak input 1",
    ] {
        assert!(RateRow::from_text(text).is_err(), "{text}");
    }
}

#[test]
fn a_quote_takes_the_dearest_that_can_apply() {
    let row = |provider, id| Book::builtin().find(provider, None, id).unwrap();
    let quoted =
        |provider, id, bounds: &Bounds<'_>, context: &Context<'_>| quote(row(provider, id).row(), bounds, context);
    let text =
        Bounds { prompt: Prompt::Text, open_choices: OpenChoices::Standard, input: 1_000_000, ..Bounds::default() };
    let short = Bounds { input: 100_000, output: 1_000_000, ..text };
    assert_eq!(quoted("anthropic", "claude-opus-5-5", &text, &now()), Ok(usd("8"))); // written for an hour
    assert_eq!(
        quoted("anthropic", "claude-opus-5-5", &Bounds { open_choices: OpenChoices::Account, ..text }, &now()),
        Ok(usd("8.8"))
    );
    assert_eq!(quoted("openai", "gpt-5.6-sol", &text, &now()), Ok(usd("20"))); // for twelve hours, above the threshold
    assert_eq!(quoted("openai", "gpt-5.6-sol", &short, &now()), Ok(usd("21")));
    assert_eq!(
        quoted("openai", "gpt-5.6-sol", &Bounds { open_choices: OpenChoices::Account, ..short }, &now()),
        Ok(usd("42"))
    );
    let asked = |service| Context { requested_service_tier: Some(service), ..now() };
    assert_eq!(quoted("openai", "gpt-5.6-sol", &short, &asked("priority")), Ok(usd("42")));
    assert_eq!(quoted("openai", "gpt-5.6-sol", &short, &asked("flex")), Ok(usd("21")));
    assert_eq!(quoted("openai", "gpt-5.6-sol", &short, &asked("warp")), Err(Unpriced::Service("warp".into())));
    assert_eq!(quoted("deepseek", "deepseek-v4-flash", &text, &now()), Ok(usd("0.3"))); // peak, though it is Sunday
    assert_eq!(quoted("google", "gemini-2.5-flash", &text, &now()), Ok(usd("0.3")));
    assert_eq!(quoted("google", "gemini-2.5-flash", &Bounds { prompt: Prompt::Any, ..text }, &now()), Ok(usd("1")));
    let tools = Bounds { tools: &[("web_search", 3)], input: 0, ..text };
    assert_eq!(quoted("openai", "gpt-5.6-sol", &tools, &now()), Ok(usd("0.03")));
    let unknown = Bounds { tools: &[("file_search", 3)], ..tools };
    assert_eq!(quoted("openai", "gpt-5.6-sol", &unknown, &now()), Err(Unpriced::Tool("file_search".into())));
    assert_eq!(quoted("openai", "tts-1", &text, &now()), Err(Unpriced::SoldBy("character".into())));
    assert_eq!(quoted("openai", "text-embedding-3-small", &text, &now()), Ok(usd("0.02")));
}
