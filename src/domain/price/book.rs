//! [`Book`]: the price book inside the binary, and an operator's overrides over it.
//!
//! A start only finds the lines of the text (sorted by name) and reads its head; a model's line is read when it is first
//! asked for. Nothing is ever downloaded.
//!
//! Invariant: a model is found by its exact name, or by one of the rules in [`Book::find`]; never by what it looks like.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::iter::once;
use std::sync::{Arc, LazyLock, OnceLock};

use serde::Deserialize;

use super::model::Model;
use super::overrides::Override;

/// The book's text, as `config/build/prices.py` wrote it.
pub(super) const BUILTIN_TEXT: &str = include_str!("../../../config/prices.json");

/// What divides the head from the models.
const MODELS: &str = ",\n\"models\":[\n";

/// What begins every line of a model.
const LINE: &str = "{\"model\":\"";

static SHELF: LazyLock<Shelf> = LazyLock::new(Shelf::open);

/// Prices of all known models. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Book {
    version: Arc<str>,
    /// Models with overrides, by id; the empty provider stands for any.
    changed: Arc<HashMap<Box<str>, Vec<Arc<Model>>>>,
}

/// The builtin text, with a place for each model that has been read.
#[derive(Debug)]
struct Shelf {
    version: Arc<str>,
    tools: HashMap<&'static str, &'static str>,
    lines: Vec<&'static str>,
    /// The hash of each line's `PROVIDER/ID`, with the number of the line, in rising order: each request asks for a model or two.
    places: Vec<(u32, u32)>,
    read: Vec<OnceLock<Option<Arc<Model>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    version: &'static str,
    #[serde(borrow)]
    tools: HashMap<&'static str, &'static str>,
}

impl Book {
    /// The book that the binary brings along.
    #[must_use]
    pub fn builtin() -> Self {
        Self { version: SHELF.version.clone(), changed: Arc::default() }
    }

    /// This book with an operator's prices. A name is a model id, for every provider that has it, or `PROVIDER/ID`. A
    /// model that the book does not know becomes an entry for any provider.
    #[must_use]
    pub fn with_overrides<'a>(&self, overrides: impl IntoIterator<Item = (&'a str, &'a Override)>) -> Self {
        let mut sorted: Vec<_> = overrides.into_iter().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        let mut book = HashMap::clone(&self.changed);
        let mut text = String::new();
        let mut number = book.values().flatten().map(|model| model.number() + 1).max().unwrap_or(SHELF.end());
        for (name, change) in sorted {
            for (provider, id) in meant(name) {
                let models: &mut Vec<Arc<Model>> = book.entry(id.into()).or_default();
                let known =
                    models.iter().position(|model| model.provider() == provider).map(|at| models.swap_remove(at));
                let unknown = || Arc::new(Model::unknown(provider, id));
                let model = known.or_else(|| SHELF.find(provider, id)).unwrap_or_else(unknown);
                models.push(Arc::new(model.overridden(change, number)));
                number = number.saturating_add(1);
            }
            let _ = write!(text, "{name} {change:?};");
        }
        let version = match text.is_empty() {
            true => self.version.clone(),
            false => format!("{}+{:08x}", self.version, crc32fast::hash(text.as_bytes())).into(),
        };
        Self { version, changed: Arc::new(book) }
    }

    /// The version of prices: a date and a hash of the book, and a hash of the overrides.
    #[must_use]
    pub fn version(&self) -> Arc<str> {
        self.version.clone()
    }

    /// The model that answered: the one that the response names, else the one that was sent.
    ///
    /// An id is looked up as it is, and then by rules that providers document: without Gemini's `models/` and Vertex'
    /// `publishers/P/models/`; a fine-tuned OpenAI model `ft:BASE:ORG:NAME:ID` as `ft:BASE`; without Claude Code's suffix
    /// `[1m]`. A dated snapshot that the book does not list is not its undated model: it may cost something else.
    #[must_use]
    pub fn find(&self, provider: &str, served: Option<&str>, sent: &str) -> Option<Arc<Model>> {
        let provider = catalogue_name(provider);
        served
            .filter(|id| !id.is_empty())
            .and_then(|id| self.look_up(provider, id))
            .or_else(|| self.look_up(provider, sent))
    }

    /// All models of a provider, by id.
    pub fn models(&self, provider: &str) -> impl Iterator<Item = Arc<Model>> {
        let provider = catalogue_name(provider);
        let first = SHELF.lines.partition_point(|line| name_of(line).bytes().lt(provider.bytes().chain(once(b'/'))));
        let own = SHELF.lines[first..]
            .iter()
            .take_while(move |line| name_of(line).strip_prefix(provider).is_some_and(|rest| rest.starts_with('/')));
        let names: Vec<_> = own.map(|line| &name_of(line)[provider.len() + 1..]).collect();
        names.into_iter().filter_map(move |id| self.exact(provider, id))
    }

    /// Where the prices of a model are from: a page, or the catalogue that they are taken from.
    #[must_use]
    pub fn source(&self, model: &Model) -> Option<&'static str> {
        let (head, _) = BUILTIN_TEXT.split_once(MODELS)?;
        let (_, rest) = head.split_once(&format!("\n\"{}\":\"", model.source()))?;
        rest.split_once('"').map(|(source, _)| source)
    }

    /// The model with the number of a [`crate::domain::entry::PriceRef`] of this version.
    #[must_use]
    pub fn by_number(&self, number: u32) -> Option<Arc<Model>> {
        match usize::try_from(number).ok().filter(|index| *index < SHELF.lines.len()) {
            Some(index) => SHELF.get(index),
            None => self.changed.values().flatten().find(|model| model.number() == number).cloned(),
        }
    }

    fn look_up(&self, provider: &str, id: &str) -> Option<Arc<Model>> {
        self.exact(provider, id).or_else(|| self.exact(provider, &alias(provider, id)?))
    }

    fn exact(&self, provider: &str, id: &str) -> Option<Arc<Model>> {
        let changed = self.changed.get(id).map(Vec::as_slice).unwrap_or_default();
        let of = |provider: &str| changed.iter().find(|model| model.provider() == provider).cloned();
        of(provider).or_else(|| SHELF.find(provider, id)).or_else(|| of(""))
    }
}

