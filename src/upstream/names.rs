//! [`Names`]: where the name of an upstream is found: asked anew for each connection, so that one that moves is followed.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Who knows the addresses of names.
#[derive(Clone, Debug, Default)]
pub enum Names {
    /// The system.
    #[default]
    System,
    /// Whoever holds this: a name that moves at a moment's notice.
    Given(Arc<Mutex<HashMap<String, IpAddr>>>),
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        match self {
            Self::System => {
                let addresses = GaiResolver::new().call(name);
                Box::pin(async { Ok(addresses.await?.collect::<Vec<_>>().into_iter()) })
            }
            Self::Given(known) => {
                let known = known.lock().unwrap_or_else(PoisonError::into_inner).get(name.as_str()).copied();
                let found = known.map(|address| vec![SocketAddr::new(address, 0)].into_iter());
                let found = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"));
                Box::pin(std::future::ready(found))
            }
        }
    }
}
