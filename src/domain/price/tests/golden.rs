//! What known requests cost, worked out by hand from the providers' price lists.

use super::*;

fn tokens(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

#[test]
fn a_tier_is_a_cliff_on_all_prompt_tokens() {
    let gemini = |read, input| Usage { input, cache_read: read, output: 1000, ..Usage::default() };
    // 1.25 and 10 up to 200,000 prompt tokens; 2.5 and 15 above, for every token.
    check("google/gemini-2.5-pro", &gemini(0, 199_999), &now(), "0.25999875");
    check("google/gemini-2.5-pro", &gemini(0, 200_000), &now(), "0.26");
    check("google/gemini-2.5-pro", &gemini(0, 200_001), &now(), "0.5150025");
    // Cached tokens count towards the threshold.
    check("google/gemini-2.5-pro", &gemini(100_000, 100_000), &now(), "0.1475");
    check("google/gemini-2.5-pro", &gemini(100_000, 100_001), &now(), "0.2900025");
    // Claude Haiku 5.5 has a threshold at 100,000; written tokens count as well.
    let haiku = |input, cache_write_5m| Usage { input, cache_write_5m, ..tokens(0, 1000) };
    check("anthropic/claude-haiku-5-5", &haiku(90_000, 10_000), &now(), "0.01075");
    check("anthropic/claude-haiku-5-5", &haiku(90_000, 10_001), &now(), "0.053750625");
    // Claude Sonnet 5.5 has none.
    check("anthropic/claude-sonnet-5-5", &tokens(1_000_000, 0), &now(), "2");
    check("openai/gpt-5.6-sol", &tokens(272_000, 0), &now(), "1.088");
    check("openai/gpt-5.6-sol", &tokens(272_001, 0), &now(), "2.176008");
}

#[test]
fn a_price_holds_from_its_date() {
    let usage = Usage { input: 8, cache_write: 4012, output: 5, ..Usage::default() };
    for (at, cost) in [
        ("2026-07-10T00:00:00Z", "0.025265"),
        ("2026-08-20T23:59:59Z", "0.025265"),
        ("2026-08-21T00:00:00Z", "0.020192"),
        (NOW, "0.020192"),
    ] {
        check("openai/gpt-5.6-sol", &usage, &Context { at_ms: ms(at), ..Context::default() }, cost);
    }
    let long = |at| Context { at_ms: ms(at), ..Context::default() };
    check("openai/gpt-5.6-sol", &tokens(300_000, 0), &long("2026-08-20T00:00:00Z"), "3");
}

#[test]
fn deepseek_costs_double_in_its_peak_hours() {
    // Peak 0.30 and 1.20 for a million, else half: a million in and out is 1.50 or 0.75.
    for (at, cost) in [
        ("2026-11-20T00:59:59Z", "0.75"),
        ("2026-11-20T01:00:00Z", "1.5"),
        ("2026-11-20T03:59:59Z", "1.5"),
        ("2026-11-20T04:00:00Z", "0.75"),
        ("2026-11-20T06:00:00Z", "1.5"),
        ("2026-11-20T09:59:59Z", "1.5"),
        ("2026-11-20T10:00:00Z", "0.75"),
        ("2026-11-21T02:00:00Z", "0.75"), // Saturday
        ("2026-11-22T02:00:00Z", "0.75"), // Sunday
        ("2026-10-01T02:00:00Z", "0.75"), // National Day, a Thursday
        ("2026-10-08T02:00:00Z", "1.5"),
        ("2026-09-25T07:00:00Z", "0.75"), // Mid-Autumn Festival, a Friday
        ("2027-01-01T02:00:00Z", "1.5"),  // not yet announced as a holiday: the dearer
        // Before 2026-09-10 peak 0.44 and 1.32; before the schedule one price.
        ("2026-09-09T02:00:00Z", "1.76"),
        ("2026-09-09T05:00:00Z", "0.88"),
        ("2026-08-14T02:00:00Z", "0.42"),
    ] {
        let context = Context { at_ms: ms(at), ..Context::default() };
        check("deepseek/deepseek-v4-flash", &tokens(1_000_000, 1_000_000), &context, cost);
    }
    let night = Context { at_ms: ms("2025-03-01T17:00:00Z"), ..Context::default() };
    check("deepseek/deepseek-chat", &tokens(1_000_000, 1_000_000), &night, "0.685");
}

#[test]
fn the_service_that_was_served_is_priced() {
    let usage = Usage { input: 1000, cache_read: 1000, output: 1000, ..Usage::default() };
    for (served, asked, cost) in [
        (None, None, "0.0244"),
        (Some("default"), Some("flex"), "0.0244"),
        (Some("flex"), Some("flex"), "0.0122"),
        (Some("priority"), None, "0.0488"),
        (None, Some("fast"), "0.0488"),
        (Some("batch"), None, "0.0122"),
        (Some("auto"), Some("auto"), "0.0244"),
    ] {
        let context = Context { service_tier: served, requested_service_tier: asked, ..now() };
        check("openai/gpt-5.6-sol", &usage, &context, cost);
    }
    let context = |served| Context { service_tier: Some(served), ..now() };
    check("google/gemini-2.5-flash", &tokens(1000, 1000), &context("ON_DEMAND"), "0.0028");
    check("google/gemini-2.5-flash", &tokens(1000, 1000), &context("ON_DEMAND_FLEX"), "0.0014");
    check("google/gemini-2.5-flash", &tokens(1000, 1000), &context("ON_DEMAND_PRIORITY"), "0.00504");
    check("groq/openai/gpt-oss-120b", &tokens(1_000_000, 0), &context("on_demand"), "0.15");
    // Half the price of an hour's write, which LiteLLM's batch row leaves out.
    let written = Usage { cache_write_1h: 1_000_000, ..Usage::default() };
    check("anthropic/claude-opus-5-5", &written, &context("batch"), "4");
}

#[test]
fn a_service_without_a_price_is_noted_and_never_standard_in_silence() {
    let note = |model, served, at: &str, cost| {
        let context = Context { at_ms: ms(at), service_tier: Some(served), ..Context::default() };
        let charge = price(model, &tokens(1_000_000, 0), &context).unwrap();
        assert_eq!(charge.cost, usd(cost), "{model} {served}");
        charge.notes
    };
    assert_eq!(note("openai/gpt-5.6-sol", "warp", NOW, "16"), [Note::UnknownService]);
    assert_eq!(note("anthropic/claude-sonnet-5-5", "priority", NOW, "2"), [Note::ServiceAtStandard]);
    assert_eq!(note("google/gemini-2.5-flash", "PROVISIONED_THROUGHPUT", NOW, "0.3"), [Note::Prepaid]);
    assert_eq!(note("openai/gpt-5.6-sol", "flex", "2026-08-01T00:00:00Z", "10"), [Note::ServiceOfAnotherDate]);
    assert_eq!(note("google/gemini-2.5-pro", "flex", NOW, "2.5"), [Note::ServiceWithoutTier]);
}

#[test]
fn a_write_costs_by_its_lifetime() {
    let usage = Usage { cache_write_5m: 600_000, cache_write_1h: 400_000, ..Usage::default() };
    check("anthropic/claude-opus-5-5", &usage, &now(), "6.2"); // 5 and 8
    let untold = Usage { cache_write: 1_000_000, ..Usage::default() };
    check("anthropic/claude-opus-5-5", &untold, &now(), "5");
    check("openai/gpt-5.6-sol", &Usage { cache_write: 200_000, ..Usage::default() }, &now(), "1");
    check("openai/gpt-5.6-sol", &Usage { cache_write_12h: 200_000, ..Usage::default() }, &now(), "2");
    // A price of zero or none is plain input: off peak 0.15; Gemini 2.5 Flash 0.30.
    check("deepseek/deepseek-v4-flash", &untold, &now(), "0.15");
    check("google/gemini-2.5-flash", &untold, &now(), "0.3");
    // Cache reads are not always a tenth.
    check("anthropic/claude-sonnet-5-5", &Usage { cache_read: 1_000_000, ..Usage::default() }, &now(), "0.1");
    check("anthropic/claude-fable-5-1", &Usage { cache_read: 1_000_000, ..Usage::default() }, &now(), "0.25");
}

#[test]
fn place_and_speed_multiply_token_prices() {
    let usage = Usage { server_tools: vec![("web_search_requests".into(), 2)], ..tokens(1_000_000, 0) };
    let opus = |geo, speed, cost| check("anthropic/claude-opus-5-5", &usage, &Context { geo, speed, ..now() }, cost);
    opus(None, None, "4.02");
    opus(Some("global"), Some("standard"), "4.02");
    opus(Some("not_available"), None, "4.02");
    opus(Some("us"), None, "4.42");
    opus(None, Some("fast"), "8.02");
    opus(Some("us"), Some("fast"), "8.82");
    // A model without a price for places costs the same everywhere.
    check("anthropic/claude-haiku-4-5", &tokens(1000, 0), &Context { geo: Some("us"), ..now() }, "0.001");
    let resident = |residency| Context { residency: Some(residency), ..now() };
    check("openai/gpt-5.6-sol", &tokens(1000, 0), &resident("eu"), "0.0044");
    check("openai/gpt-4o", &tokens(1000, 0), &resident("eu"), "0.0025");
    check("vertex/claude-opus-5-5", &tokens(1000, 0), &resident("regional"), "0.0044");
    check("anthropic/claude-haiku-5-5", &tokens(3, 1), &Context { geo: Some("us"), ..now() }, "0.00000088");
    let charge = price("openai/gpt-5.6-sol", &tokens(1000, 0), &resident("jp")).unwrap();
    assert_eq!((charge.cost, charge.notes), (usd("0.0044"), vec![Note::UnknownPlace]));
}

#[test]
fn executed_tool_calls_are_billed() {
    let tool = |tools: &[(&str, u64)]| Usage {
        server_tools: tools.iter().map(|(name, calls)| ((*name).into(), *calls)).collect(),
        ..tokens(1000, 0)
    };
    check(
        "anthropic/claude-opus-5-5",
        &tool(&[("web_search_requests", 4), ("web_fetch_requests", 9)]),
        &now(),
        "0.044",
    );
    check("anthropic/claude-opus-5-5", &tool(&[("web_search_requests", 0)]), &now(), "0.004");
    check("openai/gpt-5.6-sol", &tool(&[("web_search_call", 3), ("mcp_call", 2)]), &now(), "0.034");
    let actions = [("web_search_call", 3), ("web_search_call.search", 1), ("web_search_call.open_page", 2)];
    check("openai/gpt-5.6-sol", &tool(&actions), &now(), "0.014");
    check("openai/gpt-5.6-sol", &tool(&[("code_interpreter_call", 3)]), &now(), "0.034");
    // Gemini 2.5 bills a grounded prompt, Gemini 3 each query.
    check("google/gemini-2.5-flash", &tool(&[("web_search_queries", 3)]), &now(), "0.0353");
    check("google/gemini-3.1-pro-preview", &tool(&[("web_search_queries", 3)]), &now(), "0.044");
    let unknown = tool(&[("file_search_call", 2), ("web_search_call", 1)]);
    let charge = price("openai/gpt-5.6-sol", &unknown, &now()).unwrap();
    assert_eq!((charge.cost, charge.unpriced), (usd("0.014"), vec![("file_search_call".into(), 2)]));
}

#[test]
fn audio_and_images_have_rates_of_their_own() {
    // Gemini 2.5 Flash: text 0.30, audio 1.00; cached 0.03 and 0.10; video has no rate and is input.
    let usage =
        Usage { input: 3000, audio_in: 2000, video_in: 500, cache_read: 2000, audio_cached: 1000, ..tokens(0, 0) };
    check("google/gemini-2.5-flash", &Usage { input: 3000, ..usage }, &now(), "0.00173");
    // gpt-image-1: text 5, image in 10, image out 40, cached image 2.5.
    let image = Usage {
        input: 200,
        image_in: 250,
        cache_read: 100,
        image_cached: 100,
        output: 1000,
        image_out: 1000,
        ..tokens(0, 0)
    };
    check("openai/gpt-image-1", &image, &now(), "0.042");
    let text = Usage { output: 10, ..Usage::default() };
    assert_eq!(price("openai/gpt-image-1", &text, &now()), Err(Unpriced::NoRate(Bucket::Output)));
    // A part is never more than its whole.
    check("google/gemini-2.5-flash", &Usage { audio_in: 5000, ..tokens(1000, 0) }, &now(), "0.001");
    let whisper = Usage { seconds: 90, ..Usage::default() };
    check("openai/whisper-1", &whisper, &now(), "0.009");
    // 0.111 an hour: a third of a pico-dollar is rounded up, once.
    check("groq/whisper-large-v3", &Usage { seconds: 1, ..Usage::default() }, &now(), "0.000030833334");
    check("openai/gpt-4o-transcribe", &Usage { input: 1000, audio_in: 1000, ..whisper.clone() }, &now(), "0.0025");
    check("cohere/rerank-v3.5", &Usage { search_units: 2, ..Usage::default() }, &now(), "0.004");
}

#[test]
fn a_charge_is_what_xai_says_it_billed() {
    // xAI's own `cost_in_usd_ticks` for this usage is 1,466,250 of 10^-10 dollars.
    let usage = Usage { input: 1, cache_read: 11, output: 291, reasoning: 290, ..Usage::default() };
    check("xai/grok-3-mini", &usage, &now(), "0.000146625");
}

#[test]
fn unknown_is_never_zero() {
    let refused = |model, usage: &Usage, reason| assert_eq!(price(model, usage, &now()), Err(reason), "{model}");
    refused("openai/whisper-1", &Usage::default(), Unpriced::NotCounted(Fee::Hour));
    refused("cohere/rerank-v3.5", &Usage::default(), Unpriced::NotCounted(Fee::Query));
    refused("openai/tts-1", &Usage::default(), Unpriced::SoldBy("character".into()));
    refused("google/lyria-3.5", &tokens(1, 1), Unpriced::SoldBy("item".into()));
    refused("bedrock/twelvelabs.pegasus-1-2-v1:0", &tokens(1, 1), Unpriced::NoRate(Bucket::Input));
    refused("anthropic/claude-opus-5-5", &Usage { seconds: 5, ..Usage::default() }, Unpriced::NoFee("seconds"));
    // An explicit zero is a price.
    check("openai/omni-moderation-latest", &tokens(1000, 0), &now(), "0");
    let read = Usage { cache_read: 1_000_000, ..Usage::default() };
    let charge = price("openai/gpt-4", &read, &now()).unwrap();
    assert_eq!((charge.cost, charge.notes), (usd("30"), vec![Note::ReadAsInput]));
    let stored = price("google/gemini-2.5-flash", &Usage { stored_tokens: 7, ..tokens(0, 0) }, &now()).unwrap();
    assert_eq!(stored.unpriced, [("stored_tokens".into(), 7)]);
}
