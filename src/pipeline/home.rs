//! Home: whether a request without a key comes from a program on this machine.
//!
//! A connection over loopback alone does not say so. A web page that somebody reads here can make the browser ask
//! `http://127.0.0.1:4000` too, a foreign DNS server can point its name here, and a proxy on this machine passes on
//! what comes from elsewhere.
//!
//! Invariant: whoever may set none of these headers wrongly gets in: programs send no `Origin`, and a `Host` that
//! names this machine.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, VIA};
use http::request::Parts;
use http::uri::Authority;

/// Headers by which proxies say for whom they ask.
static PASSED_ON: [HeaderName; 4] =
    [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// How containers of Docker Desktop call their host.
const DOCKER_HOST: &str = "host.docker.internal";

/// Whether the request of `peer` is made by a program here.
pub fn is_from_here(peer: IpAddr, head: &Parts) -> bool {
    peer.to_canonical().is_loopback()
        && !PASSED_ON.iter().any(|name| head.headers.contains_key(name))
        && all(&head.headers, &HOST, |host| host.parse().is_ok_and(|authority| is_here(&authority)))
        && head.uri.authority().is_none_or(is_here)
        && all(&head.headers, &ORIGIN, is_page_here)
}

/// Whether every value of a header is as it should be.
fn all(headers: &HeaderMap, name: &HeaderName, is_right: impl Fn(&str) -> bool) -> bool {
    let is_right = |value: &HeaderValue| value.to_str().is_ok_and(&is_right);
    headers.get_all(name).iter().all(is_right)
}

/// Whether a page that was served by this machine asks.
fn is_page_here(origin: &str) -> bool {
    let authority = origin.split_once("://").and_then(|(_, rest)| rest.parse::<Authority>().ok());
    authority.is_some_and(|authority| is_here(&authority))
}

/// Whether nobody elsewhere can have pointed the name here: names without a dot are those of this machine's own network.
fn is_here(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
        Err(_) => !host.contains('.') || host.eq_ignore_ascii_case(DOCKER_HOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, headers: &[(&str, &str)], expect: bool) {
        let mut request = http::Request::builder().uri("/v1/models");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(is_from_here(peer.parse().unwrap(), &head), expect, "{peer} {headers:?}");
    }

    #[test]
    fn programs_here_are_let_in() {
        for host in ["127.0.0.1:4000", "localhost:4000", "LOCALHOST", "tollgate", "[::1]:4000", "0.0.0.0:4000"] {
            check("127.0.0.1", &[("host", host)], true);
        }
        check("::1", &[], true);
        check("::ffff:127.0.0.1", &[("host", "host.docker.internal:4000")], true);
        check("127.0.0.1", &[("host", "localhost:4000"), ("origin", "http://localhost:3000")], true);
    }

    #[test]
    fn pages_names_and_proxies_are_not() {
        check("192.0.2.1", &[("host", "localhost")], false);
        check("127.0.0.1", &[("host", "evil.example:4000")], false);
        check("127.0.0.1", &[("host", "evil.")], false);
        check("127.0.0.1", &[("host", "192.0.2.1")], false);
        check("127.0.0.1", &[("host", "localhost"), ("host", "evil.example")], false);
        check("127.0.0.1", &[("host", "localhost.evil.example")], false);
        check("127.0.0.1", &[("host", "localhost"), ("origin", "https://evil.example")], false);
        check("127.0.0.1", &[("host", "localhost"), ("origin", "null")], false);
        for name in ["x-forwarded-for", "forwarded", "via", "x-real-ip"] {
            check("127.0.0.1", &[("host", "localhost"), (name, "for=192.0.2.1")], false);
        }
    }
}
