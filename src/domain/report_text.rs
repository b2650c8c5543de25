//! A [`Table`] as text for people, as CSV for spreadsheets (RFC 4180) and as JSON for programs.
//!
//! All three say the same numbers; none of them rounds money.
//!
//! JSON: `{"from", "until", "time_zone", "by": [..], "rows": [{dimension: name or null, .., column: number, ..}],
//! "total": {column: number, ..}, "incomplete": bool}`. `from` and `until` are moments or null. Money is a text in
//! dollars: `spend_usd` with twelve decimals, the others without needless zeros. `estimated_share` is the part of
//! the spend, 0 to 1, that rests on counted or assumed usage; `unpriced_share` the part of the requests without a
//! price. `charged_usd` and `credited_usd` are adjustments, and `net_usd`, which may be negative, the spend with them.
//! With `repriced_usd`, `repriced_change_usd` and `repriced_unpriced_requests` a report says what the present price book
//! would say, if that is asked for. While `incomplete` is true, something was called that has no price, and the true spend is higher.

use super::focus;
use super::json_text::Object;
use super::money::Usd;
use super::report::{Label, Repriced, Row, Sums, Table};
use super::utc::Moment;

/// What a report can be printed as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// RFC 4180: commas, quotes, and lines that end in CR LF.
    Csv,
    /// One JSON object.
    Json,
    /// CSV in the columns of FOCUS 1.0.
    Focus,
}

/// One number of a row.
enum Cell {
    Count(u64),
    Cost(Usd),
    Money(Usd),
    Share(u128),
    /// An amount and whether it is below zero.
    Signed(Usd, bool),
}

/// Where a column is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Everywhere.
    All,
    /// For people only if there are adjustments.
    Adjusted,
    /// For programs.
    Programs,
}

/// A column: its name for programs, its heading for people, where it is printed, and its number.
type Column = (&'static str, &'static str, Place, fn(&Sums) -> Cell);

const COLUMNS: [Column; 21] = [
    ("requests", "requests", Place::All, |sums| Cell::Count(sums.requests)),
    ("errors", "errors", Place::All, |sums| Cell::Count(sums.errors)),
    ("spend_usd", "spend USD", Place::All, |sums| Cell::Cost(sums.spend)),
    ("input_tokens", "input", Place::All, |sums| Cell::Count(sums.input)),
    ("output_tokens", "output", Place::All, |sums| Cell::Count(sums.output)),
    ("cache_read_tokens", "cache read", Place::All, |sums| Cell::Count(sums.cache_read)),
    ("cache_write_tokens", "cache write", Place::All, |sums| Cell::Count(sums.cache_write)),
    ("saved_usd", "saved USD", Place::All, |sums| Cell::signed(sums.saved_in_all())),
    ("estimated_usd", "estimated USD", Place::All, |sums| Cell::Money(sums.estimated)),
    ("estimated_share", "estimated", Place::All, |sums| Cell::Share(sums.estimated_share())),
    ("unpriced_requests", "unpriced", Place::All, |sums| Cell::Count(sums.unpriced)),
    ("unpriced_share", "", Place::Programs, |sums| Cell::Share(sums.unpriced_share())),
    ("reasoning_tokens", "", Place::Programs, |sums| Cell::Count(sums.reasoning)),
    ("saved_by_cache_usd", "", Place::Programs, |sums| Cell::Money(sums.saved)),
    ("saved_by_routing_usd", "", Place::Programs, |sums| Cell::signed(sums.saved_by_routing())),
    ("routed_requests", "", Place::Programs, |sums| Cell::Count(sums.routed)),
    ("compared_requests", "", Place::Programs, |sums| Cell::Count(sums.compared)),
    ("baseline_usd", "", Place::Programs, |sums| Cell::Money(sums.baseline)),
    ("charged_usd", "charged USD", Place::Adjusted, |sums| Cell::Money(sums.charged)),
    ("credited_usd", "credited USD", Place::Adjusted, |sums| Cell::Money(sums.credited)),
    ("net_usd", "net USD", Place::Adjusted, |sums| Cell::signed(sums.net())),
];

/// A column of a report that says what the present price book would say.
type RepricedColumn = (&'static str, &'static str, fn(&Sums, Repriced) -> Cell);

