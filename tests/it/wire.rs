//! The wire as it is: a client that sees every byte, and an upstream that sends exactly what it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As its framing promised.
    Whole,
    /// Before that.
    Short,
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub end: End,
}

/// A request as it arrived at the upstream.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What the upstream sends: each piece is a write of its own.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub pieces: Vec<Vec<u8>>,
    /// Close the connection behind it.
    pub closes: bool,
}

/// An upstream that answers as it is told.
pub struct Fake {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// The same on a socket that is there.
    pub fn on(listener: TcpListener, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (seen, answer) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(answer));
        let notes = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (notes, answer) = (notes.clone(), answer.clone());
                tokio::spawn(async move { serve(stream, &notes, &*answer).await });
            }
        });
        Self { address, seen }
    }

    /// The last request, which is forgotten with all before it.
    pub fn last(&self) -> Option<Seen> {
        self.seen.lock().unwrap().drain(..).next_back()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, notes: &Mutex<Vec<Seen>>, answer: &(dyn Fn(&Seen) -> Reply + Sync)) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Some(request) = request(&mut stream, &mut buffer).await {
        notes.lock().unwrap().push(request.clone());
        let reply = answer(&request);
        for piece in reply.pieces {
            // Whoever does not want it any more has left.
            if stream.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if reply.closes {
            return;
        }
    }
}

async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head = loop {
        if let Some(at) = head_end(buffer) {
            break at;
        }
        (stream.read_buf(buffer).await.ok()? > 0).then_some(())?;
    };
    let text = String::from_utf8(buffer[..head].to_vec()).unwrap();
    let headers = headers(&text);
    let length = value(&headers, "content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < head + length {
        (stream.read_buf(buffer).await.ok()? > 0).then_some(())?;
    }
    let body = buffer[head..head + length].to_vec();
    buffer.drain(..head + length);
    let mut line = text.split(' ');
    let (method, target) = (line.next()?.to_owned(), line.next()?.to_owned());
    Some(Seen { method, target, headers, body })
}

impl Reply {
    /// One piece with its length.
    pub fn whole(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
        Self { pieces: vec![[head.as_bytes(), body].concat()], closes: false }
    }

    /// Chunked: one chunk a piece.
    pub fn chunked<'a>(status: &str, headers: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let head = format!("HTTP/1.1 {status}\r\n{headers}transfer-encoding: chunked\r\n\r\n").into_bytes();
        let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        let chunks = pieces.into_iter().filter(|piece| !piece.is_empty()).map(chunk);
        let pieces = std::iter::once(head).chain(chunks).chain([b"0\r\n\r\n".to_vec()]).collect();
        Self { pieces, closes: false }
    }

    /// These bytes, and the end of the connection.
    pub fn closing(bytes: impl Into<Vec<u8>>) -> Self {
        Self { pieces: vec![bytes.into()], closes: true }
    }
}

/// Sends a request; `lines` are whole header lines. The connection is closed by the server behind the answer.
pub async fn send(address: SocketAddr, request: &str, lines: &[&str], body: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.as_ref().len();
    let length = if length > 0 { format!("content-length: {length}\r\n") } else { String::new() };
    let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\n{lines}{length}connection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body.as_ref()].concat()).await.unwrap();
    stream
}

/// Sends a request and reads all that comes back.
pub async fn ask(address: SocketAddr, request: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Got {
    let stream = send(address, request, lines, body).await;
    let got = receive(stream, request.starts_with("HEAD "));
    tokio::time::timeout(PATIENCE, got).await.unwrap_or_else(|_| panic!("{request} was never answered"))
}

/// Reads an answer to the end of its connection.
pub async fn receive(mut stream: TcpStream, has_no_body: bool) -> Got {
    let mut bytes = Vec::new();
    let is_reset = stream.read_to_end(&mut bytes).await.is_err();
    while bytes.starts_with(b"HTTP/1.1 1") {
        bytes.drain(..head_end(&bytes).unwrap());
    }
    let head = head_end(&bytes).unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(&bytes)));
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    assert!(text.starts_with("HTTP/1.1 "), "{text}");
    let status = text[9..12].parse().unwrap();
    let headers = headers(&text);
    let has_no_body = has_no_body || matches!(status, 204 | 304);
    let (body, is_whole) = unframed(&headers, &bytes[head..], has_no_body);
    Got { status, headers, body, end: if is_whole && !is_reset { End::Whole } else { End::Short } }
}

impl Got {
    /// The values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        value(&self.headers, name).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        value(&self.headers, name).unwrap_or_default()
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn headers(head: &str) -> Vec<(String, String)> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect()
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}

/// The body without its framing, and whether it was whole.
fn unframed(headers: &[(String, String)], raw: &[u8], has_no_body: bool) -> (Vec<u8>, bool) {
    if has_no_body {
        return (raw.to_vec(), raw.is_empty());
    }
    if let Some(length) = value(headers, "content-length") {
        return (raw.to_vec(), length.parse() == Ok(raw.len()));
    }
    assert_eq!(value(headers, "transfer-encoding"), Some("chunked"), "{headers:?}");
    let (mut rest, mut body) = (raw, Vec::new());
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, &rest[at..] == b"\r\n\r\n");
        }
        let end = (at + 2 + size).min(rest.len());
        body.extend_from_slice(&rest[at + 2..end]);
        rest = rest.get(end + 2..).unwrap_or(&[]);
    }
    (body, false)
}
