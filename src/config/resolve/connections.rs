//! `[server.tls]`, `[network]`, and how each upstream is reached.

use std::sync::Arc;

use http::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::server::seconds;
use super::words::PROXY;
use crate::config::connections::{Authorities, Identity, KeyPair, Listen, Network, Proxy, ProxyUse, ServerTls, Way};
use crate::config::error::Place;
use crate::config::read::Section;
use crate::config::schema::{NETWORK, SERVER_TLS};
use crate::config::secret::{Secret, Secrets, Vault};

/// What stands in front of a socket's path.
const UNIX: &str = "unix:";

/// The variables that name a proxy for connections over TLS, in their order.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The variables that name what is reached without it.
const BYPASS_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

pub(super) fn network(root: &Section<'_>, vault: &Vault<'_>) -> Network {
    let section = root.section("network", &NETWORK);
    Network {
        ca: authorities(&section, "ca_file", vault),
        proxy: section.choice("proxy", &PROXY, ProxyUse::Environment),
    }
}

/// How the upstream of `section` is reached.
pub(super) fn way(section: &Section<'_>, network: &Network, vault: &Vault<'_>) -> Way {
    let proxy_use = section.choice("proxy", &PROXY, network.proxy);
    Way {
        // Over HTTP/1.1 each stream has a connection of its own. HTTP/2 would put all of them on a single one, where one
        // lost packet stops all, and where requests beyond the provider's limit of streams wait without a word.
        http2: section.flag("http2", false),
        ca: [network.ca.clone(), authorities(section, "ca_file", vault)],
        identity: identity(section, ["client_cert", "client_key"], vault),
        proxy_use,
        proxy: match proxy_use {
            ProxyUse::Environment if vault.secrets == Secrets::Needed => proxy(section, vault),
            ProxyUse::Environment | ProxyUse::Off => None,
        },
    }
}

pub(super) fn server_tls(server: &Section<'_>, listen: &Listen, vault: &Vault<'_>) -> Option<ServerTls> {
    server.find("tls")?;
    let section = server.section("tls", &SERVER_TLS);
    let handshake_timeout = seconds(&section, "handshake_timeout_s", 10);
    let client_ca = authorities(&section, "client_ca", vault);
    if listen.address().is_none() {
        section.complain_whole("a unix socket takes no TLS; its file permissions say who may connect");
    }
    let identity = identity(&section, ["cert", "key"], vault);
    if identity.is_none() && section.find("cert").is_none() && section.find("key").is_none() {
        section.complain_whole("needs cert = \"PATH\" and key = \"PATH\", both PEM files");
    }
    Some(ServerTls { identity: identity?, client_ca, handshake_timeout })
}

/// `unix:/path`, if `listen` is that.
pub(super) fn unix_path(text: &str) -> Option<Result<Listen, &'static str>> {
    let path = text.strip_prefix(UNIX)?;
    Some(if path.is_empty() {
        Err("unix: needs a path, as in \"unix:/run/tollgate.sock\"")
    } else {
        Ok(Listen::Unix(path.into()))
    })
}

/// Permissions of a socket, as in `"660"`.
pub(super) fn mode(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or("not file permissions in octal digits, such as \"660\"")
}

fn identity(section: &Section<'_>, [cert, key]: [&str; 2], vault: &Vault<'_>) -> Option<Identity> {
    let (cert_path, key_path) = match (section.text(cert), section.text(key)) {
        (Some(cert_path), Some(key_path)) => (cert_path, key_path),
        (Some(_), None) => {
            section.complain(cert, format!("needs {key} as well"));
            return None;
        }
        (None, Some(_)) => {
            section.complain(key, format!("needs {cert} as well"));
            return None;
        }
        (None, None) => return None,
    };
    let named = |pair| Identity { cert: cert_path.into(), key: key_path.into(), pair };
    if vault.secrets == Secrets::LeftOut {
        return Some(named(None));
    }
    let chain = certificates(section, cert, cert_path, vault);
    let key = private_key(section, key, key_path, vault);
    Some(named(Some(Arc::new(KeyPair { chain: chain?, key: key? }))))
}

fn private_key(section: &Section<'_>, key: &str, path: &str, vault: &Vault<'_>) -> Option<PrivateKeyDer<'static>> {
    let text = read(section, key, path, vault)?;
    let parsed = PrivateKeyDer::from_pem_slice(&text).ok();
    if parsed.is_none() {
        section.complain(key, format!("file {path} holds no private key in PEM form"));
    }
    parsed
}

fn authorities(section: &Section<'_>, key: &str, vault: &Vault<'_>) -> Option<Arc<Authorities>> {
    let path = section.text(key)?;
    let certificates = match vault.secrets {
        Secrets::LeftOut => Vec::new(),
        Secrets::Needed => certificates(section, key, path, vault)?,
    };
    Some(Arc::new(Authorities { path: path.into(), certificates }))
}

fn certificates(
    section: &Section<'_>,
    key: &str,
    path: &str,
    vault: &Vault<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let text = read(section, key, path, vault)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let parsed = parsed.ok().filter(|all| !all.is_empty());
    if parsed.is_none() {
        section.complain(key, format!("file {path} holds no certificates in PEM form"));
    }
    parsed
}

fn read(section: &Section<'_>, key: &str, path: &str, vault: &Vault<'_>) -> Option<Vec<u8>> {
    match std::fs::read(vault.path(path)) {
        Ok(text) => Some(text),
        Err(error) => {
            section.complain(key, format!("file {path} cannot be read: {error}"));
            None
        }
    }
}

/// The proxy that the environment names. One that cannot be used is an error: going around it would not be noticed.
fn proxy(section: &Section<'_>, vault: &Vault<'_>) -> Option<Proxy> {
    let first = |names: &'static [&'static str]| {
        names.iter().find_map(|name| Some((*name, vault.env.get(*name).filter(|value| !value.is_empty())?)))
    };
    let (name, url) = first(&PROXY_VARIABLES)?;
    if !is_proxy(url) {
        let message = "not a proxy such as \"http://proxy.example.com:3128\"; or set proxy = \"off\" to do without";
        section.complain_at(&Place::Variable(name.into()), "proxy", message);
        return None;
    }
    let bypass = first(&BYPASS_VARIABLES).map_or("", |(_, list)| list);
    Some(Proxy { url: Secret::new(url, &format!("env {name}")), bypass: bypass.into() })
}

fn is_proxy(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    url.host().is_some_and(|host| !host.is_empty()) && matches!(url.scheme_str(), None | Some("http" | "https"))
}