/// The catalogue's providers.
const PROVIDERS: [&str; 11] =
    ["anthropic", "azure", "bedrock", "cohere", "deepseek", "google", "groq", "mistral", "openai", "vertex", "xai"];

impl Shelf {
    fn open() -> Self {
        let (head, models) = BUILTIN_TEXT.split_once(MODELS).unwrap_or_default();
        let head: Head =
            head.strip_prefix("{\"head\":").and_then(|head| serde_json::from_str(head).ok()).unwrap_or_default();
        let lines: Vec<_> = models.lines().filter(|line| line.starts_with(LINE)).collect();
        let read = lines.iter().map(|_| OnceLock::new()).collect();
        let mut places: Vec<_> = (0..).zip(&lines).map(|(index, line)| (hash_of([name_of(line)]), index)).collect();
        places.sort_unstable();
        Self { version: head.version.into(), tools: head.tools, lines, places, read }
    }

    fn find(&self, provider: &str, id: &str) -> Option<Arc<Model>> {
        let hash = hash_of([provider, "/", id]);
        let first = self.places.partition_point(|(known, _)| *known < hash);
        let alike = self.places[first..].iter().take_while(|(known, _)| *known == hash);
        let is_it = |index: &usize| {
            let id_of = name_of(self.lines[*index]).strip_prefix(provider).and_then(|rest| rest.strip_prefix('/'));
            id_of == Some(id)
        };
        alike.filter_map(|(_, index)| usize::try_from(*index).ok()).find(is_it).and_then(|index| self.get(index))
    }

    fn get(&self, index: usize) -> Option<Arc<Model>> {
        let read = || {
            let line = self.lines[index];
            let provider = name_of(line).split('/').next().unwrap_or_default();
            let tools = self.tools.get(provider).copied().unwrap_or_default();
            Model::parse(line.trim_end_matches(','), u32::try_from(index).ok()?, tools).map(Arc::new)
        };
        self.read[index].get_or_init(read).clone()
    }

    /// The number after those of all lines: the first of an overridden model.
    fn end(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }
}

/// The models that an override's name means: that id at every provider that has it and at any other, and `PROVIDER/ID`.
fn meant(name: &str) -> Vec<(&str, &str)> {
    let known = PROVIDERS.into_iter().filter(|provider| SHELF.find(provider, name).is_some());
    let qualified = name.split_once('/').filter(|(provider, id)| SHELF.find(provider, id).is_some());
    known.map(|provider| (provider, name)).chain(qualified).chain([("", name)]).collect()
}

/// The hash of a name that is given in parts (FNV-1a).
fn hash_of<const PARTS: usize>(name: [&str; PARTS]) -> u32 {
    let bytes = name.into_iter().flat_map(str::bytes);
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The name `PROVIDER/ID` of a line.
fn name_of(line: &'static str) -> &'static str {
    let name = &line[LINE.len()..];
    name.split_once('"').map_or(name, |(name, _)| name)
}

/// The book's name of a provider that others call otherwise.
fn catalogue_name(provider: &str) -> &str {
    match provider {
        "gemini" => "google",
        "vertex_ai" => "vertex",
        other => other,
    }
}

/// The id under which the book has a model that providers let be named in another way.
fn alias<'a>(provider: &str, id: &'a str) -> Option<Cow<'a, str>> {
    match provider {
        "google" | "vertex" => id.rsplit_once("models/").map(|(_, id)| Cow::Borrowed(id)),
        "anthropic" => id.strip_suffix("[1m]").map(Cow::Borrowed),
        "openai" | "azure" => {
            let (base, _) = id.strip_prefix("ft:")?.split_once(':')?;
            Some(Cow::Borrowed(&id[..base.len() + 3]))
        }
        _ => None,
    }
}
