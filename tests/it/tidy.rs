//! The house rules that no lint knows: which room may use which, what the law stays free of, and how files look.
//!
//! Change the house when you see a better one, and change this test and the map in `src/lib.rs` with it.

mod code;

use std::collections::BTreeSet;
use std::path::Path;

use code::Code;

/// Rooms from left to right; a room uses only rooms to its left. Rooms of one group never use each other.
const DOORS: [&[&str]; 12] = [
    &["domain"],
    &["protocol"],
    &["config", "clock", "drain", "telemetry"],
    &["store", "limits", "cache", "upstream", "mock"],
    &["bank"],
    &["alerts"],
    &["app"],
    &["pipeline"],
    &["admin"],
    &["server"],
    &["cli"],
    &["main"],
];

/// Rooms without I/O, and what would bring it in.
const PURE: [&str; 2] = ["domain", "protocol"];
const IMPURE: [&str; 6] = ["tokio", "hyper", "tracing", "std::fs", "std::net", "core::net"];

const LINES_MAX: usize = 500;

/// A file by its path from the root of the project, and its text.
type Source = (String, String);

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        collect(root, &root.join(folder), &mut sources);
    }
    assert!(sources.len() > 50, "the sources were not found");
    let found = complaints(&sources);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            sources.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Everything that is wrong, each with its file and line.
fn complaints(sources: &[Source]) -> Vec<String> {
    let only_tests: Vec<String> = sources.iter().flat_map(|(name, text)| test_modules(name, text)).collect();
    let mut found = unmapped(sources);
    for (name, text) in sources {
        let code = Code::new(text);
        let mut complain = |line: usize, what: String| found.push(format!("{name}:{line}: {what}"));
        if !text.starts_with("//!") {
            complain(1, "does not open with //!".to_owned());
        }
        if text.lines().count() > LINES_MAX {
            complain(LINES_MAX + 1, format!("has more than {LINES_MAX} lines"));
        }
        let is_test = is_test(name, &only_tests);
        let complaints = [allows(&code), if is_test { waits(&code) } else { panics(&code) }, doors(name, &code)];
        complaints.into_iter().flatten().for_each(|(at, what)| complain(code.line(at), what));
    }
    found.sort();
    found
}

/// What is wrong, and its offset in the file.
type Found = Vec<(usize, String)>;

fn allows(code: &Code) -> Found {
    let all = ["#[allow", "#![allow"].into_iter().flat_map(|text| code.find(text));
    all.map(|at| (at, "#[allow]; use #[expect(..., reason = \"...\")]".to_owned())).collect()
}

/// A test that waits for time is slow or flaky, and one that is ignored proves nothing. What a process does can only be
/// waited for.
fn waits(code: &Code) -> Found {
    let drives = ["Command::new", "process::Child"].iter().any(|text| !code.find(text).is_empty());
    let sleeps = if drives { Vec::new() } else { code.find("sleep(") };
    let ignored = code.find("#[ignore");
    let sleeps = sleeps.into_iter().map(|at| (at, "a test that sleeps".to_owned()));
    sleeps.chain(ignored.into_iter().map(|at| (at, "a test that is ignored".to_owned()))).collect()
}

fn panics(code: &Code) -> Found {
    let tests = code.tests();
    let places = [".unwrap()", ".expect(", "panic!"]
        .into_iter()
        .flat_map(|text| code.find(text).into_iter().map(move |at| (at, text)));
    let outside = places.filter(|(at, _)| !tests.iter().any(|(range, _)| range.contains(at)));
    outside.map(|(at, text)| (at, format!("{text} outside of tests"))).collect()
}

/// The rooms that a file uses, and what it must not use at all.
fn doors(name: &str, code: &Code) -> Found {
    let Some(room) = room(name).filter(|room| *room != "main") else { return Vec::new() };
    let Some(own) = rank(room) else { return vec![(0, format!("{room} has no place in the order of the rooms"))] };
    let modules = code.inline_modules();
    let mut found = Found::new();
    for (at, path) in code.paths() {
        let depth = depth(name) + modules.iter().filter(|range| range.contains(&at)).count();
        if let Some(impure) = impure(&path).filter(|_| PURE.contains(&room)) {
            found.push((at, format!("{impure} in {room}, which has no I/O")));
        }
        let Some(used) = from_root(&path, depth).filter(|used| *used != room) else { continue };
        match rank(used) {
            None => found.push((at, format!("{used} is not a room"))),
            Some(rank) if rank > own => found.push((at, format!("{room} uses {used}, which is to its right"))),
            Some(rank) if rank == own => found.push((at, format!("{room} uses {used}, its sibling"))),
            Some(_) => {}
        }
    }
    found
}

