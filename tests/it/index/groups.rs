//! Any entries and adjustments, any two dimensions, any time zone and range, also where retention has dropped files: a
//! report says what a naive fold says, and its rows sum to its total.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use tollgate::admin::report::{self, Request};
use tollgate::admin::reprice::Prices;
use tollgate::admin::rows::{self, RowFormat};
use tollgate::admin::zone::Zone;
use tollgate::config::Config;
use tollgate::domain::adjustment::{Adjustment, Direction};
use tollgate::domain::entry::{CacheUse, Entry, Outcome, Tier};
use tollgate::domain::ids::RequestId;
use tollgate::domain::money::Usd;
use tollgate::domain::operation::Operation;
use tollgate::domain::report::{Label, Sums};
use tollgate::domain::tokens::UsageSource;
use tollgate::store::clerk::open_sled;
use tollgate::store::{Ledger, Record};

use super::sample::{QUARTER_MS, entry_at, keep};
use crate::harness::environment;
use crate::journal::sample::{NOW_MS, folder, small};

const HOURS: u64 = 80;
const HOUR_MS: u64 = 3_600_000;
const WORDS: [&str; 14] = [
    "team",
    "user",
    "key",
    "model",
    "requested_model",
    "upstream",
    "operation",
    "tag",
    "tag:env",
    "tag:none",
    "tier",
    "cache",
    "day",
    "hour",
];
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "America/Los_Angeles",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
];

/// Something in the ledger.
#[expect(clippy::large_enum_variant, reason = "few are made")]
#[derive(Clone, Debug)]
enum Line {
    Entry(Entry),
    Adjustment(Adjustment),
}

prop_compose! {
    fn some_line()(
        after_ms in 0..HOURS * HOUR_MS, (team, user, key, model) in (0..3_usize, 0..4_usize, 0..3_usize, 0..3_usize),
        cost in proptest::option::of(0..1_u128 << 70), saved in 0..1_u128 << 50, estimated: bool, failed: bool,
        (cache, tier, operation) in (0..6_usize, 0..4_usize, 0..3_usize), tags in 0..4_usize, kind in 0..8_u8,
    ) -> (u64, Line) {
        let named = |number: usize| Some(format!("n{number}").into()).filter(|_| number > 0);
        let tag = |name: &str, bit: usize| (tags & bit > 0).then(|| (name.into(), "x".into()));
        let mut entry = entry_at(0, after_ms);
        entry.account.key = format!("k{key}").into();
        (entry.account.user, entry.account.team) = (named(user), named(team));
        entry.account.tags = [tag("env", 1), tag("feature", 2)].into_iter().flatten().collect();
        (entry.model, entry.requested_model) = (format!("m{model}").into(), format!("r{}", model % 2).into());
        (entry.cost, entry.saved) = (cost.map(Usd::from_pico), Usd::from_pico(saved));
        entry.usage_source = if estimated { UsageSource::Counted } else { UsageSource::Reported };
        entry.outcome = if failed { Outcome::Timeout } else { Outcome::Complete };
        (entry.cache, entry.tier, entry.operation) = (CacheUse::ALL[cache], Tier::ALL.get(tier).copied(), Operation::ALL[operation]);
        let direction = if kind == 0 { Direction::Charge } else { Direction::Credit };
        let adjustment = Adjustment {
            id: entry.id,
            at_ms: entry.at_ms,
            account: entry.account.clone(),
            upstream: "openai".into(),
            model: if tags == 0 { "".into() } else { entry.model.clone() },
            direction,
            amount: Usd::from_pico(saved),
            actor: "ada".into(),
            reason: "the invoice says less".into(),
            request: None,
        };
        (after_ms, if kind < 2 { Line::Adjustment(adjustment) } else { Line::Entry(entry) })
    }
}

prop_compose! {
    /// In the order of time, each with an id of its own.
    fn some_lines()(lines in prop::collection::vec(some_line(), 20..160)) -> Vec<Line> {
        let mut lines = lines;
        lines.sort_by_key(|(after_ms, _)| *after_ms);
        let number = |(number, (_, line)): (u128, (u64, Line))| match line {
            Line::Entry(entry) => Line::Entry(Entry { id: RequestId::new(entry.at_ms, number), ..entry }),
            Line::Adjustment(posted) => Line::Adjustment(Adjustment { id: RequestId::new(posted.at_ms, number), ..posted }),
        };
        (0..).zip(lines).map(number).collect()
    }
}

