//! The floor: a hyper proxy without features, which streams both bodies through and pools its connections.

use std::convert::Infallible;
use std::error::Error;

use http::header::{CONNECTION, HOST, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Upstream = Client<HttpConnector, Incoming>;
type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Serves on one thread until it is killed.
pub fn run(listen: &str, upstream: &str) -> Result<(), Box<dyn Error>> {
    let authority: Authority = upstream.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(listen, authority))
}

async fn serve(listen: &str, authority: Authority) -> Result<(), Box<dyn Error>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, authority) = (client.clone(), authority.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| forward(request, client.clone(), authority.clone()));
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        });
    }
}

async fn forward(mut request: Request<Incoming>, client: Upstream, authority: Authority) -> Result<Answer, Infallible> {
    let answer = match addressed(&mut request, authority) {
        Some(()) => client.request(request).await.ok(),
        None => None,
    };
    Ok(answer.map_or_else(bad_gateway, |mut response| {
        drop_hop_by_hop(response.headers_mut());
        response.map(BodyExt::boxed)
    }))
}

fn addressed(request: &mut Request<Incoming>, authority: Authority) -> Option<()> {
    let mut uri = Uri::default().into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.path_and_query = request.uri().path_and_query().cloned();
    let host = HeaderValue::from_str(authority.as_str()).ok()?;
    uri.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    drop_hop_by_hop(request.headers_mut());
    request.headers_mut().insert(HOST, host);
    Some(())
}

fn drop_hop_by_hop(headers: &mut http::HeaderMap) {
    for name in [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

fn bad_gateway() -> Answer {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
