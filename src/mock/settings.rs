//! [`Settings`]: how an answer is paced, how long it is and what goes wrong with it.
//!
//! Set for all requests by `POST /_mock/config`, for one by `x-mock-*` headers, which win.
//!
//! Invariant: a name or a value that is not understood is told, never ignored: a test with a typo must not pass.

use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// The header prefix of every setting.
const PREFIX: &str = "x-mock-";

/// No wait is longer than this, in milliseconds.
const WAIT_MS_MAX: u64 = 3_600_000;

/// No answer is longer than this, in tokens.
const TOKENS_MAX: u64 = 1_000_000;

/// No stream has more text deltas than this.
const CHUNKS_MAX: usize = 100_000;

/// What a request or the operator of the mock asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `ttft-ms`: wait before a stream's first event.
    pub ttft_ms: u64,
    /// `chunk-ms`: wait between a stream's events.
    pub chunk_ms: u64,
    /// `latency-ms`: wait before the head of an answer.
    pub latency_ms: u64,
    /// `chunks`: text deltas in a stream.
    pub chunks: Option<usize>,
    /// `tokens`: how long the answer would like to be.
    pub tokens: Option<u64>,
    /// `reasoning-tokens`: how many tokens are thought before.
    pub reasoning_tokens: Option<u64>,
    /// `tool`: the tool that is called where the client leaves it open, or `none`; the client's first one if not said.
    pub tool: Option<String>,
    /// `served-model`: the model that answers and is billed; the one that was asked for if not said.
    pub served_model: Option<String>,
    /// `served-tier`: the service tier that is used instead of what was asked for; OpenAI's dialect.
    pub served_tier: Option<String>,
    /// `gate`: the gate before which an answer stops.
    pub gate: Option<String>,
    /// `gate-after`: how many events of a stream pass before the gate.
    pub gate_after: usize,
    /// `fault`: what goes wrong.
    pub fault: Option<Fault>,
    /// `fault-after`: how many events of a stream pass before it goes wrong; half of them if not said.
    pub fault_after: Option<usize>,
    /// `fault-every`: strikes each n-th request that carries the same `fault-key`.
    pub fault_every: Option<u64>,
    /// `fault-times`: strikes only the first n requests that carry the same `fault-key`.
    pub fault_times: Option<u64>,
    /// `fault-key`: what the two above count.
    pub fault_key: String,
    /// `fault-model`: strikes only models whose name starts so.
    pub fault_model: String,
    /// `retry-after`: this header on a failure, as given.
    pub retry_after: Option<String>,
}

