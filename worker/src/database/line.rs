//! The line to the server, as the engine has it: what passes is followed, the server's first answer is recorded, and a
//! connection that another worker has logged in is presented to the engine as if it had logged in itself.
//!
//! The engine owns one half and the session the other. Once the session has let go, nothing that the engine still says
//! reaches the server, above all no farewell.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::frames::Frames;
use super::tls::Stream;

/// The engine's half.
#[derive(Clone)]
pub(crate) struct Line {
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    stream: Stream,
    stage: Stage,
    frames: Frames,
    /// What the server said once it was content with the login, up to its first ReadyForQuery.
    startup: Vec<u8>,
}

enum Stage {
    /// The login; what the server says is recorded from its AuthenticationOk on.
    LoggingIn { answer: Vec<u8> },
    /// The engine's startup packet is swallowed, so many bytes of its length being here, and then the record played.
    Replaying { swallowed: Vec<u8>, played: usize },
    /// Everything passes.
    Open,
    /// Nothing passes any more.
    LetGo,
}

impl Line {
    /// To a server that knows nothing of us yet.
    pub(crate) fn new(stream: Stream) -> Line {
        Line::at(stream, Stage::LoggingIn { answer: Vec::new() }, Vec::new())
    }

    /// To a server that somebody else has logged in to, and this is what it said.
    pub(crate) fn resumed(stream: Stream, startup: Vec<u8>) -> Line {
        Line::at(stream, Stage::Replaying { swallowed: Vec::new(), played: 0 }, startup)
    }

    fn at(stream: Stream, stage: Stage, startup: Vec<u8>) -> Line {
        let inner = Inner { stream, stage, frames: Frames::default(), startup };
        Line { inner: Rc::new(RefCell::new(inner)) }
    }

    /// From now on nothing passes: the connection is somebody else's, or lost.
    pub(crate) fn let_go(&self) {
        self.inner.borrow_mut().stage = Stage::LetGo;
    }

    /// What the server said once it was content with the login.
    pub(crate) fn startup(&self) -> Vec<u8> {
        self.inner.borrow().startup.clone()
    }

    /// A look at what has passed.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Frames) -> T) -> T {
        at(&self.inner.borrow().frames)
    }
}

impl Inner {
    fn received(&mut self, bytes: &[u8]) {
        match &mut self.stage {
            Stage::LoggingIn { answer } => {
                answer.extend_from_slice(bytes);
                if let Some((begin, end)) = welcome(answer) {
                    self.startup = answer[begin..end].to_vec();
                    let behind = answer.split_off(end);
                    self.stage = Stage::Open;
                    self.frames.receives(&behind);
                }
            }
            Stage::Open => self.frames.receives(bytes),
            Stage::Replaying { .. } | Stage::LetGo => {}
        }
    }
}

/// Where the part of a login's answer that every engine needs begins and ends: AuthenticationOk to ReadyForQuery.
fn welcome(answer: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut begin) = (0, None);
    loop {
        let [kind, length @ ..] = *answer.get(at..at + 5)?.first_chunk::<5>()?;
        let end = at + 1 + u32::from_be_bytes(length).max(4) as usize;
        let body = answer.get(at + 5..end)?;
        match kind {
            b'R' if body == [0; 4] => begin = Some(at),
            b'Z' => return begin.map(|begin| (begin, end)),
            _ => {}
        }
        at = end;
    }
}

/// Whether these bytes are a whole startup packet: a length and what it promises.
fn is_packet(bytes: &[u8]) -> bool {
    bytes.first_chunk::<4>().is_some_and(|length| bytes.len() >= u32::from_be_bytes(*length) as usize)
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        let Inner { stream, stage, startup, .. } = &mut *inner;
        match stage {
            Stage::Replaying { swallowed, .. } if !is_packet(swallowed) => Poll::Pending,
            Stage::Replaying { played, .. } => {
                let rest = &startup[*played..];
                let now = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..now]);
                *played += now;
                if *played == startup.len() {
                    *stage = Stage::Open;
                }
                Poll::Ready(Ok(()))
            }
            Stage::LetGo => Poll::Pending,
            Stage::LoggingIn { .. } | Stage::Open => {
                let before = buffer.filled().len();
                ready!(Pin::new(stream).poll_read(context, buffer))?;
                inner.received(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.inner.borrow_mut();
        let Inner { stream, stage, frames, .. } = &mut *inner;
        match stage {
            Stage::Replaying { swallowed, .. } => {
                swallowed.extend_from_slice(bytes);
                // The engine reads on only once it is polled again, and here nobody else will wake it.
                context.waker().wake_by_ref();
                Poll::Ready(Ok(bytes.len()))
            }
            Stage::LetGo => Poll::Ready(Ok(bytes.len())),
            Stage::LoggingIn { .. } | Stage::Open => {
                let length = ready!(Pin::new(stream).poll_write(context, bytes))?;
                if matches!(stage, Stage::Open) {
                    frames.sends(&bytes[..length]);
                }
                Poll::Ready(Ok(length))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        match inner.stage {
            Stage::LetGo => Poll::Ready(Ok(())),
            _ => Pin::new(&mut inner.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        match inner.stage {
            Stage::LetGo => Poll::Ready(Ok(())),
            _ => Pin::new(&mut inner.stream).poll_shutdown(context),
        }
    }
}

impl TlsStream for Line {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.borrow().stream.channel_binding()
    }
}
