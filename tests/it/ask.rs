//! Request bodies, generated and recorded: what is read of them, and what an edit leaves alone.

use std::fmt;
use std::io::Read as _;

use bytes::Bytes;
use proptest::prelude::*;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tollgate::domain::operation::Dialect;
use tollgate::protocol::ask::{Ask, IncludeUsage, Malformed, Reader};
use tollgate::protocol::bounds::{Bounds, ModelFacts};
use tollgate::protocol::endpoint::{Endpoint, Hints};
use tollgate::protocol::splice::{ask_for_usage, set_model, splice};

/// An object's members in their order, duplicates included.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Walk)
    }
}

impl Members {
    fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.get())
    }

    fn without(&self, key: &str) -> Vec<(&str, &str)> {
        self.0.iter().filter(|(known, _)| known != key).map(|(known, value)| (known.as_str(), value.get())).collect()
    }
}

/// Writes JSON as the dice fall.
struct Author<'d> {
    dice: std::slice::Iter<'d, u8>,
    text: String,
}

const KEYS: [&str; 12] = [
    r#""model""#,
    r#""mod\u0065l""#,
    r#""\u006dodel""#,
    r#""Model""#,
    r#""stream""#,
    r#""stream_options""#,
    r#""stream\u005foptions""#,
    r#""include_usage""#,
    r#""messages""#,
    r#""content""#,
    r#""\"model\":\"x\"""#,
    r#""größe 🙂""#,
];
const LEAVES: [&str; 14] = [
    r#""gpt""#,
    r#""a\"b\\c\/\u00e9\n""#,
    r#""日本語 \ud83d\ude42 🙂""#,
    r#""""#,
    r#""{\"model\":\"x\"}""#,
    "null",
    "true",
    "false",
    "-0.0e+10",
    "123456789012345678901234567890",
    "1.7976931348623157e309",
    "0",
    "{}",
    "[]",
];

impl Author<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        self.dice.next().map_or(0, |die| usize::from(*die)) % sides
    }

    fn gap(&mut self) {
        let gap = ["", "", "", " ", "\n\t", " \r\n  "][self.roll(6)];
        self.text.push_str(gap);
    }

    fn object(&mut self, depth: usize) {
        let members = self.roll(6);
        self.container('{', '}', members, |author| {
            let key = KEYS[author.roll(KEYS.len())];
            author.text.push_str(key);
            author.gap();
            author.text.push(':');
            author.gap();
            author.value(depth + 1);
        });
    }

    fn container(&mut self, open: char, close: char, members: usize, mut member: impl FnMut(&mut Self)) {
        self.text.push(open);
        self.gap();
        for number in 0..members {
            if number > 0 {
                self.text.push(',');
                self.gap();
            }
            member(self);
            self.gap();
        }
        self.text.push(close);
    }

    fn value(&mut self, depth: usize) {
        match self.roll(8) {
            0 | 1 if depth < 6 => self.object(depth),
            2 if depth < 6 => {
                let elements = self.roll(4);
                self.container('[', ']', elements, |author| author.value(depth + 1));
            }
            3 => self.text.push_str(&format!("{}{}", "[".repeat(30), "]".repeat(30))),
            _ => {
                let leaf = LEAVES[self.roll(LEAVES.len())];
                self.text.push_str(leaf);
            }
        }
    }
}

fn endpoint(path: &str) -> Endpoint {
    Endpoint::of("POST", path, Hints::default()).unwrap()
}

fn read(endpoint: &Endpoint, rope: &[Bytes]) -> Result<Box<Ask>, Malformed> {
    let mut reader = Reader::new(endpoint);
    rope.iter().try_for_each(|piece| reader.feed(piece))?;
    reader.finish()
}

/// Cuts a body as the dice fall.
fn rope(body: &[u8], dice: &[u8]) -> Vec<Bytes> {
    let (mut rest, mut rope) = (Bytes::copy_from_slice(body), Vec::new());
    for die in dice {
        rope.push(rest.split_to(rest.len().min(usize::from(*die))));
    }
    rope.push(rest);
    rope
}

fn whole(rope: &[Bytes]) -> Vec<u8> {
    rope.concat()
}