const REPRICED_COLUMNS: [RepricedColumn; 3] = [
    ("repriced_usd", "repriced USD", |_, repriced| Cell::Cost(repriced.spend)),
    ("repriced_change_usd", "change USD", |sums, repriced| Cell::change(sums.spend, repriced.spend)),
    ("repriced_unpriced_requests", "", |_, repriced| Cell::Count(repriced.unpriced)),
];

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Table, Self::Csv, Self::Json, Self::Focus];

    /// The word in `--format`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Focus => "focus",
        }
    }

    /// The format of a word in `--format`.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == word)
    }

    /// The media type for an HTTP answer.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Csv | Self::Focus => "text/csv; charset=utf-8",
            Self::Json => "application/json",
        }
    }

    /// The whole of `table`, with the end of its last line.
    #[must_use]
    pub fn print(self, table: &Table) -> String {
        match self {
            Self::Table => print_table(table),
            Self::Csv => print_csv(table),
            Self::Json => print_json(table),
            Self::Focus => focus::print(table),
        }
    }
}

fn print_table(table: &Table) -> String {
    let dimensions = table.query.by.iter().map(|dimension| dimension.name().to_owned());
    let columns = columns_for_people(table);
    let repriced = REPRICED_COLUMNS.iter().filter(|column| table.query.is_repriced && !column.1.is_empty());
    let headings = columns.iter().map(|column| column.1).chain(repriced.clone().map(|column| column.1));
    let mut lines = vec![dimensions.chain(headings.map(str::to_owned)).collect::<Vec<_>>()];
    lines.extend(table.rows.iter().map(|row| row.labels.iter().map(shown).collect()));
    let total = (0..table.query.by.len()).map(|place| if place == 0 { "total".to_owned() } else { String::new() });
    lines.push(total.collect());
    let figures =
        || table.rows.iter().map(|row| (&row.sums, row.repriced)).chain([(&table.total, table.total_repriced)]);
    let plain = columns.iter().map(|column| figures().map(|(sums, _)| column.3(sums)).collect::<Vec<Cell>>());
    let repriced = repriced.map(|column| figures().map(|(sums, repriced)| column.2(sums, repriced)).collect());
    for cells in plain.chain(repriced) {
        let decimals = cells.iter().map(Cell::decimals).max().unwrap_or(0);
        lines.iter_mut().skip(1).zip(&cells).for_each(|(line, cell)| line.push(cell.for_people(decimals)));
    }
    let mut out = period(table);
    align(&lines, table.query.by.len(), &mut out);
    notes(table, &mut out);
    out
}

fn columns_for_people(table: &Table) -> Vec<Column> {
    let total = &table.total;
    let is_adjusted = (total.charged, total.credited) != (Usd::ZERO, Usd::ZERO);
    let is_shown = |column: &Column| match column.2 {
        Place::All => true,
        Place::Adjusted => is_adjusted,
        Place::Programs => false,
    };
    COLUMNS.into_iter().filter(is_shown).collect()
}

/// Texts to the left, numbers to the right, two spaces between columns.
pub(super) fn align(lines: &[Vec<String>], texts: usize, out: &mut String) {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let aligned = if column < texts { format!("{gap}{cell:<width$}") } else { format!("{gap}{cell:>width$}") };
            out.push_str(&aligned);
        }
        out.push('\n');
    }
}

fn period(table: &Table) -> String {
    let query = &table.query;
    let moment = |at_ms: Option<u64>, open: &str| at_ms.map_or(open.to_owned(), |at_ms| Moment(at_ms).to_string());
    let (from, until) = (moment(query.from_ms, "the beginning"), moment(query.until_ms, "now"));
    format!("from {from} until {until}, days in {}\n\n", query.time_zone)
}

fn notes(table: &Table, out: &mut String) {
    saved(table, out);
    if table.is_incomplete() {
        let unpriced = table.total.unpriced;
        out.push_str(&format!("\ncost incomplete: requests without a price, which count as 0 here: {unpriced}\n"));
    }
    if table.total.estimated > Usd::ZERO {
        let share = Cell::Share(table.total.estimated_share()).for_people(2);
        out.push_str(&format!("\n{share} of the spend is estimated: the provider reported no usage for it\n"));
    }
}

