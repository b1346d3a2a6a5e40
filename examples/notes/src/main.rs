//! Notes: a page for people and an interface for programs, over one table.
//!
//! A handler is plain blocking code: it routes, asks the database, answers. Which connection it is given, whether that is
//! still alive, and what another request has left in its session is nothing it needs to think of.

mod page;
mod reply;
mod store;

use std::io::Read;
use std::process::ExitCode;

use matchit::Router;
use ratoon_worker::http::{Method, StatusCode};
use ratoon_worker::postgres;
use ratoon_worker::{App, Context, Counter, Error, Histogram, Request, Response, Result, Settings};
use serde::Deserialize;

use crate::store::Note;

struct Notes {
    title: String,
    routes: Router<Route>,
    tally: Tally,
}

/// What is counted, for `GET /metrics` of the supervisor: all workers together, also those that are no more.
#[derive(Clone, Copy)]
struct Tally {
    written: Counter,
    lengths: Histogram,
}

#[derive(Clone, Copy)]
enum Route {
    Page,
    Notes,
    Note,
}

/// `[pool.NAME.settings]`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wishes {
    title: String,
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes { title: "Notes".into() }
    }
}

/// What a program sends to write a note.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    text: String,
}

impl App for Notes {
    /// Once, before any worker is forked: all of them share it.
    fn load(settings: Settings) -> Result<Notes> {
        let Wishes { title } = settings.parse()?;
        let mut routes = Router::new();
        routes.insert("/", Route::Page)?;
        routes.insert("/api/notes", Route::Notes)?;
        routes.insert("/api/notes/{id}", Route::Note)?;
        let metrics = settings.metrics();
        let tally = Tally {
            written: metrics.counter("notes_written_total", "Notes that were written.", &[])?,
            lengths: metrics.histogram("notes_length_chars", "How long they are.", &[], &[10.0, 100.0, 1000.0])?,
        };
        Ok(Notes { title, routes, tally })
    }

    fn handle(&mut self, request: Request, context: &mut Context) -> Result<Response> {
        let path = request.uri().path().to_owned();
        let Ok(found) = self.routes.at(&path) else {
            return reply::refusal(StatusCode::NOT_FOUND, "there is nothing here");
        };
        let id = found.params.get("id").and_then(|id| id.parse::<i64>().ok());
        match (*found.value, request.method(), id) {
            (Route::Page, &Method::GET | &Method::HEAD, _) => {
                let notes = store::newest(context.database()?)?;
                reply::page(page::of(&self.title, &notes))
            }
            (Route::Page, &Method::POST, _) => {
                let body = text_of(request)?;
                let field = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "text");
                let Some(text) = field.and_then(|(_, text)| acceptable(&text)) else {
                    return reply::refusal(StatusCode::BAD_REQUEST, "a note needs a text");
                };
                write(context, &text, self.tally)?;
                reply::see("/")
            }
            (Route::Page, ..) => reply::not_allowed("GET, HEAD, POST"),
            (Route::Notes, &Method::GET | &Method::HEAD, _) => {
                reply::json(StatusCode::OK, &store::newest(context.database()?)?)
            }
            (Route::Notes, &Method::POST, _) => {
                let draft = serde_json::from_str::<Draft>(&text_of(request)?).ok();
                match draft.and_then(|draft| acceptable(&draft.text)) {
                    Some(text) => reply::json(StatusCode::CREATED, &write(context, &text, self.tally)?),
                    None => reply::refusal(StatusCode::BAD_REQUEST, "send {\"text\": \"…\"}"),
                }
            }
            (Route::Notes, ..) => reply::not_allowed("GET, HEAD, POST"),
            (Route::Note, &Method::GET | &Method::HEAD, Some(id)) => match store::find(context.database()?, id)? {
                Some(note) => reply::json(StatusCode::OK, &note),
                None => reply::refusal(StatusCode::NOT_FOUND, "there is no such note"),
            },
            (Route::Note, &Method::DELETE, Some(id)) => match store::remove(context.database()?, id)? {
                true => reply::nothing(),
                false => reply::refusal(StatusCode::NOT_FOUND, "there is no such note"),
            },
            (Route::Note, _, Some(_)) => reply::not_allowed("GET, HEAD, DELETE"),
            (Route::Note, _, None) => reply::refusal(StatusCode::NOT_FOUND, "there is no such note"),
        }
    }
}

/// Writes a note, once more if the connection turns out to be dead: in a transaction, so that it is never written twice.
fn write(context: &mut Context, text: &str, tally: Tally) -> Result<Note, postgres::Error> {
    let note = context.database_retry(|client| -> Result<Note, postgres::Error> {
        let mut transaction = client.transaction()?;
        let note = store::add(&mut transaction, text)?;
        transaction.commit()?;
        Ok(note)
    })?;
    context.metrics().count(tally.written, 1);
    context.metrics().observe(tally.lengths, text.chars().count() as f64);
    Ok(note)
}

/// The whole body.
fn text_of(request: Request) -> Result<String> {
    let mut text = String::new();
    let read = request.into_body().read_to_string(&mut text);
    read.map_err(|error| Error::from(error).with_status(StatusCode::BAD_REQUEST))?;
    Ok(text)
}

/// A note's text: something to read, and nothing that the database cannot hold.
fn acceptable(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

fn main() -> ExitCode {
    ratoon_worker::main::<Notes>()
}
