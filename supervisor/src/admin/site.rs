//! The routes: what is asked, and which page answers it. Nothing here changes anything.

use ratoon_worker::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use ratoon_worker::http::{Method, StatusCode};
use ratoon_worker::{App, Body, Context, Error, Request, Response, Result, Settings};

use super::asker::Asker;
use super::history::History;
use super::metrics::Memory;
use super::{metrics, page, readiness};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// Where it is to be read only, and only by whoever asked.
const MANNERS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
];

/// The status page and all beside it.
pub(super) struct Site {
    asker: Asker,
    history: History,
    memory: Memory,
}

impl Site {
    pub(super) fn new(asker: Asker) -> Site {
        Site { asker, history: History::default(), memory: Memory::default() }
    }

    fn respond(&mut self, request: &Request) -> Result<Response> {
        let path = request.uri().path();
        if !matches!(path, "/" | "/status.json" | "/metrics" | "/healthz" | "/readyz") {
            let routes = "no such page: there are /, /status.json, /metrics, /healthz and /readyz\n";
            return Ok(answer(StatusCode::NOT_FOUND, TEXT, routes.to_owned()));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refusal = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "read-only: GET or HEAD\n".to_owned());
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(refusal);
        }
        let status = match self.asker.ask() {
            Ok(status) => status,
            Err(silence) if path == "/" => {
                return sight(StatusCode::SERVICE_UNAVAILABLE, page::silent(&silence.to_string()));
            }
            Err(silence) => return Ok(answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{silence}\n"))),
        };
        self.history.learn(&status);
        Ok(match path {
            "/healthz" => answer(StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/readyz" => match readiness::obstacle(&status, pool_named(request).as_deref()) {
                Ok(None) => answer(StatusCode::OK, TEXT, "ready\n".to_owned()),
                Ok(Some(why)) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
                Err(unknown) => answer(StatusCode::NOT_FOUND, TEXT, format!("{unknown}\n")),
            },
            "/metrics" => {
                let (kind, text) = metrics::exposition(&status, request.headers(), &mut self.memory);
                answer(StatusCode::OK, kind, text)
            }
            "/status.json" => answer(StatusCode::OK, JSON, serde_json::to_string(&*status)? + "\n"),
            _ => sight(StatusCode::OK, page::of(&status, &self.history))?,
        })
    }
}

impl App for Site {
    fn load(_: Settings) -> Result<Site> {
        Err(Error::msg("the admin process has no template"))
    }

    fn handle(&mut self, request: Request, _: &mut Context) -> Result<Response> {
        self.respond(&request)
    }
}

/// The pool that `?pool=` names.
fn pool_named(request: &Request) -> Option<String> {
    let query = request.uri().query()?;
    query.split('&').find_map(|pair| pair.strip_prefix("pool=")).map(str::to_owned)
}

/// A page for people.
fn sight(status: StatusCode, page: String) -> Result<Response> {
    let mut response = answer(status, HTML, page);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_str(&page::policy())?);
    Ok(response)
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in MANNERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