/// What was saved, by cause, and of how much that is known.
fn saved(table: &Table, out: &mut String) {
    let total = &table.total;
    if total.saved == Usd::ZERO && total.routed == 0 {
        return;
    }
    let shown = |cell: Cell| cell.for_people(cell.decimals());
    let (cache, routing) = (shown(Cell::Money(total.saved)), shown(Cell::signed(total.saved_by_routing())));
    out.push_str(&format!("\nsaved USD: {cache} by the response cache, {routing} by routing\n"));
    if total.routed > 0 {
        let (compared, routed) = (total.compared, total.routed);
        let share = Cell::Share(total.compared_share()).for_people(2);
        out.push_str(&format!(
            "routing is compared with the model asked for, its prompt cache warm, where that is known: {compared} of {routed} \
             routed requests ({share})\n"
        ));
    }
}

fn print_csv(table: &Table) -> String {
    let dimensions = table.query.by.iter().map(|dimension| dimension.name().to_owned());
    let head =
        dimensions.chain(named_cells(table, &table.total, table.total_repriced).map(|(name, _)| name.to_owned()));
    let mut out = csv_line(head);
    for Row { labels, sums, repriced } in &table.rows {
        let texts = labels.iter().map(|label| csv_text(&plain(label)));
        out.push_str(&csv_line(texts.chain(named_cells(table, sums, *repriced).map(|(_, cell)| cell.for_programs()))));
    }
    if table.query.by.is_empty() {
        let cells = named_cells(table, &table.total, table.total_repriced);
        out.push_str(&csv_line(cells.map(|(_, cell)| cell.for_programs())));
    }
    out
}

/// Every number for programs, with its name.
fn named_cells<'a>(
    table: &Table,
    sums: &'a Sums,
    repriced: Repriced,
) -> impl Iterator<Item = (&'static str, Cell)> + use<'a> {
    let more = if table.query.is_repriced { REPRICED_COLUMNS.as_slice() } else { &[] };
    let more = more.iter().map(move |(name, _, number)| (*name, number(sums, repriced)));
    COLUMNS.iter().map(|(name, _, _, number)| (*name, number(sums))).chain(more)
}

pub(super) fn csv_line(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\r\n"
}

/// Quotes what has to be quoted, and disarms what a spreadsheet would run: clients choose the names of models.
pub(super) fn csv_text(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.contains(['(', '|', '!']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn print_json(table: &Table) -> String {
    let mut out = String::new();
    let mut object = Object::open(&mut out);
    for (name, at_ms) in [("from", table.query.from_ms), ("until", table.query.until_ms)] {
        match at_ms {
            Some(at_ms) => object.shown(name, Moment(at_ms)),
            None => object.null(name),
        };
    }
    object.text("time_zone", &table.query.time_zone);
    let mut dimensions = object.list("by");
    for dimension in &table.query.by {
        dimensions.text(dimension.name());
    }
    drop(dimensions);
    let mut rows = object.list("rows");
    for row in &table.rows {
        let mut object = rows.object();
        for (dimension, label) in table.query.by.iter().zip(&row.labels) {
            object.text_or_null(dimension.name(), Some(plain(label).as_str()).filter(|_| *label != Label::None));
        }
        write_sums(table, &row.sums, row.repriced, object);
    }
    drop(rows);
    write_sums(table, &table.total, table.total_repriced, object.object("total"));
    object.truth("incomplete", table.is_incomplete());
    drop(object);
    out.push('\n');
    out
}

fn write_sums(table: &Table, sums: &Sums, repriced: Repriced, mut object: Object<'_>) {
    for (name, cell) in named_cells(table, sums, repriced) {
        match &cell {
            Cell::Count(_) | Cell::Share(_) => object.number(name, cell.for_programs()),
            Cell::Cost(_) | Cell::Money(_) | Cell::Signed(..) => object.shown(name, cell.for_programs()),
        };
    }
}

/// A label as it is; nothing where there is none.
pub(super) fn plain(label: &Label) -> String {
    match label {
        Label::Day(day) => day.to_string(),
        Label::Hour(hour) => hour.to_string(),
        Label::Word(word) => (*word).to_owned(),
        Label::Name(name) => name.as_ref().to_owned(),
        Label::None => String::new(),
        Label::Other => "(other)".to_owned(),
    }
}

/// A label for a terminal: never empty, and without control characters.
fn shown(label: &Label) -> String {
    match label {
        Label::None => "(none)".to_owned(),
        Label::Day(_) | Label::Hour(_) | Label::Word(_) | Label::Name(_) | Label::Other => {
            plain(label).replace(char::is_control, "?")
        }
    }
}

impl Cell {
    const fn signed((amount, is_negative): (Usd, bool)) -> Self {
        Self::Signed(amount, is_negative)
    }

    fn change(from: Usd, to: Usd) -> Self {
        if to < from { Self::Signed(from.less(to), true) } else { Self::Signed(to.less(from), false) }
    }

    fn for_programs(&self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Cost(amount) => amount.fixed(),
            Self::Money(amount) => amount.to_string(),
            Self::Share(share) => format!("{}.{:04}", share / 10_000, share % 10_000),
            Self::Signed(amount, is_negative) => format!("{}{amount}", sign(*is_negative)),
        }
    }

    /// Money with as many decimals as its column needs, so that points align and nothing is rounded.
    fn for_people(&self, decimals: usize) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Cost(amount) | Self::Money(amount) => {
                let fixed = amount.fixed();
                fixed[..fixed.len() - 12 + decimals].to_owned()
            }
            Self::Share(share) => format!("{}.{:02}%", share / 100, share % 100),
            Self::Signed(amount, is_negative) => {
                format!("{}{}", sign(*is_negative), Self::Money(*amount).for_people(decimals))
            }
        }
    }

    /// Decimals of the money in this cell, at least cents.
    fn decimals(&self) -> usize {
        match self {
            Self::Cost(amount) | Self::Money(amount) | Self::Signed(amount, _) => {
                let text = amount.to_string();
                text.split_once('.').map_or(0, |(_, part)| part.len()).max(2)
            }
            Self::Count(_) | Self::Share(_) => 0,
        }
    }
}

