//! `[server]`, `[store]`, `[money]` and `[log]`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::Setting;
use super::connections::{mode, server_tls, unix_path};
use super::words::{ANONYMOUS, LOG_FORMAT, LOG_LEVEL, ON_CLIENT_ABORT, UNKNOWN_PATHS};
use crate::config::connections::Listen;
use crate::config::parts::{Anonymous, Log, LogFormat, LogLevel, Money, OnClientAbort, Server, Store, UnknownPaths};
use crate::config::read::Section;
use crate::config::schema::{LOG, MONEY, SERVER, STORE};
use crate::domain::cap::Share;

/// Bytes in a mebibyte.
const MIB: u64 = 1 << 20;

/// The longest wait that can be configured: a day.
const WAIT_S: RangeInclusive<u64> = 1..=86_400;

/// Shorter admin tokens can be guessed.
const ADMIN_TOKEN_BYTES_MIN: usize = 16;

pub(super) fn server(root: &Section<'_>, setting: &Setting<'_>) -> Server {
    let section = root.section("server", &SERVER);
    let anonymous = if setting.without_file { Anonymous::Loopback } else { Anonymous::Off };
    let admin_token = setting.vault.secret(&section, "admin_token");
    if admin_token.as_ref().is_some_and(|token| token.expose().len() < ADMIN_TOKEN_BYTES_MIN) {
        section.complain("admin_token", format!("must have at least {ADMIN_TOKEN_BYTES_MIN} bytes"));
    }
    let listen = listen(&section);
    let tls = server_tls(&section, &listen, &setting.vault);
    let server = Server {
        listen,
        tls,
        socket_mode: section.parsed("socket_mode", mode).unwrap_or(0o600),
        admin_listen: address(&section, "admin_listen", 4001),
        admin_token,
        allow_passthrough_credentials: section.flag("allow_passthrough_credentials", true),
        anonymous: section.choice("anonymous", &ANONYMOUS, anonymous),
        unknown_paths: section.choice("unknown_paths", &UNKNOWN_PATHS, UnknownPaths::Refuse),
        body_limit_bytes: section.number("body_limit_mib", 64, 1..=1024) * MIB,
        body_memory_bytes: section.number("body_memory_mib", 512, 1..=1 << 20) * MIB,
        body_timeout: seconds(&section, "body_timeout_s", 60),
        connections_max: count(&section, "connections_max", 10_000, 1..=1_000_000),
        in_flight_max: some_if_positive(count(&section, "in_flight_max", 10_000, 0..=1_000_000)),
        queue_max: count(&section, "queue_max", 1_000, 0..=1_000_000),
        queue_wait: seconds(&section, "queue_wait_s", 5),
        header_timeout: seconds(&section, "header_timeout_s", 75),
        header_bytes_max: count(&section, "header_bytes_max", 65_536, 8_192..=1_048_576),
        http2_streams_max: u32::try_from(section.number("http2_streams_max", 128, 1..=10_000)).unwrap_or(u32::MAX),
        write_timeout: seconds(&section, "write_timeout_s", 300),
        drain: Duration::from_secs(section.number("drain_s", 600, 0..=86_400)),
        threads: some_if_positive(count(&section, "threads", 0, 0..=1024)),
    };
    check_bounds(&section, &server);
    check_callers(&section, &server, root.find("keys").is_none());
    server
}

pub(super) fn store(root: &Section<'_>) -> Store {
    let section = root.section("store", &STORE);
    let path = section.text("path").unwrap_or("data");
    if path.is_empty() {
        section.complain("path", "must name a folder");
    }
    Store {
        path: path.into(),
        lock_wait: Duration::from_secs(section.number("lock_wait_s", 5, 0..=3_600)),
        sync_interval: Duration::from_millis(section.number("sync_interval_ms", 5, 0..=1_000)),
        segment_bytes: section.number("segment_mib", 64, 1..=4_096) * MIB,
        unsynced_records_max: count(&section, "unsynced_records_max", 65_536, 1_024..=4_194_304),
        retention_days: u32::try_from(section.number("retention_days", 0, 0..=36_500)).ok().filter(|days| *days > 0),
    }
}

