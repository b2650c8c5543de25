//! `/admin/v1/alerts`: the last alerts, and their counts for Prometheus.

use super::{Answer, reply};
use crate::app::App;
use crate::telemetry::family::{Title, write_label, write_sample};

/// Answers with the last alerts, the newest first.
#[must_use]
pub fn answer(app: &App) -> Answer {
    let mut out = String::from("{\"alerts\":[");
    for (place, alert) in app.alerts.shown().iter().enumerate() {
        out.push_str(if place == 0 { "\n" } else { ",\n" });
        alert.write_json(&mut out);
    }
    out.push_str("]}\n");
    reply::text(reply::JSON, out)
}

/// Appends the numbers of alerts.
pub fn write_metrics(app: &App, out: &mut String) {
    let title = |name, help| Title { name, kind: "counter", help };
    let name = "tollgate_alerts_total";
    title(name, "Alerts, by what was noticed").write(out);
    for (kind, count) in app.alerts.counts() {
        sample(name, "kind", kind.name(), count, out);
    }
    let name = "tollgate_webhook_deliveries_total";
    title(name, "Alerts for webhooks, by what became of them").write(out);
    for (result, count) in app.alerts.deliveries() {
        sample(name, "result", result, count, out);
    }
    let help = "Requests refused because the same had come again and again";
    title("tollgate_loop_refusals_total", help).write_alone(app.alerts.loops_refused(), out);
}

fn sample(name: &str, label: &str, value: &str, count: u64, out: &mut String) {
    let mut labels = String::new();
    write_label(label, value, &mut labels);
    write_sample(name, &labels, count, out);
}
