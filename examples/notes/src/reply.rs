//! Responses: the forms that this service's answers have.

use maud::Markup;
use ratoon_worker::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use ratoon_worker::http::{Response as Builder, StatusCode};
use ratoon_worker::{Body, Response, Result};
use serde::Serialize;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// For a person.
pub(crate) fn page(page: Markup) -> Result<Response> {
    with(StatusCode::OK, CONTENT_TYPE, HTML, page.into_string())
}

/// For a program.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response> {
    with(status, CONTENT_TYPE, JSON, serde_json::to_vec(value)?)
}

/// Why not, in a sentence.
pub(crate) fn refusal(status: StatusCode, sentence: &str) -> Result<Response> {
    with(status, CONTENT_TYPE, TEXT, format!("{sentence}\n"))
}

/// What would be allowed.
pub(crate) fn not_allowed(methods: &'static str) -> Result<Response> {
    with(StatusCode::METHOD_NOT_ALLOWED, ALLOW, HeaderValue::from_static(methods), Body::empty())
}

/// It is done: look there.
pub(crate) fn see(place: &'static str) -> Result<Response> {
    with(StatusCode::SEE_OTHER, LOCATION, HeaderValue::from_static(place), Body::empty())
}

/// It is done, and there is nothing to say.
pub(crate) fn nothing() -> Result<Response> {
    Ok(Builder::builder().status(StatusCode::NO_CONTENT).body(Body::empty())?)
}

fn with(status: StatusCode, name: HeaderName, value: HeaderValue, body: impl Into<Body>) -> Result<Response> {
    Ok(Builder::builder().status(status).header(name, value).body(body.into())?)
}