fn check_model(ask: &Ask, body: &[u8], pieces: &[Bytes], members: &Members) {
    let Some(model) = &ask.model else {
        assert!(members.all("model").all(|raw| raw == "null"));
        assert_eq!(set_model(ask, "other"), None);
        return;
    };
    let raw = members.all("model").next().unwrap();
    assert_eq!(serde_json::from_str::<String>(raw).unwrap(), *model.text);
    assert_eq!(&body[model.span.clone()], raw.as_bytes());
    let edited = whole(&splice(pieces, vec![set_model(ask, "a \"new\" 名").unwrap()]).unwrap());
    let (before, after) = (&body[..model.span.start], &body[model.span.end..]);
    assert!(edited.starts_with(before) && edited.ends_with(after));
    let after_edit = Members::of(&edited);
    assert_eq!(after_edit.without("model"), members.without("model"));
    assert_eq!(after_edit.all("model").collect::<Vec<_>>(), [r#""a \"new\" 名""#]);
}

fn check_usage(ask: &Ask, body: &[u8], pieces: &[Bytes], members: &Members) {
    let options = members.all("stream_options").last();
    let inner = options.filter(|raw| raw.starts_with('{')).map(|raw| Members::of(raw.as_bytes()));
    let choice = inner.as_ref().and_then(|inner| inner.all("include_usage").last());
    let Some(edit) = ask_for_usage(ask) else {
        assert!(options.is_some_and(|raw| !raw.starts_with(['{', 'n'])) || choice.is_some(), "{options:?}");
        let is_odd =
            inner.iter().flat_map(|inner| inner.all("include_usage")).any(|raw| !matches!(raw, "true" | "false"));
        if let (Some(choice @ ("true" | "false")), false) = (choice, is_odd) {
            assert_eq!(ask.include_usage, IncludeUsage::Explicit(choice == "true"));
        }
        return;
    };
    assert_eq!(choice, None);
    let edited = whole(&splice(pieces, vec![edit.clone()]).unwrap());
    assert!(edited.starts_with(&body[..edit.span.start]) && edited.ends_with(&body[edit.span.end..]));
    let after = Members::of(&edited);
    assert_eq!(after.without("stream_options"), members.without("stream_options"));
    let last = Members::of(after.all("stream_options").last().unwrap().as_bytes());
    assert_eq!(last.all("include_usage").collect::<Vec<_>>(), ["true"]);
    assert_eq!(last.without("include_usage"), inner.as_ref().map_or(vec![], |inner| inner.without("include_usage")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_changes_what_it_means_to_and_nothing_else(
        dice in proptest::collection::vec(any::<u8>(), 0..160),
        cuts in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut author = Author { dice: dice.iter(), text: String::new() };
        author.gap();
        author.object(0);
        author.gap();
        let body = author.text.into_bytes();
        let members = Members::of(&body);
        let models: Vec<_> = members.all("model").collect();
        let chat = endpoint("/v1/chat/completions");
        let pieces = rope(&body, &cuts);
        let ask = read(&chat, &pieces);
        prop_assert_eq!(&ask, &read(&chat, &[Bytes::from(body.clone())]));
        prop_assert_eq!(&ask, &read(&chat, &rope(&body, &vec![1; body.len()])));
        let is_fine = models.len() < 2 && models.iter().all(|raw| raw.starts_with(['"', 'n']));
        prop_assert_eq!(ask.is_ok(), is_fine, "{:?} of {}", &ask, String::from_utf8_lossy(&body));
        if let Ok(ask) = ask {
            check_model(&ask, &body, &pieces, &members);
            check_usage(&ask, &body, &pieces, &members);
            prop_assert_eq!(whole(&splice(&pieces, vec![]).unwrap()), body);
        }
    }

    #[test]
    fn whatever_bytes_arrive_every_dialect_answers(
        bytes in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'"'), Just(b':'), Just(b'\\'), any::<u8>()], 0..40),
        cuts in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        for path in ["/v1/chat/completions", "/v1/messages", "/v1beta/models/m:generateContent"] {
            let endpoint = endpoint(path);
            let ask = read(&endpoint, &rope(&bytes, &cuts));
            prop_assert!(ask.is_err() || std::str::from_utf8(&bytes).is_ok());
        }
    }
}

/// The files of a gzipped tar archive.
fn unpacked(archive: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut tar = Vec::new();
    let file = std::fs::File::open(archive).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut tar).unwrap();
    let (mut files, mut rest) = (Vec::new(), &tar[..]);
    while rest.len() > 512 && rest[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&rest[range]).trim_end_matches(['\0', ' ']).to_owned()
        };
        let size = usize::from_str_radix(&text(124..136), 8).unwrap();
        files.push((text(0..100), rest[512..512 + size].to_vec()));
        rest = &rest[512 + size.div_ceil(512) * 512..];
    }
    files
}

