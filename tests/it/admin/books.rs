//! The books as commands show them: checked, corrected, exported, and the same with and without a server.

use serde_json::Value;

use super::CONFIG;
use super::commands::{run, serving};
use super::ledger::{closing, entry};
use crate::harness::app;

const FILE: &str = "--config tollgate.toml";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_correction_is_a_new_line_that_every_report_counts() {
    let house = app(CONFIG);
    let folder = house.folder.path().to_owned();
    let id = house.settle(entry("search", 1), closing(1_000_000_000_000)).await;
    let by_request = format!("ledger adjust credit 0.25 --actor ada --reason refund --request {id} {FILE}");
    let (exit, out, talk) = serving(&house, run(&folder, &by_request)).await;
    assert_eq!((exit, json(&out)["team"].clone()), (0, "search".into()), "{talk}");
    let verify = format!("ledger verify {FILE}");
    let (exit, out, talk) = serving_again(&house, &folder, &verify).await;
    assert_eq!((exit, json(&out)["sound"].clone()), (0, true.into()), "{out}{talk}");
    assert!(json(&out)["index"].is_object(), "{out}");
    let rebuild = format!("ledger rebuild {FILE}");
    let (exit, _, talk) = run(&folder, &rebuild).await;
    assert!(exit == 1 && talk.contains("is used by another process"), "{talk}");
    drop(house.app);
    let charge = format!("ledger adjust charge 0.5 --actor ada --reason invoice --upstream openai {FILE}");
    assert_eq!(run(&folder, &charge).await.0, 0);
    let report = format!("report --format json --by team {FILE}");
    let before = json(&run(&folder, &report).await.1);
    let total = &before["total"];
    let said = ["spend_usd", "charged_usd", "credited_usd", "net_usd"].map(|name| total[name].as_str().unwrap());
    assert_eq!(said, ["1.000000000000", "0.5", "0.25", "1.25"]);
    assert_eq!(run(&folder, &rebuild).await.0, 0);
    assert_eq!(json(&run(&folder, &report).await.1), before);
    let (exit, out, _) = run(&folder, &verify).await;
    assert_eq!((exit, json(&out)["sound"].clone()), (0, true.into()), "{out}");
}

async fn serving_again(house: &crate::harness::House, folder: &std::path::Path, line: &str) -> (i32, String, String) {
    std::fs::remove_file(folder.join("data").join(tollgate::server::run::CONTROL_SOCKET)).unwrap();
    house.app.clerk.round();
    serving(house, run(folder, line)).await
}

#[tokio::test]
async fn mistakes_in_corrections_say_what_is_right() {
    let house = app(CONFIG);
    let folder = house.folder.path().to_owned();
    let id = house.settle(entry("search", 1), closing(7)).await;
    drop(house.app);
    for (line, exit, says) in [
        ("credit 0 --actor a --reason b".to_owned(), 1, "an amount above zero"),
        ("credit x --actor a --reason b".to_owned(), 1, "an amount above zero"),
        ("refund 1 --actor a --reason b".to_owned(), 64, "possible values: charge, credit"),
        ("credit 1 --actor a".to_owned(), 64, "--reason"),
        (format!("credit 1 --actor a --reason b --request {id} --team x"), 1, "says already"),
        ("credit 1 --actor a --reason b --request 01kam3v2x8e9qh5t7c4rwz0ybn".to_owned(), 1, "no entry for request"),
    ] {
        let (found, _, talk) = run(&folder, &format!("ledger adjust {line} {FILE}")).await;
        assert!(found == exit && talk.contains(says), "{line}: {found} {talk}");
    }
}

#[tokio::test]
async fn entries_and_focus_lines_add_up_to_the_report() {
    let house = app(CONFIG);
    let folder = house.folder.path().to_owned();
    for number in 0..20 {
        let team = ["search", "chat", ""][number % 3];
        house.settle(entry(team, number as u64), closing(number as u128 * 1_000_000_007)).await;
    }
    house.app.bank.flush().await.unwrap();
    let total = json(&run(&folder, &format!("report --format json {FILE}")).await.1)["total"]["spend_usd"].clone();
    let sum = |costs: Vec<String>| {
        let usd = |text: &String| tollgate::domain::money::Usd::parse(text).unwrap();
        Value::from(costs.iter().map(usd).sum::<tollgate::domain::money::Usd>().fixed())
    };
    let lines = run(&folder, &format!("report --rows {FILE}")).await.1;
    assert_eq!(sum(lines.lines().map(|line| json(line)["cost_usd"].as_str().unwrap().to_owned()).collect()), total);
    let cells = |text: &str, place: usize| {
        text.split_terminator("\r\n")
            .skip(1)
            .map(|line| line.split(',').nth(place).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let csv = run(&folder, &format!("report --rows --format csv {FILE}")).await.1;
    let place = csv.lines().next().unwrap().split(',').position(|name| name == "cost_usd").unwrap();
    assert_eq!(sum(cells(&csv, place)), total);
    let focus = run(&folder, &format!("report --format focus {FILE}")).await;
    assert_eq!(sum(cells(&focus.1, 0)), total, "{}", focus.2);
}
