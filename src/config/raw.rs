//! What was said: the config as a tree in the order of the file, each node with its place.
//!
//! It knows TOML and nothing of what the keys mean; [`super::resolve`] is the only validator.
//!
//! Invariant: entries stand in the order of the file, since the first upstream of a dialect is its default.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Complaints, Place};

/// A value and where it was said.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it starts.
    pub place: Place,
    /// What was said.
    pub value: Value,
}

/// A key of a table and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key without its quotes.
    pub name: Box<str>,
    /// Where the key starts.
    pub place: Place,
    /// What it is set to.
    pub node: Node,
}

/// A value as TOML or the command line gave it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// The unquoted text of a flag or a variable, whose type is what its key expects.
    Bare(String),
    /// An integer; one that is out of range stands as the largest.
    Integer(i128),
    /// A decimal fraction, in its own digits: no key is a binary float.
    Float(String),
    /// A boolean.
    Flag(bool),
    /// A date: no key is one, but the message names it.
    Moment,
    /// An array.
    List(Vec<Node>),
    /// A table.
    Table(Vec<Entry>),
}

impl Value {
    /// The string that it is.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) | Self::Bare(text) = self { Some(text) } else { None }
    }

    /// The boolean that it is.
    pub(super) fn flag(&self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(*flag) } else { self.bare()?.parse().ok() }
    }

    /// The integer that it is.
    pub(super) fn integer(&self) -> Option<i128> {
        if let Self::Integer(number) = self { Some(*number) } else { self.bare()?.parse().ok() }
    }

    /// The digits of the decimal fraction that it is, such as `0.01`.
    pub(super) fn decimal(&self) -> Option<String> {
        match self {
            Self::Float(digits) | Self::Bare(digits) => Some(digits.clone()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Text(_) | Self::Flag(_) | Self::Moment | Self::List(_) | Self::Table(_) => None,
        }
    }

    /// The items of the list that it is.
    pub(super) fn list(&self) -> Option<&[Node]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The entries of the table that it is.
    pub(super) fn table(&self) -> Option<&[Entry]> {
        if let Self::Table(entries) = self { Some(entries) } else { None }
    }

    fn bare(&self) -> Option<&str> {
        if let Self::Bare(text) = self { Some(text) } else { None }
    }

    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Bare(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Flag(_) => "a boolean",
            Self::Moment => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads a TOML document; every syntax error becomes a complaint.
pub(super) fn document(text: &str, complaints: &Complaints) -> Vec<Entry> {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let start = error.span().map_or(text.len(), |span| span.start);
        complaints.add(&lines.place(start), error.message().replace('\n', ", "));
    }
    entries(table.get_ref(), &|span| lines.place(span.start))
}

/// Reads the value of a flag or a variable: TOML if it is quoted, a list or a table, else bare text.
pub(super) fn override_value(text: &str, place: &Place) -> Node {
    let text = text.trim();
    let value = match DeValue::parse(text) {
        Ok(parsed) if text.starts_with(['"', '\'', '[', '{']) => value(parsed.get_ref(), &|_| place.clone()),
        Ok(_) | Err(_) => Value::Bare(text.to_owned()),
    };
    Node { place: place.clone(), value }
}

/// The names of a dotted key such as `users."ada@example.com".team`.
pub(super) fn dotted(path: &str) -> Option<Vec<Box<str>>> {
    let line = format!("{path} = 0");
    let parsed = DeTable::parse(&line).ok().filter(|_| !path.contains(['\n', '[', '#']))?;
    let mut names = Vec::new();
    let mut level = parsed.get_ref();
    loop {
        let (name, inner) = level.iter().next()?;
        names.push(name.get_ref().as_ref().into());
        match inner.get_ref() {
            DeValue::Table(table) => level = table,
            _ => return Some(names),
        }
    }
}

fn entries(table: &DeTable<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Vec<Entry> {
    let mut sorted: Vec<_> = table.iter().collect();
    sorted.sort_by_key(|(name, _)| name.span().start);
    let entry = |(name, inner): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let text: &std::borrow::Cow<'_, str> = name.get_ref();
        Entry {
            name: text.as_ref().into(),
            place: place(name.span()),
            node: Node { place: place(inner.span()), value: value(inner.get_ref(), place) },
        }
    };
    sorted.into_iter().map(entry).collect()
}

fn value(value: &DeValue<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(digits) => {
            Value::Integer(i128::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(i128::MAX))
        }
        DeValue::Float(digits) => Value::Float(digits.as_str().to_owned()),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Moment,
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, place)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, place)),
    }
}

fn node(item: &Spanned<DeValue<'_>>, place: &dyn Fn(Range<usize>) -> Place) -> Node {
    Node { place: place(item.span()), value: value(item.get_ref(), place) }
}

/// Where the lines of a text start.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(offset - start, |before| before.chars().count());
        Place::Line(line, column + 1)
    }
}
