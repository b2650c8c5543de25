//! How requests go out: HTTP/2, an authority of one's own, papers of ours, a proxy's tunnel.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tollgate::config::{Config, Environment};
use tollgate::domain::entry::Outcome;
use tollgate::domain::money::Usd;
use tollgate::domain::tokens::UsageSource;

use crate::papers::{Front, Outside, Papers};
use crate::world::World;

const WHOLE: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}"#;
const STREAM: &str = r#"{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#;

fn front(address: SocketAddr, scheme: &str, more: &str) -> String {
    format!(
        "[upstreams.front]\ndialect = \"openai\"\nprovider = \"openai\"\ninclude_usage = \"splice\"\n\
         api_key = {{ env = \"PROVIDER_KEY\" }}\nbase_url = \"{scheme}://localhost:{}\"\nretries = 0\n{more}\n",
        address.port()
    )
}

/// Sends a whole call and a stream through the front, and looks at the ledger.
async fn check(world: &World) {
    let before = world.entries().await.len();
    for body in [WHOLE, STREAM] {
        let answer = world.send(world.post("/u/front/v1/chat/completions", body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let is_whole = answer.text().contains(r#""usage""#);
        assert!(is_whole || answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    }
    let entries = world.entries().await;
    assert_eq!(entries.len(), before + 2);
    for entry in &entries[before..] {
        assert_eq!((entry.outcome, entry.usage_source), (Outcome::Complete, UsageSource::Reported));
        assert_eq!(entry.upstream.as_ref(), "front");
    }
}

/// Sends a call that must find no upstream, and must cost nothing.
async fn check_unreachable(world: &World) {
    let answer = world.send(world.post("/u/front/v1/chat/completions", WHOLE)).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let entry = world.entries().await.pop().unwrap();
    assert_eq!(entry.outcome, Outcome::UpstreamAborted);
    assert_eq!(entry.cost, Some(Usd::ZERO));
}

#[tokio::test]
async fn http2_is_spoken_where_config_says_so() {
    let papers = Papers::new();
    let (provider, _mock) = crate::world::provider().await;
    let trusted = format!("ca_file = \"{}\"\n", papers.path("ca.pem"));
    let both = &["h2", "http/1.1"][..];
    for (alpn, scheme, more, expect) in [
        (both, "https", format!("{trusted}http2 = true"), Version::HTTP_2),
        (both, "https", trusted.clone(), Version::HTTP_11),
        (&["http/1.1"], "https", format!("{trusted}http2 = true"), Version::HTTP_11),
        (&[], "http", "http2 = true".to_owned(), Version::HTTP_2),
    ] {
        let outside = if scheme == "https" { Outside::Tls(&papers, alpn) } else { Outside::Plain };
        let front_of = Front::before(provider, outside).await;
        let world = World::start(&front(front_of.address, scheme, &more)).await;
        check(&world).await;
        assert_eq!(front_of.seen(), [expect, expect], "{scheme} {more}");
    }
}

#[tokio::test]
async fn an_authority_is_trusted_only_where_config_names_it() {
    let papers = Papers::new();
    let (provider, _mock) = crate::world::provider().await;
    let outside = Front::before(provider, Outside::Tls(&papers, &["http/1.1"])).await;
    check_unreachable(&World::start(&front(outside.address, "https", "")).await).await;
    let network = format!("\n[network]\nca_file = \"{}\"", papers.path("ca.pem"));
    check(&World::start(&front(outside.address, "https", &network)).await).await;
}

#[tokio::test]
async fn we_show_our_papers_to_an_upstream_that_asks() {
    let papers = Papers::new();
    let (provider, _mock) = crate::world::provider().await;
    let outside = Front::before(provider, Outside::Mutual(&papers, &["h2"])).await;
    let trusted = format!("http2 = true\nca_file = \"{}\"\n", papers.path("ca.pem"));
    let world = World::start(&front(outside.address, "https", &trusted)).await;
    let answer = world.send(world.post("/u/front/v1/chat/completions", WHOLE)).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let shown = format!(
        "{trusted}client_cert = \"{}\"\nclient_key = \"{}\"",
        papers.path("client.pem"),
        papers.path("client.key")
    );
    check(&World::start(&front(outside.address, "https", &shown)).await).await;
}

/// A proxy that opens tunnels for who has its password, and notes whereto.
async fn proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let notes = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(tunnel(stream, notes.clone()));
        }
    });
    (address, asked)
}

