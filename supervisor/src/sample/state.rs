//! `GET /state`: a counter and a visitor's name in statics, which are the request's own: it always says 1.

use std::cell::{Cell, RefCell};

use ratoon_worker::{Request, Response, Result, request_local};

use super::{TEXT, answer, parameter};

request_local! {
    static VISITS: Cell<u32> = Cell::new(0);
    static VISITOR: RefCell<Option<String>> = RefCell::new(None);
}

pub(super) fn visit(request: &Request) -> Result<Response> {
    if let Some(name) = parameter(request, "name") {
        VISITOR.set(Some(name));
    }
    count();
    answer(TEXT, greeting())
}

/// As far from the request as a library deep in a call chain.
fn count() {
    VISITS.set(VISITS.get() + 1);
}

fn greeting() -> String {
    let visitor = VISITOR.take().unwrap_or_else(|| "nobody".into());
    format!("{}, {visitor}\n", VISITS.get())
}
