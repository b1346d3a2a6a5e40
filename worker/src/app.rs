//! What an application is, and what it is told: the trait it implements and the values it is given.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::Extensions;

use crate::body::Body;
use crate::client::Client;
use crate::clock;
use crate::database::{self, Database};
use crate::error::{Error, Result};
use crate::log::RequestId;
use crate::metrics::Metrics;
use crate::metrics::declarations::Declarations;
use crate::scoreboard::Cell;

/// A request, its body complete: bytes or a file, to be read or sought.
pub type Request = http::Request<Body>;
/// A response. `Content-Length` and `Transfer-Encoding` follow from the body; what a handler sets there is ignored,
/// but for the `Content-Length` of an empty body, which a HEAD or 304 answer may state for the body it leaves out.
pub type Response = http::Response<Body>;

/// An application: loaded once, then served by as many processes as the pool has workers.
pub trait App: Sized {
    /// Once per generation, in the template, before any fork: what is loaded here is shared by all workers until
    /// they write to it. Single-threaded by contract, and no place for a connection: a worker that finds a second
    /// thread refuses to exist. What a random generator yields here is the same in every worker.
    ///
    /// # Errors
    /// Any error keeps this generation from serving; its text is logged by the supervisor.
    fn load(settings: Settings) -> Result<Self>;

    /// In each worker after the fork: clients, caches, threads if it must be, seeds. Bounded by `boot_timeout`.
    ///
    /// # Errors
    /// Any error ends this worker as a failed boot; its text is logged by the supervisor.
    fn start(&mut self, worker: &Worker) -> Result<()> {
        let _ = worker;
        Ok(())
    }

    /// One request. May block, may panic, has the process to itself. Bounded by `request_timeout`.
    ///
    /// # Errors
    /// An error is answered with its status, 500 unless it says otherwise, and logged with the request.
    fn handle(&mut self, request: Request, context: &mut Context) -> Result<Response>;

    /// On leaving, after the last response. Bounded by `stop_timeout`.
    fn stop(&mut self) {}
}

/// The `[pool.NAME.settings]` table of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    table: serde_json::Value,
    metrics: Declarations,
}

impl Settings {
    pub(crate) fn new(table: serde_json::Value) -> Settings {
        Settings { table, metrics: Declarations::default() }
    }

    /// Where the application declares what it will count, in [`App::load`].
    pub fn metrics(&self) -> &Declarations {
        &self.metrics
    }

    /// The settings as the application's own type. An absent table reads like an empty one.
    ///
    /// # Errors
    /// What serde says of a key that is missing, unknown or of the wrong type.
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let table = match &self.table {
            serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
            table => table.clone(),
        };
        serde_json::from_value(table).map_err(|error| Error::msg(format!("settings: {error}")))
    }
}

/// Which worker this is.
#[derive(Debug, Clone)]
pub struct Worker {
    pub(crate) pool: String,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) pid: u32,
    pub(crate) metrics: Metrics,
}

impl Worker {
    /// The pool's name; `"by hand"` without a supervisor.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// The worker's place in its pool, from 0.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// The loaded version of program and configuration, from 1.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Where this worker counts what its application has declared: for [`App::start`] and the threads it starts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// What surrounds one request.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) cell: Option<&'a Cell>,
    pub(crate) database: Option<&'a mut Database>,
    pub(crate) own: Own,
}

/// What a request has of its own. It outlives the handler: the request ends when its response has been sent and its
/// deferred work is done.
pub(crate) struct Own {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) client: Client,
    pub(crate) served: u64,
    pub(crate) id: RequestId,
    pub(crate) extensions: Extensions,
    pub(crate) deferred: Vec<Deferred>,
    pub(crate) endings: Vec<Ending>,
}

/// What the library itself has to do once a request's response is made, and nothing of it runs any more.
pub(crate) type Ending = Box<dyn FnOnce()>;

