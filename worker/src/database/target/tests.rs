use tokio_postgres::config::ChannelBinding;

use super::*;
use crate::protocol::Secret;

fn target(url: &str) -> Target {
    Target::understand(url).unwrap()
}

fn wrong(url: &str) -> String {
    Target::understand(url).map(drop).unwrap_err()
}

/// The places, as they are shown.
fn places_of(url: &str) -> Vec<String> {
    target(url).places.iter().map(ToString::to_string).collect()
}

#[test]
fn a_url_says_who_where_and_what() {
    let Target { engine, places, tls, role, .. } =
        target("postgresql://ann%40home:p%3Aw%2F@db.example:6432/shop?application_name=web%20shop&options=-c%20a%3D1");
    assert_eq!(engine.get_user(), Some("ann@home"));
    assert_eq!(engine.get_password(), Some(b"p:w/".as_slice()));
    assert_eq!(engine.get_dbname(), Some("shop"));
    assert_eq!(engine.get_application_name(), Some("web shop"));
    assert_eq!(engine.get_options(), Some("-c a=1"));
    assert_eq!(engine.get_channel_binding(), ChannelBinding::Prefer);
    assert_eq!(places, [Place::Tcp { host: "db.example".into(), address: None, port: 6432 }]);
    assert_eq!((tls.mode(), role), (Mode::Prefer, Role::Any));
}

#[test]
fn the_older_form_says_the_same() {
    let Target { engine, places, tls, .. } =
        target(r" host=a,/run/pg port = 1,2 user='ann o\'hara' password=p\ w dbname=shop sslmode=disable ");
    assert_eq!(engine.get_user(), Some("ann o'hara"));
    assert_eq!(engine.get_password(), Some(b"p w".as_slice()));
    assert_eq!(engine.get_dbname(), Some("shop"));
    assert_eq!(places[0].to_string(), "a:1");
    assert_eq!(places[1], Place::Unix("/run/pg/.s.PGSQL.2".into()));
    assert_eq!(tls.mode(), Mode::Disable);
}

#[test]
fn what_is_not_said_is_as_libpq_has_it() {
    assert_eq!(places_of("postgres://"), ["/var/run/postgresql/.s.PGSQL.5432"]);
    assert_eq!(places_of("postgres://db"), ["db:5432"]);
    assert_eq!(places_of("postgres://:6000/x"), ["/var/run/postgresql/.s.PGSQL.6000"]);
    let Target { engine, tls, .. } = target("postgres://u@h/?sslmode=&password=");
    assert_eq!((engine.get_dbname(), engine.get_password(), tls.mode()), (None, None, Mode::Prefer));
    let ours = User::from_uid(geteuid()).unwrap().unwrap().name;
    let target = Target::of(&DatabaseRules::at(Secret::new("postgres://h"))).unwrap();
    assert_eq!(target.engine.get_user(), Some(ours.as_str()));
}

#[test]
fn places_are_several_and_of_every_kind() {
    assert_eq!(
        places_of("postgres://u@one,two:6000,[::1],[2001:db8::1]:7000,%2Frun%2Fpg:8000,192.0.2.1/d"),
        ["one:5432", "two:6000", "[::1]:5432", "[2001:db8::1]:7000", "/run/pg/.s.PGSQL.8000", "192.0.2.1:5432"]
    );
    assert_eq!(places_of("postgres:///d?host=/run/pg&port=6000"), ["/run/pg/.s.PGSQL.6000"]);
    assert_eq!(places_of("postgres://ignored/d?host=a,b&port=6000"), ["a:6000", "b:6000"]);
    assert_eq!(places_of("host=a,b port=1,"), ["a:1", "b:5432"]);
    assert_eq!(places_of("host=fe80::1%eth0"), ["[fe80::1%eth0]:5432"]);
}

#[test]
fn an_address_beside_the_name_spares_the_resolver() {
    let place = |host: &str| Place::Tcp { host: host.into(), address: "192.0.2.1".parse().ok(), port: 5432 };
    assert_eq!(target("postgres://db/?hostaddr=192.0.2.1").places, [place("db")]);
    assert_eq!(target("hostaddr=192.0.2.1").places, [place("192.0.2.1")]);
}

#[test]
fn tls_is_asked_for_as_in_libpq() {
    let mode = |query: &str| target(&format!("postgres://h/?{query}")).tls.mode();
    assert_eq!(mode("sslmode=require"), Mode::Require);
    assert_eq!(mode("ssl=true"), Mode::Require);
    assert_eq!(mode("sslmode=verify-ca"), Mode::VerifyCa);
    assert_eq!(mode("sslmode=verify-full&sslrootcert=/etc/ca.pem"), Mode::VerifyFull);
    assert_eq!(mode("sslrootcert=system"), Mode::VerifyFull);
    let bound = target("postgres://h/?channel_binding=require").engine.get_channel_binding();
    assert_eq!(bound, ChannelBinding::Require);
}

