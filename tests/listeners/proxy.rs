//! nginx in front.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::harness::{Client, Front, Ratoon, SOON, eventually, process};

/// nginx with these upstreams, `NAME SERVER`: each at `/NAME/`.
fn nginx(upstreams: &[(&str, String)]) -> Front {
    let servers: String = upstreams
        .iter()
        .map(|(name, server)| format!("upstream {name} {{ server {server}; keepalive 4; }}\n"))
        .collect();
    let locations: String = upstreams
        .iter()
        .map(|(name, _)| {
            format!(
                "location /{name}/ {{ proxy_pass http://{name}/; proxy_http_version 1.1; \
                 proxy_set_header Connection \"\"; }}\n"
            )
        })
        .collect();
    Front::nginx(|[address, _]| {
        format!("client_max_body_size 64m; {servers}\nserver {{ listen {address}; {locations} }}")
    })
}

fn open_to_all(directory: &Path) {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn nginx_reaches_a_pool_over_its_unix_socket_and_over_tcp_and_keeps_its_connections() {
    let group = if geteuid().is_root() { ", group = \"www-data\"" } else { "" };
    let ratoon = Ratoon::serving(&format!(
        "[pool.web]\nworkers = 2\nlisten = [\"127.0.0.1:0\", {{ address = \"unix:DIR/web.sock\"{group} }}]\n"
    ));
    open_to_all(ratoon.directory());
    let workers = ratoon.ready_workers("web", 2);
    let descriptors = || workers.iter().map(|pid| process::descriptors(*pid)).sum::<usize>();
    let before: usize = workers.iter().map(|pid| process::descriptors_at_rest(*pid)).sum();
    let socket = ratoon.directory().join("web.sock");
    let upstreams = [("tcp", ratoon.address().to_string()), ("unix", format!("unix:{}", socket.display()))];
    let nginx = nginx(&upstreams);
    let upload: Vec<u8> = (0..4_000_000_u32).map(|number| (number % 251) as u8).collect();

    for (name, _) in &upstreams {
        let mut client = Client::connect(nginx.address());
        for _ in 0..50 {
            let response = client.get(&format!("/{name}/hello"));
            assert_eq!((response.status, response.text().as_str()), (200, "Hello, world!"), "over {name}");
        }
        let head = format!("POST /{name}/echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", upload.len());
        client.send(head.as_bytes());
        client.send(&upload);
        let response = client.response();
        assert_eq!(response.status, 200, "over {name}: {}", response.text());
        assert!(response.body == upload, "the whole body came back over {name}");
    }
    // One connection of each kind served all of that, and is still there.
    let is_so = || (descriptors() == before + 2).then_some(());
    eventually("nginx holds one connection of each kind, and the uploads are gone", SOON, is_so);
    let served = |name: &str| {
        let mut client = Client::connect(nginx.address());
        client.get(&format!("/{name}/whoami")).json()["served"].as_u64().unwrap()
    };
    assert!(served("tcp") >= 51 && served("unix") >= 51);
}
