//! What Ratoon is measured beside: axum on two threads, with a pool of tokio-postgres connections. `GET /db?id=` answers as
//! the sample application does: one row, by its primary key, as JSON. Arguments: the address to listen on, the database's
//! URL, the pool, and its number of connections or `default`, which is what the pool has if nobody says a number.

use std::error::Error;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use bb8_postgres::PostgresConnectionManager;
use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, Row};

const THREADS: usize = 2;
const SQL: &str = "select text from ratoon_notes where id = $1";

type Deadpool = deadpool_postgres::Pool;
type Bb8 = bb8::Pool<PostgresConnectionManager<NoTls>>;
type Answer = Result<Json<Value>, (StatusCode, String)>;

#[derive(Deserialize)]
struct Asked {
    id: i64,
}

fn failed(error: impl Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn shown(id: i64, row: Option<Row>) -> Answer {
    match row {
        Some(row) => Ok(Json(json!({ "id": id, "text": row.get::<_, &str>(0) }))),
        None => Err((StatusCode::NOT_FOUND, "there is no such note\n".into())),
    }
}

async fn by_deadpool(State(pool): State<Deadpool>, Query(Asked { id }): Query<Asked>) -> Answer {
    let client = pool.get().await.map_err(failed)?;
    let statement = client.prepare_cached(SQL).await.map_err(failed)?;
    shown(id, client.query_opt(&statement, &[&id]).await.map_err(failed)?)
}

/// It keeps no statements with its connections: one round trip by the text is the quickest.
async fn by_bb8(State(pool): State<Bb8>, Query(Asked { id }): Query<Asked>) -> Answer {
    let client = pool.get().await.map_err(failed)?;
    shown(id, client.query_typed_opt(SQL, &[(&id, Type::INT8)]).await.map_err(failed)?)
}

fn deadpool(url: &str, size: Option<u32>, recycling_method: RecyclingMethod) -> Result<Deadpool, Box<dyn Error>> {
    let manager = Manager::from_config(url.parse()?, NoTls, ManagerConfig { recycling_method });
    let pool = Deadpool::builder(manager);
    Ok(match size {
        Some(size) => pool.max_size(size as usize),
        None => pool,
    }
    .build()?)
}

async fn bb8(url: &str, size: Option<u32>) -> Result<Bb8, Box<dyn Error>> {
    let manager = PostgresConnectionManager::new_from_stringlike(url, NoTls)?;
    let pool = Bb8::builder();
    Ok(match size {
        Some(size) => pool.max_size(size),
        None => pool,
    }
    .build(manager)
    .await?)
}

async fn serve(address: &str, url: &str, pool: &str, size: &str) -> Result<(), Box<dyn Error>> {
    let size = if size == "default" { None } else { Some(size.parse()?) };
    let of = |pool: Deadpool| Router::new().route("/db", get(by_deadpool)).with_state(pool);
    let router = match pool {
        // Asks whether the connection is known to be closed, and nothing more.
        "fast" => of(deadpool(url, size, RecyclingMethod::Fast)?),
        // Resets the session before each use, in nearly the words that Ratoon has for it.
        "clean" => of(deadpool(url, size, RecyclingMethod::Clean)?),
        // Asks the server before each use, which is what it does unless it is told not to.
        "bb8" => Router::new().route("/db", get(by_bb8)).with_state(bb8(url, size).await?),
        _ => return Err("the pool is fast, clean or bb8".into()),
    };
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router).await?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, url, pool, size] = arguments.as_slice() else {
        return Err("usage: peer ADDRESS URL fast|clean|bb8 CONNECTIONS|default".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(serve(address, url, pool, size))
}