/// What brings I/O in with a path: `hyper` with `hyper::rt` and also with `hyper_util`.
fn impure(path: &[&str]) -> Option<&'static str> {
    let whole = path.join("::");
    let rest =
        |name: &str| whole.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', ':']));
    IMPURE.into_iter().find(|name| rest(name))
}

/// What a path names under the root of the crate, if it starts there.
fn from_root<'a>(path: &[&'a str], depth: usize) -> Option<&'a str> {
    let path = path.strip_prefix(&["self"]).unwrap_or(path);
    let supers = path.iter().take_while(|segment| **segment == "super").count();
    match path {
        ["crate", used, ..] => Some(used),
        _ if supers == depth => path.get(supers).copied(),
        _ => None,
    }
}

/// Rooms that the map in `src/lib.rs` does not name.
fn unmapped(sources: &[Source]) -> Vec<String> {
    let text = sources.iter().find(|(name, _)| name == "src/lib.rs").map_or("", |(_, text)| text);
    let map: Vec<_> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let rooms: BTreeSet<_> = sources.iter().filter_map(|(name, _)| room(name)).collect();
    let missing = rooms.into_iter().filter(|room| !map.iter().any(|line| line.contains(&format!("`{room}`"))));
    missing.map(|room| format!("src/lib.rs:1: the map does not name `{room}`")).collect()
}

/// Modules that exist only in tests, as the paths of their files without `.rs`.
fn test_modules(name: &str, text: &str) -> Vec<String> {
    let path = name.trim_end_matches(".rs");
    let folder = match path.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => path,
    };
    let code = Code::new(text);
    code.tests().into_iter().filter_map(|(_, module)| Some(format!("{folder}/{}", module?))).collect()
}

fn is_test(name: &str, only_tests: &[String]) -> bool {
    let under = |module: &String| name.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['.', '/']));
    name.starts_with("tests/") || only_tests.iter().any(under)
}

/// The room of a file in `src`.
fn room(name: &str) -> Option<&str> {
    let first = name.strip_prefix("src/")?.split('/').next()?;
    Some(first.trim_end_matches(".rs")).filter(|room| *room != "lib")
}

/// How many modules a file lies under the root of the crate.
fn depth(name: &str) -> usize {
    name.trim_end_matches(".rs").trim_end_matches("/mod").matches('/').count()
}

fn rank(room: &str) -> Option<usize> {
    DOORS.iter().position(|group| group.contains(&room))
}

/// A house of these files, each of which opens as it must, has exactly these faults.
fn check(files: &[(&str, &str)], expect: &[&str]) {
    let map: String = DOORS.iter().flat_map(|group| group.iter()).map(|room| format!("//! - `{room}`\n")).collect();
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), format!("//! File.\n{text}")));
    let sources: Vec<Source> = files.chain([("src/lib.rs".to_owned(), map)]).collect();
    assert_eq!(complaints(&sources), expect, "{sources:?}");
}

#[test]
fn a_room_uses_only_rooms_to_its_left() {
    for (name, text, expect) in [
        ("src/bank/tab.rs", "use crate::store::Journal;\nuse crate::bank::debt;", ""),
        ("src/domain/x.rs", "\nuse crate::bank::Bank;", "3: domain uses bank, which is to its right"),
        ("src/config/mod.rs", "use crate::clock::Clock;", "2: config uses clock, its sibling"),
        ("src/app.rs", "use crate::{\n    bank,\n    cli::args,\n};", "4: app uses cli, which is to its right"),
        ("src/store/x.rs", "fn f() -> crate::bank::Bank {}", "2: store uses bank, which is to its right"),
        ("src/store/x.rs", "#[cfg(test)]\nmod tests { use crate::app; }", "3: store uses app, which is to its right"),
        ("src/store/x.rs", "use super::super::app::App;", "2: store uses app, which is to its right"),
        ("src/store/mod.rs", "use super::app::App;", "2: store uses app, which is to its right"),
        ("src/store/x.rs", "mod a { use super::super::super::app; }", "2: store uses app, which is to its right"),
        ("src/store/x.rs", "use super::app::App;\nmod a { use super::super::app; }", ""),
        ("src/clock.rs", "pub(super) fn f() {}\npub(crate) fn g() {}\nmod tests { use super::*; }", ""),
        ("src/clock.rs", "use super::*;", "2: * is not a room"),
        ("src/clock.rs", "use crate::Thing;", "2: Thing is not a room"),
        ("src/clock.rs", "// crate::bank::Bank\nconst A: &str = \"crate::bank::Bank\";", ""),
        ("src/main.rs", "use tollgate::cli;", ""),
    ] {
        check(&[(name, text)], &Vec::from_iter(Some(&*format!("{name}:{expect}")).filter(|_| !expect.is_empty())));
    }
    let shed = "src/shed/x.rs:1: shed has no place in the order of the rooms";
    check(&[("src/shed/x.rs", "")], &["src/lib.rs:1: the map does not name `shed`", shed]);
}