/// What is run at the end of a request.
pub(crate) type Deferred = Box<dyn FnOnce(&mut Context<'_>)>;

impl Context<'_> {
    /// The worker that serves this request.
    pub fn worker(&self) -> &Worker {
        self.worker
    }

    /// Who is at the other end of the connection, the client or a proxy: by what the socket says or, on a listener with
    /// `proxy_protocol`, by what the proxy has said; `None` over a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.own.peer
    }

    /// Where this worker counts what its application has declared in [`App::load`].
    pub fn metrics(&self) -> &Metrics {
        &self.worker.metrics
    }

    /// On whose behalf this request is: whom trusted proxies name, and else whoever is at the other end. The headers from
    /// which that is known stay in the request as they came: whatever else stands in them is anybody's word.
    pub fn client(&self) -> &Client {
        &self.own.client
    }

    /// How many requests this process has served before this one.
    pub fn served(&self) -> u64 {
        self.own.served
    }

    /// Moves the deadline of this request to `time` from now, if that is later than it is; at first it is
    /// `request_timeout` from the request's beginning. There is no bound: what is extended again and again is never
    /// ended. Costs no system call, so it may stand in a loop.
    pub fn extend_deadline(&mut self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(cell) = self.cell {
            cell.extend(clock::now().saturating_add(time));
        }
    }

    /// The pool's database: a connection that is open, fresh, and shows nothing of another request. It is the same one
    /// for the whole request, unless it breaks.
    ///
    /// # Errors
    /// That none is configured, that none is to be had, or that the request's deadline has passed while it was waited for.
    /// Passed on, it is answered 503 with `Retry-After`, or 504.
    pub fn database(&mut self) -> Result<&mut database::Client, database::Error> {
        self.database.as_mut().ok_or_else(database::Error::not_configured)?.acquire()
    }

    /// Runs `attempt` with the pool's database, and once more on a fresh connection if it has failed since its connection
    /// was dead and nothing that it did there was final: no statement of its own was answered, no transaction committed or
    /// about to be.
    ///
    /// What it cannot know: whether a statement whose answer never came was executed, if it stood outside a transaction;
    /// and whether a COMMIT was, where it came together with other statements in one text, or from within a procedure
    /// (`CALL`, `DO`). So let what must not happen twice happen in a [`postgres::Transaction`](crate::postgres::Transaction).
    ///
    /// # Errors
    /// Those of the last attempt, and those of [`Context::database`].
    pub fn database_retry<T, E: From<database::Error>>(
        &mut self,
        attempt: impl FnMut(&mut database::Client) -> Result<T, E>,
    ) -> Result<T, E> {
        self.database.as_mut().ok_or_else(database::Error::not_configured)?.retry(attempt)
    }

    /// The id under which this request stands in the log: the client's `X-Request-Id` if it sent one of at most 128
    /// visible ASCII characters, else the trace id of its `traceparent`, else one of our own.
    pub fn request_id(&self) -> String {
        self.own.id.to_string()
    }

    /// What the application has attached to this request, one value a type. It is dropped at the end of the request.
    pub fn extensions(&self) -> &Extensions {
        &self.own.extensions
    }

    /// The same, to be changed.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.own.extensions
    }

    /// Has the library itself do this when the request is over.
    pub(crate) fn at_end(&mut self, ending: impl FnOnce() + 'static) {
        self.own.endings.push(Box::new(ending));
    }

    /// Has `work` run at the end of this request, when its response has been sent: what the client need not wait for.
    ///
    /// What was deferred last runs first; a deferred function may defer more. All of it runs, also if the handler fails
    /// or panics, or if one of them does; a panic is logged. The response cannot be changed any more, and the client is
    /// told of nothing.
    ///
    /// Until then this worker serves nobody else: not while the response leaves, as with [`Body::reader`], and not while
    /// deferred work runs. Both are counted against `request_timeout`, but for the time that the client took to accept
    /// the response; [`Context::extend_deadline`] gives more. Work that overruns is ended with its process. What must
    /// not be lost belongs into a queue that outlives a worker.
    ///
    /// ```
    /// # use ratoon_worker::{Context, Request, Response, Result};
    /// fn handle(request: Request, context: &mut Context) -> Result<Response> {
    ///     let path = request.uri().path().to_owned();
    ///     context.defer(move |context| tracing::info!(path, id = context.request_id(), "seen"));
    ///     Ok(Response::new("done\n".into()))
    /// }
    /// ```
    pub fn defer(&mut self, work: impl FnOnce(&mut Context<'_>) + 'static) {
        self.own.deferred.push(Box::new(work));
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("peer", &self.peer)
            .field("client", &self.client)
            .field("served", &self.served)
            .field("id", &self.id)
            .field("extensions", &self.extensions.len())
            .field("deferred", &self.deferred.len())
            .finish()
    }
}