#[test]
fn a_server_may_have_to_be_of_a_kind() {
    let role = |name: &str| target(&format!("postgres://h/?target_session_attrs={name}")).role;
    for wanted in [Role::Any, Role::ReadWrite, Role::ReadOnly, Role::Primary, Role::Standby] {
        assert_eq!(role(&wanted.to_string()), wanted);
    }
    assert_eq!(Role::Any.test(), None);
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    for (url, said) in [
        ("", "it would be postgresql://USER@HOST/DATABASE"),
        ("mysql://u@h/d", "begin with postgresql:// or postgres://"),
        ("u:p@h", "neither a URL"),
        ("some words = here", "neither a URL"),
        ("postgres://u:a@b@h/d", "is written %40"),
        ("postgres://u:a/b@h/d", "a / is written %2F"),
        ("postgres://u:a/b", "not a number from 1 to 65535"),
        ("postgres://u:50%@h", "a % itself is written %25"),
        ("postgres://u:%zz@h", "a % in the password"),
        ("postgres://u:%00@h", "zero byte"),
        ("postgres://h:0", "from 1 to 65535"),
        ("postgres://a,b:65536", "host 2: the port"),
        ("postgres://::1/d", "an IPv6 address stands in [ ]"),
        ("postgres://[::1/d", "[ADDRESS]"),
        ("postgres://[::1]6000", "[ADDRESS]"),
        ("postgres://a b/d", "neither a name, nor an address"),
        ("host=a,b hostaddr=192.0.2.1", "equally many"),
        ("host=a,b,c port=1,2", "one for all, or one for each"),
        ("hostaddr=db.example", "hostaddr is not an IP address"),
        ("postgres://h/?sslmode", "parameter 1 behind the ? has no value"),
        ("postgres://h/?sslmode=on", "disable, prefer, require, verify-ca and verify-full"),
        ("postgres://h/?sslmode=allow", "sslmode=allow is not supported"),
        ("postgres://h/?sslrootcert=ca.pem", "absolute path"),
        ("postgres://h/?sslmode=require&sslrootcert=system", "wants sslmode=verify-full"),
        ("postgres://h/?sslnegotiation=direct", "sslnegotiation=postgres"),
        ("postgres://h/?channel_binding=yes", "disable, prefer and require"),
        ("postgres://h/?target_session_attrs=prefer-standby", "any, read-write, read-only, primary and standby"),
        ("postgres://h/?load_balance_hosts=random", "in the order they are named"),
        ("postgres://h/?connect_timeout=3", "keys of the configuration"),
        ("postgres://h/?sslmode=require&sslcert=/a", "sslcert is not supported"),
        ("postgres://h/?sslmode=require&pool=9", "parameter 2 behind the ? is not known; known are user,"),
        ("host='a", "has no end"),
        ("postgres://h/%ff", "dbname is not UTF-8"),
    ] {
        let error = wrong(url);
        assert!(error.contains(said), "{url}: {error}");
        assert_eq!(check_url(url), Err(error));
    }
    let long = format!("host=/{}", "x".repeat(100));
    assert!(wrong(&long).contains("longer than 107 bytes"));
}

#[test]
fn no_text_is_too_much_and_no_error_shows_a_word_of_it() {
    const PIECES: [&str; 34] = [
        "postgres://",
        "postgresql://",
        "@",
        ":",
        "/",
        "?",
        "&",
        "=",
        ",",
        "[",
        "]",
        "%",
        "%2F",
        "%00",
        "%ff",
        "'",
        "\\",
        " ",
        "host",
        "user",
        "port",
        "hostaddr",
        "sslmode",
        "verify-full",
        "ssl",
        "dbname",
        "options",
        "5432",
        "99999",
        "::1",
        "db.example",
        "/run/pg",
        "é",
        "\u{0}",
    ];
    const SECRET: &str = "kee1Me5ecret";
    let mut random = fastrand::Rng::with_seed(4);
    let (mut understood, mut refused) = (0, 0);
    for _ in 0..100_000 {
        let mut pieces: Vec<&str> = (0..random.usize(0..14)).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        pieces.insert(random.usize(..=pieces.len()), SECRET);
        let prefix = if random.bool() { "postgres://" } else { "" };
        let text = format!("{prefix}{}", pieces.concat());
        match Target::of(&DatabaseRules::at(Secret::new(text.as_str()))) {
            Ok(target) => {
                understood += 1;
                assert!(!target.places.is_empty(), "{text}");
            }
            Err(error) => {
                refused += 1;
                assert!(!error.contains(SECRET), "{text}: {error}");
            }
        }
    }
    assert!(understood > 1000 && refused > 1000, "{understood} understood, {refused} refused");
}

#[test]
fn a_target_that_is_shown_keeps_its_password() {
    let shown = format!("{:?}", target("postgres://u:kee1Me5ecret@h/d"));
    assert!(shown.contains("\"u\"") && !shown.contains("kee1Me5ecret"), "{shown}");
}
