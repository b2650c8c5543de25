//! `/admin/v1/caps`: every window of every scope with a cap, as it stands now, and the same as numbers for Prometheus.

use super::{Answer, reply};
use crate::app::App;
use crate::bank::local::Standing;
use crate::domain::calendar::instant;
use crate::domain::json_text::Object;
use crate::domain::money::Usd;
use crate::telemetry::family::{Title, write_label, write_sample};

/// A number of a window: its name, its help, and where it stands.
type Column = (&'static str, &'static str, fn(&Standing) -> Usd);

/// Answers with spent, held, cap and reset of each.
#[must_use]
pub fn answer(app: &App) -> Answer {
    reply::text(reply::JSON, list(&app.bank.standings()))
}

/// Every window of `standings` as JSON.
#[must_use]
pub fn list(standings: &[Standing]) -> String {
    let mut out = String::new();
    {
        let mut object = Object::open(&mut out);
        let mut list = object.list("caps");
        for standing in standings {
            let resets = standing.resets_ms.map(instant);
            let mut row = list.object();
            row.text("scope", standing.scope.kind()).text("name", standing.scope.name());
            row.text("window", &standing.window.to_string()).text("cap_usd", &standing.cap.to_string());
            row.text("spent_usd", &standing.spent.to_string()).text("held_usd", &standing.held.to_string());
            row.text("left_usd", &standing.cap.less(standing.spent).less(standing.held).to_string());
            row.text_or_null("resets_at", resets.as_deref());
        }
    }
    out + "\n"
}

/// Appends the numbers of caps.
pub fn write_metrics(app: &App, out: &mut String) {
    let standings = app.bank.standings();
    let columns: [Column; 3] = [
        ("tollgate_cap_limit_usd", "What may be spent in the window", |standing| standing.cap),
        ("tollgate_cap_spent_usd", "What was spent in the window", |standing| standing.spent),
        ("tollgate_cap_held_usd", "What requests in flight may yet cost", |standing| standing.held),
    ];
    for (name, help, of) in columns {
        Title { name, kind: "gauge", help }.write(out);
        for standing in &standings {
            let mut labels = String::new();
            write_label("scope", standing.scope.kind(), &mut labels);
            labels.push(',');
            write_label("name", standing.scope.name(), &mut labels);
            labels.push(',');
            write_label("window", &standing.window.to_string(), &mut labels);
            write_sample(name, &labels, of(standing), out);
        }
    }
    let help = "Requests that a dead process left open and that have no entry yet; caps count them at their quotes";
    Title { name: "tollgate_requests_left_open", kind: "gauge", help }.write_alone(app.bank.left_open(), out);
    let counter = |name, help| Title { name, kind: "counter", help };
    counter("tollgate_unwritten_requests_total", "Requests that could not be written down since the start")
        .write_alone(app.bank.unwritten(), out);
    let [refusals, overruns, cuts, downgrades] = app.bank.cap_counts();
    counter("tollgate_cap_refusals_total", "Requests refused for a spend cap").write_alone(refusals, out);
    counter("tollgate_overruns_total", "Charges above what was held for them").write_alone(overruns, out);
    counter("tollgate_metered_cuts_total", "Streams cut where a metered cap had no room").write_alone(cuts, out);
    counter("tollgate_cap_downgrades_total", "Requests sent for a cheaper model since a cap had no room for their own")
        .write_alone(downgrades, out);
    let overshoot = "What metered holds fell short of their charges";
    counter("tollgate_metered_overshoot_usd_total", overshoot).write_alone(app.bank.overshoot(), out);
}
