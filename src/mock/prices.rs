//! What the mock charges: a small table of its own, so that its bill is independent of Tollgate's price book.
//!
//! Where a name is a real model's, the price is the list price of November 2026 from the provider's price page, with
//! its long-context tier; every other model costs [`DEFAULT`].

use super::bill::Counted;
use crate::domain::money::{Rate, Usd};

/// One row: dollars for a million tokens. The longest name that a model starts with applies.
struct Row {
    name: &'static str,
    rates: [&'static str; 6],
    /// Above so many input tokens every token has the rates of this row.
    above: Option<(u64, [&'static str; 6])>,
}

/// The rates of a model that the table does not know. In order: input, cache read, cache write, write for five minutes,
/// write for an hour, output.
pub(super) const DEFAULT: [&str; 6] = ["1", "0.1", "1.25", "1.25", "2", "5"];

const fn openai(name: &'static str, input: &'static str, read: &'static str, output: &'static str) -> Row {
    Row { name, rates: [input, read, input, input, input, output], above: None }
}

/// From GPT-5.6 on writes to the prompt cache cost more than fresh input
/// (developers.openai.com/api/docs/guides/prompt-caching).
const fn writing(name: &'static str, rates: [&'static str; 4]) -> Row {
    let [input, read, write, output] = rates;
    Row { name, rates: [input, read, write, write, write, output], above: None }
}

const fn anthropic(name: &'static str, rates: [&'static str; 5]) -> Row {
    let [input, read, five_minutes, one_hour, output] = rates;
    Row { name, rates: [input, read, five_minutes, five_minutes, one_hour, output], above: None }
}

const fn long(row: Row, above: u64, rates: [&'static str; 6]) -> Row {
    Row { above: Some((above, rates)), ..row }
}

/// Sources: developers.openai.com/api/docs/pricing, platform.claude.com/docs/en/about-claude/pricing,
/// ai.google.dev/gemini-api/docs/pricing.
const TABLE: &[Row] = &[
    openai("gpt-4o", "2.5", "1.25", "10"),
    openai("gpt-4o-mini", "0.15", "0.075", "0.6"),
    openai("gpt-4.1-mini", "0.4", "0.1", "1.6"),
    openai("gpt-5", "1.25", "0.125", "10"),
    openai("gpt-5-mini", "0.25", "0.025", "2"),
    long(openai("gpt-5.4", "2.5", "0.25", "15"), 272_000, ["5", "0.5", "5", "5", "5", "22.5"]),
    openai("gpt-5.4-mini", "0.75", "0.075", "4.5"),
    Row {
        name: "gpt-5.6",
        rates: ["4", "0.4", "5", "5", "5", "20"],
        above: Some((272_000, ["8", "0.8", "10", "10", "10", "30"])),
    },
    long(
        writing("gpt-6-luna", ["0.1", "0.01", "0.125", "0.5"]),
        272_000,
        ["0.2", "0.02", "0.25", "0.25", "0.25", "0.75"],
    ),
    long(writing("gpt-6.1-terra", ["1", "0.05", "1.25", "5"]), 272_000, ["2", "0.1", "2.5", "2.5", "2.5", "7.5"]),
    long(writing("gpt-6.1-sol", ["2", "0.1", "2.5", "10"]), 272_000, ["4", "0.2", "5", "5", "5", "15"]),
    openai("o3", "2", "0.5", "8"),
    openai("o4-mini", "1.1", "0.275", "4.4"),
    openai("text-embedding-3-small", "0.02", "0.02", "0"),
    openai("text-embedding-3-large", "0.13", "0.13", "0"),
    anthropic("claude-haiku-4-5", ["1", "0.1", "1.25", "2", "5"]),
    anthropic("claude-sonnet-4-6", ["3", "0.3", "3.75", "6", "15"]),
    anthropic("claude-opus-4-8", ["5", "0.5", "6.25", "10", "25"]),
    long(
        anthropic("claude-haiku-5-5", ["0.1", "0.01", "0.125", "0.2", "0.5"]),
        100_000,
        ["0.5", "0.05", "0.625", "0.625", "1", "2.5"],
    ),
    anthropic("claude-sonnet-5-5", ["2", "0.1", "2.5", "4", "10"]),
    anthropic("claude-opus-5-5", ["4", "0.2", "5", "8", "20"]),
    openai("gemini-2.5-flash", "0.3", "0.03", "2.5"),
    openai("gemini-2.5-flash-lite", "0.1", "0.01", "0.4"),
    long(openai("gemini-2.5-pro", "1.25", "0.125", "10"), 200_000, ["2.5", "0.25", "2.5", "2.5", "2.5", "15"]),
    openai("gemini-3-flash-preview", "0.5", "0.05", "3"),
    openai("gemini-3.5-flash", "1.5", "0.15", "9"),
    openai("gemini-3.5-flash-lite", "0.3", "0.03", "2.5"),
    openai("gemini-3.8-flash", "0.75", "0.075", "3.75"),
    openai("gemini-4-argon", "2", "0.1", "10"),
    openai("gemini-embedding-001", "0.15", "0.15", "0"),
];

/// The names that the lists of models show, by the start that marks their provider.
pub(super) fn names(starts: &'static [&'static str]) -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.name).filter(|name| starts.iter().any(|start| name.starts_with(start)))
}

