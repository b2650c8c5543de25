//! [`Alert`]: something that an operator should know, and how it is told to people and to programs.
//!
//! It holds names and numbers, never a prompt, an argument or a secret.

use std::fmt;

use super::json_text::{Object, write_text};
use super::utc::Moment;

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Spend has reached a part of a cap.
    CapShare,
    /// A key spends far more in an hour than it does usually.
    UnusualSpend,
    /// A key's requests take far more tokens than they do usually.
    UnusualTokens,
    /// The same request comes again and again.
    Repeats,
    /// Answers are slow.
    Latency,
    /// Requests fail.
    Errors,
    /// A request fills much of its model's context window.
    Context,
    /// A request was expensive.
    RequestCost,
    /// Tools fail.
    ToolSuccess,
    /// Feedback calls few tasks good.
    Completion,
    /// Feedback calls many tasks escalated.
    Escalations,
}

/// One notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What was noticed.
    pub kind: Kind,
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// The kind of what it is about: a scope, `key`, or `all`.
    pub scope: &'static str,
    /// Its name; empty for all traffic and for the organisation.
    pub name: Box<str>,
    /// What is the case, as a sentence without a full stop.
    pub message: String,
    /// The number that was seen, with its unit in the message.
    pub value: String,
    /// The number that was expected at most, or at least.
    pub threshold: String,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::CapShare,
        Self::UnusualSpend,
        Self::UnusualTokens,
        Self::Repeats,
        Self::Latency,
        Self::Errors,
        Self::Context,
        Self::RequestCost,
        Self::ToolSuccess,
        Self::Completion,
        Self::Escalations,
    ];

    /// The word in logs, metrics and webhooks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CapShare => "cap_share",
            Self::UnusualSpend => "unusual_spend",
            Self::UnusualTokens => "unusual_tokens",
            Self::Repeats => "repeats",
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::Context => "context",
            Self::RequestCost => "request_cost",
            Self::ToolSuccess => "tool_success",
            Self::Completion => "completion",
            Self::Escalations => "escalations",
        }
    }
}

impl Alert {
    /// Appends it as one JSON object.
    pub fn write_json(&self, out: &mut String) {
        let mut object = Object::open(out);
        object.text("event", "alert").text("kind", self.kind.name()).shown("at", Moment(self.at_ms));
        object.text("scope", self.scope).text("name", &self.name).text("message", &self.message);
        object.text("value", &self.value).text("threshold", &self.threshold);
    }

    /// It as Slack takes it (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).
    #[must_use]
    pub fn slack(&self) -> String {
        // Slack reads these three as markup (<https://docs.slack.dev/messaging/formatting-message-text#escaping>).
        let text = self.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let mut out = String::from("{\"text\":");
        write_text(&mut out, &text);
        out.push('}');
        out
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tollgate: {}", self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_a_message() {
        let alert = Alert {
            kind: Kind::Repeats,
            at_ms: 0,
            scope: "key",
            name: "<a>\"\n".into(),
            message: "the key \"<a>\\\"\\n\" repeats".to_owned(),
            value: "9".to_owned(),
            threshold: "8".to_owned(),
        };
        let slack: serde_json::Value = serde_json::from_str(&alert.slack()).unwrap();
        assert_eq!(slack["text"], "Tollgate: the key \"&lt;a&gt;\\\"\\n\" repeats");
        let mut json = String::new();
        alert.write_json(&mut json);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["name"], &json["at"]), (&"<a>\"\n".into(), &"1970-01-01T00:00:00.000Z".into()));
    }
}
