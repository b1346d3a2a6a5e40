//! An application that is up to no good: does to its supervisor, when a request or its settings say so, whatever a worker or
//! a template can, through every socket it finds itself with and into all the memory it shares.
//!
//! `/garbage:MIB`, `/words:MIB` and `/reports:MIB` send so much: bytes, lies, and what a worker may say; `/scribble:MS`,
//! `/press:MS` write into the scoreboard for so long; `/orphans:COUNT` leaves behind so many children of nobody; `/seize`
//! has all that it holds wait, and fills every pipe; `/linger` sends connections that take an hour to close, `/nest` hides them in sockets of their own first, and `:PORT` says where
//! their other end is; `/fill:MS` writes the greatest number everywhere; `/deaf:MS` reads nothing for so long; `/print:MIB` and `/chatter:MIB` write as much to
//! standard output and standard error, without an end of line and in short lines. `settings = { load = "words:1" }` has the
//! template do it, `{ stop = "linger" }` a worker that leaves.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, SockType, getsockopt, sendmsg, setsockopt, sockopt};
use ratoon_worker::{App, Context, Error, Request, Response, Result, Settings};

struct Hostile {
    /// What is to be done at the end.
    stop: Option<String>,
}

fn main() -> ExitCode {
    ratoon_worker::main::<Hostile>()
}

impl App for Hostile {
    fn load(settings: Settings) -> Result<Self> {
        let wishes: serde_json::Value = settings.parse()?;
        let stop = wishes["stop"].as_str().map(str::to_owned);
        match wishes["load"].as_str() {
            Some(word) => act(word).map(|_| Hostile { stop }),
            None => Ok(Hostile { stop }),
        }
    }

    fn stop(&mut self) {
        if let Some(Err(error)) = self.stop.as_deref().map(act) {
            eprintln!("not done: {error}");
        }
    }

    fn handle(&mut self, request: Request, context: &mut Context) -> Result<Response> {
        match request.uri().path().trim_start_matches('/') {
            "ok" => Ok(Response::new(context.worker().pid().to_string().into())),
            word => act(word).map(|done| Response::new(done.into())),
        }
    }
}

