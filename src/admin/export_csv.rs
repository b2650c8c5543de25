//! The CSV files that the consoles give, told apart by the names of their columns; columns may stand in any order.
//!
//! OpenAI (<https://platform.openai.com/usage>, Export): usage has `start_time` in unix seconds, `model`, `input_tokens`,
//! `input_cached_tokens` and `output_tokens`; costs have `start_time`, `amount_value`, `amount_currency` and `line_item`,
//! and a row without an amount for a day without costs.
//!
//! Anthropic (<https://platform.claude.com/usage> and `/cost`, Export): usage has `usage_date_utc`, `model_version`,
//! `usage_input_tokens_no_cache`, `usage_input_tokens_cache_write_5m`, `.._1h`, `usage_input_tokens_cache_read` and
//! `usage_output_tokens`; costs have `usage_date_utc`, `model` as people write it, `token_type` and `cost_usd`.

use super::export::{BadExport, Reading, Unit, amount};
use super::export_json::model_of_item;
use crate::domain::calendar::Day;
use crate::domain::reconcile::Side;

/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;

/// A row by the names of its columns.
struct Row<'a> {
    head: &'a [String],
    cells: &'a [String],
    number: usize,
}

type Reader = fn(&Row<'_>, Day, &mut Reading) -> Result<(), BadExport>;

/// Reads every row of `text`.
pub fn read(text: &str, reading: &mut Reading) -> Result<(), BadExport> {
    let mut rows = rows(text).into_iter();
    let (_, head) = rows.next().ok_or(BadExport::Empty)?;
    let head: Vec<String> = head.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    let has = |name: &str| head.iter().any(|known| known == name);
    let (provider, day_column, read): (_, _, Reader) = if has("usage_date_utc") && has("usage_output_tokens") {
        ("anthropic", "usage_date_utc", anthropic_usage)
    } else if has("usage_date_utc") && has("cost_usd") {
        ("anthropic", "usage_date_utc", anthropic_cost)
    } else if has("start_time") && has("amount_value") {
        ("openai", "start_time", openai_cost)
    } else if has("start_time") && has("input_tokens") {
        ("openai", "start_time", openai_usage)
    } else {
        let shown: String = head.join(",").chars().take(200).collect();
        return Err(BadExport::Unknown(format!("CSV with the columns {shown:?}").into()));
    };
    reading.of(provider)?;
    for (number, cells) in rows {
        if cells.len() != head.len() {
            let what = format!("{} cells under {} names", cells.len(), head.len());
            return Err(BadExport::bad(format!("line {number}"), what));
        }
        let row = Row { head: &head, cells: &cells, number };
        let day = row.day(day_column)?;
        reading.touch(day);
        read(&row, day, reading)?;
    }
    Ok(())
}

fn openai_usage(row: &Row<'_>, day: Day, reading: &mut Reading) -> Result<(), BadExport> {
    let side = Side {
        input: row.count("input_tokens")?.saturating_add(row.count("input_audio_tokens")?),
        cache_read: row.count("input_cached_tokens")?,
        output: row.count("output_tokens")?.saturating_add(row.count("output_audio_tokens")?),
        ..Side::default()
    };
    if !row.text("input_tokens").is_empty() {
        reading.tokens(day, Some(row.text("model")), side);
    }
    Ok(())
}

fn openai_cost(row: &Row<'_>, day: Day, reading: &mut Reading) -> Result<(), BadExport> {
    // A day without costs has a row without an amount.
    if row.text("amount_value").is_empty() {
        return Ok(());
    }
    let currency = row.text("amount_currency");
    if !currency.eq_ignore_ascii_case("usd") {
        return Err(row.bad(&format!("the currency is {currency:?} and not USD")));
    }
    reading.money(day, Some(model_of_item(row.text("line_item"))), row.amount("amount_value")?);
    Ok(())
}

fn anthropic_usage(row: &Row<'_>, day: Day, reading: &mut Reading) -> Result<(), BadExport> {
    let read = row.count("usage_input_tokens_cache_read")?;
    let written =
        row.count("usage_input_tokens_cache_write_5m")?.saturating_add(row.count("usage_input_tokens_cache_write_1h")?);
    let side = Side {
        input: row.count("usage_input_tokens_no_cache")?.saturating_add(read).saturating_add(written),
        cache_read: read,
        cache_write: written,
        output: row.count("usage_output_tokens")?,
        ..Side::default()
    };
    reading.tokens(day, Some(row.text("model_version")), side);
    Ok(())
}

fn anthropic_cost(row: &Row<'_>, day: Day, reading: &mut Reading) -> Result<(), BadExport> {
    reading.money(day, Some(row.text("model")), row.amount("cost_usd")?);
    Ok(())
}

impl Row<'_> {
    fn text(&self, name: &str) -> &str {
        let place = self.head.iter().position(|known| known == name);
        place.and_then(|place| self.cells.get(place)).map_or("", |cell| cell.trim())
    }

    /// A number of tokens; an empty cell, or no such column, counts nothing.
    fn count(&self, name: &str) -> Result<u64, BadExport> {
        match self.text(name) {
            "" => Ok(0),
            text => text.parse().map_err(|_| self.bad(&format!("{name}: {text:?} is no count"))),
        }
    }

    fn amount(&self, name: &str) -> Result<(crate::domain::money::Usd, bool), BadExport> {
        let text = self.text(name);
        amount(text, Unit::Dollars).ok_or_else(|| self.bad(&format!("{name}: {text:?} is no amount")))
    }

    /// The day of unix seconds, or of a date with or without a time.
    fn day(&self, name: &str) -> Result<Day, BadExport> {
        let text = self.text(name);
        let of_seconds =
            |seconds: u64| u32::try_from(seconds / DAY_SECONDS).ok().filter(|day| *day < u32::MAX).map(Day);
        let day = text.parse().ok().and_then(of_seconds).or_else(|| text.get(..10).and_then(Day::parse));
        day.ok_or_else(|| self.bad(&format!("{name}: {text:?} is no day")))
    }

    fn bad(&self, what: &str) -> BadExport {
        BadExport::bad(format!("line {}", self.number), what)
    }
}

