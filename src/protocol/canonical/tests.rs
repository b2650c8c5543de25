//! One form for all spellings, and another for everything that says something else.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const OMIT: Omissions<'_> = Omissions { members: &["model"], inner: Some(("stream_options", "include_usage")) };

fn of(text: &str) -> Option<Vec<u8>> {
    canonical(text.as_bytes(), OMIT).map(|canonical| canonical.form())
}

fn same(one: &str, other: &str) {
    assert!(of(one).is_some() && of(one) == of(other), "{one} {other}");
}

fn differ(one: &str, other: &str) {
    assert!(of(one).is_some() && of(other).is_some() && of(one) != of(other), "{one} {other}");
}

#[test]
fn spellings_have_one_form() {
    for (one, other) in [
        (r#"{"a":1,"b":[true,null]}"#, " {\n\"b\" : [ true , null ],\t\"a\" : 1 } "),
        (r#"{"a":{"y":1,"x":2},"b":3}"#, r#"{"b":3,"a":{"x":2,"y":1}}"#),
        (r#"{"a":"long","b":[1,2,3],"c":0,"d":""}"#, r#"{"d":"","b":[1,2,3],"c":0,"a":"long"}"#),
        (r#"{"role":"user","content":"x"}"#, r#"{"content":"x","role":"user"}"#),
        (r#"{"a":1}"#, r#"{"a":1.0}"#),
        (r#"{"a":1500}"#, r#"{"a":15e2}"#),
        (r#"{"a":0.25}"#, r#"{"a":25E-2}"#),
        (r#"{"a":0}"#, r#"{"a":-0.000e7}"#),
        (r#"{"a":"é😀/\n"}"#, r#"{"a":"\u00e9\ud83d\ude00\/\u000A"}"#),
        (r#"{"\u0061":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"model":"x"}"#, r#"{"model":"y","a":1}"#),
        (r#"{"a":1,"stream_options":{"include_usage":true}}"#, r#"{"a":1}"#),
        (r#"{"a":1,"stream_options":null}"#, r#"{"a":1}"#),
        (r#"{"a":1,"stream_options":{"include_usage":true,"x":1}}"#, r#"{"a":1,"stream_options":{"x":1}}"#),
    ] {
        same(one, other);
    }
}

#[test]
fn what_says_something_else_has_another_form() {
    for (one, other) in [
        (r#"{"a":1}"#, r#"{"a":-1}"#),
        (r#"{"a":1}"#, r#"{"a":10}"#),
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":12345678901234567890}"#, r#"{"a":12345678901234567891}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":[1],"b":2}"#, r#"{"a":[1,2],"b":2}"#),
        (r#"{"a":"x"}"#, r#"{"a":"x "}"#),
        (r#"{"a":null}"#, "{}"),
        (r#"{"a":"","b":"c"}"#, r#"{"a":"b","b":""}"#),
        (r#"{"a":"\ud800"}"#, r#"{"a":"\ud801"}"#),
        (r#"{"a":{"b":{}}}"#, r#"{"a":{},"b":{}}"#),
        (r#"{"a":{"model":1}}"#, r#"{"a":{"model":2}}"#),
        (r#"{"a":[{"stream_options":{"include_usage":true}}]}"#, r#"{"a":[{"stream_options":{}}]}"#),
        (r#"{"stream_options":{"x":{"include_usage":true}}}"#, r#"{"stream_options":{"x":{}}}"#),
    ] {
        differ(one, other);
    }
}

#[test]
fn what_parsers_read_differently_has_no_form() {
    for text in [
        "",
        r#"{"a":1"#,
        r#"{"a":1,"a":1}"#,
        r#"{"b":{"a":1,"c":0,"\u0061":2}}"#,
        r#"{"a":1,"b":"between them in length","a":"the longest of all of these members"}"#,
        r#"{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k":11,"l":12,"m":13,"a":"again"}"#,
        r#"{"a":1}}"#,
        r#"{"a":1e99999999999999999999}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":--1}"#,
        r#"{"a":01}"#,
        r#"{"a":-01}"#,
        r#"{"a":00.5}"#,
        r#"{"a":1e}"#,
        "{\"a\":\"x\ny\"}",
        "{\"a\":\"\\n and a long text that has a control character at its very end\u{1}\"}",
        "{\"a\u{0}\":1}",
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{"a":tru}"#,
        r#"{"a" 1}"#,
        r#"{"a":1 "b":2}"#,
    ] {
        assert_eq!(of(text), None, "{text}");
    }
    assert_eq!(of(&("[".repeat(200) + &"]".repeat(200))), None);
    assert!(of(&("[".repeat(100) + &"]".repeat(100))).is_some());
}

#[test]
fn chance_and_pointers_are_seen() {
    for (text, temperature, reaches_out) in [
        (r#"{"search_parameters":{"mode":"auto"}}"#, Temperature::Absent, true),
        (r#"{"enable_search":true,"a":1}"#, Temperature::Absent, true),
        (r#"{"enable_search":false,"search_parameters":null}"#, Temperature::Absent, false),
        (r#"{"data_sources":[{"type":"azure_search"}]}"#, Temperature::Absent, true),
        (r#"{"a":{"enable_search":true}}"#, Temperature::Absent, false),
        (r#"{"store":true}"#, Temperature::Absent, true),
        (r#"{"store":false,"a":{"store":true}}"#, Temperature::Absent, false),
        (r#"{"store":null}"#, Temperature::Absent, false),
        (r#"{"messages":[{"temperature":1}]}"#, Temperature::Absent, false),
        (r#"{"temperature":0}"#, Temperature::Zero, false),
        (r#"{"temperature":0.0,"top_p":1}"#, Temperature::Zero, false),
        (r#"{"temperature":null}"#, Temperature::Absent, false),
        (r#"{"temperature":"0"}"#, Temperature::Above, false),
        (r#"{"temperature":0.7}"#, Temperature::Above, false),
        (r#"{"generationConfig":{"temperature":0}}"#, Temperature::Zero, false),
        (r#"{"generationConfig":{"x":{"temperature":1}},"temperature":0}"#, Temperature::Zero, false),
        (r#"{"generation_config":{"temperature":1},"generationConfig":{"temperature":0}}"#, Temperature::Above, false),
        (r#"{"a":[{"image_url":{"url":"https://x/y.png"}}]}"#, Temperature::Absent, true),
        (r#"{"a":[{"image_url":{"url":"data:image/png;base64,AA"}}]}"#, Temperature::Absent, false),
        (r#"{"a":[{"fileData":{"fileUri":"gs://b/c"}}]}"#, Temperature::Absent, true),
        (r#"{"a":[{"file_id":"file-1"}]}"#, Temperature::Absent, true),
        (r#"{"tools":[{"properties":{"url":{"type":"string"}}}]}"#, Temperature::Absent, false),
    ] {
        let seen = canonical(text.as_bytes(), OMIT).unwrap();
        assert_eq!((seen.temperature, seen.reaches_out), (temperature, reaches_out), "{text}");
    }
}

#[test]
fn what_lies_elsewhere_is_told_from_words() {
    for (text, expect) in [
        (r#"{"a":[{"type":"document_url","document_url":"https://x/y.pdf"}]}"#, true),
        (r#"{"a":[{"document_url":"y.pdf"}]}"#, true),
        (r#"{"a":[{"input_audio":"https://x/y.mp3"}]}"#, true),
        (r#"{"a":[{"input_audio":{"data":"https:\/\/x/y.mp3","format":"mp3"}}]}"#, true),
        (r#"{"a":[{"input_audio":{"data":"UklGRg//8=","format":"mp3"}}]}"#, false),
        (r#"{"a":[{"video":["https://x/1.jpg","https://x/2.jpg"]}]}"#, true),
        (r#"{"a":[{"video":"oss://x/1.mp4"}]}"#, true),
        (r#"{"a":[{"image":"\u0068ttps://x/1.jpg"}]}"#, true),
        (r#"{"a":[{"image_url":["https://x/1.jpg"]}]}"#, true),
        (r#"{"a":[{"image_url":["data:image/png;base64,AA"]}]}"#, false),
        (r#"{"a":[{"file":{"file_data":"https://x/y.pdf"}}]}"#, true),
        (r#"{"a":[{"file":"https://x/y.pdf"}]}"#, true),
        (r#"{"a":[{"source":{"uri":"s3://b/c"}}]}"#, true),
        (r#"{"a":[{"source":{"type":"base64","data":"aHR0cHM6Ly94"}}]}"#, false),
        (r#"{"input":[{"image":"https://x/y.png"}]}"#, true),
        (r#"{"input":[["https://x"]],"content":[{"content":["https://x"]}]}"#, false),
        (r#"{"input":"https://x","prompt":["https://x"],"stop":["http://"],"user":"mailto://x"}"#, false),
        (r#"{"a":[{"role":"user","content":"https://x, what is this?"}],"system":"https://x"}"#, false),
        (r#"{"a":[{"content":[{"type":"text","text":"https://x"}]}]}"#, false),
        (r#"{"schema":{"$schema":"https://json-schema.org/draft/2020-12/schema"}}"#, false),
        (
            r#"{"tools":[{"parameters":{"default":"https://x","enum":["https://x"],"example":{"url":"https://x"}}}]}"#,
            false,
        ),
        (r#"{"response_format":{"json_schema":{"schema":{"const":"https://x"}}},"metadata":{"a":"https://x"}}"#, false),
        (r#"{"text":{"format":{"schema":{"const":"https://x"}}}}"#, false),
        (r#"{"generationConfig":{"responseSchema":{"example":"https://x"}}}"#, false),
        (r#"{"a":{"tools":[{"default":"https://x"}]}}"#, true),
        (r#"{"https://x":1}"#, false),
    ] {
        assert_eq!(canonical(text.as_bytes(), OMIT).unwrap().reaches_out, expect, "{text}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}|\\PC{1,2}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The same value, written with its members in an order and with blanks and escapes that `dice` choose.
fn write(value: &Value, dice: &mut impl Iterator<Item = u8>, out: &mut String) {
    let mut roll = || dice.next().unwrap_or(0);
    let blank = ["", " ", "\n\t"][usize::from(roll() % 3)];
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            let turn = usize::from(roll()) % members.len().max(1);
            members.rotate_left(turn);
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write(&json!(key), dice, out);
                out.push_str(&format!("{blank}:{blank}"));
                write(value, dice, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { blank });
                write(item, dice, out);
            }
            out.push_str(&format!("{blank}]"));
        }
        Value::String(text) if roll() % 2 == 0 => {
            out.push('"');
            text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Every value that differs from `value` in one place.
fn neighbours(value: &Value) -> Vec<Value> {
    let mut found = vec![json!([value])];
    match value {
        Value::Null => found.push(json!(false)),
        Value::Bool(flag) => found.push(json!(!flag)),
        Value::Number(number) => {
            found.extend([json!(number.to_string()), json!(0.5)]);
            found.push(number.as_u64().map_or(json!(0), |number| json!(number ^ 1)));
        }
        Value::String(text) => found.extend([json!(format!("{text}.")), json!(format!(" {text}")), Value::Null]),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let with = |other| {
                    let mut items = items.clone();
                    items[index] = other;
                    Value::from(items)
                };
                found.extend(neighbours(item).into_iter().map(with));
            }
            found.push(Value::from([&items[..], &[Value::Null]].concat()));
        }
        Value::Object(members) => {
            for (key, item) in members {
                let without: Map<_, _> = members.clone().into_iter().filter(|(other, _)| other != key).collect();
                let with = |key: &str, value| {
                    let mut members = without.clone();
                    members.insert(key.to_owned(), value);
                    Value::from(members)
                };
                found.extend(neighbours(item).into_iter().map(|other| with(key, other)));
                found.push(with(&format!("{key}!"), item.clone()));
                found.push(Value::from(without.clone()));
            }
        }
    }
    found.retain(|other| other != value);
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_form_tells_values_apart_and_nothing_else(value in values(), dice in prop::collection::vec(any::<u8>(), 200)) {
        let form = |text: &str| canonical(text.as_bytes(), Omissions::default()).map(|it| it.form());
        let plain = form(&value.to_string());
        prop_assert!(plain.is_some());
        let mut text = String::new();
        write(&value, &mut dice.into_iter(), &mut text);
        prop_assert_eq!(&form(&text), &plain, "{} {}", value, text);
        for other in neighbours(&value) {
            prop_assert_ne!(&form(&other.to_string()), &plain, "{} {}", value, other);
        }
    }
}
