//! What is loaded before the fork.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Client, Ratoon, example, process};

#[test]
fn eight_workers_share_what_their_template_loaded() {
    let program = example("catalogue");
    let config = format!(
        "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 8\nprogram = [{program:?}]\nsettings = {{ mib = 100 }}\n"
    );
    let ratoon = Ratoon::serving(&config);
    let workers = ratoon.ready_workers("web", 8);
    // Every worker reads all of it: asked at the same time, each takes what finds it free.
    let mut sums = BTreeMap::new();
    for _ in 0..20 {
        let mut clients: Vec<Client> = workers.iter().map(|_| Client::connect(ratoon.address())).collect();
        clients.iter_mut().for_each(|client| client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"));
        for client in &mut clients {
            let answer = client.response().text();
            let (pid, sum) = answer.trim().split_once(' ').unwrap();
            sums.insert(pid.to_owned(), sum.to_owned());
        }
        if sums.len() == workers.len() {
            break;
        }
    }
    assert_eq!(sums.len(), workers.len(), "each has answered");
    assert_eq!(sums.values().collect::<BTreeSet<_>>().len(), 1, "{sums:?}");

    let family: Vec<_> = ratoon.family().into_iter().filter(|pid| *pid != ratoon.pid()).collect();
    assert_eq!(family.len(), 9, "the template and its workers");
    let together: u64 = family.iter().map(|pid| process::memory(*pid, "Pss")).sum();
    eprintln!("the template and eight workers with 100 MiB loaded: Pss {} MiB together", together / 1024);
    assert!(together > 100 * 1024, "it is loaded: {together} KiB");
    assert!(together < 140 * 1024, "it is shared: {together} KiB");
}
