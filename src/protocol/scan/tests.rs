//! What the scanner finds and refuses.

use super::*;

#[derive(Debug, Default, PartialEq)]
struct Seen(Vec<(usize, usize, usize, String)>);

impl Sink for Seen {
    fn found(&mut self, which: usize, value: Found<'_>) {
        let raw = String::from_utf8_lossy(value.raw).into_owned();
        self.0.push((which, value.start, value.end, raw));
    }
}

const PATTERNS: &[Pattern] = &[
    Pattern { path: &["model"], take: Take::Span },
    Pattern { path: &["usage"], take: Take::Bytes(64) },
    Pattern { path: &["messages", "*"], take: Take::Span },
    Pattern { path: &["messages", "*", "role"], take: Take::Bytes(16) },
    Pattern { path: &["*", "usage"], take: Take::Bytes(64) },
];

fn scan(chunks: &[&[u8]]) -> Result<Seen, ScanError> {
    let plan = Plan::new(PATTERNS).unwrap();
    let (mut scanner, mut seen) = (Scanner::new(), Seen::default());
    for chunk in chunks {
        scanner.feed(&plan, chunk, &mut seen)?;
    }
    scanner.finish(&plan, &mut seen)?;
    Ok(seen)
}

fn check(text: &str, expect: &[(usize, &str, &str)]) {
    let whole = scan(&[text.as_bytes()]).unwrap();
    let spans: Vec<_> =
        whole.0.iter().map(|(which, start, end, raw)| (*which, &text[*start..*end], raw.as_str())).collect();
    assert_eq!(spans, expect, "{text}");
    for cut in 0..=text.len() {
        let (left, right) = text.as_bytes().split_at(cut);
        assert_eq!(scan(&[left, right]).unwrap(), whole, "{text} cut at {cut}");
    }
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(scan(&bytes).unwrap(), whole, "{text} byte by byte");
}

#[test]
fn wanted_values_are_found_wherever_the_bytes_are_split() {
    check(r#"{"model":"m"}"#, &[(0, r#""m""#, "")]);
    check(r#" { "mod\u0065l" : "a\"b\\" , "x" : {"model":1} } "#, &[(0, r#""a\"b\\""#, "")]);
    check(r#"{"model":"a","model":"b"}"#, &[(0, r#""a""#, ""), (0, r#""b""#, "")]);
    check(
        r#"{"usage":{"a":[1,{"usage":"}"}],"b":-1.5e3},"model":null}"#,
        &[(1, r#"{"a":[1,{"usage":"}"}],"b":-1.5e3}"#, r#"{"a":[1,{"usage":"}"}],"b":-1.5e3}"#), (0, "null", "")],
    );
    check(
        r#"{"messages":[{"role":"user","content":[]},7,{"content":"x","role":"a"}]}"#,
        &[
            (3, r#""user""#, r#""user""#),
            (2, r#"{"role":"user","content":[]}"#, ""),
            (2, "7", ""),
            (3, r#""a""#, r#""a""#),
            (2, r#"{"content":"x","role":"a"}"#, ""),
        ],
    );
    check(r#"[{"usage":1},{"usage":null}]"#, &[(4, "1", "1"), (4, "null", "null")]);
    check("12", &[]);
    check("{}", &[]);
}

#[test]
fn a_kept_value_is_cut_at_its_limit() {
    let text = format!(r#"{{"usage":"{}"}}"#, "x".repeat(100));
    let seen = scan(&[text.as_bytes()]).unwrap();
    assert_eq!((seen.0[0].2 - seen.0[0].1, seen.0[0].3.len()), (102, 64));
}

#[test]
fn what_is_no_json_is_refused_at_its_place() {
    for (text, at) in [
        ("", 0),
        ("{", 1),
        (r#"{"a""#, 4),
        (r#"{"a":}"#, 5),
        (r#"{"a":1,}"#, 7),
        ("[1,]", 3),
        ("[1}", 2),
        ("{]", 1),
        ("tru", 3),
        ("trux", 3),
        ("1 2", 2),
        (r#"{'a':1}"#, 1),
        (r#"{"a" 1}"#, 5),
        ("[1 2]", 3),
        ("nul}", 3),
        ("]", 0),
    ] {
        assert_eq!(scan(&[text.as_bytes()]).unwrap_err().at, at, "{text}");
    }
    let deep = "[".repeat(DEPTH_MAX + 1);
    assert_eq!(scan(&[deep.as_bytes()]).unwrap_err().what, "nested too deeply");
}

#[derive(Default)]
struct Units(Vec<u16>, Vec<usize>);

impl Sink for Units {
    fn found(&mut self, which: usize, _: Found<'_>) {
        self.1.push(which);
    }

    fn escaped(&mut self, unit: u16) {
        self.0.push(unit);
    }
}

#[test]
fn escapes_any_key_and_either_key_are_shown() {
    let plan = Plan::new(&[
        Pattern { path: &["a|b", "%"], take: Take::Span },
        Pattern { path: &["a|b", "c"], take: Take::Span },
    ])
    .unwrap();
    let text = r#"{"a":{"x":"\\ufdfa\ufDfA\"","c":1},"b":{"\u0063":"\u12"},"c":{"c":2}}"#;
    for size in [1, 2, 3, 5, 100] {
        let (mut scanner, mut units) = (Scanner::new(), Units::default());
        for chunk in text.as_bytes().chunks(size) {
            scanner.feed(&plan, chunk, &mut units).unwrap();
        }
        scanner.finish(&plan, &mut units).unwrap();
        assert_eq!(units.0, [0xfdfa, 0x63], "in pieces of {size}");
        assert_eq!(units.1, [0, 0, 1, 0, 1], "in pieces of {size}");
    }
}
