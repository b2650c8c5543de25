//! A provider's export beside the ledger: every shape that is known, the same over both ways, and clear refusals.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::StatusCode;
use serde_json::{Value, json};
use tollgate::admin::export;
use tollgate::app::Surroundings;
use tollgate::clock::Clock;
use tollgate::domain::reconcile::Statement;

use super::CONFIG;
use super::commands::{run, serving};
use super::ledger::{NOW_MS, closing, entry};
use crate::harness::{House, app_in};

const FILE: &str = "--config tollgate.toml";

const UPSTREAM: &str = "\
[upstreams.openai]
dialect = \"openai\"
provider = \"openai\"
base_url = \"http://127.0.0.1:9\"
";

fn read(text: impl AsRef<[u8]>) -> Statement {
    export::read(text.as_ref()).unwrap()
}

/// Day, model, prompt tokens, read from and written to a cache, generated tokens, and dollars.
type Seen = (String, Option<String>, [u64; 4], String);

fn seen(statement: &Statement) -> Vec<Seen> {
    let line = |line: &tollgate::domain::reconcile::Line| {
        let side = &line.side;
        let tokens = [side.input, side.cache_read, side.cache_write, side.output];
        let (usd, is_negative) = side.net();
        let model = line.model.as_ref().map(|model| model.to_string());
        (line.day.to_string(), model, tokens, format!("{}{usd}", if is_negative { "-" } else { "" }))
    };
    statement.lines.iter().map(line).collect()
}

fn expect(day: &str, model: Option<&str>, tokens: [u64; 4], usd: &str) -> Seen {
    (day.to_owned(), model.map(str::to_owned), tokens, usd.to_owned())
}

/// 2026-11-22 and the day after it, in unix seconds.
const DAYS: [u64; 2] = [1_795_305_600, 1_795_392_000];

fn openai_usage() -> Value {
    json!({"object": "page", "has_more": true, "next_page": "x", "data": [
        {"object": "bucket", "start_time": DAYS[0], "end_time": DAYS[1], "results": [
            {"object": "organization.usage.completions.result", "input_tokens": 1000, "output_tokens": 500,
             "input_cached_tokens": 800, "input_audio_tokens": 7, "output_audio_tokens": 3, "num_model_requests": 5,
             "project_id": null, "model": "gpt-5-mini-2025-08-07", "batch": null},
            {"object": "organization.usage.embeddings.result", "input_tokens": 11, "num_model_requests": 1,
             "model": "text-embedding-3-small"}]},
        {"object": "bucket", "start_time": DAYS[1], "end_time": DAYS[1] + 86_400, "results": []}]})
}

#[test]
fn every_shape_of_openai_is_read() {
    let statement = read(openai_usage().to_string());
    assert_eq!((statement.provider, statement.has_tokens, statement.has_money), ("openai", true, false));
    assert_eq!((statement.from.to_string(), statement.until.to_string()), ("2026-11-22".into(), "2026-11-24".into()));
    assert!(statement.is_partial);
    let usage = [
        expect("2026-11-22", Some("gpt-5-mini-2025-08-07"), [1007, 800, 0, 503], "0"),
        expect("2026-11-22", Some("text-embedding-3-small"), [11, 0, 0, 0], "0"),
    ];
    assert_eq!(seen(&statement), usage);
    let result = |value: Value, item| json!({"object": "organization.costs.result", "amount": {"value": value, "currency": "usd"}, "line_item": item});
    let results = [result(json!(0.06), "gpt-5-mini-2025-08-07, cached input"), result(json!(-1.5e-7), "web search")];
    let costs = json!({"object": "page", "has_more": false, "data": [{"start_time": DAYS[0], "results": results}]});
    // Pages may stand one after the other, or in a list, and be of both kinds.
    let both = read(format!("{}\n{}", openai_usage(), json!([costs])));
    assert!(both.has_tokens && both.has_money && !both.is_partial);
    let costs = [
        expect("2026-11-22", Some("gpt-5-mini-2025-08-07"), [0; 4], "0.06"),
        expect("2026-11-22", Some("web search"), [0; 4], "-0.00000015"),
    ];
    assert_eq!(seen(&both), [usage.as_slice(), &costs].concat());
    let csv = format!(
        "start_time,end_time,num_model_requests,model,batch,input_tokens,output_tokens,input_cached_tokens\n\
         {},{},5,gpt-5-mini-2025-08-07,false,1000,500,800\n{},{},,,,,,\n",
        DAYS[0], DAYS[1], DAYS[1], DAYS[1]
    );
    let statement = read(csv);
    assert_eq!(seen(&statement), [expect("2026-11-22", Some("gpt-5-mini-2025-08-07"), [1000, 800, 0, 500], "0")]);
    assert_eq!(statement.until.to_string(), "2026-11-24");
    let csv = format!(
        "\u{feff}start_time,end_time,start_time_iso,amount_value,amount_currency,line_item\r\n\
         {0},{1},x,0.003835980000000000000000000000,usd,\"gpt-5-mini-2025-08-07, input\"\r\n{1},{1},x,,,\r\n",
        DAYS[0], DAYS[1]
    );
    assert_eq!(seen(&read(csv)), [expect("2026-11-22", Some("gpt-5-mini-2025-08-07"), [0; 4], "0.00383598")]);
}

