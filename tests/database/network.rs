//! A network between a worker and its server that breaks and mends, while the server notices nothing of it.

use crate::harness::{Client, Cut, Postgres, Ratoon, Relay, SOON, eventually, sql};

#[test]
fn a_network_that_resets_and_refuses_costs_503_until_it_mends_and_then_nothing() {
    let postgres = Postgres::start();
    let relay = Relay::to(postgres.address());
    let config = sql::pool(&postgres.tcp_url_at(relay.address()), "workers = 1", "connect_timeout = \"1s\"");
    let ratoon = Ratoon::serving(&config);
    let mut client = Client::connect(ratoon.address());
    for how in [Cut::Reset, Cut::Finish] {
        let taken = relay.attempts();
        eventually("the database answers", SOON, || (client.ask("sql", "select 1").status == 200).then_some(()));
        // Cut while it is idle, and the way is free: the next request sees nothing of it.
        assert_eq!(relay.cut(how), 1);
        assert_eq!(client.sql("select 2"), "2", "{how:?}");
        assert!(relay.attempts() > taken, "it has connected anew");
        relay.refuse();
        assert_eq!(relay.cut(how), 1);
        let refused = client.ask("sql", "select 3");
        assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{how:?}");
        relay.admit();
    }
    eventually("the database answers again", SOON, || (client.ask("sql", "select 4").status == 200).then_some(()));
}