fn some_question() -> impl Strategy<Value = (Vec<&'static str>, &'static str, Option<(u64, u64)>)> {
    let by = proptest::sample::subsequence(WORDS.to_vec(), 0..4).prop_shuffle();
    let quarters = 0..HOURS * 4 + 8;
    let range =
        proptest::option::of((quarters.clone(), quarters).prop_map(|(one, other)| (one.min(other), one.max(other))));
    (by, proptest::sample::select(ZONES.to_vec()), range)
}

fn at_ms(line: &Line) -> u64 {
    match line {
        Line::Entry(entry) => entry.at_ms,
        Line::Adjustment(posted) => posted.at_ms,
    }
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "-".into() } else { text.into() }
}

/// What a line is in a dimension, without any of the code of reports.
fn label(line: &Line, by: &str, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(at_ms(line).cast_signed()).unwrap().to_zoned(zone.clone());
    let (account, model, requested, upstream, entry) = match line {
        Line::Entry(entry) => (&entry.account, &*entry.model, &*entry.requested_model, &*entry.upstream, Some(entry)),
        Line::Adjustment(posted) => (&posted.account, &*posted.model, "", &*posted.upstream, None),
    };
    let tag = |name: &str| account.tags.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.to_string());
    let all_tags = || account.tags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    match by {
        "team" => or_none(account.team.as_deref().unwrap_or_default()),
        "user" => or_none(account.user.as_deref().unwrap_or_default()),
        "key" => or_none(&account.key),
        "model" => or_none(model),
        "requested_model" => or_none(requested),
        "upstream" => or_none(upstream),
        "operation" => entry.map_or("-".into(), |entry| entry.operation.name().into()),
        "tag" => or_none(&all_tags()),
        "tag:env" => tag("env").unwrap_or("-".into()),
        "tag:none" => tag("none").unwrap_or("-".into()),
        "tier" => entry.and_then(|entry| entry.tier).map_or("-".into(), |tier| tier.name().into()),
        "cache" => entry.map_or("-".into(), |entry| entry.cache.name().into()),
        "day" => at.strftime("%Y-%m-%d").to_string(),
        "hour" => at.strftime("%Y-%m-%dT%H:00%:z").to_string(),
        other => panic!("{other}"),
    }
}

fn text(label: &Label) -> String {
    match label {
        Label::Day(day) => day.to_string(),
        Label::Hour(hour) => hour.to_string(),
        Label::Word(word) => (*word).into(),
        Label::Name(name) => name.to_string(),
        Label::None => "-".into(),
        Label::Other => "other".into(),
    }
}

fn sums(line: &Line) -> Sums {
    match line {
        Line::Entry(entry) => Sums::of(entry),
        Line::Adjustment(posted) => Sums::of_adjustment(posted),
    }
}

type Rows = BTreeMap<Vec<String>, Sums>;

fn naive(lines: &[Line], by: &[&str], zone: &str, (from_ms, until_ms): (u64, u64)) -> (Rows, Sums) {
    let zone = TimeZone::get(zone).unwrap();
    let (mut rows, mut total) = (Rows::new(), Sums::default());
    for line in lines.iter().filter(|line| (from_ms..until_ms).contains(&at_ms(line))) {
        let labels = by.iter().map(|by| label(line, by, &zone)).collect();
        rows.entry(labels).or_default().join(&sums(line));
        total.join(&sums(line));
    }
    (rows, total)
}

fn reported(ledger: &Ledger, by: &[&str], zone: &str, since: &str, until: &str) -> (Rows, Sums) {
    let by = by.join(",");
    let asked = [("by", &*by), ("tz", zone), ("since", since), ("until", until)];
    let asked = asked.into_iter().filter(|(_, value)| !value.is_empty());
    let request = Request::parse(asked, &Zone::utc(), NOW_MS).unwrap();
    let prices = Prices::of(&Config::parse("", "tollgate.toml", &environment()).unwrap());
    let table = report::run(ledger, &request, &prices).unwrap();
    let rows = table.rows.iter().map(|row| (row.labels.iter().map(text).collect(), row.sums.clone())).collect();
    (rows, table.total)
}

