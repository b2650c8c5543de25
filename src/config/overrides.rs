//! `--set KEY=VALUE` and `TOLLGATE_SECTION__KEY`, laid over the tree of the file before it is validated.
//!
//! A variable counts only with a double underscore, which stands for the dot, so that `TOLLGATE_ADMIN_TOKEN` and
//! `TOLLGATE_KEY_CI` stay free for secrets. Flags win over variables, variables over the file.

use super::Environment;
use super::error::{Complaints, Place};
use super::raw::{Entry, Node, Value, dotted, override_value};

/// Lays the variables of `env` over `tree`.
pub(super) fn from_environment(tree: &mut Vec<Entry>, env: &Environment, complaints: &Complaints) {
    for (name, text) in env {
        let Some(path) = name.strip_prefix("TOLLGATE_").filter(|path| path.contains("__")) else { continue };
        let place = Place::Variable(name.as_str().into());
        let names: Vec<Box<str>> = path.split("__").map(|part| part.to_lowercase().into()).collect();
        if names.iter().any(|part| part.is_empty()) {
            complaints.add(&place, "not a key: a double underscore stands between two names");
            continue;
        }
        set(tree, &names, override_value(text, &place), folded);
    }
}

/// Lays the `--set` flags over `tree`, in their order.
pub(super) fn from_flags(tree: &mut Vec<Entry>, flags: &[String], complaints: &Complaints) {
    for (index, flag) in flags.iter().enumerate() {
        let Some((path, text)) = split(flag) else {
            let place = Place::Flag(format!("number {}", index + 1).into());
            complaints.add(&place, "expected KEY=VALUE, as in server.listen=0.0.0.0:4000");
            continue;
        };
        let place = Place::Flag(path.into());
        match dotted(path) {
            Some(names) => set(tree, &names, override_value(text, &place), str::to_owned),
            None => complaints.add(&place, "not a key; write it as in the file, as in server.listen"),
        }
    }
}

/// Sets the key at `names`; `fold` maps what the tree holds to how the override spells it.
fn set(tree: &mut Vec<Entry>, names: &[Box<str>], node: Node, fold: fn(&str) -> String) {
    let Some((name, rest)) = names.split_first() else { return };
    let index = tree.iter().position(|entry| fold(&entry.name) == **name).unwrap_or_else(|| {
        tree.push(Entry { name: name.clone(), place: node.place.clone(), node: empty(&node.place) });
        tree.len() - 1
    });
    let entry = &mut tree[index];
    if rest.is_empty() {
        entry.place = node.place.clone();
        entry.node = node;
        return;
    }
    if !matches!(entry.node.value, Value::Table(_)) {
        entry.node = empty(&node.place);
    }
    if let Value::Table(inner) = &mut entry.node.value {
        set(inner, rest, node, fold);
    }
}

fn empty(place: &Place) -> Node {
    Node { place: place.clone(), value: Value::Table(Vec::new()) }
}

/// How a name looks in a variable: lower case, with an underscore for what variables cannot hold.
fn folded(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' }).collect()
}

/// Splits at the first `=` that is not inside a quoted name.
fn split(flag: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = flag.char_indices().find(|(_, letter)| {
        quoted ^= *letter == '"';
        *letter == '=' && !quoted
    });
    at.map(|(at, _)| (flag[..at].trim(), &flag[at + 1..]))
}