const fn sign(is_negative: bool) -> &'static str {
    if is_negative { "-" } else { "" }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::entry::Entry;
    use crate::domain::report::{Dimension, Query, Report};
    use crate::domain::sample;
    use crate::domain::subject::Subject;
    use crate::domain::tokens::UsageSource;
    use crate::domain::utc::When;

    fn entry(team: Option<&str>, model: &str, pico: Option<u128>) -> Entry {
        let mut entry = sample::entry();
        (entry.account.team, entry.model, entry.cost) = (team.map(Into::into), model.into(), pico.map(Usd::from_pico));
        entry
    }

    fn table(by: &str, entries: &[Entry]) -> Table {
        let by = Dimension::list(by).unwrap();
        let time_zone = "Europe/Berlin".into();
        let query = Query { by, from_ms: Some(1_795_305_600_000), time_zone, ..Query::default() };
        let mut report = Report::new(query);
        entries.iter().for_each(|entry| report.add(&Subject::of(entry), When::utc(entry.at_ms), &Sums::of(entry)));
        report.finish()
    }

    fn three() -> [Entry; 3] {
        let mut estimated = entry(Some("a"), "x", Some(250_000_000_000));
        estimated.usage_source = UsageSource::Counted;
        [estimated, entry(Some("a"), "y", Some(750_000_000_000)), entry(None, "\u{1b}z", None)]
    }

    #[test]
    fn the_table_is_aligned_and_says_what_is_missing() {
        let expect = "\
from 2026-11-22T00:00:00.000Z until now, days in Europe/Berlin

team    model  requests  errors  spend USD  input  output  cache read  cache write  saved USD  estimated USD  estimated  unpriced
a       y             1       0       0.75    100      30          20            7       0.00           0.00      0.00%         0
a       x             1       0       0.25    100      30          20            7       0.00           0.25    100.00%         0
(none)  ?z            1       0       0.00    100      30          20            7       0.00           0.00      0.00%         1
total                 3       0       1.00    300      90          60           21       0.00           0.25     25.00%         1

saved USD: 0.00 by the response cache, 0.00 by routing
routing is compared with the model asked for, its prompt cache warm, where that is known: 0 of 3 routed requests (0.00%)

cost incomplete: requests without a price, which count as 0 here: 1

25.00% of the spend is estimated: the provider reported no usage for it
";
        assert_eq!(Format::Table.print(&table("team,model", &three())), expect);
    }

    #[test]
    fn a_column_of_money_has_the_decimals_that_it_needs() {
        let text = Format::Table.print(&table("model", &[entry(None, "x", Some(1)), entry(None, "y", Some(5 << 40))]));
        assert!(text.contains("5.497558138880") && text.contains("0.000000000001") && text.contains("5.497558138881"));
    }

    #[test]
    fn csv_is_what_rfc_4180_says_and_runs_nothing() {
        let names = ["plain", "with,comma", "with \"quotes\"", "two\nlines", "=HYPERLINK(\"x\")", "@cf/meta/llama"];
        let entries = names.map(|name| entry(Some("a"), name, Some(7)));
        let text = Format::Csv.print(&table("model,day", &entries));
        let tail = ",2026-11-22,1,0,0.000000000007,100,30,20,7,0,0,0.0000,0,0.0000,4,0,0,1,0,0,0,0,0.000000000007\r\n";
        let quoted = [
            "\"'=HYPERLINK(\"\"x\"\")\"",
            "@cf/meta/llama",
            "plain",
            "\"two\nlines\"",
            "\"with \"\"quotes\"\"\"",
            "\"with,comma\"",
        ];
        let head = "model,day,requests,errors,spend_usd,input_tokens,output_tokens,cache_read_tokens,cache_write_tokens,\
                    saved_usd,estimated_usd,estimated_share,unpriced_requests,unpriced_share,reasoning_tokens,\
                    saved_by_cache_usd,saved_by_routing_usd,routed_requests,compared_requests,baseline_usd,charged_usd,credited_usd,net_usd\r\n";
        let expect: String = quoted.iter().map(|name| format!("{name}{tail}")).collect();
        assert_eq!(text, format!("{head}{expect}"));
    }

    #[test]
    fn json_has_the_documented_shape() {
        let value: Value = serde_json::from_str(&Format::Json.print(&table("team", &three()))).unwrap();
        let sums = |requests: u64, spend, net, estimated, share: f64, unpriced: u64, unpriced_share: f64| {
            json!({"requests": requests, "errors": 0, "spend_usd": spend, "input_tokens": 100 * requests,
                "output_tokens": 30 * requests, "cache_read_tokens": 20 * requests, "cache_write_tokens": 7 * requests,
                "saved_usd": "0", "estimated_usd": estimated, "estimated_share": share, "unpriced_requests": unpriced,
                "unpriced_share": unpriced_share, "reasoning_tokens": 4 * requests, "saved_by_cache_usd": "0",
                "saved_by_routing_usd": "0", "routed_requests": requests, "compared_requests": 0, "baseline_usd": "0", "charged_usd": "0", "credited_usd": "0", "net_usd": net})
        };
        let named = |team: Value, mut sums: Value| {
            sums["team"] = team;
            sums
        };
        let rows = [
            named(json!("a"), sums(2, "1.000000000000", "1", "0.25", 0.25, 0, 0.0)),
            named(Value::Null, sums(1, "0.000000000000", "0", "0", 0.0, 1, 1.0)),
        ];
        let expect = json!({"from": "2026-11-22T00:00:00.000Z", "until": null, "time_zone": "Europe/Berlin", "by": ["team"],
            "rows": rows, "total": sums(3, "1.000000000000", "1", "0.25", 0.25, 1, 0.3333), "incomplete": true});
        assert_eq!(value, expect);
    }

    #[test]
    fn adjustments_show_where_there_are_any() {
        let mut report = Report::new(Query { by: Dimension::list("team").unwrap(), ..Query::default() });
        let entry = entry(Some("a"), "x", Some(250_000_000_000));
        let credit = Sums { credited: Usd::from_pico(1_000_000_000_000), ..Sums::default() };
        for sums in [Sums::of(&entry), credit] {
            report.add(&Subject::of(&entry), When::utc(0), &sums);
        }
        let table = report.finish();
        let text = Format::Table.print(&table);
        assert!(text.contains("credited USD  net USD\n") && text.contains("1.00    -0.75\n"), "{text}");
        assert!(Format::Csv.print(&table).ends_with(",0,1,-0.75\r\n"));
    }

    #[test]
    fn without_a_grouping_there_is_the_total_alone() {
        let table = table("", &three());
        assert!(table.rows.is_empty());
        assert_eq!(Format::Csv.print(&table).lines().count(), 2);
        assert!(Format::Table.print(&table).contains("1.00"));
    }
}
