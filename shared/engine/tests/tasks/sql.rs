//! `sql` against a real `PostgreSQL` (see `tests/tools/postgres.py`).

use operon_core::exec::Reason;
use operon_engine::tasks::FETCH_BYTES_MAX;
use serde_json::{Value, json};

use super::postgres::Server;
use super::world::World;

#[allow(clippy::needless_pass_by_value, reason = "made where it is called")]
fn props(server: &Server, sql: &str, more: Value) -> Value {
    let mut props = json!({
        "url": format!("jdbc:postgresql://127.0.0.1:{}/postgres", server.port()),
        "username": "operon", "ssl": false, "sql": sql,
    });
    for (name, value) in more.as_object().unwrap() {
        props[name.as_str()] = value.clone();
    }
    props
}

const QUERY: &str = "jdbc.postgresql.Query";

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one server, and what one asks of it")]
async fn statements_give_rows_files_and_counts() {
    let server = Server::start();
    server.client().await;
    let world = World::new();
    let ask = async |sql: &str, more: Value| world.run(QUERY, props(&server, sql, more)).await;
    let made = ask(
        "create table entries (id bigint, organism text, at timestamptz default '2026-01-01T00:00:00Z')",
        json!({}),
    );
    assert_eq!(made.await.unwrap().outputs["size"], 0);
    // Values are values, whatever they look like.
    let hostile = "x'); drop table entries; --";
    let insert = "insert into entries (id, organism) values (:id, :organism);";
    for (id, organism) in [(1, json!("mpox")), (2, json!(hostile)), (3, Value::Null)] {
        let given = json!({"parameters": {"id": id, "organism": organism}});
        assert_eq!(ask(insert, given).await.unwrap().outputs["size"], 1);
    }
    let all = ask(
        "select id, organism from entries order by id",
        json!({"fetchType": "FETCH"}),
    );
    assert_eq!(
        all.await.unwrap().outputs["rows"],
        json!([
            {"id": 1, "organism": "mpox"}, {"id": 2, "organism": hostile}, {"id": 3, "organism": null},
        ])
    );
    let given = json!({"fetchType": "fetch_one", "parameters": {"id": "1"}});
    let one = ask(
        "select organism, at::text as at from entries where id = :id",
        given,
    )
    .await;
    assert_eq!(one.unwrap().outputs["row"]["organism"], "mpox");
    let none = ask(
        "select 1 as one where false",
        json!({"fetchType": "FETCH_ONE"}),
    )
    .await;
    assert_eq!(none.unwrap().outputs["row"], Value::Null);
    let changed = ask(
        "update entries set organism = 'cchf' where organism is null returning id",
        json!({"fetchType": "FETCH"}),
    );
    assert_eq!(changed.await.unwrap().outputs["rows"], json!([{"id": 3}]));
    let kept = ask(
        "select id from entries order by id desc",
        json!({"fetchType": "STORE"}),
    );
    let kept = kept.await.unwrap();
    assert_eq!(
        world.read(&kept.outputs["uri"]).await,
        "{\"id\":3}\n{\"id\":2}\n{\"id\":1}\n"
    );
    assert_eq!(kept.outputs["size"], 3);

    let refused = ask("select nothing from entries", json!({"fetchType": "FETCH"})).await;
    let refused = refused.unwrap_err();
    assert!(
        refused
            .message
            .contains("column \"nothing\" does not exist"),
        "{refused}"
    );
    let missing = ask("select :x::int", json!({"fetchType": "FETCH"}))
        .await
        .unwrap_err();
    assert_eq!(missing.reason, Reason::InvalidInput);
    assert!(missing.message.contains("`:x`"), "{missing}");
    let wide = format!("select repeat('x', {FETCH_BYTES_MAX})");
    let much = ask(&wide, json!({"fetchType": "FETCH"})).await.unwrap_err();
    assert!(much.message.contains("STORE"), "{much}");
    let limit = ask("show statement_timeout", json!({})).await;
    assert!(limit.is_ok());
}

#[tokio::test]
async fn a_connection_is_encrypted_unless_the_flow_says_otherwise() {
    let server = Server::start();
    server.client().await;
    let world = World::new();
    // This server has no TLS.
    let plain = world
        .run(QUERY, props(&server, "select 1", json!({"ssl": null})))
        .await
        .unwrap_err();
    assert!(plain.message.contains("TLS"), "{plain}");
    let wrong = json!({"ssl": true, "sslRootCert": "no certificate"});
    let wrong = world.run(QUERY, props(&server, "select 1", wrong)).await;
    assert!(wrong.unwrap_err().message.contains("`sslRootCert`"));
}

#[tokio::test]
async fn certificates_are_checked() {
    let server = Server::start();
    server.client().await;
    let port = super::tls::before(server.port()).await;
    let world = World::new();
    let ask = async |more: Value| {
        let mut props = props(&server, "select 1 as one", more);
        props["url"] = json!(format!("postgresql://127.0.0.1:{port}/postgres"));
        world.run(QUERY, props).await
    };
    let stranger = ask(json!({"ssl": true})).await.unwrap_err();
    assert!(stranger.message.contains("certificate"), "{stranger}");
    let known = json!({"ssl": true, "sslRootCert": super::tls::authority(), "fetchType": "FETCH"});
    let known = ask(known).await.unwrap();
    assert_eq!(known.outputs["rows"], json!([{"one": 1}]));
}

#[tokio::test]
async fn a_database_is_no_way_to_credentials_of_the_cloud() {
    let world = World::new();
    for host in ["169.254.169.254", "169.254.170.2"] {
        let props = json!({"url": format!("postgresql://{host}/x"), "sql": "select 1"});
        let refused = world.run(QUERY, props).await.unwrap_err();
        assert!(refused.message.contains("link-local"), "{refused}");
        assert_eq!(refused.reason, Reason::InvalidInput);
    }
}
