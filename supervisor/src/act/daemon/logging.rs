//! The log process, looked after: started where it is missed, told of everybody who prints.

use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

use nix::unistd::Pid;
use ratoon_worker::access::{Entry, Form};

use super::Daemon;
use super::errands::Errand;
use crate::act::logs::Captured;
use crate::act::pool::Pool;
use crate::act::token::{Token, wait_for};
use crate::control::Answer;
use crate::decide::cause::Cause;
use crate::decide::event::{Edition, Event, PoolId, TemplateRef, WorkerRef};
use crate::logger::{Output, Source};

impl Daemon {
    /// Executes the log process.
    pub(super) fn start_log(&mut self) {
        let now = self.clock.now();
        let (logs, pools) = (&mut self.logs, &self.pools);
        if let Err(error) = logs.start(now, captured(pools)) {
            self.events.push_back(Event::LogNotStarted(error.to_string()));
        }
        if let Some(channel) = self.logs.channel()
            && let Err(error) = wait_for(&self.epoll, channel, Token::Log)
        {
            tracing::error!(%error, "cannot wait for the log process");
        }
        self.conclude_reopening();
    }

    /// Tells the log process what it is still to be told, and does without it while there is none.
    pub(super) fn look_after_the_log(&mut self) {
        self.logs.flush();
        let (logs, pools) = (&mut self.logs, &self.pools);
        let now = self.clock.now();
        logs.drain(now, captured(pools));
        logs.lose_patience(now);
        self.conclude_reopening();
    }

    /// What a worker printed that is about to be forgotten, if nobody reads it now, is kept for who will.
    pub(super) fn keep_output_of_worker(&mut self, who: WorkerRef) {
        let pool = self.pools.iter().find(|pool| pool.id == who.pool).filter(|_| self.logs.pid().is_none());
        let sources = pool.and_then(|pool| of_worker(pool, who.life));
        self.logs.park(sources.into_iter().flatten());
    }

    /// The same of a template.
    pub(super) fn keep_output_of_template(&mut self, who: TemplateRef) {
        let pool = self.pools.iter().find(|pool| pool.id == who.pool).filter(|_| self.logs.pid().is_none());
        let sources = pool.and_then(|pool| of_template(pool, who.life));
        self.logs.park(sources.into_iter().flatten());
    }

    /// Closes the files of access logs that no configuration names any more.
    pub(super) fn close_idle_files(&mut self) {
        let (logs, pools) = (&mut self.logs, &self.pools);
        logs.keep_files(|path| pools.iter().flat_map(Pool::access_files).any(|named| named == path));
    }

    /// The lines in the access log of what this worker's death has ended, if there was anything: the request that it ran,
    /// and responses that were still leaving. Its worker can write them no more.
    pub(super) fn write_down(&mut self, who: WorkerRef, pid: i32, cause: &Cause) {
        let Some(pool) = self.pools.iter().find(|pool| pool.id == who.pool) else { return };
        let Some(form) = pool.config.access.as_ref().and_then(|form| form.parse::<Form>().ok()) else { return };
        let Some(cell) = pool.scoreboard.cell(who.slot).filter(|cell| cell.life() == who.life) else { return };
        let Some(worker) = pool.workers.get(&who.life) else { return };
        let (left, uncounted) = cell.left();
        pool.scoreboard.lose_log_lines(uncounted);
        let now = self.clock.now();
        let took = |begun: u64| now.since(self.clock.own(begun, begun));
        let entry = |line: &[u8]| {
            let mut entry = Entry {
                ended: Some(SystemTime::now()),
                pool: pool.config.name.clone(),
                worker: who.slot,
                generation: worker.generation.0,
                pid,
                cause: Some(cause.to_string()),
                ..Entry::default()
            };
            entry.line(line);
            entry
        };
        let leaving = left.iter().map(|left| Entry {
            client: left.client,
            status: left.status,
            bytes: left.sent,
            duration: took(left.begun),
            handler: Duration::from_nanos(left.answered.saturating_sub(left.begun)),
            ..entry(&left.line)
        });
        let running = cell.owes_an_answer().then(|| {
            let read = cell.read();
            let (status, bytes) = match cell.last_words() {
                Some(words) if words.why.is_fatal() => (500, words.told),
                Some(words) if *cause == Cause::RequestTimeout => (504, words.told),
                _ => (502, 0),
            };
            let took = took(read.busy_since);
            Entry { client: cell.client(), status, bytes, duration: took, handler: took, ..entry(&read.line) }
        });
        let is_wanted = |entry: &Entry| !pool.config.access_skip.iter().any(|skip| entry.is_skipped(skip));
        let entries: Vec<Entry> = leaving.chain(running).filter(is_wanted).collect();
        if entries.is_empty() {
            return;
        }
        let file = pool.config.access_file.clone();
        if let Ok(lines) = self.logs.lines(file.as_deref()) {
            entries.iter().for_each(|entry| lines.write(&form.line(entry)));
        }
    }

