//! A real browser without a screen, driven from within: it loads pages, is asked what they show, and has told of every
//! error.
//!
//! Speaks the DevTools protocol over the browser's own pipes, whose numbers a shell gives it. Killed with all its
//! processes when dropped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SOON, eventually, memory, process};

/// A browser may take long to start where much else is going on.
pub const LONG: Duration = Duration::from_secs(120);

/// `chromium` without a screen and without anything that it would do of its own accord; everything it keeps is in
/// `profile`.
pub fn chromium(profile: &Path) -> Command {
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-quic"]);
    command.args(["--no-proxy-server", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", profile.join("profile").display())).env("HOME", profile);
    command
}

/// A browser with one page.
pub struct Browser {
    process: Child,
    orders: ChildStdin,
    news: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    /// What the page has complained of.
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one with an empty page.
    #[track_caller]
    pub fn start() -> Browser {
        let profile = memory::directory();
        let direct = chromium(profile.path());
        // It reads orders from descriptor 3 and answers on 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"]);
        command.arg(direct.get_program()).args(direct.get_args()).arg("--remote-debugging-pipe").arg("about:blank");
        command.env("HOME", profile.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.process_group(0).spawn().unwrap();
        let (orders, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (tell, news) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let _ = tell.send(serde_json::from_slice(&message).unwrap_or_default());
            }
        });
        let complaints = Vec::new();
        let mut browser = Browser { process, orders, news, session: None, asked: 0, complaints, _profile: profile };
        let page = browser.order("Target.createTarget", json!({ "url": "about:blank" }));
        let attached =
            browser.order("Target.attachToTarget", json!({ "targetId": page["targetId"].clone(), "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.order(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Has it done; yields the answer.
    #[track_caller]
    pub fn order(&mut self, method: &str, parameters: Value) -> Value {
        self.try_order(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Has it done, or hears why it cannot be.
    #[track_caller]
    fn try_order(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.asked += 1;
        let mut order = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        self.orders.write_all(order.to_string().as_bytes()).and_then(|()| self.orders.write_all(&[0])).unwrap();
        let begun = Instant::now();
        loop {
            let left = LONG.saturating_sub(begun.elapsed());
            let message =
                self.news.recv_timeout(left).unwrap_or_else(|_| panic!("{method}: no answer from the browser"));
            if message["id"] == self.asked {
                return match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].clone()),
                };
            }
            self.note(&message);
        }
    }

    /// Loads a page.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let opened = self.order("Page.navigate", json!({ "url": url }));
        assert!(opened.get("errorText").is_none(), "{opened}");
        eventually(&format!("{url} is loaded"), LONG, || {
            let here = self.glance("location.href + ' ' + document.readyState")?;
            (here.as_str()? == format!("{url} complete")).then_some(())
        });
    }

    /// What an expression in the page is; `None` if it has none, for instance since the page is being loaded anew.
    pub fn glance(&mut self, expression: &str) -> Option<Value> {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        let found = self.try_order("Runtime.evaluate", parameters).ok()?;
        found.get("exceptionDetails").is_none().then(|| found["result"]["value"].clone())
    }

    /// What an expression in the page is.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let found = self.order("Runtime.evaluate", parameters);
        assert!(found.get("exceptionDetails").is_none(), "{expression}: {found}");
        found["result"]["value"].clone()
    }

    /// Makes the window so large, in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.order("Emulation.setDeviceMetricsOverride", size);
    }

    /// Has the page believe that its reader prefers this.
    pub fn prefer(&mut self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.order("Emulation.setEmulatedMedia", features);
    }

    /// A picture of the whole page, as PNG.
    #[track_caller]
    pub fn picture(&mut self, to: &Path) {
        let shot = self.order("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        std::fs::write(to, decoded(shot["data"].as_str().unwrap())).unwrap();
    }

    /// What the page has complained of so far: errors, exceptions, and what a policy has forbidden.
    pub fn complaints(&mut self) -> &[String] {
        while let Ok(message) = self.news.try_recv() {
            self.note(&message);
        }
        &self.complaints
    }

    fn note(&mut self, message: &Value) {
        let (method, about) = (message["method"].as_str().unwrap_or_default(), &message["params"]);
        let is_complaint = match method {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => matches!(about["type"].as_str(), Some("error" | "warning" | "assert")),
            "Log.entryAdded" => matches!(about["entry"]["level"].as_str(), Some("error" | "warning")),
            _ => false,
        };
        if is_complaint {
            self.complaints.push(about.to_string());
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.process.id() as i32);
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.process.wait();
        eventually("the browser's processes are gone", SOON, || process::group(group).is_empty().then_some(()));
    }
}

/// Base 64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u32> = text.bytes().filter_map(value).map(u32::from).collect();
    let whole = digits.chunks(4).flat_map(|digits| {
        let bits = (0..4).fold(0, |bits, place| bits << 6 | digits.get(place).copied().unwrap_or(0));
        bits.to_be_bytes()[1..digits.len()].to_vec()
    });
    whole.collect()
}
