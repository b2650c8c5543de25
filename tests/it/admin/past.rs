//! The past stays what it was: reports after a price change, what the present book would say, and every single line.

use http::{Method, Request, StatusCode};
use serde_json::Value;
use tollgate::domain::money::Usd;

use super::CONFIG;
use super::commands::run;
use super::ledger::{closing, entry};
use crate::harness::app;
use crate::world::{Answer, World};

/// The model of these requests at ten times its price, and at none.
const DEARER: &str = "\n[prices.\"gpt-4o-mini\"]\ninput = \"1.50\"\noutput = \"6.00\"\ncache_read = \"0.75\"\n";

async fn get(world: &World, target: &str) -> Answer {
    let token = std::fs::read_to_string(world.folder.path().join("admin-token")).unwrap();
    let request = Request::builder().method(Method::GET).uri(format!("http://{}{target}", world.admin));
    let request = request.header("authorization", format!("Bearer {}", token.trim()));
    let answer = world.send(request.body(http_body_util::Full::default()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer
}

async fn report(world: &World, query: &str) -> Value {
    serde_json::from_str(get(world, &format!("/admin/v1/report?{query}")).await.text()).unwrap()
}

fn usd(value: &Value) -> Usd {
    Usd::parse(value.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_price_change_leaves_the_past_as_it_was() {
    let world = World::start("").await;
    for stream in [false, true] {
        let body = format!(
            "{{\"model\":\"gpt-4o-mini\",\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}"
        );
        let answer = world.send(world.post("/v1/chat/completions", body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    let refused = world.send(world.post("/v1/chat/completions", "{}")).await;
    assert_ne!(refused.status, StatusCode::OK);
    world.settled().await;
    let past = report(&world, "by=model,team").await;
    assert!(usd(&past["total"]["spend_usd"]) > Usd::ZERO);
    // At the same prices the book says what was charged.
    let same = report(&world, "by=model,team&reprice=true").await;
    let total = &same["total"];
    assert_eq!(
        (&total["spend_usd"], &total["repriced_usd"]),
        (&past["total"]["spend_usd"], &past["total"]["spend_usd"])
    );
    assert_eq!((total["repriced_change_usd"].as_str(), &total["repriced_unpriced_requests"]), (Some("0"), &0.into()));
    let later = world.again(DEARER).await;
    assert_eq!(report(&later, "by=model,team").await, past);
    let repriced = report(&later, "by=model,team&reprice=true").await;
    for (now, then) in repriced["rows"].as_array().unwrap().iter().zip(past["rows"].as_array().unwrap()) {
        assert_eq!(now["spend_usd"], then["spend_usd"]);
        assert_eq!(usd(&now["repriced_usd"]).pico(), 10 * usd(&then["spend_usd"]).pico(), "{now}");
        assert_eq!(usd(&now["repriced_change_usd"]).pico(), 9 * usd(&then["spend_usd"]).pico());
    }
    let table = get(&later, "/admin/v1/report?format=table&reprice=true").await;
    assert!(table.text().contains("repriced USD") && table.text().contains("change USD"), "{}", table.text());
    let csv = get(&later, "/admin/v1/report?format=csv&reprice=true").await;
    assert!(
        csv.text().lines().next().unwrap().ends_with(",repriced_usd,repriced_change_usd,repriced_unpriced_requests")
    );
}

#[tokio::test]
async fn every_line_is_told_over_both_ways_and_they_add_up_to_the_net() {
    let house = app(CONFIG);
    let folder = house.folder.path().to_owned();
    // More than fits one part of an answer.
    for number in 0..300_usize {
        let team = ["search", "chat", ""][number % 3];
        house.settle(entry(team, number as u64), closing(number as u128 * 1_000_000_007)).await;
    }
    house.app.bank.flush().await.unwrap();
    let file = "--config tollgate.toml";
    for (direction, amount) in [("charge", "0.5"), ("credit", "0.125")] {
        let asked =
            serde_json::json!({"direction": direction, "amount_usd": amount, "actor": "ada", "reason": "a, \"b\""});
        let request = Request::post("/admin/v1/adjustments")
            .header("host", "127.0.0.1:4001")
            .header("authorization", format!("Bearer {}", crate::harness::TOKEN))
            .body(http_body_util::Full::new(bytes::Bytes::from(asked.to_string())))
            .unwrap();
        let door = tollgate::admin::Door::Tcp { peer: [127, 0, 0, 1].into() };
        assert_eq!(tollgate::admin::answer(&house.app, door, request).await.status(), StatusCode::CREATED);
    }
    let (_, report) = house.get("/admin/v1/report").await;
    let report: Value = serde_json::from_str(&report).unwrap();
    let net = usd(&report["total"]["net_usd"]);
    for (format, target) in [("json", "/admin/v1/report?rows=json"), ("csv", "/admin/v1/report?rows=csv")] {
        let (status, served) = house.get(target).await;
        let (exit, printed, talk) = run(&folder, &format!("report --rows --format {format} {file}")).await;
        assert_eq!((status, exit, talk.as_str()), (StatusCode::OK, 0, ""));
        assert_eq!(served, printed, "{format}");
        let (mut more, mut less) = (Usd::ZERO, Usd::ZERO);
        for line in served.lines().skip(usize::from(format == "csv")) {
            let signed = match format {
                "csv" => line.rsplit(',').next().unwrap().trim().to_owned(),
                _ => {
                    let line: Value = serde_json::from_str(line).unwrap();
                    let sign = if line["direction"] == "credit" { "-" } else { "" };
                    let amount = line.get("cost_usd").or(line.get("amount_usd")).unwrap();
                    format!("{sign}{}", amount.as_str().unwrap())
                }
            };
            match signed.strip_prefix('-') {
                Some(amount) => less = less.plus(Usd::parse(amount).unwrap()),
                None => more = more.plus(Usd::parse(&signed).unwrap()),
            }
        }
        assert_eq!(more.less(less), net, "{format}");
        assert_eq!(served.lines().count(), 302 + usize::from(format == "csv"));
    }
    // Of a time without lines there are none, and of a part of the time its part.
    assert_eq!(house.get("/admin/v1/report?rows=json&until=1980-01-01").await.1, "");
    let (status, refused) = house.get("/admin/v1/report?rows=json&by=team").await;
    assert!(status == StatusCode::BAD_REQUEST && refused.contains("rows are single lines"), "{refused}");
}
