//! A [`Comparison`] as text for people, as CSV and as JSON. All three say the same numbers, and none rounds money.
//!
//! A gap is what the provider says less what the ledger says. What an export does not tell is left out for people, empty
//! in CSV and null in JSON: a number that nobody gave is not zero.

use super::json_text::Object;
use super::money::Usd;
use super::reconcile::{Comparison, Side};
use super::report_text::{Format, align, csv_line, csv_text};

/// What is compared.
#[derive(Clone, Copy)]
struct Measure {
    /// Its name for programs.
    name: &'static str,
    /// Its heading for people; nothing if it is only for programs.
    heading: &'static str,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    Tokens(fn(&Side) -> u64),
    Money,
}

const MEASURES: [Measure; 5] = [
    Measure { name: "input_tokens", heading: "input", value: Value::Tokens(|side| side.input) },
    Measure { name: "cache_read_tokens", heading: "", value: Value::Tokens(|side| side.cache_read) },
    Measure { name: "cache_write_tokens", heading: "", value: Value::Tokens(|side| side.cache_write) },
    Measure { name: "output_tokens", heading: "output", value: Value::Tokens(|side| side.output) },
    Measure { name: "usd", heading: "USD", value: Value::Money },
];

/// The formats of a comparison.
pub const FORMATS: [Format; 3] = [Format::Table, Format::Csv, Format::Json];

/// The whole of `compared`, with the end of its last line. What has no form of its own is printed for people.
#[must_use]
pub fn print(compared: &Comparison, format: Format) -> String {
    match format {
        Format::Csv => print_csv(compared),
        Format::Json => print_json(compared),
        Format::Table | Format::Focus => print_table(compared),
    }
}

impl Measure {
    fn is_told(self, compared: &Comparison) -> bool {
        match self.value {
            Value::Tokens(_) => compared.has_tokens,
            Value::Money => compared.has_money,
        }
    }

    /// What the provider says, what the ledger says, and the gap.
    fn cells(self, provider: &Side, ledger: &Side) -> [String; 3] {
        match self.value {
            Value::Tokens(of) => {
                let (provider, ledger) = (of(provider), of(ledger));
                let gap = i128::from(provider) - i128::from(ledger);
                [provider.to_string(), ledger.to_string(), gap.to_string()]
            }
            Value::Money => [provider.net(), ledger.net(), provider.net_above(ledger)].map(signed),
        }
    }
}

fn print_table(compared: &Comparison) -> String {
    let told: Vec<Measure> =
        MEASURES.into_iter().filter(|one| !one.heading.is_empty() && one.is_told(compared)).collect();
    let mut head = vec!["day".to_owned(), "model".to_owned()];
    for measure in &told {
        let sides = [compared.provider, "ledger", "gap"];
        head.extend(sides.map(|side| format!("{} {side}", measure.heading)));
    }
    let mut lines = vec![head];
    for row in &compared.rows {
        let model = row.model.as_deref().unwrap_or("-").to_owned();
        let cells = told.iter().flat_map(|measure| measure.cells(&row.provider, &row.ledger));
        lines.push([row.day.to_string(), model].into_iter().chain(cells).collect());
    }
    let totals = told.iter().flat_map(|measure| measure.cells(&compared.provider_total, &compared.ledger_total));
    lines.push(["total".to_owned(), String::new()].into_iter().chain(totals).collect());
    let mut out = format!(
        "{} beside the upstreams {}, from {} until {}, days in UTC\n\n",
        compared.provider,
        compared.upstreams.join(", "),
        compared.from,
        compared.until
    );
    align(&lines, 2, &mut out);
    if compared.is_partial {
        out.push_str("\nthe export says that there is more of it: ask for its next pages too\n");
    }
    out
}

fn print_csv(compared: &Comparison) -> String {
    let columns = MEASURES.iter().flat_map(|measure| names(measure.name));
    let mut out = csv_line(["day".to_owned(), "model".to_owned()].into_iter().chain(columns));
    for row in &compared.rows {
        let cells = MEASURES.iter().flat_map(|measure| match measure.is_told(compared) {
            true => measure.cells(&row.provider, &row.ledger),
            false => {
                let [_, ledger, _] = measure.cells(&row.provider, &row.ledger);
                [String::new(), ledger, String::new()]
            }
        });
        let model = csv_text(row.model.as_deref().unwrap_or_default());
        out.push_str(&csv_line([row.day.to_string(), model].into_iter().chain(cells)));
    }
    out
}

fn print_json(compared: &Comparison) -> String {
    let mut out = String::new();
    let mut object = Object::open(&mut out);
    object.text("provider", compared.provider);
    let mut upstreams = object.list("upstreams");
    for name in &compared.upstreams {
        upstreams.text(name);
    }
    drop(upstreams);
    object.shown("from", compared.from).shown("until", compared.until).truth("partial", compared.is_partial);
    let mut rows = object.list("rows");
    for row in &compared.rows {
        let mut line = rows.object();
        line.shown("day", row.day).text_or_null("model", row.model.as_deref());
        write_sides(compared, &row.provider, &row.ledger, &mut line);
    }
    drop(rows);
    write_sides(compared, &compared.provider_total, &compared.ledger_total, &mut object.object("total"));
    drop(object);
    out + "\n"
}

fn write_sides(compared: &Comparison, provider: &Side, ledger: &Side, object: &mut Object<'_>) {
    for measure in MEASURES {
        let is_told = measure.is_told(compared);
        for (place, (name, cell)) in names(measure.name).iter().zip(measure.cells(provider, ledger)).enumerate() {
            match measure.value {
                _ if !is_told && place != 1 => object.null(name),
                Value::Tokens(_) => object.number(name, cell),
                Value::Money => object.text(name, &cell),
            };
        }
    }
}

fn names(measure: &str) -> [String; 3] {
    ["provider", "ledger", "gap"].map(|side| format!("{side}_{measure}"))
}

fn signed((amount, is_negative): (Usd, bool)) -> String {
    let sign = if is_negative { "-" } else { "" };
    format!("{sign}{}", amount.fixed())
}
