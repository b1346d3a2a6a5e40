use std::io::{Read, Write};
use std::net::TcpListener;

use super::super::reach::AttemptError;
use super::super::target::Target;
use super::*;
use crate::clock;
use crate::protocol::{DatabaseRules, Secret};

/// What comes of connecting, with this `sslmode`, to a server that answers the question for TLS with these bytes: how
/// many connections it saw, and whether the one that was opened has TLS.
fn answered(query: &str, answer: &'static [u8]) -> (usize, Result<bool, String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://{}/?{query}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut seen = 0;
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut request = [0; 8];
            match client.read(&mut request) {
                // The test's own, the last.
                Ok(1) => return seen,
                Ok(8) => assert_eq!(request, REQUEST),
                // It was not asked.
                other => assert_eq!(other.unwrap(), 0),
            }
            seen += 1;
            let _ = client.write_all(answer);
        }
        seen
    });
    let target = Target::of(&DatabaseRules::at(Secret::new(url.as_str()))).unwrap();
    let opened = target.open_each(clock::now() + 20_000_000_000, |opened, _| {
        Ok::<_, AttemptError>(matches!(opened.stream, Stream::Tls(_)))
    });
    let address = url.strip_prefix("postgres://").unwrap().split('/').next().unwrap();
    std::net::TcpStream::connect(address).unwrap().write_all(b"!").unwrap();
    (server.join().unwrap(), opened.map_err(|error| error.to_string()))
}

#[test]
fn a_server_without_tls_is_spoken_to_in_the_clear_unless_that_is_ruled_out() {
    assert_eq!(answered("sslmode=disable", b""), (1, Ok(false)));
    assert_eq!(answered("sslmode=prefer", b"N"), (1, Ok(false)));
    let (seen, refused) = answered("sslmode=require", b"N");
    assert_eq!(seen, 1);
    assert!(refused.unwrap_err().contains("does not offer TLS"));
}

#[test]
fn who_prefers_tls_and_cannot_agree_on_it_does_without_over_another_connection() {
    let junk = b"Sthis is no handshake";
    assert_eq!(answered("sslmode=prefer", junk), (2, Ok(false)));
    let (seen, refused) = answered("sslmode=require", junk);
    assert_eq!(seen, 1);
    assert!(refused.unwrap_err().contains("no TLS: "));
}

#[test]
fn what_is_no_answer_is_an_error() {
    for answer in [b"E".as_slice(), b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        assert!(answered("sslmode=prefer", answer).1.unwrap_err().contains("the question for TLS"));
    }
}

#[test]
fn authorities_that_cannot_be_read_are_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let refused = || {
        let tls = Tls::new(Mode::VerifyCa, Some(path.clone()));
        let why = tls.client().unwrap_err();
        assert!(why.starts_with(&format!("sslrootcert {}: ", path.display())), "{why}");
        why
    };
    assert!(refused().contains("No such file"));
    std::fs::write(&path, "no certificate at all\n").unwrap();
    assert!(refused().contains("no certificate is in it"));
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    refused();
}
