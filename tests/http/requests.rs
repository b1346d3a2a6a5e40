//! Requests that RFC 9112 has answered, and the statuses of the answers. The connection stays in step after each.

/// What it is, its bytes, the statuses of the responses.
pub type Served = (&'static str, &'static [u8], &'static [u16]);

/// Request lines and headers.
pub const HEADS: &[Served] = &[
    ("the plainest request", b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    ("an empty line before it (RFC 9112, 2.2)", b"\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    ("a method of its own, which the application does not know", b"PATCH /hello HTTP/1.1\r\nHost: a\r\n\r\n", &[405]),
    ("a method is case-sensitive", b"get /hello HTTP/1.1\r\nHost: a\r\n\r\n", &[405]),
    ("a method of all token characters", b"A!#$%&'*+-.^_`|~z09 /x HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    ("a query", b"GET /hello?a=b&c=%20d/e?f HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    ("percent-encoding", b"GET /%68%00%ff HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    ("the characters of a path", b"GET /-._~!$&'()*+,;=:@ HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    ("the absolute form", b"GET http://a.test/hello HTTP/1.1\r\nHost: a.test\r\n\r\n", &[200]),
    ("the absolute form with another Host", b"GET http://a.test/hello HTTP/1.1\r\nHost: b\r\n\r\n", &[200]),
    ("the absolute form with a port", b"GET http://a.test:8080/hello?x HTTP/1.1\r\nHost: a.test:8080\r\n\r\n", &[200]),
    ("the absolute form without a path", b"GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", &[200]),
    ("the absolute form, scheme in capitals", b"GET HTTP://a.test/hello HTTP/1.1\r\nHost: a.test\r\n\r\n", &[200]),
    ("no white space after the colon", b"GET /hello HTTP/1.1\r\nHost:a\r\n\r\n", &[200]),
    ("white space around a value", b"GET /hello HTTP/1.1\r\nHost: \t a \t \r\n\r\n", &[200]),
    ("header names in any case", b"GET /hello HTTP/1.1\r\nhOsT: a\r\nX-A: b\r\nx-a: c\r\n\r\n", &[200]),
    ("an empty value", b"GET /hello HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t\r\n\r\n", &[200]),
    (
        "a tab and bytes beyond ASCII in a value",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX: b\tc\xe4\xff\x80\r\n\r\n",
        &[200],
    ),
    ("a name of all token characters", b"GET /hello HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~0aZ: b\r\n\r\n", &[200]),
    ("an empty Host", b"GET /hello HTTP/1.1\r\nHost:\r\n\r\n", &[200]),
    ("a Host with a port", b"GET /hello HTTP/1.1\r\nHost: a.b-c.test:80\r\n\r\n", &[200]),
    ("a Host that is an IPv6 address", b"GET /hello HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", &[200]),
    (
        "options of the connection that nobody knows",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: x, y\r\n\r\n",
        &[200],
    ),
    (
        "an upgrade that is not taken",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        &[200],
    ),
    ("two requests", b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", &[200, 404]),
    (
        "an empty line between two",
        b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        &[200, 200],
    ),
];

/// Bodies, whole and in chunks; each is a POST to `/echo`, so the last response has this body: `hello`.
pub const BODIES: &[Served] = &[
    ("a body", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[200]),
    ("zeros before the length", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\nhello", &[200]),
    ("white space around the length", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\t 5 \r\n\r\nhello", &[200]),
    ("one chunk", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200]),
    ("chunked in any case", b"POST /echo HTTP/1.1\r\nHost: a\r\ntransfer-encoding: ChUnKeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200]),
    ("five chunks", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n", &[200]),
    ("zeros before a chunk's size", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n", &[200]),
    ("a chunk's extension", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0;b=c\r\n\r\n", &[200]),
    ("a quoted extension", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b; \\\"c\"\r\nhello\r\n0\r\n\r\n", &[200]),
    ("a trailer", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n", &[200]),
    ("a trailer that would frame a body", b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n", &[200]),
    ("a GET with a body before", b"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\nGET /crash HTTP/1.1\r\nHost: smugg\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[200, 200]),
    ("a GET with an empty body before", b"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[200, 200]),
    ("an unread body in chunks before", b"POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", &[405, 200]),
];
