//! [`Inherited`]: sockets that a supervisor holds and hands over, as systemd does (`LISTEN_FDS`, sd_listen_fds(3)).
//!
//! The supervisor's socket stays while processes come and go: who connects in between waits in its queue, and is answered
//! by the next process. The first socket takes clients, the second one operators; those of the config are not bound then.

use std::io;
use std::net::TcpListener as StdTcp;
use std::os::unix::net::UnixListener as StdUnix;

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

/// Sockets, of which the first two are ours.
const SOCKETS_MAX: usize = 2;

/// What was handed over.
#[derive(Debug, Default)]
pub struct Inherited {
    clients: Option<Socket>,
    admin: Option<StdTcp>,
}

/// A socket for clients.
#[derive(Debug)]
enum Socket {
    Tcp(StdTcp),
    Unix(StdUnix),
}

/// A socket for clients that can be accepted from.
#[derive(Debug)]
pub enum Door {
    /// A port.
    Tcp(TcpListener),
    /// A file.
    Unix(UnixListener),
}

impl Inherited {
    /// Takes what is there. It has to be asked before there are threads or children, since it changes the environment and
    /// keeps the sockets from them.
    ///
    /// # Errors
    /// What was handed over is no listening socket, or there are too many.
    pub fn take() -> io::Result<Self> {
        let mut handed = ListenFd::from_env();
        if handed.len() > SOCKETS_MAX {
            return Err(io::Error::other(format!(
                "{} sockets were handed over; one takes clients and a second one operators",
                handed.len()
            )));
        }
        let clients = match handed.take_tcp_listener(0) {
            Ok(socket) => socket.map(Socket::Tcp),
            Err(_) => handed.take_unix_listener(0)?.map(Socket::Unix),
        };
        Ok(Self { clients, admin: handed.take_tcp_listener(1)? })
    }

    /// The socket for clients, if there is one.
    ///
    /// # Errors
    /// The system refuses.
    pub fn clients(&mut self) -> io::Result<Option<Door>> {
        Ok(match self.clients.take() {
            None => None,
            Some(Socket::Tcp(socket)) => Some(Door::Tcp(tcp(socket)?)),
            Some(Socket::Unix(socket)) => {
                socket.set_nonblocking(true)?;
                Some(Door::Unix(UnixListener::from_std(socket)?))
            }
        })
    }

    /// The socket for operators, if there is one.
    ///
    /// # Errors
    /// The system refuses.
    pub fn admin(&mut self) -> io::Result<Option<TcpListener>> {
        self.admin.take().map(tcp).transpose()
    }
}

fn tcp(socket: StdTcp) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}
