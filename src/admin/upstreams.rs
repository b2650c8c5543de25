//! How the upstreams fare, as far as requests have found out: breakers in the readiness and in the numbers.
//!
//! An upstream that fails does not make this process unready: others may serve, and it may be back any moment.

use crate::app::App;
use crate::domain::json_text::Object;
use crate::telemetry::family::{Title, write_label, write_sample};
use crate::upstream::breaker::State;
use crate::upstream::credentials::Credential;

/// The models that fail, as a member of the readiness.
pub fn describe(app: &App, object: &mut Object<'_>) {
    let now_us = app.clock.ticks_us();
    let mut list = object.list("breakers");
    for provider in &app.snapshot.load().providers {
        for (model, state) in provider.breakers.states(now_us) {
            let mut row = list.object();
            row.text("upstream", &provider.config.name).text("model", &model).text("state", state.name());
        }
    }
    drop(list);
    let mut list = object.list("credentials");
    for provider in &app.snapshot.load().providers {
        for credential in provider.credentials.iter() {
            for (model, rest) in credential.rests(now_us) {
                let mut row = list.object();
                row.text("upstream", &provider.config.name).number("credential", credential.number() as u64);
                row.text("model", &model).text("rests", rest.why.name());
                row.number("for_s", (rest.until_us - now_us).div_ceil(1_000_000));
            }
        }
    }
}

/// Appends the numbers of breakers.
pub fn write_metrics(app: &App, out: &mut String) {
    let (now_us, snapshot) = (app.clock.ticks_us(), app.snapshot.load());
    let help = "1 while nobody is sent to the model, 0.5 while single requests find out whether it is back";
    Title { name: "tollgate_breaker_open", kind: "gauge", help }.write(out);
    for provider in &snapshot.providers {
        for (model, state) in provider.breakers.states(now_us) {
            let mut labels = String::new();
            write_label("upstream", &provider.config.name, &mut labels);
            labels.push(',');
            write_label("model", &model, &mut labels);
            let value = match state {
                State::Closed => "0",
                State::HalfOpen => "0.5",
                State::Open => "1",
            };
            write_sample("tollgate_breaker_open", &labels, value, out);
        }
    }
    let help = "How often a model was left alone because it failed, since the config was loaded";
    Title { name: "tollgate_breaker_opened", kind: "gauge", help }.write(out);
    for provider in &snapshot.providers {
        let mut labels = String::new();
        write_label("upstream", &provider.config.name, &mut labels);
        write_sample("tollgate_breaker_opened", &labels, provider.breakers.opened(), out);
    }
    write_credentials(app, now_us, out);
}

fn write_credentials(app: &App, now_us: u64, out: &mut String) {
    let snapshot = app.snapshot.load();
    let each = |name: &'static str, kind, help, value: &dyn Fn(&Credential) -> u64, out: &mut String| {
        Title { name, kind, help }.write(out);
        for provider in &snapshot.providers {
            for credential in provider.credentials.iter() {
                let mut labels = String::new();
                write_label("upstream", &provider.config.name, &mut labels);
                labels.push(',');
                write_label("credential", &credential.number().to_string(), &mut labels);
                write_sample(name, &labels, value(credential), out);
            }
        }
    };
    let help = "Models that a credential is left alone for, by its place in the config";
    each("tollgate_credential_resting", "gauge", help, &|it| it.rests(now_us).len() as u64, out);
    let help = "How often a credential was left alone, since the config was loaded";
    each("tollgate_credential_rests", "counter", help, &Credential::begun, out);
    let help = "Requests that a credential is used for";
    each("tollgate_credential_busy", "gauge", help, &|it| it.busy() as u64, out);
}
