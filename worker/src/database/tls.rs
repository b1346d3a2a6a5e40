//! TLS with the server, where it is asked for: `sslmode` and `sslrootcert`, by rustls.
//!
//! Asks the server in PostgreSQL's own way, shakes hands by a deadline and tells a login what to bind itself to. Reads one
//! byte of the answer and not one more, so that nothing sent in the clear can pass for something said under TLS. The
//! authorities are loaded when the first connection needs them, and kept: new ones are seen by a new generation.

mod judge;

use std::cell::OnceCell;
use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls_native_certs::load_native_certs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use self::judge::Judge;
use super::drive;
use super::socket::Socket;

/// `SSLRequest`: its length and its number.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What is asked for, and what a server's certificate must prove: `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Disable,
    /// TLS if it can be had.
    Prefer,
    /// TLS with whoever answers.
    Require,
    /// With somebody whom one of the authorities knows.
    VerifyCa,
    /// Under the name by which we know them.
    VerifyFull,
}

/// How TLS is used with a database.
pub(crate) struct Tls {
    mode: Mode,
    /// A PEM file of authorities; `None`: those that this machine trusts.
    roots: Option<PathBuf>,
    client: OnceCell<Arc<ClientConfig>>,
}

/// Why there is no connection with TLS.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The server does not have it.
    Absent,
    /// It could not be agreed on, or the server is not who it should be.
    Handshake(String),
    /// It did not come to that.
    Broken(String),
}

/// A connection, with TLS or without.
pub(crate) enum Stream {
    Plain(Socket),
    Tls(Box<client::TlsStream<Socket>>),
}

/// For the engine, which would negotiate: that has been done.
pub(crate) struct Negotiated;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Absent => f.write_str("the server does not offer TLS, and sslmode asks for it"),
            Refused::Handshake(why) => write!(f, "no TLS: {why}"),
            Refused::Broken(why) => f.write_str(why),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("mode", &self.mode).field("roots", &self.roots).finish_non_exhaustive()
    }
}

impl Tls {
    pub(super) fn new(mode: Mode, roots: Option<PathBuf>) -> Tls {
        Tls { mode, roots, client: OnceCell::new() }
    }

    /// What is asked for.
    #[cfg(test)]
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether a server that cannot be spoken to in TLS is spoken to in the clear.
    pub(super) fn is_optional(&self) -> bool {
        matches!(self.mode, Mode::Disable | Mode::Prefer)
    }

    /// Makes of a fresh connection what was asked for.
    pub(super) fn secure(&self, mut socket: Socket, host: &str, until: u64) -> Result<Stream, Refused> {
        if self.mode == Mode::Disable {
            return Ok(Stream::Plain(socket));
        }
        let client = self.client().map_err(Refused::Broken)?;
        let (descriptor, readiness) = (socket.descriptor(), socket.readiness());
        let broken = |error: io::Error| Refused::Broken(format!("no answer to the question for TLS: {error}"));
        let late = |_| Refused::Broken("no answer to the question for TLS in time".into());
        let asked = async {
            socket.write_all(&REQUEST).await?;
            socket.read_u8().await
        };
        match drive::over(descriptor.as_fd(), &readiness, until, asked).map_err(late)?.map_err(broken)? {
            b'S' => {}
            b'N' if self.is_optional() => return Ok(Stream::Plain(socket)),
            b'N' => return Err(Refused::Absent),
            _ => return Err(Refused::Broken("the answer to the question for TLS is not PostgreSQL's".into())),
        }
        // A scope is this machine's affair, and no part of an address that somebody certifies.
        let name = host.split_once('%').map_or(host, |(address, _)| address).to_owned();
        let name = ServerName::try_from(name);
        let name = name.map_err(|_| Refused::Handshake("the host's name cannot stand in a certificate".into()))?;
        let hands = TlsConnector::from(client).connect(name, socket);
        let shaken = drive::over(descriptor.as_fd(), &readiness, until, hands);
        let shaken = shaken.map_err(|_| Refused::Broken("the TLS handshake was not done in time".into()))?;
        Ok(Stream::Tls(Box::new(shaken.map_err(|error| Refused::Handshake(error.to_string()))?)))
    }

    fn client(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let made = Arc::new(self.make()?);
        Ok(self.client.get_or_init(|| made).clone())
    }

    fn make(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| format!("TLS cannot be used: {error}"))?;
        let chain = match (self.mode, &self.roots) {
            (Mode::VerifyFull, _) => {
                return Ok(builder.with_root_certificates(self.authorities()?).with_no_client_auth());
            }
            // As in libpq: whoever names authorities wants to have them asked.
            (Mode::VerifyCa, _) | (_, Some(_)) => Some(self.authorities()?),
            (_, None) => None,
        };
        let judge = Arc::new(Judge::new(chain, &provider));
        Ok(builder.dangerous().with_custom_certificate_verifier(judge).with_no_client_auth())
    }

    fn authorities(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        let Some(path) = &self.roots else {
            let found = load_native_certs();
            store.add_parsable_certificates(found.certs);
            let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            return match store.is_empty() {
                true => Err(format!("this machine trusts no authority{why}; sslrootcert names a PEM file of some")),
                false => Ok(store),
            };
        };
        let bad = |what: &dyn fmt::Display| format!("sslrootcert {}: {what}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
            store.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
        }
        if store.is_empty() { Err(bad(&"no certificate is in it")) } else { Ok(store) }
    }
}

impl Stream {
    /// What it all goes through.
    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl TlsStream for Stream {
    /// `tls-server-end-point` (RFC 5929): the server's certificate, digested.
    fn channel_binding(&self) -> ChannelBinding {
        let Stream::Tls(stream) = self else { return ChannelBinding::none() };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let digested = certificate.and_then(|der| Some(digest(hash(der)?, der).as_ref().to_vec()));
        digested.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// By which hash a certificate is digested: the one it is signed by, or SHA-256 where that is weaker; `None` where it is
/// not defined, as for Ed25519.
fn hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let signed = Certificate::from_der(certificate).ok()?.signature_algorithm.oid.to_string();
    match signed.as_str() {
        // RSA with MD5, SHA-1 and SHA-256; ECDSA with SHA-1 and SHA-256.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => Some(&SHA256),
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Some(&SHA256),
        // RSA and ECDSA with SHA-384, then with SHA-512.
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(&SHA384),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(&SHA512),
        _ => None,
    }
}

impl<S: TlsStream + Unpin> TlsConnect<S> for Negotiated {
    type Stream = S;
    type Error = Infallible;
    type Future = Ready<Result<S, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
