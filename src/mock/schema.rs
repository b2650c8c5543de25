//! The smallest JSON value that a JSON schema accepts: arguments of tool calls and structured answers.
//!
//! Reads what tools in the wild use: OpenAI's and Anthropic's JSON schema and Google's upper-case dialect of it.
//! Invariant: ends for every schema, also for one that refers to itself.

use serde_json::{Map, Value, json};
use std::cell::Cell;

/// How deep values are nested before they become null.
const DEPTH_MAX: usize = 16;

/// How many values an example has at most; the rest is null. Two members that refer to themselves double at each level.
const VALUES_MAX: usize = 10_000;

/// Elements of an array, characters of a string, that a `minItems` or `minLength` may ask for.
const LENGTH_MAX: u64 = 1_000;

/// An example for `schema`; strings are filled with `word`.
pub(super) fn example(schema: &Value, word: &str) -> Value {
    Example { root: schema, word, left: Cell::new(VALUES_MAX) }.of(schema, 0)
}

struct Example<'a> {
    root: &'a Value,
    word: &'a str,
    left: Cell<usize>,
}

impl Example<'_> {
    fn of(&self, schema: &Value, depth: usize) -> Value {
        let Some(left) = self.left.get().checked_sub(1).filter(|_| depth <= DEPTH_MAX) else {
            return Value::Null;
        };
        self.left.set(left);
        if let Some(fixed) = given(schema) {
            return fixed.clone();
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|path| self.find(path)) {
            return self.of(target, depth + 1);
        }
        if let Some(every) = schema.get("allOf").and_then(Value::as_array) {
            return self.merged(every, depth);
        }
        let either = schema.get("anyOf").or_else(|| schema.get("oneOf"));
        if let Some(first) = either.and_then(Value::as_array).and_then(|list| list.first()) {
            return self.of(first, depth + 1);
        }
        match kind(schema).as_str() {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => self.string(schema),
            "integer" | "number" => least(schema),
            "boolean" => json!(true),
            "null" => Value::Null,
            _ => json!(self.word),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = schema.get("required").and_then(Value::as_array);
        let names = required.into_iter().flatten().filter_map(Value::as_str);
        let member = |name: &str| {
            let inner = schema.get("properties").and_then(|all| all.get(name)).unwrap_or(&Value::Null);
            (name.to_owned(), self.of(inner, depth + 1))
        };
        Value::Object(names.take(VALUES_MAX).map(member).collect())
    }

    fn array(&self, schema: &Value, depth: usize) -> Value {
        let count = schema.get("minItems").and_then(number).unwrap_or(1).min(LENGTH_MAX);
        let inner = schema.get("items").unwrap_or(&Value::Null);
        (0..count).take_while(|_| self.left.get() > 0).map(|_| self.of(inner, depth + 1)).collect()
    }

    fn string(&self, schema: &Value) -> Value {
        match schema.get("format").and_then(Value::as_str) {
            Some("date") => return json!("2026-11-22"),
            Some("date-time") => return json!("2026-11-22T12:00:00Z"),
            Some("time") => return json!("12:00:00Z"),
            Some("email") => return json!("ada@example.com"),
            Some("uri" | "url") => return json!("https://example.com/"),
            Some("uuid") => return json!("00000000-0000-4000-8000-000000000000"),
            Some(_) | None => {}
        }
        let shortest = schema.get("minLength").and_then(number).unwrap_or(0).min(LENGTH_MAX);
        let longest = schema.get("maxLength").and_then(number).unwrap_or(u64::MAX);
        let mut text: String = self.word.chars().take(usize::try_from(longest).unwrap_or(usize::MAX)).collect();
        while (text.chars().count() as u64) < shortest {
            text.push('x');
        }
        json!(text)
    }

    fn merged(&self, every: &[Value], depth: usize) -> Value {
        let mut all = Map::new();
        for part in every {
            match self.of(part, depth + 1) {
                Value::Object(members) => all.extend(members),
                single => return single,
            }
        }
        Value::Object(all)
    }

    /// Follows `#/a/b` from the root.
    fn find(&self, path: &str) -> Option<&Value> {
        self.root.pointer(path.strip_prefix('#')?)
    }
}

/// A value that the schema names itself.
fn given(schema: &Value) -> Option<&Value> {
    schema.get("const").or_else(|| schema.get("default")).or_else(|| schema.get("enum")?.as_array()?.first())
}

/// The type, lower case; of several the first; an object if it has properties but no type.
fn kind(schema: &Value) -> String {
    let named = match schema.get("type") {
        Some(Value::String(name)) => name.to_ascii_lowercase(),
        Some(Value::Array(names)) => names.first().and_then(Value::as_str).unwrap_or("").to_ascii_lowercase(),
        Some(_) | None => String::new(),
    };
    if named.is_empty() && schema.get("properties").is_some() { "object".to_owned() } else { named }
}

/// The least number that is allowed, 1 if there is no bound.
fn least(schema: &Value) -> Value {
    let bound = schema.get("minimum").cloned();
    let above = || schema.get("exclusiveMinimum").and_then(Value::as_i64).map(|low| json!(low.saturating_add(1)));
    let below = || schema.get("maximum").and_then(Value::as_i64).filter(|high| *high < 1).map(|high| json!(high));
    bound.filter(Value::is_number).or_else(above).or_else(below).unwrap_or_else(|| json!(1))
}

/// A count; Google sends such numbers as strings.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schema: Value, expect: Value) {
        assert_eq!(example(&schema, "word"), expect, "{schema}");
    }

    #[test]
    fn required_members_and_no_others() {
        let city = json!({"type": "string"});
        check(
            json!({"type": "object", "properties": {"city": city, "unit": city}, "required": ["city"]}),
            json!({"city": "word"}),
        );
        check(
            json!({"type": "OBJECT", "properties": {"n": {"type": "INTEGER", "minimum": 5}}, "required": ["n"]}),
            json!({"n": 5}),
        );
        check(json!({"enum": ["b", "a"]}), json!("b"));
        check(json!({"type": ["string", "null"], "maxLength": 2}), json!("wo"));
        check(json!({"type": "array", "minItems": "2", "items": {"type": "boolean"}}), json!([true, true]));
        check(json!({"anyOf": [{"type": "null"}, {"type": "string"}]}), Value::Null);
        check(json!({}), json!("word"));
    }

    #[test]
    fn a_bomb_stays_small() {
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let members: Map<String, Value> = names.iter().map(|name| (name.clone(), json!({"$ref": "#"}))).collect();
        let found = example(&json!({"type": "object", "properties": members, "required": names}), "word");
        assert!(found.to_string().len() < 10_000_000);
    }

    #[test]
    fn references_are_followed_and_end() {
        let node = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]});
        let found = example(&json!({"$defs": {"node": node}, "$ref": "#/$defs/node"}), "word");
        assert!(found.to_string().ends_with("null}}}}}}}}"), "{found}");
    }
}