fn act(word: &str) -> Result<String> {
    let (verb, number) = word.split_once(':').unwrap_or((word, "0"));
    let number: u64 = number.parse()?;
    match verb {
        "garbage" => Ok(flood(number << 20, |random, message| {
            message.resize(random.below(8192) as usize + 1, 0);
            message.iter_mut().for_each(|byte| *byte = random.next() as u8);
        })),
        "words" => Ok(flood(number << 20, |random, message| {
            message.clear();
            message.extend_from_slice(lie(random).as_bytes());
        })),
        "reports" => Ok(flood(number << 20, |random, message| {
            let reports = [r#"{"report":"ready"}"#, r#"{"report":"overran"}"#, r#"{"report":"draining"}"#];
            message.clear();
            message.extend_from_slice(reports[random.below(3) as usize].as_bytes());
        })),
        "scribble" => scribble(Duration::from_millis(number)),
        "press" => press(Duration::from_millis(number)),
        "orphans" => {
            let script = format!("i=0; while [ $i -lt {number} ]; do (true &); i=$((i+1)); done");
            Ok(Command::new("sh").args(["-c", &script]).status()?.to_string())
        }
        "deaf" => {
            std::thread::sleep(Duration::from_millis(number));
            Ok("nothing was heard".into())
        }
        "linger" => linger(number, &|connection| Ok(connection.into())),
        "seize" => seize(),
        "nest" => linger(number, &nested),
        "fill" => fill(Duration::from_millis(number)),
        "print" => print(number, &[b'x'; 1 << 16]),
        "chatter" => print(number, &[&[b'x'; 63][..], b"\n"].concat().repeat(1 << 10)),
        _ => Err(Error::msg(format!("this is beyond the hostile: {word:?}"))),
    }
}

/// A message that parses, about anybody.
fn lie(random: &mut Random) -> String {
    let (slot, life) = (random.below(6), random.below(40));
    let pid =
        [1, 0, -1, std::process::id() as i64, std::os::unix::process::parent_id() as i64, random.below(1 << 22) as i64]
            [random.below(6) as usize];
    match random.below(9) {
        0 => r#"{"report":"ready"}"#.into(),
        1 => r#"{"report":"overran"}"#.into(),
        2 => r#"{"report":"leaving","why":"panic"}"#.into(),
        3 => r#"{"report":"draining"}"#.into(),
        4 => format!(r#"{{"report":"refused","reason":"{}"}}"#, "x".repeat(1000)),
        5 => format!(r#"{{"report":"forked","slot":{slot},"life":{life},"pid":{pid}}}"#),
        6 => format!(r#"{{"report":"not_forked","slot":{slot},"life":{life},"reason":"no"}}"#),
        7 => r#"{"report":"loaded"}"#.into(),
        _ => format!(r#"{{"report":"hello","version":{}}}"#, random.below(9)),
    }
}

/// Offers so many bytes to every socket on which messages are sent, whether or not they are taken.
fn flood(bytes: u64, mut make: impl FnMut(&mut Random, &mut Vec<u8>)) -> String {
    let (mut random, mut message, mut offered, mut taken) = (Random(7), Vec::new(), 0, 0);
    let sockets = sockets();
    while offered < bytes {
        make(&mut random, &mut message);
        for socket in &sockets {
            offered += message.len() as u64;
            taken += u64::from(send(*socket, &message, &[]).is_ok());
        }
    }
    format!("{taken} messages were taken by {} sockets", sockets.len())
}

/// So many MiB of these 64 KiB, to each of both.
fn print(mib: u64, piece: &[u8]) -> Result<String> {
    for _ in 0..mib << 4 {
        std::io::stdout().write_all(piece)?;
        std::io::stderr().write_all(piece)?;
    }
    Ok("printed".into())
}

/// Every word of the scoreboard, again and again.
fn scribble(time: Duration) -> Result<String> {
    let (memory, boards) = (memory()?, boards()?);
    let (begun, mut random, mut rounds) = (Instant::now(), Random(11), 0);
    while begun.elapsed() < time {
        for (from, to) in &boards {
            for page in (*from..*to).step_by(4096) {
                let words: Vec<u8> = (0..512).flat_map(|_| random.next().to_ne_bytes()).collect();
                memory.write_all_at(&words, page)?;
            }
        }
        rounds += 1;
    }
    Ok(format!("{} pieces of memory, {rounds} times", boards.len()))
}

/// The greatest number there is, in every word of the scoreboard, again and again.
fn fill(time: Duration) -> Result<String> {
    let (memory, boards) = (memory()?, boards()?);
    let begun = Instant::now();
    while begun.elapsed() < time {
        for (from, to) in &boards {
            for page in (*from..*to).step_by(4096) {
                memory.write_all_at(&[u8::MAX; 4096], page)?;
            }
        }
    }
    Ok(format!("{} pieces of memory", boards.len()))
}

/// A deadline that is always just over, and never the same: late enough to be asked where it is stuck, and not to be
/// killed. It answers, too, a thousand times.
fn press(time: Duration) -> Result<String> {
    let memory = memory()?;
    let mut deadlines = Vec::new();
    for (from, to) in boards()? {
        let mut board = vec![0; usize::try_from(to - from)?];
        memory.read_exact_at(&mut board, from)?;
        // This request has a hundred seconds, and nothing else in there is a moment to come.
        let words = board.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")));
        let to_come = monotonic()..monotonic() + 100_000_000_000;
        deadlines.extend((from..).step_by(8).zip(words).filter(|(_, word)| to_come.contains(word)).map(|(at, _)| at));
    }
    let begun = Instant::now();
    while begun.elapsed() < time {
        for deadline in &deadlines {
            memory.write_all_at(&(monotonic() - 300_000_000).to_ne_bytes(), *deadline)?;
        }
        for socket in sockets() {
            let _ = send(socket, br#"{"report":"overran"}"#, &[]);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(format!("{} deadlines", deadlines.len()))
}

/// What the kernel reads and writes for a debugger it reads and writes for us.
fn memory() -> Result<File> {
    Ok(OpenOptions::new().read(true).write(true).open("/proc/self/mem")?)
}

/// Where the memory is that all workers share.
fn boards() -> Result<Vec<(u64, u64)>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let is_board = |line: &&str| line.contains("rw-s") && line.contains("/memfd:ratoon-");
    let spans = maps.lines().filter(is_board).filter_map(|line| line.split_whitespace().next()?.split_once('-'));
    spans.map(|(from, to)| Ok((u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?))).collect()
}

/// Connections that nobody reads from, with something to send and an hour to do it in, `wrapped` in something: whoever has
/// the last copy and closes it waits. Their other end is at `port`, or ours if that is 0: then it ends when we do.
fn linger(port: u64, wrapped: &dyn Fn(TcpStream) -> Result<OwnedFd>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let peer = match u16::try_from(port)? {
        0 => listener.local_addr()?,
        port => ([127, 0, 0, 1], port).into(),
    };
    let mut taken = 0;
    for socket in sockets() {
        let connection = TcpStream::connect(peer)?;
        if port == 0 {
            std::mem::forget(listener.accept()?);
        }
        connection.set_nonblocking(true)?;
        while (&connection).write(&[0; 1 << 16]).is_ok() {}
        setsockopt(&connection, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 3600 })?;
        let copy = connection.try_clone()?;
        let present = wrapped(connection)?;
        // Without our copies the close is whoever's that it was sent to; where it was not, it would be ours.
        match send(socket, b"{}", &[present.as_raw_fd()]) {
            Ok(_) => taken += 1,
            Err(_) => setsockopt(&copy, sockopt::Linger, &libc::linger { l_onoff: 0, l_linger: 0 })?,
        }
    }
    Ok(format!("{taken} were taken"))
}

/// A socket in which the connection lies as a message.
fn nested(connection: TcpStream) -> Result<OwnedFd> {
    let (near, far) = UnixDatagram::pair()?;
    send(near.as_raw_fd(), b"{}", &[connection.as_raw_fd()])?;
    Ok(far.into())
}

/// Has everything that it holds wait for its reader, makes each pipe as small as it may be, and fills each for ever.
fn seize() -> Result<String> {
    let mut flooded = 0;
    for number in descriptors() {
        let Some(pipe) = made_to_wait(number) else { continue };
        flooded += 1;
        std::thread::spawn(move || {
            let line = [&[b'x'; 1022][..], b"\n"].concat();
            while (&pipe).write_all(&line).is_ok() {}
        });
    }
    Ok(format!("{flooded} pipes are flooded"))
}

/// Another descriptor for it, if it is a pipe that is written to.
#[allow(unsafe_code)]
fn made_to_wait(number: RawFd) -> Option<File> {
    // SAFETY: it was open a moment ago, and nothing here closes any but the directory, of which all this says nothing.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL).ok()?);
    let _ = fcntl(descriptor, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK));
    let _ = fcntl(descriptor, FcntlArg::F_SETPIPE_SZ(4096));
    let is_pipe = fcntl(descriptor, FcntlArg::F_GETPIPE_SZ).is_ok();
    let writes = (flags & OFlag::O_ACCMODE) != OFlag::O_RDONLY;
    (is_pipe && writes).then(|| descriptor.try_clone_to_owned().ok().map(File::from)).flatten()
}

fn descriptors() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The sockets on which messages are sent.
fn sockets() -> Vec<RawFd> {
    descriptors().into_iter().filter(|number| kind(*number) == Some(SockType::SeqPacket)).collect()
}

#[allow(unsafe_code)]
fn kind(number: RawFd) -> Option<SockType> {
    // SAFETY: it was open a moment ago, and the one thread there is has closed nothing since but the directory, which is
    // no socket: then this says so.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    getsockopt(&socket, sockopt::SockType).ok()
}

fn send(socket: RawFd, message: &[u8], descriptors: &[RawFd]) -> nix::Result<usize> {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let beside = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket, &[IoSlice::new(message)], beside, flags, None)
}

fn monotonic() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("there is a clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Good enough for evil (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
