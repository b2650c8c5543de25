//! `tollgate health`: whether a Tollgate is live, for containers that have no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::{StatusCode, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::args::{EXIT_FAILED, EXIT_OK, EXIT_USAGE, Health};
use super::{control, load_without_secrets, tell};
use crate::config::Server;

/// The longest wait for the answer; a container's own limit is usually longer.
const WAIT: Duration = Duration::from_secs(3);

/// Whom to ask for what.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    path: String,
}

/// Asks, and returns the exit code.
pub async fn run(args: &Health) -> u8 {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => match load_without_secrets(&args.config) {
            Ok(config) => format!("http://{}", reachable(plain(&config.server))),
            Err(exit) => return exit,
        },
    };
    let Some(target) = Target::of(&url) else {
        tell(&format!("{url:?} is no address; an example is http://127.0.0.1:4000"));
        return EXIT_USAGE;
    };
    match timeout(WAIT, ask(&target)).await {
        Ok(Ok(StatusCode::OK)) => return EXIT_OK,
        Ok(Ok(status)) => tell(&format!("{url} is not live: it answered {status}")),
        Ok(Err(error)) => tell(&format!("{url} is not live: {error}")),
        Err(_) => tell(&format!("{url} is not live: no answer within {} s", WAIT.as_secs())),
    }
    EXIT_FAILED
}

async fn ask(target: &Target) -> Result<StatusCode, control::NoAnswer> {
    let bare = target.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, target.port)).await?;
    let host = format!("{}:{}", target.host, target.port);
    Ok(control::get(stream, &host, &target.path).await?.status)
}

/// The listener that plain HTTP reaches: that of operators, where clients connect otherwise. One process serves both.
fn plain(server: &Server) -> SocketAddr {
    server.listen.address().filter(|_| server.tls.is_none()).unwrap_or(server.admin_listen)
}

/// Where this machine reaches a listener: one that takes connections on every address is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

impl Target {
    /// Where `/livez` below `url` is; a URL that already names a probe is taken as it is. Only plain HTTP.
    fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        if uri.scheme_str() != Some("http") {
            return None;
        }
        let path = uri.path().trim_end_matches('/');
        let names_a_probe = path.ends_with("/livez") || path.ends_with("/readyz");
        let path = if names_a_probe { path.to_owned() } else { format!("{path}/livez") };
        Some(Self { host: uri.host()?.to_owned(), port: uri.port_u16().unwrap_or(80), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_targets() {
        let check = |url: &str, expect: Option<(&str, u16, &str)>| {
            let expect = expect.map(|(host, port, path)| Target { host: host.into(), port, path: path.into() });
            assert_eq!(Target::of(url), expect, "{url}");
        };
        check("http://127.0.0.1:4000", Some(("127.0.0.1", 4000, "/livez")));
        check("http://[::1]:4000/", Some(("[::1]", 4000, "/livez")));
        check("http://tollgate/llm", Some(("tollgate", 80, "/llm/livez")));
        check("http://127.0.0.1:4001/readyz", Some(("127.0.0.1", 4001, "/readyz")));
        check("https://127.0.0.1:4000", None);
        check("127.0.0.1:4000", None);
        check("", None);
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listen, expect) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.1.2.3:1", "10.1.2.3:1")] {
            assert_eq!(reachable(listen.parse().unwrap()), expect.parse().unwrap());
        }
    }
}
