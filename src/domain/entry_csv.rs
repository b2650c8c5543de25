//! An [`Entry`] as a line of CSV (RFC 4180), for spreadsheets: the fields of its JSON, with lists and objects joined. An
//! adjustment is a line too, with its direction and actor; `net_usd` of all lines is what a report calls net.

use super::adjustment::{Adjustment, Direction};
use super::entry::Entry;
use super::entry_json::DROPPED;
use super::report_text::{csv_line, csv_text};
use super::subject::Subject;
use super::sums::Sums;
use super::utc::Moment;

const COLUMNS: [&str; 46] = [
    "request_id",
    "at",
    "key",
    "user",
    "team",
    "tags",
    "dialect",
    "operation",
    "upstream",
    "requested_model",
    "model",
    "served_model",
    "tier",
    "reason",
    "cache",
    "stream",
    "status",
    "outcome",
    "service_tier",
    "input",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "cache_write_12h",
    "output",
    "reasoning",
    "audio_in",
    "audio_out",
    "image_in",
    "image_out",
    "seconds",
    "server_tools",
    "usage_source",
    "cost_usd",
    "saved_usd",
    "price_version",
    "quote_usd",
    "latency_ms",
    "first_byte_ms",
    "attempts",
    "requests",
    "entry_hash",
    "adjustment",
    "actor",
    "net_usd",
];

/// The first line.
#[must_use]
pub fn head() -> String {
    csv_line(COLUMNS.map(str::to_owned).into_iter())
}

/// The line of `entry`; `entry_hash` is the journal's hash of it, in hex.
#[must_use]
pub fn line(entry: &Entry, entry_hash: &str) -> String {
    csv_line(cells(entry, entry_hash).into_iter().map(|cell| csv_text(&cell)))
}

/// The line of `adjustment`; `entry_hash` is the journal's hash of it, in hex. What it says nothing of is empty.
#[must_use]
pub fn adjustment_line(adjustment: &Adjustment, entry_hash: &str) -> String {
    let account = &adjustment.account;
    let tags: Vec<String> = account.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let sign = if adjustment.direction == Direction::Credit { "-" } else { "" };
    let cell = |column: &str| match column {
        "request_id" => adjustment.request.map(|id| id.to_string()).unwrap_or_default(),
        "at" => Moment(adjustment.at_ms).to_string(),
        "key" => account.key.to_string(),
        "user" => account.user.as_deref().unwrap_or_default().to_owned(),
        "team" => account.team.as_deref().unwrap_or_default().to_owned(),
        "tags" => tags.join(","),
        "upstream" => adjustment.upstream.to_string(),
        "model" => adjustment.model.to_string(),
        "reason" => adjustment.reason.to_string(),
        "entry_hash" => entry_hash.to_owned(),
        "adjustment" => adjustment.direction.name().to_owned(),
        "actor" => adjustment.actor.to_string(),
        "net_usd" => format!("{sign}{}", adjustment.amount.fixed()),
        _ => String::new(),
    };
    csv_line(COLUMNS.into_iter().map(|column| csv_text(&cell(column))))
}

/// The line of what retention has left of the requests of `subject` in the quarter of an hour that begins at `at_ms`. What
/// only single requests have is empty.
#[must_use]
pub fn dropped_line(at_ms: u64, subject: &Subject, sums: &Sums) -> String {
    let tags: Vec<String> = subject.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let (net, is_below_zero) = sums.net();
    let cell = |column: &str| match column {
        "at" => Moment(at_ms).to_string(),
        "key" => subject.key.to_string(),
        "user" => subject.user.as_deref().unwrap_or_default().to_owned(),
        "team" => subject.team.as_deref().unwrap_or_default().to_owned(),
        "tags" => tags.join(","),
        "operation" => subject.operation.map(|operation| operation.name().to_owned()).unwrap_or_default(),
        "upstream" => subject.upstream.to_string(),
        "requested_model" => subject.requested_model.to_string(),
        "model" => subject.model.to_string(),
        "tier" => subject.tier.map(|tier| tier.name().to_owned()).unwrap_or_default(),
        "reason" => DROPPED.to_owned(),
        "cache" => subject.cache.map(|cache| cache.name().to_owned()).unwrap_or_default(),
        "input" => sums.input.to_string(),
        "cache_read" => sums.cache_read.to_string(),
        "cache_write" => sums.cache_write.to_string(),
        "output" => sums.output.to_string(),
        "reasoning" => sums.reasoning.to_string(),
        "cost_usd" => sums.spend.fixed(),
        "saved_usd" => sums.saved.to_string(),
        "requests" => sums.requests.to_string(),
        "net_usd" => format!("{}{}", if is_below_zero { "-" } else { "" }, net.fixed()),
        _ => String::new(),
    };
    csv_line(COLUMNS.into_iter().map(|column| csv_text(&cell(column))))
}

fn cells(entry: &Entry, entry_hash: &str) -> [String; COLUMNS.len()] {
    let (account, usage) = (&entry.account, &entry.usage);
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let tags: Vec<String> = account.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let tools: Vec<String> = usage.server_tools.iter().map(|(name, calls)| format!("{name}={calls}")).collect();
    [
        entry.id.to_string(),
        Moment(entry.at_ms).to_string(),
        account.key.to_string(),
        text(account.user.as_deref()),
        text(account.team.as_deref()),
        tags.join(","),
        entry.dialect.name().to_owned(),
        entry.operation.name().to_owned(),
        entry.upstream.to_string(),
        entry.requested_model.to_string(),
        entry.model.to_string(),
        text(entry.served_model.as_deref()),
        text(entry.tier.map(|tier| tier.name())),
        entry.reason.to_string(),
        entry.cache.name().to_owned(),
        entry.stream.to_string(),
        entry.status.to_string(),
        entry.outcome.name().to_owned(),
        text(entry.service_tier.as_deref()),
        usage.input.to_string(),
        usage.cache_read.to_string(),
        usage.cache_write.to_string(),
        usage.cache_write_5m.to_string(),
        usage.cache_write_1h.to_string(),
        usage.cache_write_12h.to_string(),
        usage.output.to_string(),
        usage.reasoning.to_string(),
        usage.audio_in.to_string(),
        usage.audio_out.to_string(),
        usage.image_in.to_string(),
        usage.image_out.to_string(),
        usage.seconds.to_string(),
        tools.join(","),
        entry.usage_source.name().to_owned(),
        // Unknown is empty, and never zero.
        entry.cost.map(|cost| cost.fixed()).unwrap_or_default(),
        entry.saved.to_string(),
        text(entry.price.as_ref().map(|price| &*price.version)),
        entry.quote.map(|quote| quote.to_string()).unwrap_or_default(),
        entry.latency_ms.to_string(),
        entry.first_byte_ms.map(|ms| ms.to_string()).unwrap_or_default(),
        entry.attempts.len().to_string(),
        entry.requests.to_string(),
        entry_hash.to_owned(),
        String::new(),
        String::new(),
        entry.cost.map(|cost| cost.fixed()).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample;

    #[test]
    fn a_line_has_a_cell_for_each_column() {
        let mut entry = sample::entry();
        entry.cost = None;
        let line = line(&entry, "00ff");
        assert!(line.starts_with(
            "01m81nf47v0000000000000001,2026-11-22T13:00:00.123Z,ci,,search,\"env=prod,feature=search\","
        ));
        assert!(line.ends_with(",reported,,0,2026-11-20,0.02,812,240,1,1,00ff,,,\r\n"), "{line}");
        assert_eq!(line.split(',').count(), head().split(',').count() + 1, "one comma stands in quotes");
    }
}
