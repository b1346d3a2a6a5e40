//! How much of a query string is shown, in logs and in the status: it may hold what is nobody else's business.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Query {
    /// All of it.
    #[default]
    Full,
    /// The names, without their values.
    Keys,
    /// Nothing.
    None,
}

/// A request line, a target or an address, with as much of its query as is to be shown. The query ends where a fragment
/// begins, or before what stands for the protocol at the end of the line; a fragment is treated as a query.
pub fn shown(text: &[u8], query: Query) -> Cow<'_, [u8]> {
    let begin = match (query, text.iter().position(|byte| matches!(byte, b'?' | b'#'))) {
        (Query::Full, _) | (_, None) => return Cow::Borrowed(text),
        (_, Some(begin)) => begin,
    };
    let rest = &text[begin + 1..];
    // Only what is sure to be the protocol: a client may send a space as it is.
    let protocol = rest.iter().rposition(|byte| *byte == b' ').filter(|space| rest[space + 1..].starts_with(b"HTTP/"));
    let (rest, protocol) = rest.split_at(protocol.unwrap_or(rest.len()));
    let values = rest.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mut kept = text[..begin].to_vec();
    // A fragment has no place in a request, and one in a referrer is part of what was asked for.
    if query == Query::Keys && text[begin] == b'?' {
        for (place, pair) in values.split(|byte| *byte == b'&').enumerate() {
            kept.push(if place == 0 { b'?' } else { b'&' });
            match pair.iter().position(|byte| *byte == b'=') {
                Some(equals) => kept.extend_from_slice(&pair[..=equals]),
                // What has no name may be the secret itself.
                None => kept.extend_from_slice(if pair.is_empty() { b"" } else { b"=" }),
            }
        }
    }
    kept.extend_from_slice(protocol);
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_or_the_whole_query() {
        for (line, keys, none) in [
            ("GET /a HTTP/1.1", "GET /a HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a?token=x HTTP/1.1", "GET /a?token= HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a?b=1&c=2?3&d HTTP/1.1", "GET /a?b=&c=&= HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a? HTTP/1.1", "GET /a? HTTP/1.1", "GET /a HTTP/1.1"),
            ("https://x/y?s=1#t=2", "https://x/y?s=", "https://x/y"),
            ("/a?secret", "/a?=", "/a"),
            ("GET /a?q=b SECRET HTTP/1.1", "GET /a?q= HTTP/1.1", "GET /a HTTP/1.1"),
            ("GET /a?q=b SECRET", "GET /a?q=", "GET /a"),
            ("GET /a?q=b HTTP/SECRET HTTP/1.1", "GET /a?q= HTTP/1.1", "GET /a HTTP/1.1"),
            ("http://a/b#tok=SECRET?c", "http://a/b", "http://a/b"),
        ] {
            let shown = |query| String::from_utf8_lossy(&shown(line.as_bytes(), query)).into_owned();
            assert_eq!([shown(Query::Full), shown(Query::Keys), shown(Query::None)], [line, keys, none]);
        }
    }
}
