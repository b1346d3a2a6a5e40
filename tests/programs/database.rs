//! What the application of the tests does with its database, the SQL being the body of the request: `/sql` executes it as it
//! is and answers with the rows, `/row` executes it as a prepared statement, the query's words being its parameters (text),
//! `/then:DEED` does `DEED` afterwards, with the transaction still open that `/in-transaction` asks for.

use std::io::{Read, Write};

use ratoon_worker::postgres::fallible_iterator::FallibleIterator;
use ratoon_worker::postgres::types::ToSql;
use ratoon_worker::postgres::{self, Client, Row, SimpleQueryMessage};
use ratoon_worker::{Context, Request, Response, Result};

/// The answer a word asks for, if it is one of these.
pub(crate) fn answer(word: &str, request: &mut Request, context: &mut Context) -> Result<Option<Response>> {
    let params: Vec<String> =
        request.uri().query().map(|query| query.split('&').map(str::to_owned).collect()).unwrap_or_default();
    let mut text = || -> Result<String> {
        let mut text = String::new();
        request.body_mut().read_to_string(&mut text)?;
        Ok(text)
    };
    let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|each| each as _).collect();
    let said = match word {
        "sql" => simple(context.database()?, &text()?)?,
        "row" => rows(&context.database()?.query(text()?.as_str(), &params)?),
        // The first line by itself.
        "row-beside" => {
            let text = text()?;
            let (beside, row) = text.split_once('\n').unwrap_or(("", &text));
            let client = context.database()?;
            client.batch_execute(beside)?;
            rows(&client.query(row, &params)?)
        }
        "rows" => {
            let mut each = context.database()?.query_raw(text()?.as_str(), params)?;
            let mut count = 0;
            while each.next()?.is_some() {
                count += 1;
            }
            count.to_string()
        }
        "first-row" => {
            let mut each = context.database()?.query_raw(text()?.as_str(), params)?;
            each.next()?.map_or_else(String::new, |row| rows(&[row]))
        }
        "executed" => context.database()?.execute(text()?.as_str(), &params)?.to_string(),
        "copy-in" => {
            let text = text()?;
            let (query, lines) = text.split_once('\n').unwrap_or((&text, ""));
            let mut copy = context.database()?.copy_in(query)?;
            copy.write_all(lines.as_bytes())?;
            copy.finish()?.to_string()
        }
        "copy-in-unfinished" => {
            let text = text()?;
            let (query, lines) = text.split_once('\n').unwrap_or((&text, ""));
            let mut copy = context.database()?.copy_in(query)?;
            copy.write_all(lines.as_bytes())?;
            copy.flush()?;
            std::mem::forget(copy);
            "left".into()
        }
        "rows-forgotten" => {
            std::mem::forget(context.database()?.query_raw(text()?.as_str(), params)?);
            "forgotten".into()
        }
        "copy-out-forgotten" => {
            std::mem::forget(context.database()?.copy_out(text()?.as_str())?);
            "forgotten".into()
        }
        "copy-in-failing" => {
            let copied = context.database()?.copy_in(text()?.as_str());
            copied.map_or_else(|error| error.to_string(), |_| "begun".into())
        }
        "copy-out" => {
            let mut out = String::new();
            context.database()?.copy_out(text()?.as_str())?.read_to_string(&mut out)?;
            out
        }
        "committed" => {
            let mut transaction = context.database()?.transaction()?;
            transaction.batch_execute(&text()?)?;
            transaction.commit()?;
            "committed".into()
        }
        "dropped" => {
            let mut transaction = context.database()?.transaction()?;
            transaction.batch_execute(&text()?)?;
            drop(transaction);
            "dropped".into()
        }
        "panic-in-transaction" => {
            let mut transaction = context.database()?.transaction()?;
            transaction.batch_execute(&text()?)?;
            panic!("in a transaction");
        }
        "retried" => {
            let text = text()?;
            let mut attempts = 0;
            let said = context.database_retry(|client| -> Result<String, postgres::Error> {
                attempts += 1;
                simple(client, &text)
            })?;
            format!("{attempts}: {said}")
        }
        "committed-with-retry" => {
            let text = text()?;
            context.database_retry(|client| -> Result<String, postgres::Error> {
                let mut transaction = client.transaction()?;
                transaction.batch_execute(&text)?;
                transaction.commit()?;
                Ok("committed".into())
            })?
        }
        // Each line by itself.
        "retried-by-line" => {
            let text = text()?;
            context.database_retry(|client| -> Result<String, postgres::Error> {
                text.lines().try_for_each(|line| client.batch_execute(line)).map(|()| "done".into())
            })?
        }
        _ => return Ok(None),
    };
    Ok(Some(Response::new(said.into())))
}

fn simple(client: &mut Client, text: &str) -> Result<String, postgres::Error> {
    let rows: Vec<String> = client
        .simple_query(text)?
        .iter()
        .filter_map(|each| match each {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).unwrap_or("null")).collect::<Vec<_>>().join("|"))
            }
            _ => None,
        })
        .collect();
    Ok(rows.join("\n"))
}

fn rows(rows: &[Row]) -> String {
    let text = |row: &Row| {
        let columns = 0..row.len();
        columns.map(|at| row.get::<_, Option<String>>(at).unwrap_or("null".into())).collect::<Vec<_>>().join("|")
    };
    rows.iter().map(text).collect::<Vec<_>>().join("\n")
}