#[test]
fn every_shape_of_anthropic_is_read() {
    let usage = json!({"has_more": false, "next_page": null, "data": [{"starting_at": "2026-11-22T00:00:00Z",
        "ending_at": "2026-11-23T00:00:00Z", "results": [{"uncached_input_tokens": 100, "cache_read_input_tokens": 20,
        "cache_creation": {"ephemeral_1h_input_tokens": 3, "ephemeral_5m_input_tokens": 4}, "output_tokens": 50,
        "server_tool_use": {"web_search_requests": 1}, "model": "claude-haiku-4-5-20251001", "workspace_id": null}]}]});
    let tokens = [expect("2026-11-22", Some("claude-haiku-4-5-20251001"), [127, 20, 7, 50], "0")];
    assert_eq!(seen(&read(usage.to_string())), tokens);
    let costs = json!({"has_more": false, "data": [{"starting_at": "2026-11-22T00:00:00Z", "results": [
        {"amount": "123.45", "currency": "USD", "description": null, "model": null}]}]});
    assert_eq!(seen(&read(costs.to_string())), [expect("2026-11-22", None, [0; 4], "1.2345")]);
    let csv = "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,\
        usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,\
        usage_output_tokens,web_search_count,inference_geo,speed\n\
        2026-11-22,claude-haiku-4-5-20251001,\"a, b\",Default,standard,\u{2264} 200k,100,4,3,20,50,1,global,\n";
    assert_eq!(seen(&read(csv)), tokens);
    let csv = "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,cost_type\n\
        2026-11-22T05:00:00Z,Claude Haiku 4.5,Default,k,message,\u{2264} 200k,output,0.05,token\n";
    assert_eq!(seen(&read(csv)), [expect("2026-11-22", Some("Claude Haiku 4.5"), [0; 4], "0.05")]);
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let bucket = |results: Value| json!({"data": [{"start_time": DAYS[0], "results": results}]}).to_string();
    for (text, says) in [
        (String::new(), "the export is about no day"),
        (
            "{}".into(),
            "JSON without a list \"data\" of buckets is no export that is known; known are pages of OpenAI's",
        ),
        ("{".into(), "JSON: EOF while parsing"),
        ("a,b\n1,2\n".into(), "CSV with the columns \"a,b\" is no export that is known"),
        (json!({"data": [{"results": []}]}).to_string(), "JSON whose buckets have neither start_time nor starting_at"),
        (
            json!({"data": [{"starting_at": "soon", "results": []}]}).to_string(),
            "page 1, data[0]: starting_at: \"soon\"",
        ),
        (json!({"data": []}).to_string(), "the export is about no day"),
        (
            bucket(json!([{"object": "organization.usage.images.result", "images": 3}])),
            "a result \"organization.usage.images",
        ),
        (
            bucket(json!([{"object": "organization.costs.result", "amount": {"value": 1, "currency": "eur"}}])),
            "page 1, data[0].results[0]: the currency is \"eur\" and not USD",
        ),
        (bucket(json!([{"input_tokens": -1}])), "page 1, data[0].results[0]: input_tokens: -1 is no count"),
        ("start_time,input_tokens\nx,1\n".into(), "line 2: start_time: \"x\" is no day"),
        ("start_time,input_tokens\n1795305600\n".into(), "line 2: 1 cells under 2 names"),
        ("usage_date_utc,cost_usd\n2026-11-22,$5\n".into(), "line 2: cost_usd: \"$5\" is no amount"),
        (
            openai_usage().to_string() + "{\"data\":[{\"starting_at\":\"2026-11-22\",\"results\":[]}]}",
            "the export is of two",
        ),
    ] {
        let error = export::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(says), "{text}: {error}");
    }
}

