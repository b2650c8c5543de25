//! Trust: whose certificates an upstream may show, which one we show it, and whether a proxy stands between.

use std::sync::Arc;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};

use super::client::SetupError;
use crate::config::{BaseUrl, Way};

/// The cryptography of all connections. ring rather than aws-lc-rs: it needs no cmake, and the journal already hashes
/// with it.
#[must_use]
pub fn cryptography() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// TLS towards the upstream that `way` leads to.
///
/// # Errors
/// A certificate or a key that cannot be used, with the file's name.
pub fn client(way: &Way) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for authorities in way.ca.iter().flatten() {
        for certificate in &authorities.certificates {
            roots.add(certificate.clone()).map_err(|error| format!("{}: {error}", authorities.path))?;
        }
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), cryptography()).build()?;
    let builder = ClientConfig::builder_with_provider(cryptography())
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier);
    let Some(identity) = &way.identity else { return Ok(builder.with_no_client_auth()) };
    let Some(pair) = &identity.pair else { return Err(format!("{} was not read", identity.key).into()) };
    let config = builder.with_client_auth_cert(pair.chain.clone(), pair.key.clone_key());
    Ok(config.map_err(|error| format!("{}: {error}", identity.cert))?)
}

/// The proxy on the way to `base`. Only connections over TLS go through one: an upstream in plain text is on this
/// machine or in this network, and many proxies open no tunnel to it.
#[must_use]
pub fn proxy(base: &BaseUrl, way: &Way) -> Option<Intercept> {
    let proxy = way.proxy.as_ref()?;
    let matcher = Matcher::builder().https(proxy.url.expose().to_owned()).no(proxy.bypass.to_string()).build();
    matcher.intercept(&base.to_string().parse().ok()?)
}
