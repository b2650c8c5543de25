//! The keys of `[upstreams.NAME]` that say what is done where it fails, is slow or stays silent.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::server::seconds;
use crate::config::read::Section;
use crate::config::resilience::{Breaking, Patience, Retries};
use crate::domain::operation::Dialect;

/// Claude Code warns its user after 20 s without a byte, and Anthropic's own pings come about every 30 s (FIELD-NOTES 49).
const ANTHROPIC_KEEP_ALIVE_S: u64 = 15;

pub(super) fn retries(section: &Section<'_>) -> Retries {
    Retries {
        max: number32(section, "retries", 2, 0..=10),
        wait_max: seconds(section, "retry_wait_s_max", 10),
        budget_percent: section.number("retry_budget_percent", 10, 0..=100),
        unanswered: section.flag("retry_unanswered", false),
    }
}

pub(super) fn breaking(section: &Section<'_>) -> Breaking {
    Breaking {
        failures: number32(section, "breaker_failures", 5, 0..=1_000_000),
        window: seconds(section, "breaker_window_s", 30),
        cooldown: seconds(section, "breaker_cooldown_s", 60),
    }
}

pub(super) fn patience(section: &Section<'_>, dialect: Dialect) -> Patience {
    let default_s = if dialect == Dialect::Anthropic { ANTHROPIC_KEEP_ALIVE_S } else { 0 };
    let keep_alive_s = section.number("keep_alive_s", default_s, 0..=3_600);
    if dialect == Dialect::Gemini && keep_alive_s > 0 {
        section.complain("keep_alive_s", "Google's SDKs take anything but data for an error, so that there is none");
    }
    Patience {
        answer: seconds(section, "total_timeout_s", 120),
        thinking: seconds(section, "thinking_timeout_s", 600),
        other: seconds(section, "other_timeout_s", 30),
        keep_alive: (keep_alive_s > 0).then(|| Duration::from_secs(keep_alive_s)),
    }
}

fn number32(section: &Section<'_>, key: &str, default: u64, range: RangeInclusive<u64>) -> u32 {
    u32::try_from(section.number(key, default, range)).unwrap_or(u32::MAX)
}
