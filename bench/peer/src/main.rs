//! What Ratoon is measured beside: axum on two threads, with a pool of tokio-postgres connections. `GET /db?id=` answers as
//! the sample application does: one row, by its primary key, as JSON. Arguments: the address to listen on, the database's
//! URL, the number of connections, how they are recycled.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::NoTls;

const THREADS: usize = 2;

#[derive(Deserialize)]
struct Asked {
    id: i64,
}

async fn row(State(pool): State<Pool>, Query(Asked { id }): Query<Asked>) -> Result<Json<Value>, (StatusCode, String)> {
    let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
    let client = pool.get().await.map_err(|error| failed(error.to_string()))?;
    let statement = client.prepare_cached("select text from ratoon_notes where id = $1").await;
    let statement = statement.map_err(|error| failed(error.to_string()))?;
    match client.query_opt(&statement, &[&id]).await.map_err(|error| failed(error.to_string()))? {
        Some(row) => Ok(Json(json!({ "id": id, "text": row.get::<_, &str>(0) }))),
        None => Err((StatusCode::NOT_FOUND, "there is no such note\n".into())),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, url, connections, recycling] = arguments.as_slice() else {
        return Err("usage: peer ADDRESS URL CONNECTIONS fast|clean".into());
    };
    let recycling_method = match recycling.as_str() {
        // The session is reset before each use, in nearly the words that Ratoon has for it.
        "clean" => RecyclingMethod::Clean,
        // The usual way: a connection is looked at before it is given, and nothing is asked or reset.
        _ => RecyclingMethod::Fast,
    };
    let config = ManagerConfig { recycling_method };
    let manager = Manager::from_config(url.parse()?, NoTls, config);
    let pool = Pool::builder(manager).max_size(connections.parse()?).build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        axum::serve(listener, Router::new().route("/db", get(row)).with_state(pool)).await?;
        Ok(())
    })
}