fn ask(
    folder: &Path,
    ledger: &Ledger,
    lines: &[Line],
    question: &(Vec<&'static str>, &'static str, Option<(u64, u64)>),
) {
    let (by, zone, range) = question;
    // Of what is dropped no more is known than the quarter of an hour.
    let start_ms = NOW_MS - NOW_MS % QUARTER_MS;
    let range = range.map(|(from, until)| (start_ms + from * QUARTER_MS, start_ms + until * QUARTER_MS));
    let stamp = |at_ms: u64| Timestamp::from_millisecond(at_ms.cast_signed()).unwrap().to_string();
    let (since, until) = range.map_or_else(Default::default, |(from, until)| (stamp(from), stamp(until)));
    let (rows, total) = naive(lines, by, zone, range.unwrap_or((0, u64::MAX)));
    for ledger in [ledger, &Ledger::of_journal(folder)] {
        let (told, told_total) = reported(ledger, by, zone, &since, &until);
        assert_eq!(told_total, total, "{question:?}");
        if !by.is_empty() {
            assert_eq!(told, rows, "{question:?}");
        }
    }
}

/// The lines of an export come to the net, also where those of single requests are gone.
fn export(folder: &Path, lines: &[Line]) -> u64 {
    let request = Request::parse([], &Zone::utc(), NOW_MS).unwrap();
    let mut csv = String::new();
    let mut give = |part: String| {
        csv.push_str(&part);
        true
    };
    let dropped = rows::write(&Ledger::of_journal(folder), &request, RowFormat::Csv, &mut give).unwrap();
    let mut total = Sums::default();
    lines.iter().for_each(|line| total.join(&sums(line)));
    let (mut plus, mut minus) = (Usd::ZERO, Usd::ZERO);
    for line in csv.lines().skip(1) {
        match line.rsplit(',').next().unwrap() {
            "" => {}
            net if net.starts_with('-') => minus = minus.plus(Usd::parse(&net[1..]).unwrap()),
            net => plus = plus.plus(Usd::parse(net).unwrap()),
        }
    }
    let net = if plus < minus { (minus.less(plus), true) } else { (plus.less(minus), false) };
    assert_eq!(net, total.net());
    assert_eq!(dropped > 0, csv.contains("dropped by retention"));
    let mut json = String::new();
    let mut give = |part: String| {
        json.push_str(&part);
        true
    };
    assert_eq!(rows::write(&Ledger::of_journal(folder), &request, RowFormat::Json, &mut give).unwrap(), dropped);
    let lines = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(lines.filter_map(|line| line["dropped_requests"].as_u64()).sum::<u64>(), dropped);
    dropped
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_grouping_says_what_a_naive_fold_says(
        lines in some_lines(), questions in prop::collection::vec(some_question(), 6..12), in_index in 0..160_usize,
    ) {
        let folder = folder();
        let now_ms = NOW_MS + HOURS * HOUR_MS;
        let options = tollgate::store::Options { segment_bytes: 9_000, snapshot_bytes: 4_000, ..small() };
        let kept = keep(folder.path(), options, open_sled, Some(1), now_ms);
        let (early, late) = lines.split_at(in_index.min(lines.len()));
        for some in early.chunks(5).chain(late.chunks(5)) {
            for line in some {
                let record = match line.clone() {
                    Line::Entry(entry) => Record::Entry(Box::new(entry)),
                    Line::Adjustment(posted) => Record::Adjustment(Box::new(posted)),
                };
                kept.journal.post(&record).unwrap();
            }
            kept.post([]);
            if some.as_ptr_range().end == early.as_ptr_range().end {
                kept.clerk.round();
            }
        }
        for question in &questions {
            ask(folder.path(), &kept.ledger(folder.path()), &lines, question);
        }
        prop_assert_eq!(export(folder.path(), &lines), 0);
        kept.clerk.retain();
        for question in &questions {
            ask(folder.path(), &kept.ledger(folder.path()), &lines, question);
        }
        let dropped = export(folder.path(), &lines);
        prop_assert!(kept.clerk.state().dropped == 0 || dropped > 0 || lines.len() < 60);
        kept.stop();
    }
}