/// The tier that an OpenAI request which asked for `tier` gets: the mock sells flex and priority for all models, and
/// `fast` is another word for priority.
pub(super) fn served_tier(tier: Option<&str>) -> &'static str {
    match tier {
        Some("flex") => "flex",
        Some("priority" | "fast") => "priority",
        Some(_) | None => "default",
    }
}

/// What `counted` costs: flex is half, priority double.
pub(super) fn cost(model: &str, tier: Option<&str>, counted: &Counted) -> Usd {
    let row = TABLE.iter().filter(|row| starts(model, row.name)).max_by_key(|row| row.name.len());
    let rates = match row {
        Some(Row { above: Some((limit, rates)), .. }) if counted.input_total() > *limit => rates,
        Some(row) => &row.rates,
        None => &DEFAULT,
    };
    let tokens = [
        counted.input,
        counted.cache_read,
        counted.cache_write,
        counted.cache_write_5m,
        counted.cache_write_1h,
        counted.output,
    ];
    let total = rates.iter().zip(tokens).map(|(text, count)| rate(text).times(count)).sum::<Usd>();
    match tier {
        Some("flex") => total.scaled_up(1, 2),
        Some("priority") => total.scaled_up(2, 1),
        Some(_) | None => total,
    }
}

/// Whether `model` is `name` or a dated version of it: `gpt-5-mini` is no `gpt-5`, `gpt-5-2025-08-07` is one.
fn starts(model: &str, name: &str) -> bool {
    let rest = model.strip_prefix("models/").unwrap_or(model).strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(|rest| rest.starts_with('2')))
}

fn rate(text: &str) -> Rate {
    // A test reads every rate of the table, so that none is misspelt.
    Rate::per_million(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: &str, tier: Option<&str>, counted: &Counted, expect: &str) {
        assert_eq!(cost(model, tier, counted), Usd::parse(expect).unwrap(), "{model} {counted:?}");
    }

    #[test]
    fn every_rate_is_a_number() {
        let all = TABLE.iter().flat_map(|row| [Some(row.rates), row.above.map(|(_, rates)| rates)]).flatten();
        for text in all.chain([DEFAULT]).flatten() {
            assert!(Rate::per_million(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn buckets_have_their_rates() {
        let counted = Counted {
            input: 1_000,
            cache_read: 2_000,
            cache_write_5m: 300,
            cache_write_1h: 40,
            output: 500,
            reasoning: 100,
            ..Counted::default()
        };
        // 1000 x 3 + 2000 x 0.3 + 300 x 3.75 + 40 x 6 + 500 x 15 = 12,465 dollars for a million of each.
        check("claude-sonnet-4-6", None, &counted, "0.012465");
        check("claude-sonnet-4-6-20260101", None, &counted, "0.012465");
        let plain = Counted { input: 10, output: 10, ..Counted::default() };
        check("gpt-5", None, &plain, "0.0001125");
        check("gpt-5-mini", None, &plain, "0.0000225");
        check("gpt-5-mini", Some("priority"), &plain, "0.000045");
        check("gpt-5-mini", Some("flex"), &plain, "0.00001125");
        check("whatever", None, &plain, "0.00006");
        check("gpt-5.4", None, &Counted { input: 272_000, ..Counted::default() }, "0.68");
        check("gpt-5.4", None, &Counted { input: 272_001, ..Counted::default() }, "1.360005");
    }
}
