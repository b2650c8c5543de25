//! Near-identical questions, graded with `$TOLLGATE_DATA/cache_pairs.jsonl.gz`.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;
use tollgate::domain::near::canonical;

#[derive(Debug, Default)]
struct Seen {
    pairs: u32,
    passed: u32,
    hits: u32,
}

/// The pairs of questions, if there are any.
pub fn pairs() -> Option<Vec<Value>> {
    let Some(data) = std::env::var_os("TOLLGATE_DATA") else {
        eprintln!("NOT RUN: TOLLGATE_DATA is not set, so there are no pairs to compare");
        return None;
    };
    let packed = std::fs::read(std::path::Path::new(&data).join("cache_pairs.jsonl.gz")).unwrap();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn harmless_edits_hit_and_others_never_do() {
    let Some(pairs) = pairs() else { return };
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    let mut wrong = Vec::new();
    for pair in &pairs {
        let (a, b) = (pair["a"].as_str().unwrap(), pair["b"].as_str().unwrap());
        let source = pair["source"].as_str().unwrap().trim_start_matches("probe:").to_owned();
        let row = seen.entry(source.clone()).or_default();
        row.pairs += 1;
        let (Some(one), Some(other)) = (canonical(a), canonical(b)) else { continue };
        row.passed += 1;
        row.hits += u32::from(one == other);
        if (one == other) != (pair["same"] == 1) && (source != "swap_order" || !only_idle_words_moved(a, b)) {
            wrong.push(format!("{source}\n {a:?}\n {b:?}\n {one}\n {other}"));
        }
    }
    eprintln!("{seen:#?}");
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    let same =
        ["whitespace", "case1", "end_punct", "polite", "quotes"].map(|name| (seen[name].pairs, seen[name].passed));
    let (all, passed) = same.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(passed * 100 >= all * 92, "{passed} of {all} harmless edits pass the gate");
}

/// Whether the texts are the same but for commas, quotation marks and articles.
fn only_idle_words_moved(a: &str, b: &str) -> bool {
    let rest = |text: &str| -> Vec<String> {
        let text = text.to_lowercase().replace([',', '"', '\''], "");
        text.split_whitespace().filter(|word| !["a", "an", "the"].contains(word)).map(ToOwned::to_owned).collect()
    };
    rest(a) == rest(b)
}

#[test]
fn one_sign_more_or_less_in_what_is_no_prose_is_another_question() {
    let samples = [
        "SELECT name, age FROM users WHERE age > 5 ORDER BY name;",
        "for i in range(10):\n    print(i, end='')\n",
        "def add(a, b):\n    return a + b\n",
        "if x: y(); else: z()",
        "{\"a\": [1, 2, {\"b\": null}], \"c\": \"d\"}",
        "| name | age |\n|---|---|\n| ada | 36 |",
        "name,age\nada,36\nbob,41",
        "name; age\nada; 36",
        "solve (x - 3) (x + 2) for x",
        "3 - 5 - 7",
        "what is -5 - -3",
        "f: A -> B; g: B -> C",
        "what is n! when n is 5",
        "ratio 3:4 and 5:6, then 7:8",
        "ls -la /tmp && rm -r ./x",
        "print \"hello, world\" twice; then stop",
        "let f x y be x. y",
        "1. first\n2. second",
        "a, b, c",
        "(a (b c)) d",
    ];
    for text in samples {
        for (place, sign) in text.char_indices().filter(|(_, sign)| !sign.is_alphanumeric() && !sign.is_whitespace()) {
            let mut cut = text.to_owned();
            cut.remove(place);
            let mut doubled = text.to_owned();
            doubled.insert(place, sign);
            for edited in [cut, doubled] {
                let is_end = edited.trim_end_matches(['.', ' ', '\n']) == text.trim_end_matches(['.', ' ', '\n']);
                let (one, other) = (canonical(text), canonical(&edited));
                assert!(is_end || one.is_none() || one != other, "{text:?} and {edited:?}");
            }
        }
    }
}