#[derive(serde::Deserialize)]
struct Recording {
    id: String,
    provider: String,
    method: Option<String>,
    path: Option<String>,
    request_body: Option<String>,
    usage_expected: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The bill of a recorded exchange stays within what was bound before it.
fn check_bounds(endpoint: &Endpoint, recording: &Recording, ask: &Ask) -> bool {
    let Some(usage) = recording.usage_expected.as_ref().filter(|usage| !usage.contains_key("anomaly")) else {
        return false;
    };
    let sum = |names: &[&str]| names.iter().filter_map(|name| usage.get(*name)?.as_u64()).sum::<u64>();
    let runs_on_its_own =
        ask.model.as_ref().is_some_and(|model| model.text.starts_with("compound") || model.text.starts_with("sonar"));
    let reasoning_outside = recording.provider == "xai";
    let facts = ModelFacts { max_output: Some(200_000), reasoning_outside, runs_on_its_own, ..ModelFacts::default() };
    let bounds = Bounds::of(ask, &facts, endpoint.operation.generates(), None);
    if bounds.unbounded.is_some() {
        return false;
    }
    let input = sum(&["input", "cached_read", "cache_write", "cache_write_5m", "cache_write_1h", "cache_write_12h"]);
    assert!(input <= bounds.input_tokens, "{}: {input} tokens, bound {}", recording.id, bounds.input_tokens);
    let output = sum(&["output"]);
    assert!(output <= bounds.output_tokens.unwrap(), "{}: {output} tokens out", recording.id);
    true
}

/// The endpoint of a recorded path; paths of other hosts are looked at by their tail.
fn recorded_endpoint(method: &str, path: &str, provider: &str) -> Option<Endpoint> {
    let path = path.split('?').next().unwrap_or_default();
    let dialect = match provider {
        "anthropic" => Dialect::Anthropic,
        "gemini" | "vertex" => Dialect::Gemini,
        _ => Dialect::OpenAi,
    };
    let tail = Endpoint::of_upstream(method, path, dialect);
    let known = Endpoint::of(method, path, Hints::default()).ok();
    if let Some(known) = &known {
        assert_eq!(known.operation, tail.operation, "{path}");
    }
    Some(tail).filter(|endpoint| endpoint.operation != tollgate::domain::operation::Operation::Unknown)
}

fn check_recording(endpoint: &Endpoint, recording: &Recording, body: &str) -> Option<Ask> {
    let value: serde_json::Value = serde_json::from_str(body).ok()?;
    let pieces = rope(body.as_bytes(), &[1, 7, 100]);
    let ask = read(endpoint, &pieces).unwrap_or_else(|error| panic!("{}: {error}", recording.id));
    if endpoint.dialect == Dialect::Gemini && endpoint.model_in_path.is_some() {
        let path = recording.path.as_deref().unwrap();
        assert!(endpoint.model(path.split('?').next().unwrap()).is_some_and(|model| !model.is_empty()), "{path}");
    } else {
        assert_eq!(ask.model.as_ref().map(|model| &*model.text), value["model"].as_str(), "{}", recording.id);
        assert_eq!(ask.stream, value["stream"].as_bool().unwrap_or(false), "{}", recording.id);
        let choice = value["stream_options"]["include_usage"].as_bool();
        assert_eq!(ask.include_usage == IncludeUsage::Explicit(true), choice == Some(true), "{}", recording.id);
    }
    assert!(!ask.odd || endpoint.dialect == Dialect::Gemini, "{} is odd", recording.id);
    assert_eq!(ask.features.bytes as usize, body.len());
    Some(*ask)
}

#[test]
fn recorded_bodies_are_read_as_a_whole_parser_reads_them() {
    let Some(data) = std::env::var_os("TOLLGATE_DATA") else {
        println!("not run: TOLLGATE_DATA is not set");
        return;
    };
    let (mut read, mut bound, mut unknown, mut broken) = (0, 0, 0, 0);
    for (name, text) in unpacked(&std::path::Path::new(&data).join("recordings.tar.gz")) {
        let Some(provider) = name.rsplit('/').next().and_then(|name| name.strip_suffix(".jsonl")) else { continue };
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let recording: Recording = serde_json::from_slice(line).unwrap();
            let (Some(method), Some(path), Some(body)) = (&recording.method, &recording.path, &recording.request_body)
            else {
                continue;
            };
            let endpoint = recorded_endpoint(method, path, provider).filter(|_| method == "POST");
            let ask = endpoint.as_ref().map(|endpoint| check_recording(endpoint, &recording, body));
            match (endpoint, ask) {
                (Some(endpoint), Some(Some(ask))) => {
                    read += 1;
                    bound += usize::from(check_bounds(&endpoint, &recording, &ask));
                }
                (Some(_), _) => broken += 1,
                (None, _) => unknown += 1,
            }
        }
    }
    println!(
        "{read} recorded bodies read, {bound} of them bound above their bill, {broken} not recorded, {unknown} of other endpoints"
    );
    assert!(read > 2_000 && bound > 1_000);
}