async fn post(house: &House, target: &str, body: &str) -> (StatusCode, String) {
    let request = http::Request::post(target)
        .header("host", "127.0.0.1:4001")
        .header("authorization", format!("Bearer {}", crate::harness::TOKEN))
        .body(http_body_util::Full::new(bytes::Bytes::from(body.to_owned())))
        .unwrap();
    let door = tollgate::admin::Door::Tcp { peer: [127, 0, 0, 1].into() };
    crate::harness::read(tollgate::admin::answer(&house.app, door, request).await).await
}

#[tokio::test]
async fn the_gap_is_stated_by_day_and_model() {
    let now_us = Arc::new(AtomicU64::new(NOW_MS * 1000));
    let surroundings = Surroundings { clock: Clock::Manual(now_us), ..Surroundings::default() };
    let house = app_in(&format!("{CONFIG}{UPSTREAM}"), surroundings);
    let folder = house.folder.path().to_owned();
    house.settle(entry("search", 900), closing(50_000_000_000)).await;
    let mut other = entry("search", 5);
    other.upstream = "elsewhere".into();
    house.settle(other, closing(7)).await;
    let costs = json!({"data": [{"start_time": DAYS[0], "results": [{"object": "organization.costs.result",
        "amount": {"value": 0.06, "currency": "usd"}, "line_item": "gpt-5-mini-2025-08-07, input"}]}]});
    let both = format!("{}{costs}", openai_usage());
    std::fs::write(folder.join("both.json"), &both).unwrap();
    let table = format!("ledger reconcile both.json {FILE}");
    let (exit, served, talk) = serving(&house, run(&folder, &table)).await;
    assert_eq!((exit, talk.as_str()), (0, ""));
    assert_eq!(run(&folder, &table).await, (0, served.clone(), String::new()));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = served.lines().map(words).collect();
    assert_eq!(lines[0], "openai beside the upstreams openai, from 2026-11-22 until 2026-11-24, days in UTC");
    assert_eq!(lines[3], "2026-11-22 gpt-5-mini 1007 900 107 503 0 503 0.060000000000 0.050000000000 0.010000000000");
    assert_eq!(
        lines[4],
        "2026-11-22 text-embedding-3-small 11 0 11 0 0 0 0.000000000000 0.000000000000 0.000000000000"
    );
    assert_eq!(lines[5], "total 1018 900 118 503 0 503 0.060000000000 0.050000000000 0.010000000000");
    // What the invoice says is booked, and the gap is closed.
    let charge =
        format!("ledger adjust charge 0.01 --actor ada --reason invoice --upstream openai --model gpt-5-mini {FILE}");
    assert_eq!(serving_again(&house, &folder, &charge).await.0, 0);
    let (status, text) = post(&house, "/admin/v1/ledger/reconcile?upstream=openai", &costs.to_string()).await;
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status, StatusCode::OK);
    let total = &said["total"];
    assert_eq!((&total["gap_usd"], &total["gap_input_tokens"]), (&json!("0.000000000000"), &Value::Null));
    assert_eq!(total["ledger_input_tokens"], 900);
    let (status, text) = post(&house, "/admin/v1/ledger/reconcile?format=xml", "").await;
    assert!(status == StatusCode::BAD_REQUEST && text.contains("known are table, csv, json"), "{text}");
    for (line, exit, says) in [
        (format!("ledger reconcile absent.json {FILE}"), 1, "absent.json cannot be read"),
        (format!("ledger reconcile tollgate.toml {FILE}"), 1, "tollgate.toml: JSON: expected value"),
        (format!("ledger reconcile both.json --format xml {FILE}"), 64, "known are table, csv, json"),
    ] {
        let (found, _, talk) = run(&folder, &line).await;
        assert!(found == exit && talk.contains(says), "{line}: {found} {talk}");
    }
}

async fn serving_again(house: &House, folder: &std::path::Path, line: &str) -> (i32, String, String) {
    std::fs::remove_file(folder.join("data").join(tollgate::server::run::CONTROL_SOCKET)).unwrap();
    serving(house, run(folder, line)).await
}
