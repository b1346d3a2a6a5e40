//! The rows of a query, one at a time.

use std::pin::Pin;

use fallible_iterator::FallibleIterator;
use futures_util::StreamExt;
use tokio_postgres::{Row, RowStream};

use super::driver::Driver;
use super::error::Error;

/// The rows of a query as they arrive, not all of them in memory.
pub struct RowIter<'a> {
    driver: &'a mut Driver,
    stream: Pin<Box<RowStream>>,
}

impl<'a> RowIter<'a> {
    pub(super) fn new(driver: &'a mut Driver, stream: RowStream) -> RowIter<'a> {
        RowIter { driver, stream: Box::pin(stream) }
    }

    /// How many rows the query has affected; known after the last one.
    pub fn rows_affected(&self) -> Option<u64> {
        self.stream.rows_affected()
    }
}

impl FallibleIterator for RowIter<'_> {
    type Item = Row;
    type Error = Error;

    fn next(&mut self) -> Result<Option<Row>, Error> {
        let RowIter { driver, stream } = self;
        driver.run(async { stream.next().await.transpose() })
    }
}