pub(super) fn money(root: &Section<'_>) -> Money {
    let section = root.section("money", &MONEY);
    let zone = |name: &str| {
        TimeZone::get(name).map_err(|_| "not a time zone; use an IANA name such as \"Europe/Berlin\"".to_owned())
    };
    let refusal_status = section.number("refusal_status", 400, 400..=429);
    if ![400, 402, 403, 429].contains(&refusal_status) {
        section.complain("refusal_status", "must be 400, 402, 403 or 429");
    }
    Money {
        refusal_status: u16::try_from(refusal_status).unwrap_or(400),
        time_zone: section.parsed("time_zone", zone).unwrap_or(TimeZone::UTC),
        on_client_abort: section.choice("on_client_abort", &ON_CLIENT_ABORT, OnClientAbort::Drain),
        drain_max: seconds(&section, "drain_s_max", 120),
        drain_bytes_max: section.number("drain_mib_max", 8, 1..=1024) * MIB,
        hold_expiry: Duration::from_secs(section.number("hold_expiry_s", 900, 0..=86_400)),
        metered_tokens: section.number("metered_tokens", 1_024, 64..=1_000_000),
        unsynced_share: section.decimal("unsynced_share", Share::parse).unwrap_or_default(),
    }
}

pub(super) fn log(root: &Section<'_>) -> Log {
    let section = root.section("log", &LOG);
    Log {
        format: section.choice("format", &LOG_FORMAT, LogFormat::Json),
        level: section.choice("level", &LOG_LEVEL, LogLevel::Info),
        path: section.text("path").filter(|path| !path.is_empty()).map(Into::into),
    }
}

fn check_bounds(section: &Section<'_>, server: &Server) {
    if server.body_memory_bytes < server.body_limit_bytes {
        section.complain("body_memory_mib", "must be at least body_limit_mib, or the largest body is never read");
    }
    let same = server.listen.address().filter(|listen| listen.port() != 0 && *listen == server.admin_listen);
    if same.is_some() {
        section.complain("admin_listen", "the same address as server.listen; clients and admins need one each");
    }
}

/// A client address that the network can reach needs somebody who may call.
fn check_callers(section: &Section<'_>, server: &Server, no_keys: bool) {
    if !server.listen.is_local() && no_keys && !server.allow_passthrough_credentials {
        let message = "this address is reachable from other machines, but nobody there could call: \
                       add a [keys.NAME], or set allow_passthrough_credentials = true";
        section.complain("listen", message);
    }
    let from_here = server.listen.is_local() || server.listen.address().is_some_and(|at| at.ip().is_unspecified());
    if server.anonymous == Anonymous::Loopback && !from_here {
        let message = "\"loopback\" could never apply: server.listen takes no connections over the loopback address";
        section.complain("anonymous", message);
    }
}

fn listen(section: &Section<'_>) -> Listen {
    match section.find("listen").and_then(|node| node.value.text()).and_then(unix_path) {
        Some(Ok(listen)) => listen,
        Some(Err(message)) => {
            section.complain("listen", message);
            Listen::Unix(PathBuf::new())
        }
        None => Listen::Tcp(address(section, "listen", 4000)),
    }
}

fn address(section: &Section<'_>, key: &str, port: u16) -> SocketAddr {
    let parse = |text: &str| {
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        numeric.as_deref().unwrap_or(text).parse::<SocketAddr>().map_err(|_| {
            format!("not an address and a port, such as \"127.0.0.1:{port}\" or \"0.0.0.0:{port}\" for every interface")
        })
    };
    section.parsed(key, parse).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)))
}

pub(super) fn seconds(section: &Section<'_>, key: &str, default: u64) -> Duration {
    Duration::from_secs(section.number(key, default, WAIT_S))
}

pub(super) fn count(section: &Section<'_>, key: &str, default: u64, range: RangeInclusive<u64>) -> usize {
    usize::try_from(section.number(key, default, range)).unwrap_or(usize::MAX)
}

fn some_if_positive(count: usize) -> Option<usize> {
    Some(count).filter(|count| *count > 0)
}
