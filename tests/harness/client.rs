//! A client that sends raw bytes and reads one response after the other, over TCP or a Unix socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

/// How long a client waits for the next byte.
const PATIENCE: Duration = Duration::from_secs(120);

/// One connection.
pub struct Client {
    stream: Stream,
    arrived: Vec<u8>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(its, _)| its == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One GET on a connection of its own.
#[track_caller]
pub fn get(address: SocketAddr, target: &str) -> Response {
    Client::connect(address).get(target)
}

impl Client {
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: Stream::Tcp(stream), arrived: Vec::new() })
    }

    /// Where this client is, over TCP.
    #[track_caller]
    pub fn local_address(&self) -> SocketAddr {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().unwrap(),
            Stream::Unix(_) => panic!("a Unix socket has no address"),
        }
    }

    pub fn connect_unix(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: Stream::Unix(stream), arrived: Vec::new() })
    }

    /// A GET, and its response.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.try_get(target).unwrap()
    }

    pub fn try_get(&mut self, target: &str) -> io::Result<Response> {
        self.try_send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())?;
        self.try_response()
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Sends so that the server may see every byte on its own; an error ends it, for a refusal may come before the end.
    pub fn dribble(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.try_send(std::slice::from_ref(byte)).is_err() {
                return;
            }
        }
    }

    /// From now on, waits no longer than this for the next byte, or for room to send one.
    pub fn set_patience(&mut self, patience: Duration) {
        let patience = Some(patience);
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(patience).and(stream.set_write_timeout(patience)),
            Stream::Unix(stream) => stream.set_read_timeout(patience).and(stream.set_write_timeout(patience)),
        }
        .unwrap();
    }

    /// Tells the server that nothing more comes.
    pub fn finish(&mut self) {
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// The next response.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap()
    }

    /// The next response; its end is found as RFC 9112 says, for a request that was no HEAD.
    pub fn try_response(&mut self) -> io::Result<Response> {
        self.try_response_to(false)
    }

    /// The next response, which has no body if it answers a HEAD.
    pub fn try_response_to(&mut self, head: bool) -> io::Result<Response> {
        let end = loop {
            if let Some(end) = self.arrived.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let text = String::from_utf8_lossy(&self.arrived[..end]).into_owned();
        self.arrived.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.strip_prefix("HTTP/1.1 ").or(status_line.strip_prefix("HTTP/1.0 "));
        let status = status.and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        if !head && status >= 200 && status != 204 && status != 304 {
            response.body = self.body(&response)?;
        }
        Ok(response)
    }

    /// What the server still sends until it closes the connection; a reset counts as an end.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more().is_ok() {}
        std::mem::take(&mut self.arrived)
    }

    /// What the server still sends until it closes the connection; `None` if it is silent for too long instead.
    pub fn until_closed(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return None;
                }
                Err(_) => return Some(std::mem::take(&mut self.arrived)),
            }
        }
    }

    /// Ends the connection without a farewell: over TCP it is reset.
    pub fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
        }
    }

    /// Waits until a response has begun to arrive.
    #[track_caller]
    pub fn await_response(&mut self) {
        let mut byte = [0];
        assert_eq!(self.read(&mut byte).unwrap(), 1);
        self.put_back(&byte);
    }

    /// Whether the server closes the connection, with nothing unread, before our patience is over.
    pub fn is_closed(&mut self) -> bool {
        let is_patience = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        self.arrived.is_empty() && self.more().is_err_and(|error| !is_patience(&error))
    }

    /// Lets the kernel keep no more than about `bytes` that were not read: the server sees early that this client
    /// reads slowly.
    #[track_caller]
    pub fn keep_at_most(&self, bytes: usize) {
        match &self.stream {
            Stream::Tcp(stream) => setsockopt(stream, sockopt::RcvBuf, &bytes).unwrap(),
            Stream::Unix(stream) => setsockopt(stream, sockopt::RcvBuf, &bytes).unwrap(),
        }
    }

    /// Has these bytes read before whatever comes: they were read too early.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.arrived.splice(..0, bytes.iter().copied());
    }

    /// Reads at most `most` bytes, as they come.
    pub fn read_some(&mut self, most: usize) -> io::Result<usize> {
        let mut buffer = vec![0; most];
        self.read(&mut buffer)
    }

    fn body(&mut self, response: &Response) -> io::Result<Vec<u8>> {
        if response.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
                let chunk = self.exactly(size + 2)?;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match response.header("content-length") {
            Some(length) => self.exactly(length.parse().map_err(io::Error::other)?),
            None => Ok(self.rest()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.arrived.windows(2).position(|window| window == b"\r\n") {
                let line = self.arrived.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(io::Error::other);
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.arrived.len() < length {
            self.more()?;
        }
        Ok(self.arrived.drain(..length).collect())
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 65536];
        match self.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.arrived.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}
