//! Bodies of responses, by what they are made of: bytes, a file, a repeated piece, a reader of the application's.

use super::{CONFIG, Server};

fn numbers(end: u32) -> Vec<u8> {
    (0..end).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

#[test]
fn bytes_have_a_length() {
    let server = Server::new(CONFIG);
    for mut client in [server.connect(), server.connect_unix()] {
        for length in [0, 1, 1000, 200_000] {
            let body: Vec<u8> = (0..length).map(|place| place as u8).collect();
            client.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            client.send(&body);
            let back = client.response();
            assert_eq!(back.header("content-length"), Some(length.to_string().as_str()));
            assert!(back.header("transfer-encoding").is_none() && back.body == body, "{length} bytes");
        }
    }
    server.is_whole();
}

#[test]
fn a_file_has_a_length() {
    let server = Server::new(&format!("{CONFIG}body_memory = \"64KiB\"\nbody_dir = \"DIR\"\n"));
    for mut client in [server.connect(), server.connect_unix()] {
        for length in [65_537, 3_000_000] {
            let body: Vec<u8> = (0..length).map(|place: u32| ((place * 7) >> 3) as u8).collect();
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in body.chunks(50_000) {
                client.send(format!("{:x}\r\n", piece.len()).as_bytes());
                client.send(piece);
                client.send(b"\r\n");
            }
            client.send(b"0\r\n\r\n");
            let back = client.response();
            assert_eq!(back.header("content-length"), Some(length.to_string().as_str()));
            assert!(back.body == body, "{length} bytes");
        }
        assert_eq!(client.get("/hello").status, 200);
    }
    server.is_whole();
}

#[test]
fn a_repeated_piece_has_a_length() {
    let server = Server::new(CONFIG);
    let mut client = server.connect();
    let response = client.get("/bytes?n=10000000");
    assert_eq!((response.header("content-length"), response.body.len()), (Some("10000000"), 10_000_000));
    assert_eq!(client.get("/hello").status, 200);
    server.is_whole();
}

#[test]
fn a_reader_of_unknown_length_is_sent_in_chunks() {
    let server = Server::new(CONFIG);
    for mut client in [server.connect(), server.connect_unix()] {
        for end in [0, 1, 20, 20_000, 300_000] {
            let response = client.get(&format!("/count?n={end}"));
            assert_eq!(response.header("transfer-encoding"), Some("chunked"), "{end}");
            assert_eq!(response.header("content-length"), None, "{end}");
            assert!(response.body == numbers(end), "{end} numbers");
        }
        assert_eq!(client.get("/hello").status, 200);
    }
    server.is_whole();
}

#[test]
fn a_client_that_knows_no_chunks_reads_to_the_end_of_the_connection() {
    let server = Server::new(CONFIG);
    for connection in ["close", "keep-alive"] {
        let mut client = server.connect();
        client.send(format!("GET /count?n=20000 HTTP/1.0\r\nConnection: {connection}\r\n\r\n").as_bytes());
        let response = client.response();
        assert_eq!(response.header("transfer-encoding"), None, "{connection}");
        assert_eq!(response.header("connection"), Some("close"), "{connection}");
        assert!(response.body == numbers(20_000), "{connection}");
    }
    server.is_whole();
}