    /// How many lines that its workers wrote or printed nobody took.
    pub(super) fn lost_by(&self, pool: &Pool) -> u64 {
        // What stands in a scoreboard may be any number.
        self.logs.lost(Some(&pool.config.name)).saturating_add(pool.scoreboard.log_lines_lost())
    }

    /// Tells those who have asked for the log to be opened anew, if that is done.
    pub(super) fn conclude_reopening(&mut self) {
        // Whoever has only just asked is not told of what was done before.
        if self.events.iter().any(|event| matches!(event, Event::LogMoved)) {
            return;
        }
        if let Some(outcome) = self.logs.take_reopened() {
            let answer = outcome.map_or_else(Answer::Failed, Answer::Done);
            self.conclude_errands(Errand::ReopenLogs, &answer);
        }
    }

    /// What a template prints is read from now on.
    pub(super) fn listen_to_template(&mut self, who: TemplateRef) {
        let pool = self.pools.iter().find(|pool| pool.id == who.pool);
        let sources = pool.and_then(|pool| of_template(pool, who.life));
        self.logs.listen(sources.into_iter().flatten());
    }

    /// What a worker prints is read from now on: its process is known.
    pub(super) fn listen_to_worker(&mut self, who: WorkerRef) {
        let pool = self.pools.iter().find(|pool| pool.id == who.pool);
        let sources = pool.and_then(|pool| of_worker(pool, who.life));
        self.logs.listen(sources.into_iter().flatten());
    }

    /// What the command that prepares an edition prints is read from now on.
    pub(super) fn listen_to_preparation(&mut self, id: PoolId, edition: Edition) {
        let pool = self.pools.iter().find(|pool| pool.id == id);
        let sources = pool.and_then(|pool| of_preparation(pool, edition));
        self.logs.listen(sources.into_iter().flatten());
    }
}

type Sources<'a> = [(Source, BorrowedFd<'a>); 2];

/// Every stream that is captured.
fn captured(pools: &[Pool]) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
    let of = |pool| {
        let templates = Pool::lives_of_templates(pool).filter_map(move |life| of_template(pool, life));
        let workers = Pool::lives_of_workers(pool).filter_map(move |life| of_worker(pool, life));
        let preparations = Pool::editions_prepared(pool).filter_map(move |edition| of_preparation(pool, edition));
        templates.chain(workers).chain(preparations).flatten()
    };
    pools.iter().flat_map(of)
}

fn of_template(pool: &Pool, life: u64) -> Option<Sources<'_>> {
    let template = pool.templates.get(&life)?;
    Some(named(pool, template.captured.as_ref()?, None, Some(template.generation.0), template.pid))
}

fn of_worker(pool: &Pool, life: u64) -> Option<Sources<'_>> {
    let worker = pool.workers.get(&life)?;
    Some(named(pool, worker.captured.as_ref()?, Some(worker.who.slot), Some(worker.generation.0), worker.process?))
}

fn of_preparation(pool: &Pool, edition: Edition) -> Option<Sources<'_>> {
    let (pid, captured) = pool.preparation(edition)?;
    Some(named(pool, captured?, None, None, pid))
}

fn named<'a>(
    pool: &Pool,
    captured: &'a Captured,
    worker: Option<u32>,
    generation: Option<u32>,
    pid: Pid,
) -> Sources<'a> {
    let (pool, pid) = (pool.config.name.clone(), pid.as_raw());
    captured.sources(Source { pool, worker, generation, pid, stream: Output::Stdout })
}
