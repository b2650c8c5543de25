//! Certificates for tests, made anew for each; TLS and HTTP/2 for both sides of a Tollgate.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tollgate::upstream::trust::cryptography;

use crate::world::Answer;

/// A folder with `ca.pem`, and a certificate and key of that authority for a server and a client.
pub struct Papers(TempDir);

/// A certificate and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Papers {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        for (name, usage) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self(folder)
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        Arc::new(roots)
    }

    fn identity(&self, name: &str) -> Identity {
        let certificate = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        (vec![certificate], key)
    }

    /// A client's side of TLS; `shown` are the papers that it shows.
    pub async fn connect(
        &self,
        address: SocketAddr,
        alpn: &[&str],
        shown: Option<&Self>,
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let builder = ClientConfig::builder_with_provider(cryptography())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(papers) => {
                let (chain, key) = papers.identity("client");
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    fn acceptor(&self, alpn: &[&str], asks: bool) -> TlsAcceptor {
        let builder =
            ServerConfig::builder_with_provider(cryptography()).with_safe_default_protocol_versions().unwrap();
        let builder = match asks {
            false => builder.with_no_client_auth(),
            true => {
                let verifier = WebPkiClientVerifier::builder_with_provider(self.roots(), cryptography());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let (chain, key) = self.identity("server");
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What stands between a [`Front`]'s clients and its HTTP.
pub enum Outside<'a> {
    /// HTTP/2 in plain text.
    Plain,
    /// TLS with these names of protocols.
    Tls(&'a Papers, &'a [&'a str]),
    /// The same, and clients show their papers.
    Mutual(&'a Papers, &'a [&'a str]),
}

/// Stands before the mock and speaks what the mock does not.
pub struct Front {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Version>>>,
}

impl Front {
    pub async fn before(provider: SocketAddr, outside: Outside<'_>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = match outside {
            Outside::Plain => None,
            Outside::Tls(papers, alpn) => Some(papers.acceptor(alpn, false)),
            Outside::Mutual(papers, alpn) => Some(papers.acceptor(alpn, true)),
        };
        let seen = Arc::<Mutex<Vec<Version>>>::default();
        let notes = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, notes) = (acceptor.clone(), notes.clone());
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else { return relay(stream, true, provider, notes).await };
                    let Ok(stream): std::io::Result<server::TlsStream<_>> = acceptor.accept(stream).await else {
                        return;
                    };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    relay(stream, http2, provider, notes).await;
                });
            }
        });
        Self { address, seen }
    }

    /// The versions of HTTP in which requests came.
    pub fn seen(&self) -> Vec<Version> {
        self.seen.lock().unwrap().clone()
    }
}

async fn relay<S>(stream: S, http2: bool, provider: SocketAddr, notes: Arc<Mutex<Vec<Version>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    let service = service_fn(move |mut request: Request<Incoming>| {
        notes.lock().unwrap().push(request.version());
        let target = request.uri().path_and_query().unwrap();
        *request.uri_mut() = format!("http://{provider}{target}").parse::<Uri>().unwrap();
        *request.version_mut() = Version::HTTP_11;
        let answer = client.request(request);
        async move { answer.await.map(without_connection) }
    });
    let io = TokioIo::new(stream);
    let _ended = match http2 {
        true => hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
        false => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
    };
}

fn without_connection(mut response: Response<Incoming>) -> Response<Incoming> {
    for name in ["connection", "keep-alive", "transfer-encoding"] {
        response.headers_mut().remove(name);
    }
    response
}

/// Sends a request on a connection of its own and reads the answer to its end.
pub async fn exchange<S>(stream: S, http2: bool, mut request: Request<Full<Bytes>>) -> hyper::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let response = match http2 {
        true => {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        }
        false => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            let host = request.uri().authority().unwrap().to_string();
            request.headers_mut().insert("host", host.parse().unwrap());
            *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
            sender.send_request(request).await?
        }
    };
    let (head, body) = response.into_parts();
    Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
}
