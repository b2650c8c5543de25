//! [`Door`]: TLS for clients, who may have to show a certificate too.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::{Authorities, ServerTls};
use crate::upstream::client::SetupError;
use crate::upstream::trust::cryptography;

/// HTTP/2's name in the negotiation (RFC 9113, section 3.2).
pub const HTTP2: &[u8] = b"h2";

/// HTTP/1.1's name in the negotiation (RFC 7301, section 6).
const HTTP1: &[u8] = b"http/1.1";

/// What clients shake hands with.
#[derive(Clone)]
pub struct Door {
    /// Does the handshake.
    pub acceptor: TlsAcceptor,
    /// Longest time for it.
    pub handshake_timeout: Duration,
}

impl Door {
    /// A door as `tls` says.
    ///
    /// # Errors
    /// A certificate or a key that cannot be used, with the file's name.
    pub fn new(tls: &ServerTls) -> Result<Self, SetupError> {
        let builder = ServerConfig::builder_with_provider(cryptography()).with_safe_default_protocol_versions()?;
        let builder = match &tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let roots = Arc::new(roots(authorities)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, cryptography());
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let identity = &tls.identity;
        let Some(pair) = &identity.pair else { return Err(format!("{} was not read", identity.key).into()) };
        let mut config = builder
            .with_single_cert(pair.chain.clone(), pair.key.clone_key())
            .map_err(|error| format!("{} and {}: {error}", identity.cert, identity.key))?;
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), handshake_timeout: tls.handshake_timeout })
    }
}

fn roots(authorities: &Authorities) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in &authorities.certificates {
        roots.add(certificate.clone()).map_err(|error| format!("{}: {error}", authorities.path))?;
    }
    Ok(roots)
}

impl std::fmt::Debug for Door {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Door").field("handshake_timeout", &self.handshake_timeout).finish_non_exhaustive()
    }
}
