//! [`Clients`]: the listener that clients connect to, of whichever kind config names.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::inherit::{Door, Inherited};
use super::{accept, surfaces};
use crate::app::App;
use crate::config::{Listen, Server};

/// Where clients connect.
#[derive(Debug)]
pub enum Clients {
    /// In plain text.
    Plain(TcpListener),
    /// Over TLS.
    Tls(TcpListener),
    /// Through the file system, and the file if it is ours.
    Local(UnixListener, Option<PathBuf>),
}

impl Clients {
    /// Takes what was handed over, or binds what config names.
    ///
    /// # Errors
    /// The address is taken, or the system refuses.
    pub async fn bind(server: &Server, inherited: &mut Inherited) -> io::Result<Self> {
        if let Some(door) = inherited.clients()? {
            return Ok(match (door, &server.tls) {
                (Door::Tcp(listener), None) => Self::Plain(listener),
                (Door::Tcp(listener), Some(_)) => Self::Tls(listener),
                (Door::Unix(listener), _) => Self::Local(listener, None),
            });
        }
        Ok(match (&server.listen, &server.tls) {
            (Listen::Tcp(address), None) => Self::Plain(TcpListener::bind(address).await?),
            (Listen::Tcp(address), Some(_)) => Self::Tls(TcpListener::bind(address).await?),
            (Listen::Unix(path), _) => Self::Local(socket(path, server.socket_mode)?, Some(path.clone())),
        })
    }

    /// Where they connect, with the port that was free.
    ///
    /// # Errors
    /// The system does not say.
    pub fn place(&self) -> io::Result<Listen> {
        match self {
            Self::Plain(listener) | Self::Tls(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Local(listener, _) => {
                Ok(Listen::Unix(listener.local_addr()?.as_pathname().unwrap_or(Path::new("")).to_owned()))
            }
        }
    }

    /// Serves them until the drain begins.
    pub fn serve(self, app: Arc<App>) -> JoinHandle<()> {
        match self {
            Self::Plain(listener) => tokio::spawn(accept::tcp(app, listener, surfaces::client)),
            Self::Tls(listener) => tokio::spawn(accept::tls(app, listener, surfaces::client)),
            Self::Local(listener, path) => tokio::spawn(async move {
                accept::local(app, listener, surfaces::client).await;
                // Left behind, it would look as if somebody listened.
                let _removed = path.map(std::fs::remove_file);
            }),
        }
    }
}

/// A socket in the file system. One that nobody listens at any more is replaced, and nothing else is.
fn socket(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(_) => std::fs::remove_file(path)?,
        },
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}
