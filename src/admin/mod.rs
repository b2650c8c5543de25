//! What the operator sees: reports, lookups, keys.

pub mod zone;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use crate::app::App;

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub enum Door {
    /// TCP.
    Tcp {
        /// From whom.
        peer: IpAddr,
    },
    /// The control socket.
    Socket,
}

/// Answers an operator.
pub async fn answer<B>(_: &Arc<App>, _: Door, _: Request<B>) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::new()))
}
