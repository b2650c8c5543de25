//! A [`Table`] in the columns of FOCUS 1.0, the FinOps Open Cost and Usage Specification, for tools of chargeback.
//!
//! One line for each day (UTC), account, upstream, model and operation; adjustments have lines of their own, credits
//! with negative costs. What FOCUS has no column for has a name with `x_`. List, contracted, effective and billed cost
//! are the same: what the provider charges by its list. Costs without a price are 0, and `x_UnpricedRequests` says so.
//!
//! Invariant: the billed costs add up to the net of the same report in any other format.

use super::dimension::{Dimension, Label};
use super::json_text::Object;
use super::money::Usd;
use super::report::{Row, Table};
use super::report_text::{csv_line, csv_text, plain};
use super::sums::Sums;
use super::utc::Day;

/// The dimensions of a line, in this order.
pub const BY: [Dimension; 8] = [
    Dimension::Day,
    Dimension::Team,
    Dimension::User,
    Dimension::Key,
    Dimension::Upstream,
    Dimension::Model,
    Dimension::Operation,
    Dimension::Tags,
];

const COLUMNS: [&str; 37] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_User",
    "x_InputTokens",
    "x_OutputTokens",
    "x_CacheReadTokens",
    "x_CacheWriteTokens",
    "x_EstimatedCost",
    "x_UnpricedRequests",
];

/// What kind of line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usage,
    Charge,
    Credit,
}

/// The lines of `table`, which is grouped by [`BY`].
#[must_use]
pub fn print(table: &Table) -> String {
    let mut out = csv_line(COLUMNS.map(str::to_owned).into_iter());
    for Row { labels, sums, repriced: _ } in &table.rows {
        let kinds = [
            (Kind::Usage, sums.requests > 0 || sums.spend > Usd::ZERO),
            (Kind::Charge, sums.charged > Usd::ZERO),
            (Kind::Credit, sums.credited > Usd::ZERO),
        ];
        for (kind, _) in kinds.into_iter().filter(|(_, is_there)| *is_there) {
            out.push_str(&csv_line(line(kind, labels, sums).into_iter().map(|cell| csv_text(&cell))));
        }
    }
    out
}

fn line(kind: Kind, labels: &[Label], sums: &Sums) -> [String; COLUMNS.len()] {
    let cell = |place: usize| labels.get(place).map(plain).unwrap_or_default();
    let [team, user, key, upstream, model, operation] = [cell(1), cell(2), cell(3), cell(4), cell(5), cell(6)];
    let (cost, category, what) = match kind {
        Kind::Usage => (sums.spend.fixed(), "Usage", operation.clone()),
        Kind::Charge => (sums.charged.fixed(), "Adjustment", "adjustment".to_owned()),
        Kind::Credit => (format!("-{}", sums.credited.fixed()), "Credit", "adjustment".to_owned()),
    };
    let (day, next, month, next_month) = periods(labels);
    let units = |count: u64| if kind == Kind::Usage { count.to_string() } else { "0".to_owned() };
    let unit = || if kind == Kind::Usage { "Requests".to_owned() } else { String::new() };
    let estimated = if kind == Kind::Usage { sums.estimated.fixed() } else { Usd::ZERO.fixed() };
    let fixed = str::to_owned;
    [
        cost.clone(),
        fixed("tollgate"),
        fixed("Tollgate"),
        fixed("USD"),
        next_month,
        month,
        fixed(category),
        String::new(),
        format!("{what} {model}").trim_end().to_owned(),
        fixed("Usage-Based"),
        next,
        day,
        units(sums.requests),
        unit(),
        cost.clone(),
        cost.clone(),
        upstream.clone(),
        cost,
        units(sums.requests),
        unit(),
        upstream.clone(),
        upstream.clone(),
        key,
        fixed("API key"),
        fixed("AI and Machine Learning"),
        upstream,
        model,
        team.clone(),
        team,
        tags(labels.get(7)),
        user,
        units(sums.input),
        units(sums.output),
        units(sums.cache_read),
        units(sums.cache_write),
        estimated,
        units(sums.unpriced),
    ]
}

/// The day, the day after it, its month and the month after that, each by its first moment.
fn periods(labels: &[Label]) -> (String, String, String, String) {
    let Some(Label::Day(day)) = labels.first() else { return Default::default() };
    let month = Day { day: 1, ..*day };
    let moment = |day: Day| format!("{day}T00:00:00Z");
    (moment(*day), moment(day.next()), moment(month), moment(month.next_month()))
}

/// Tags as a JSON object.
fn tags(label: Option<&Label>) -> String {
    let mut out = String::new();
    let mut object = Object::open(&mut out);
    if let Some(Label::Name(tags)) = label {
        for (name, value) in tags.split(',').filter_map(|tag| tag.split_once('=')) {
            object.text(name, value);
        }
    }
    drop(object);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::{Query, Report};
    use crate::domain::sample;
    use crate::domain::subject::Subject;
    use crate::domain::utc::When;

    #[test]
    fn usage_and_adjustments_are_lines_that_add_up() {
        let entry = sample::entry();
        let (subject, when) = (Subject::of(&entry), When::utc(entry.at_ms));
        let mut report = Report::new(Query { by: BY.to_vec(), ..Query::default() });
        report.add(&subject, when, &Sums::of(&entry));
        report.add(&subject, when, &Sums { credited: Usd::from_pico(7), ..Sums::default() });
        let text = print(&report.finish());
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].split(',').count(), COLUMNS.len());
        let expect = "0.001234500000,tollgate,Tollgate,USD,2026-12-01T00:00:00Z,2026-11-01T00:00:00Z,Usage,,\
            messages claude-haiku-5-5,Usage-Based,2026-11-23T00:00:00Z,2026-11-22T00:00:00Z,1,Requests,0.001234500000,\
            0.001234500000,anthropic,0.001234500000,1,Requests,anthropic,anthropic,ci,API key,AI and Machine Learning,\
            anthropic,claude-haiku-5-5,search,search,\"{\"\"env\"\":\"\"prod\"\",\"\"feature\"\":\"\"search\"\"}\",,100,30,20,7,\
            0.000000000000,0";
        assert_eq!(lines[1], expect);
        assert!(lines[2].starts_with("-0.000000000007,tollgate,") && lines[2].contains(",Credit,,adjustment "));
    }
}
