//! Webhooks: alerts on their way to other programs, signed, with retries, and never in a request's way.
//!
//! The signature is `x-tollgate-signature: t=SECONDS,v1=HEX`, where HEX is the HMAC-SHA256 of `SECONDS.BODY` with the
//! webhook's secret, so that a receiver can refuse what is old or not ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Limited};
use ring::hmac;
use tokio::sync::{Semaphore, mpsc};

use crate::clock::Clock;
use crate::config::BaseUrl;
use crate::config::alerts::{Shape, Webhook};
use crate::domain::alert::Alert;
use crate::upstream::client::{Client, ClientOptions, SetupError};
use crate::upstream::names::Names;
use crate::upstream::rope::Rope;

/// Alerts that wait to be sent; more are dropped and counted.
pub(super) const WAITING_MAX: usize = 1024;

/// How often one is sent before it is given up, with pauses of 1, 2, 4 and 8 seconds.
const TRIES_MAX: u32 = 5;

/// How long an answer may take.
const WAIT: Duration = Duration::from_secs(10);

/// Deliveries at once.
const DELIVERIES_MAX: usize = 16;

/// An answer is read this far, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What became of deliveries.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub delivered: AtomicU64,
    pub failed: AtomicU64,
    pub dropped: AtomicU64,
}

/// A webhook with its connections.
#[derive(Debug)]
pub(super) struct Line {
    config: Webhook,
    client: Client,
}

impl Line {
    pub(super) fn new(config: &Webhook) -> Result<Self, SetupError> {
        let (scheme, authority) = (config.uri.scheme().cloned(), config.uri.authority().cloned());
        let (Some(scheme), Some(authority)) = (scheme, authority) else {
            return Err("a webhook without a host".into());
        };
        let base = BaseUrl { scheme, authority, prefix: "".into() };
        let options = ClientOptions { connect_timeout: WAIT, idle_timeout: WAIT, idle_max: 1 };
        Ok(Self { config: config.clone(), client: Client::new(options, &base, &config.way, Names::System)? })
    }

    fn request(&self, alert: &Alert, now_s: u64) -> Request<Rope> {
        let mut body = String::new();
        match self.config.shape {
            Shape::Json => alert.write_json(&mut body),
            Shape::Slack => body = alert.slack(),
        }
        let signature = self.config.secret.as_ref().map(|secret| sign(secret.expose(), now_s, &body));
        let mut request = Request::new(Rope::new(vec![Bytes::from(body)]));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.config.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers
            .extend(signature.and_then(|text| HeaderValue::try_from(text).ok()).map(|text| (SIGNATURE.clone(), text)));
        request
    }

    /// Sends once; the error says nothing of the address, which may be a secret.
    async fn send(&self, alert: &Alert, now_s: u64) -> Result<(), String> {
        let exchange = async {
            let response = self.client.send(self.request(alert, now_s)).await.map_err(|_| "not reached".to_owned())?;
            let status = response.status();
            // Whatever it says, the status is the answer.
            let _read = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            if status.is_success() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
        };
        tokio::time::timeout(WAIT, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn deliver(&self, alert: &Alert, clock: &Clock, counts: &Counts) {
        let mut pause = Duration::from_secs(1);
        for number in 1..=TRIES_MAX {
            match self.send(alert, clock.now_ms() / 1000).await {
                Ok(()) => {
                    counts.delivered.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(why) if number == TRIES_MAX => {
                    tracing::warn!(
                        host = self.config.uri.host(),
                        why,
                        kind = alert.kind.name(),
                        "an alert was not taken"
                    );
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
        counts.failed.fetch_add(1, Ordering::Relaxed);
    }
}

static SIGNATURE: http::HeaderName = http::HeaderName::from_static("x-tollgate-signature");

fn sign(secret: &str, now_s: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{now_s}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={now_s},v1={hex}")
}

/// Sends what comes until nobody can send any more.
pub(super) async fn run(
    mut alerts: mpsc::Receiver<Alert>,
    lines: impl Fn() -> Arc<Vec<Arc<Line>>>,
    clock: Clock,
    counts: Arc<Counts>,
) {
    let places = Arc::new(Semaphore::new(DELIVERIES_MAX));
    while let Some(alert) = alerts.recv().await {
        let alert = Arc::new(alert);
        for line in lines().iter() {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let (line, alert, clock, counts) = (line.clone(), alert.clone(), clock.clone(), counts.clone());
            tokio::spawn(async move {
                line.deliver(&alert, &clock, &counts).await;
                drop(place);
            });
        }
    }
}