/// The rows of RFC 4180, each with the number of the line in which it begins; empty lines are none.
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let (mut rows, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut line, mut began) = (false, 1, 1);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        line += usize::from(letter == '\n');
        match (letter, is_quoted) {
            ('"', true) if letters.peek() == Some(&'"') => cell.extend(letters.next()),
            ('"', true) => is_quoted = false,
            ('"', false) if cell.is_empty() => is_quoted = true,
            (',', false) => cells.push(std::mem::take(&mut cell)),
            ('\r', false) => {}
            ('\n', false) => {
                end_row(&mut rows, began, &mut cells, &mut cell);
                began = line;
            }
            (letter, _) => cell.push(letter),
        }
    }
    end_row(&mut rows, began, &mut cells, &mut cell);
    rows
}

fn end_row(rows: &mut Vec<(usize, Vec<String>)>, began: usize, cells: &mut Vec<String>, cell: &mut String) {
    if !cells.is_empty() || !cell.trim().is_empty() {
        cells.push(std::mem::take(cell));
        rows.push((began, std::mem::take(cells)));
    }
    cell.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_rfc_4180() {
        let expect = |rows: &[(usize, &[&str])]| {
            let owned =
                |(number, cells): &(usize, &[&str])| (*number, cells.iter().map(|cell| (*cell).to_owned()).collect());
            rows.iter().map(owned).collect::<Vec<(usize, Vec<String>)>>()
        };
        assert_eq!(
            rows("a,b\r\n\r\n\"x, \"\"y\"\"\nz\",\n1,2"),
            expect(&[(1, &["a", "b"]), (3, &["x, \"y\"\nz", ""]), (5, &["1", "2"])])
        );
        assert_eq!(rows("\n"), expect(&[]));
    }
}
