//! [`Section`]: one table of the config while it is read. A getter that meets a wrong value complains and goes on
//! with the default, so that one run shows every error.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::error::{Complaints, Place};
use super::raw::{Entry, Node, Value};
use super::schema::{self, Keys};

/// A table, its dotted path and where to complain.
pub(super) struct Section<'a> {
    path: String,
    place: Place,
    entries: &'a [Entry],
    complaints: &'a Complaints,
}

impl<'a> Section<'a> {
    /// The whole config, whose sections have the names of [`schema::ROOT`].
    pub(super) fn root(entries: &'a [Entry], complaints: &'a Complaints) -> Self {
        let root = Self { path: String::new(), place: Place::File, entries, complaints };
        root.check(&schema::ROOT);
        root
    }

    /// The table under `name`, empty where there is none, with only `keys` in it.
    pub(super) fn section(&self, name: &str, keys: &Keys) -> Section<'a> {
        let section = self.table(name);
        section.check(keys);
        section
    }

    /// The tables under `name`, such as every `[keys.NAME]`, each with only `keys` in it.
    pub(super) fn sections(&self, name: &str, keys: &Keys) -> Vec<(&'a str, Section<'a>)> {
        let outer = self.table(name);
        let open = |entry: &'a Entry| (&*entry.name, outer.section(&entry.name, keys));
        outer.entries.iter().map(open).collect()
    }

    /// The same as [`Section::sections`], where another reader has checked the keys already.
    pub(super) fn unchecked(&self, name: &str) -> Vec<(&'a str, Section<'a>)> {
        let outer = self.table(name);
        outer.entries.iter().map(|entry| (&*entry.name, outer.table(&entry.name))).collect()
    }

    /// The tables that `key` is a list of, each with only `keys` in it.
    pub(super) fn tables(&self, key: &str, keys: &Keys) -> Vec<Section<'a>> {
        let tables = |value: &'a Value| {
            value.list()?.iter().map(|item| Some((item.value.table()?, &item.place))).collect::<Option<Vec<_>>>()
        };
        let open = |(entries, place): (&'a [Entry], &Place)| {
            let section =
                Section { path: self.path_of(key), place: place.clone(), entries, complaints: self.complaints };
            section.check(keys);
            section
        };
        self.typed(key, "a list of tables", tables).unwrap_or_default().into_iter().map(open).collect()
    }

    /// The table under `key` as pairs of text, such as tags.
    pub(super) fn pairs(&self, key: &str) -> Vec<(&'a str, &'a str, &'a Place)> {
        let table = self.table(key);
        let pair = |entry: &'a Entry| Some((&*entry.name, table.text(&entry.name)?, &entry.place));
        table.entries.iter().filter_map(pair).collect()
    }

    /// The names in the table under `key`, each with its place.
    pub(super) fn names(&self, key: &str) -> Vec<(&'a str, &'a Place)> {
        self.within(key).entries.iter().map(|entry| (&*entry.name, &entry.place)).collect()
    }

    /// The table under `name` with any keys in it.
    pub(super) fn within(&self, name: &str) -> Section<'a> {
        self.table(name)
    }

    /// What `key` is set to, whatever that is.
    pub(super) fn find(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| &*entry.name == key).map(|entry| &entry.node)
    }

    /// The string that `key` is set to.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.typed(key, "a string", Value::text)
    }

    /// The strings that `key` is a list of, each with its place.
    pub(super) fn texts(&self, key: &str) -> Vec<(&'a str, &'a Place)> {
        let strings =
            |value: &'a Value| value.list()?.iter().map(|item| Some((item.value.text()?, &item.place))).collect();
        self.typed(key, "a list of strings", strings).unwrap_or_default()
    }

    /// The boolean that `key` is set to.
    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.typed(key, "true or false", Value::flag).unwrap_or(default)
    }

    /// The integer that `key` is set to, which must lie within `range`.
    pub(super) fn number(&self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.number_maybe(key, range).unwrap_or(default)
    }

    /// The integer that `key` is set to, if it is set.
    pub(super) fn number_maybe(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let number = self.typed(key, "an integer", Value::integer)?;
        let fits = u64::try_from(number).ok().filter(|number| range.contains(number));
        if fits.is_none() {
            self.complain(key, format!("must be from {} to {}", range.start(), range.end()));
        }
        fits
    }

    /// What `parse` makes of the decimal fraction that `key` is set to.
    pub(super) fn decimal<T, E: Display>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let digits = self.typed(key, "a number", Value::decimal)?;
        parse(&digits).map_err(|error| self.complain(key, error)).ok()
    }

    /// What `parse` makes of each of the decimal fractions that `key` is a list of.
    pub(super) fn decimals<T, E: Display>(&self, key: &str, parse: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let digits = |value: &Value| {
            value.list()?.iter().map(|item| Some((item.value.decimal()?, item.place.clone()))).collect()
        };
        let listed: Vec<(String, Place)> = self.typed(key, "a list of numbers", digits).unwrap_or_default();
        let read = |(digits, place): (String, Place)| {
            parse(&digits).map_err(|error| self.complain_at(&place, key, error)).ok()
        };
        listed.into_iter().filter_map(read).collect()
    }

    /// The one of `choices` that `key` names.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)], default: T) -> T {
        let Some(text) = self.text(key) else { return default };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return *choice;
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.complain(key, format!("must be {}", words.join(" or ")));
        default
    }

    /// What `parse` makes of the string that `key` is set to.
    pub(super) fn parsed<T, E: Display>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match parse(self.text(key)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.complain(key, error.to_string());
                None
            }
        }
    }

    /// Complains about `key`, at its place or, where it is not set, at the section's.
    pub(super) fn complain(&self, key: &str, message: impl Display) {
        let place = self.find(key).map_or(&self.place, |node| &node.place);
        self.complaints.add(place, format!("{}: {message}", self.path_of(key)));
    }

    /// Complains about something inside the value of `key`.
    pub(super) fn complain_at(&self, place: &Place, key: &str, message: impl Display) {
        self.complaints.add(place, format!("{}: {message}", self.path_of(key)));
    }

    /// Complains about the section as a whole.
    pub(super) fn complain_whole(&self, message: impl Display) {
        self.complaints.add(&self.place, format!("{}: {message}", self.path));
    }

    /// The dotted path of `key`.
    pub(super) fn path_of(&self, key: &str) -> String {
        let bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        let key = if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    fn table(&self, name: &str) -> Section<'a> {
        let entries = self.typed(name, "a table", Value::table).unwrap_or_default();
        let entry = self.entries.iter().find(|entry| &*entry.name == name);
        let place = entry.map_or(&self.place, |entry| &entry.place).clone();
        Section { path: self.path_of(name), place, entries, complaints: self.complaints }
    }

    fn check(&self, keys: &Keys) {
        for entry in self.entries {
            if let Some(message) = schema::complaint(&entry.name, keys) {
                self.complaints.add(&entry.place, format!("{}: {message}", self.path_of(&entry.name)));
            }
        }
    }

    fn typed<T>(&self, key: &str, expected: &str, get: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let node = self.find(key)?;
        let value = get(&node.value);
        if value.is_none() {
            self.complain(key, format!("must be {expected}, not {}", node.value.kind()));
        }
        value
    }
}