/// What goes wrong, by its name in `x-mock-fault`. FAULTS in `faults.rs` says what each is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `400` to `599`: this status, with the provider's error body.
    Status(StatusCode),
    /// `hang`: reads the request and never answers.
    Hang,
    /// `hang-head`: sends the head and no body.
    HangHead,
    /// `reset-before`: TCP reset before the body of the request is read; from the config, before anything is.
    ResetBefore,
    /// `reset`: TCP reset after the request was read, before the head.
    Reset,
    /// `cut`: closes in the middle of the body, without its end.
    Cut,
    /// `reset-mid`: TCP reset in the middle of the body.
    ResetMid,
    /// `stall`: stops in the middle of the body and stays open.
    Stall,
    /// `drip`: one byte at a time.
    Drip,
    /// `garbage`: status 200 and a body that is neither JSON nor events.
    Garbage,
    /// `wrong-length`: a content-length that is larger than the body.
    WrongLength,
    /// `error-in-stream`: the provider's error inside a 200.
    ErrorInStream,
    /// `no-usage`: the answer does not say its usage.
    NoUsage,
    /// `truncated-json`: half a body, framed as if it were whole.
    TruncatedJson,
    /// `gzip`, `deflate`, `zstd`: a compressed answer, asked for or not.
    Encoded(Coding),
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, as `content-encoding: deflate` means it.
    Deflate,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The word in `content-encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

impl Settings {
    /// These settings with what the headers of a request change; `Err` names what was not understood.
    pub fn with_headers(&self, headers: &HeaderMap) -> Result<Self, String> {
        let mut settings = self.clone();
        for (name, value) in headers {
            if let Some(name) = name.as_str().strip_prefix(PREFIX) {
                let value = value.to_str().map_err(|_| format!("{PREFIX}{name} is not text"))?;
                settings.set(name, value)?;
            }
        }
        Ok(settings)
    }

    /// These settings with what a JSON object of names and values changes; null takes a value back.
    pub fn with_json(&self, json: &serde_json::Value) -> Result<Self, String> {
        let object = json.as_object().ok_or("the settings are not an object")?;
        let mut settings = self.clone();
        for (name, value) in object {
            let text = match value {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            settings.set(&name.replace('_', "-"), &text)?;
        }
        Ok(settings)
    }

    /// How long to wait before the head.
    pub const fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms)
    }

    /// Text deltas in each of `count` answers.
    pub fn chunks_each(&self, count: u64) -> Option<usize> {
        let share = CHUNKS_MAX / usize::try_from(count.max(1)).unwrap_or(usize::MAX);
        self.chunks.map(|chunks| chunks.min(share))
    }

    /// Sets one; an empty value takes it back.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || match value {
            "" => Ok(None),
            digits => digits.parse::<u64>().map(Some).map_err(|_| format!("{name}: \"{value}\" is not a number")),
        };
        let wait_ms = || number().map(|ms| ms.unwrap_or(0).min(WAIT_MS_MAX));
        let count = || number().map(|count| count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)));
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match name {
            "ttft-ms" => self.ttft_ms = wait_ms()?,
            "chunk-ms" => self.chunk_ms = wait_ms()?,
            "latency-ms" => self.latency_ms = wait_ms()?,
            "chunks" => self.chunks = count()?,
            "tokens" => self.tokens = number()?.map(|tokens| tokens.min(TOKENS_MAX)),
            "reasoning-tokens" => self.reasoning_tokens = number()?.map(|tokens| tokens.min(TOKENS_MAX)),
            "tool" => self.tool = text(),
            "served-model" => self.served_model = text(),
            "served-tier" => self.served_tier = text(),
            "gate" => self.gate = text(),
            "gate-after" => self.gate_after = count()?.unwrap_or(0),
            "fault" => self.fault = Fault::parse(value)?,
            "fault-after" => self.fault_after = count()?,
            "fault-every" => self.fault_every = number()?,
            "fault-times" => self.fault_times = number()?,
            "fault-key" => value.clone_into(&mut self.fault_key),
            "fault-model" => value.clone_into(&mut self.fault_model),
            "retry-after" => self.retry_after = text(),
            unknown => return Err(format!("\"{unknown}\" is no setting of the mock provider")),
        }
        Ok(())
    }
}

impl Fault {
    /// Reads a fault's name; `none` and nothing are no fault.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        Ok(Some(match text {
            "" | "none" => return Ok(None),
            "hang" => Self::Hang,
            "hang-head" => Self::HangHead,
            "reset-before" => Self::ResetBefore,
            "reset" => Self::Reset,
            "cut" => Self::Cut,
            "reset-mid" => Self::ResetMid,
            "stall" => Self::Stall,
            "drip" => Self::Drip,
            "garbage" => Self::Garbage,
            "wrong-length" => Self::WrongLength,
            "error-in-stream" => Self::ErrorInStream,
            "no-usage" => Self::NoUsage,
            "truncated-json" => Self::TruncatedJson,
            "gzip" => Self::Encoded(Coding::Gzip),
            "deflate" => Self::Encoded(Coding::Deflate),
            "zstd" => Self::Encoded(Coding::Zstd),
            status => match status.parse::<u16>() {
                Ok(code @ 400..=599) => Self::Status(StatusCode::from_u16(code).map_err(|why| why.to_string())?),
                Ok(_) | Err(_) => return Err(format!("fault: \"{status}\" is no fault of the mock provider")),
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&str, &str)], expect: Result<Settings, &str>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        assert_eq!(Settings::default().with_headers(&map), expect.map_err(str::to_owned), "{headers:?}");
    }

    #[test]
    fn headers_set_and_typos_are_told() {
        check(&[("accept", "x")], Ok(Settings::default()));
        let status = Fault::Status(StatusCode::from_u16(529).unwrap());
        check(&[("x-mock-fault", "529")], Ok(Settings { fault: Some(status), ..Settings::default() }));
        check(&[("x-mock-chunk-ms", "7")], Ok(Settings { chunk_ms: 7, ..Settings::default() }));
        check(&[("x-mock-fault", "200")], Err("fault: \"200\" is no fault of the mock provider"));
        check(&[("x-mock-fualt", "cut")], Err("\"fualt\" is no setting of the mock provider"));
        check(&[("x-mock-tokens", "-1")], Err("tokens: \"-1\" is not a number"));
    }

    #[test]
    fn null_takes_a_setting_back() {
        let set = Settings::default().with_json(&serde_json::json!({"fault": "cut", "chunk_ms": 3})).unwrap();
        assert_eq!((set.fault, set.chunk_ms), (Some(Fault::Cut), 3));
        let back = set.with_json(&serde_json::json!({"fault": null, "chunk_ms": null})).unwrap();
        assert_eq!(back, Settings::default());
    }
}
