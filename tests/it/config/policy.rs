//! What callers are allowed: caps and limits that cannot be enforced as they are said.

use super::{check, errors, parsed};

#[test]
fn a_cap_that_cannot_be_enforced_is_refused() {
    check(&[
        ("[organisation]\ncaps = {}", "2:8: organisation.caps: names no cap; as in caps = { day = \"20.00\" }"),
        (
            "[organisation]\ncaps = { day = 5 }",
            "2:8: organisation.caps: names no cap; as in caps = { day = \"20.00\" }\n2:16: organisation.caps.day: must be a string, not an integer",
        ),
        (
            "[organisation]\ncaps = { dya = \"5\" }",
            "2:8: organisation.caps: names no cap; as in caps = { day = \"20.00\" }\n2:10: organisation.caps.dya: unknown key; known here: day, week, month, total, rolling",
        ),
        (
            "[organisation]\ncaps = { day = \"5\" }\nenforcement = \"loose\"",
            "3:15: organisation.enforcement: must be \"ceiling\" or \"metered\"",
        ),
        ("[teams.a]\non_exceed = \"shrink\"", "2:13: teams.a.on_exceed: there are no caps here that it could apply to"),
        (
            "[teams.a]\ncaps = { day = \"5\" }\non_exceed = \"downgrade:\"",
            "3:13: teams.a.on_exceed: must be \"refuse\", \"shrink\", \"cache-only\" or \"downgrade:MODEL\"",
        ),
        ("[tags.search]\ncaps = { day = \"5\" }", "1:7: tags.search: a tag is named as in [tags.\"feature=search\"]"),
        ("[money]\nunsynced_share = 1.5", "2:18: money.unsynced_share: must be a decimal from 0 to 1, such as 0.01"),
        ("[money]\nunsynced_share = 1e-2", "2:18: money.unsynced_share: must be a decimal from 0 to 1, such as 0.01"),
        ("[money]\nunsynced_share = \"0.1\"", "2:18: money.unsynced_share: must be a number, not a string"),
        ("[money]\nhold_expiry_s = 90000", "2:17: money.hold_expiry_s: must be from 0 to 86400"),
        ("[money]\nrefusal_status = 404", "2:18: money.refusal_status: must be 400, 402, 403 or 429"),
    ]);
}

#[test]
fn what_a_key_may_be_used_for_is_checked() {
    let key = "[keys.a]\nsecret = { env = \"K\" }\n";
    let day = "must be a day such as 2027-01-01 or a time such as 2027-01-01T12:00:00Z";
    let upstreams = "no upstream is called \"opnai\"; there are openai, anthropic, gemini";
    for (line, expect) in [
        ("models = [\"gpt-?\"]", "3:11: keys.a.models: \"gpt-?\": the only wildcard is *".to_owned()),
        ("models = \"gpt\"", "3:10: keys.a.models: must be a list of strings, not a string".to_owned()),
        ("upstreams = [\"opnai\"]", format!("3:14: keys.a.upstreams: {upstreams}")),
        ("networks = [\"10.0.0.1/8\"]", "3:13: keys.a.networks: \"10.0.0.1/8\": has bits behind its length; an address alone is ADDRESS/32, or /128".to_owned()),
        ("expires = \"soon\"", format!("3:11: keys.a.expires: {day}")),
    ] {
        assert_eq!(errors(&format!("{key}{line}")), expect, "{line}");
    }
    assert!(
        errors(&format!("{key}operations = [\"chta\"]"))
            .starts_with("3:15: keys.a.operations: \"chta\": is no operation")
    );
    assert!(errors("[defaults.user]\nmodels = []").starts_with("2:1: defaults.user.models: unknown key"));
}

#[test]
fn a_share_is_a_decimal() {
    for (said, meant) in [("0", "0"), ("1", "1"), ("0.010", "0.01"), ("0.000000000001", "0.000000000001")] {
        let config = parsed(&format!("[money]\nunsynced_share = {said}"));
        assert_eq!(config.money.unsynced_share.to_string(), meant);
    }
    assert_eq!(parsed("").money.unsynced_share.to_string(), "0.01");
}

#[test]
fn limits_are_checked() {
    check(&[
        (
            "[organisation]\nlimits = { rpm = 1 }",
            "2:12: organisation.limits.rpm: unknown key; known here: requests_per_minute, requests_per_day, tokens_per_minute, in_flight, operations, cached_token_percent",
        ),
        ("[teams.a]\nlimits = { in_flight = 0 }", "2:24: teams.a.limits.in_flight: must be from 1 to 1000000000000"),
        ("[defaults.keys]", "1:11: defaults.keys: unknown key; did you mean \"key\"?"),
        (
            "[defaults.user]\nlimits = { cached_token_percent = 101 }",
            "2:35: defaults.user.limits.cached_token_percent: must be from 0 to 100",
        ),
        ("[teams.a]\nlimits = 5", "2:10: teams.a.limits: must be a table, not an integer"),
    ]);
    let error = errors("[users.u]\nlimits = { operations = { emb = 1 } }");
    assert!(error.starts_with("2:27: users.u.limits.operations: \"emb\" is no operation; known: audio, "), "{error}");
    let config =
        parsed("[teams.a]\nlimits = {}\n[users.u]\nlimits = { operations = { images = 5, \"chat.completions\" = 1 } }");
    assert!(config.limits.teams.is_empty() && config.limits.any);
}
