//! Promised: behind a proxy the application sees the client, in the words of proxies that are trusted and of nobody else.

mod forwarded;
mod fronts;
mod protocol;