#[test]
fn the_law_is_pure() {
    for (text, expect) in [
        ("use std::fs;", "std::fs"),
        ("use std::{fmt, net::IpAddr};", "std::net"),
        ("fn f() { tokio::spawn(g()); }", "tokio"),
        ("use hyper_util::rt;", "hyper"),
        ("#[tracing::instrument]\nfn f() {}", "tracing"),
    ] {
        for room in PURE {
            let name = format!("src/{room}/x.rs");
            check(&[(&name, text)], &[&format!("{name}:2: {expect} in {room}, which has no I/O")]);
        }
        check(&[("src/store/x.rs", text)], &[]);
    }
    check(&[("src/domain/x.rs", "/// Not tokio.\nuse std::fmt;\nlet network = std::fmt::nets;")], &[]);
}

#[test]
fn files_open_with_their_purpose_and_have_an_end() {
    let source = |text: &str| vec![("tests/it/x.rs".to_owned(), text.to_owned())];
    assert_eq!(complaints(&source("use a;\n//! Late.")), ["tests/it/x.rs:1: does not open with //!"]);
    assert!(complaints(&source(&"//! Long.\n".repeat(500))).is_empty());
    assert_eq!(complaints(&source(&"//! Long.\n".repeat(501))), ["tests/it/x.rs:501: has more than 500 lines"]);
}

#[test]
fn only_tests_may_panic() {
    for panic in [".unwrap()", ".expect(\"a\")", "panic!(\"b\")"] {
        let word = &panic[..panic.find(['(', '!']).unwrap()];
        let text = format!("fn f() {{\n    x{panic}; // {panic}\n}}");
        let shown = if word == "panic" {
            "panic!"
        } else if word == ".expect" {
            ".expect("
        } else {
            panic
        };
        check(&[("src/store/x.rs", &text)], &[&format!("src/store/x.rs:3: {shown} outside of tests")]);
        check(&[("tests/it/x.rs", &text)], &[]);
        check(&[("src/store/x.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}"))], &[]);
        let declared = ("src/store/mod.rs", "#[cfg(test)]\nmod sample;\nmod samples;");
        check(&[declared, ("src/store/sample.rs", &text), ("src/store/sample/x.rs", &text)], &[]);
        let other = ("src/store/samples.rs", &*text);
        check(&[declared, other], &[&format!("src/store/samples.rs:3: {shown} outside of tests")]);
    }
}

#[test]
fn nothing_is_allowed_ignored_or_slept_through() {
    let allow = "#[allow]; use #[expect(..., reason = \"...\")]";
    check(&[("src/store/x.rs", "#[allow(dead_code)]\nfn f() {}")], &[&format!("src/store/x.rs:2: {allow}")]);
    check(&[("tests/it/x.rs", "#![allow(dead_code)]")], &[&format!("tests/it/x.rs:2: {allow}")]);
    check(
        &[("tests/it/x.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}")],
        &["tests/it/x.rs:3: a test that is ignored"],
    );
    check(&[("tests/it/x.rs", "fn f() { sleep(A); }")], &["tests/it/x.rs:2: a test that sleeps"]);
    check(&[("tests/it/x.rs", "fn f() { Command::new(a); sleep(A); }")], &[]);
}

#[test]
fn the_map_names_every_room() {
    let sources = [
        ("src/lib.rs", "//! - `domain`: the law\nmod clock; // `clock`"),
        ("src/domain/x.rs", "//! X"),
        ("src/clock.rs", "//! Y"),
    ];
    let sources = sources.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(complaints(&sources), ["src/lib.rs:1: the map does not name `clock`"]);
}