async fn tunnel(mut stream: TcpStream, notes: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    notes.lock().unwrap().push(head.lines().next().unwrap().to_owned());
    // "us er:pass", which the URL has to escape.
    if !head.to_lowercase().contains("proxy-authorization: basic dxmgzxi6cgfzcw==") {
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
        return;
    }
    let mut upstream = TcpStream::connect(target.replace("localhost", "127.0.0.1")).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _ended = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
}

#[tokio::test]
async fn a_proxy_opens_a_tunnel() {
    let papers = Papers::new();
    let (provider, _mock) = crate::world::provider().await;
    for (alpn, http2) in [("http/1.1", false), ("h2", true)] {
        let outside = Front::before(provider, Outside::Tls(&papers, &[alpn])).await;
        let (proxy, asked) = proxy().await;
        let more = format!("http2 = {http2}\nca_file = \"{}\"\n", papers.path("ca.pem"));
        let front = front(outside.address, "https", &more);
        let through = format!("{front}env.HTTPS_PROXY=http://us%20er:pass@{proxy}");
        check(&World::start(&through).await).await;
        let line = format!("CONNECT localhost:{} HTTP/1.1", outside.address.port());
        assert_eq!(*asked.lock().unwrap(), [line], "one connection serves both calls");

        check_unreachable(&World::start(&format!("{front}env.HTTPS_PROXY=http://us:wrong@{proxy}")).await).await;
        assert_eq!(asked.lock().unwrap().len(), 2);
        for around in ["env.NO_PROXY=localhost", "proxy = \"off\""] {
            check(&World::start(&format!("{through}\n{around}")).await).await;
            assert_eq!(asked.lock().unwrap().len(), 2, "{around}");
        }
    }
}

#[tokio::test]
async fn an_upstream_in_plain_text_and_over_ipv6_is_reached_straight() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        println!("not run: this machine has no IPv6");
        return;
    };
    let address = listener.local_addr().unwrap();
    let (provider, _mock) = crate::world::provider().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut inner = TcpStream::connect(provider).await.unwrap();
                let _ended = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
            });
        }
    });
    let (proxy, asked) = proxy().await;
    let text = front(address, "http", &format!("env.HTTPS_PROXY=http://{proxy}"));
    check(&World::start(&text.replace("localhost", "[::1]")).await).await;
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn what_cannot_be_used_is_refused_and_holds_no_secret() {
    let papers = Papers::new();
    let file = papers.path("t.toml");
    std::fs::write(papers.folder().join("junk.pem"), "junk").unwrap();
    let check = |text: &str, variables: &[(&str, &str)], expect: &str| {
        let env: Environment = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let errors = Config::parse(text, &file, &env).unwrap_err().to_string();
        assert!(errors.contains(expect) && !errors.contains("canary"), "{expect}: {errors}");
    };
    check("[server.tls]\ncert = \"server.pem\"", &[], ":2:8: server.tls.cert: needs key as well");
    check("[server.tls]", &[], ":1:9: server.tls: needs cert");
    check("[server.tls]\ncert = \"junk.pem\"\nkey = \"server.key\"", &[], "junk.pem holds no certificates in PEM form");
    check("[server.tls]\ncert = \"server.pem\"\nkey = \"ca.pem\"", &[], "ca.pem holds no private key in PEM form");
    check("[network]\nca_file = \"none.pem\"", &[], ":2:11: network.ca_file: file none.pem cannot be read");
    check("[network]\nproxy = \"http://a\"", &[], "network.proxy: must be \"env\" or \"off\"");
    check("[server]\nlisten = \"unix:\"", &[], "server.listen: unix: needs a path");
    check("[server]\nsocket_mode = \"999\"", &[], "server.socket_mode: not file permissions");
    for url in ["socks5://canary:1", "//", "http://canary:canary@"] {
        check("", &[("HTTPS_PROXY", url)], "HTTPS_PROXY: ");
    }
    let printed = "[server.tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n[network]\nca_file = \"ca.pem\"";
    let env = [("HTTPS_PROXY".to_owned(), "http://canary:canary@proxy:3128".to_owned())].into();
    let config = Config::parse(printed, &file, &env).unwrap();
    assert!(!format!("{config:?}{}", config.render_starred()).contains("canary"));
    assert!(Config::parse(printed, &file, &Environment::new()).is_ok_and(|other| other.upstreams != config.upstreams));
}
