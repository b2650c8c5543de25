//! How connections are made, on both sides: where clients connect, who is trusted, who we are, and the way through a
//! proxy.
//!
//! Certificates and keys are read and taken apart with the rest of the config, so that `check` finds a wrong one.
//!
//! Invariant: neither a private key nor a proxy's password is ever printed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::secret::Secret;

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system, for clients on the same machine.
    Unix(PathBuf),
}

/// `[server.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Who we are to clients.
    pub identity: Identity,
    /// Whose certificates clients must show; nothing asks for none.
    pub client_ca: Option<Arc<Authorities>>,
    /// Longest time for a handshake.
    pub handshake_timeout: Duration,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file of the certificates, ours first, as config names it.
    pub cert: Box<str>,
    /// The file of the private key.
    pub key: Box<str>,
    /// What is in them; nothing where a command does without secrets.
    pub pair: Option<Arc<KeyPair>>,
}

/// The contents of an [`Identity`]'s files.
#[derive(PartialEq, Eq)]
pub struct KeyPair {
    /// The certificates, ours first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// Certificate authorities from a file.
#[derive(PartialEq, Eq)]
pub struct Authorities {
    /// The file, as config names it.
    pub path: Box<str>,
    /// Their certificates.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// `[network]`: what holds for all upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Authorities that are trusted besides the public ones.
    pub ca: Option<Arc<Authorities>>,
    /// Whether upstreams over TLS are reached through the proxy that the environment names.
    pub proxy: ProxyUse,
}

/// Whether a proxy is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyUse {
    /// As `HTTPS_PROXY` (or `ALL_PROXY`) and `NO_PROXY` say.
    Environment,
    /// Never.
    Off,
}

/// How one upstream is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whether HTTP/2 is offered, or taken for granted without TLS.
    pub http2: bool,
    /// Authorities that are trusted here besides the public ones: those of all upstreams, then its own.
    pub ca: [Option<Arc<Authorities>>; 2],
    /// Who we are to it, where it asks.
    pub identity: Option<Identity>,
    /// Whether a proxy is used.
    pub proxy_use: ProxyUse,
    /// The proxy, if the environment names one.
    pub proxy: Option<Proxy>,
}

/// A proxy that opens tunnels with CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its URL, which may hold a password.
    pub url: Secret,
    /// Hosts that are reached without it, as in `NO_PROXY`.
    pub bypass: Box<str>,
}

impl Listen {
    /// The address, if it is one.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether only this machine can connect.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.address().map(|address| address.ip()).is_none_or(|ip: IpAddr| ip.is_loopback())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyPair({} certificates, ***)", self.chain.len())
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Authorities({}, {})", self.path, self.certificates.len())
    }
}
