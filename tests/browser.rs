//! Promised: "open http://127.0.0.1:8080 in a browser". A real one, without a screen.

use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::harness::browser::{LONG, chromium};
use crate::harness::{Ratoon, SOON, eventually, get, memory, process};

const CONFIG: &str = "[pool.web]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n";

/// A browser that loads one page; killed with all its processes when dropped.
struct Visit {
    process: Child,
    profile: TempDir,
}

impl Visit {
    fn load(url: &str, arguments: &[&str]) -> Visit {
        let profile = memory::directory();
        let output = std::fs::File::create(profile.path().join("output")).unwrap();
        let mut command = chromium(profile.path());
        command.args(arguments).arg(url);
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
        let process = std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn().unwrap();
        Visit { process, profile }
    }

    /// What it wrote, once it has gone.
    #[track_caller]
    fn output(mut self) -> String {
        let status = eventually("the browser is done", LONG, || self.process.try_wait().unwrap());
        assert!(status.success(), "{status}");
        std::fs::read_to_string(self.profile.path().join("output")).unwrap()
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.process.id() as i32);
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.process.wait();
        eventually("the browser's processes are gone", SOON, || process::group(group).is_empty().then_some(()));
    }
}

/// The page as the browser has it after loading.
#[track_caller]
fn page(url: &str) -> String {
    Visit::load(url, &["--dump-dom"]).output()
}

/// Where the link whose text is `text` leads.
fn link<'a>(page: &'a str, text: &str) -> Option<&'a str> {
    let (before, _) = page.split_once(&format!("\"><code>{text}</code></a>"))?;
    before.rsplit_once("href=\"").map(|(_, target)| target)
}

#[test]
fn a_browser_shows_the_routes_and_follows_a_link_to_the_worker_that_answers() {
    let ratoon = Ratoon::serving(CONFIG);
    let front = page(&format!("http://{}/", ratoon.address()));
    assert!(front.contains("<h1>Ratoon works.</h1>"), "{front}");
    for route in ["/whoami", "/hello", "/headers", "/sleep?ms=1000", "/spin?ms=1000", "/bytes?n=1000000", "/panic"] {
        assert_eq!(link(&front, &format!("GET {route}")), Some(route), "{front}");
    }
    let target = link(&front, "GET /whoami").unwrap();
    let who = page(&format!("http://{}{target}", ratoon.address()));
    let workers = ratoon.ready_workers("web", 2);
    let names_a_worker = workers.iter().any(|pid| who.contains(&format!("\"pid\":{pid}")));
    assert!(names_a_worker && who.contains("\"pool\":\"web\""), "{who}");
}

#[test]
fn a_browser_paints_the_front_page() {
    let ratoon = Ratoon::serving(&CONFIG.replace("workers = 2", "workers = 1"));
    let shot = ratoon.directory().join("page.png");
    let argument = format!("--screenshot={}", shot.display());
    Visit::load(&format!("http://{}/", ratoon.address()), &[&argument, "--window-size=900,1100"]).output();
    assert!(is_picture(&shot, 900, 1100));
    assert_ne!(get(ratoon.address(), "/whoami").json()["served"], 0, "the picture is of something else");
}

/// A PNG of this size that is more than one colour all over.
fn is_picture(path: &Path, width: u32, height: u32) -> bool {
    let bytes = std::fs::read(path).unwrap();
    let number = |place: usize| u32::from_be_bytes(bytes[place..place + 4].try_into().unwrap());
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") && number(16) == width && number(20) == height && bytes.len() > 20_000
}
