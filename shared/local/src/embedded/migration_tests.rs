//! State directories of older releases: they open, say what they held, and what was interrupted goes on.
//!
//! `schemas/N.sql` is a database of schema N with real rows, as its release wrote them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use operon_engine::ports::{
    ExecutionFilter, ExecutionRow, RecordKey, RecordKind, Records as _, StateStore as _,
};
use rusqlite::Connection;
use serde_json::json;

use super::recovery_tests::{Rows, life, open};
use crate::laptop::Laptop;

const SCHEMAS: [&str; 2] = [include_str!("schemas/1.sql"), include_str!("schemas/2.sql")];
const OVER: &str = "1m8bj49pd6snyy3m";
const INTERRUPTED: &str = "1m8bj49ybgn06nvt";

/// A state directory of a schema.
fn written(schema: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let connection = Connection::open(state.join("state.sqlite")).unwrap();
    for sql in SCHEMAS.iter().take(schema) {
        connection.execute_batch(sql).unwrap();
    }
    directory
}

fn version(directory: &Path) -> i64 {
    let connection = Connection::open(directory.join("state/state.sqlite")).unwrap();
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap()
}

async fn listed(laptop: &Laptop, filter: ExecutionFilter) -> Vec<(String, String)> {
    let filter = ExecutionFilter {
        limit: 10,
        ..filter
    };
    let rows = laptop.store.executions(&filter).await.unwrap();
    let of = |row: ExecutionRow| (row.meta.id.to_string(), row.state);
    rows.into_iter().map(of).collect()
}

fn pair(id: &str, state: &str) -> (String, String) {
    (id.to_owned(), state.to_owned())
}

#[test]
fn what_older_releases_wrote_is_listed_and_goes_on() {
    for schema in 1..=SCHEMAS.len() {
        let directory = written(schema);
        assert_eq!(version(directory.path()), i64::try_from(schema).unwrap());
        let row = life(async {
            let laptop = open(directory.path(), &Rows::default()).await;
            let all = [pair(INTERRUPTED, "RUNNING"), pair(OVER, "SUCCESS")];
            assert_eq!(listed(&laptop, ExecutionFilter::default()).await, all);
            // Found by what the newest schema added.
            let labelled = ExecutionFilter {
                labels: vec![("team".to_owned(), "viral".to_owned())],
                ..ExecutionFilter::default()
            };
            assert_eq!(listed(&laptop, labelled).await, all);
            let kept = RecordKey::new(RecordKind::Policy, "tests", "kept");
            let kept = laptop.store.record(&kept, 0).await.unwrap();
            assert_eq!(
                kept.map(|record| (record.version, record.value)),
                (schema > 1).then(|| (3, json!({"a": 1})))
            );
            let seen = laptop.store.kv("tests", "seen", 0).await.unwrap().unwrap();
            assert_eq!(seen.value, json!({"organism": "mpox"}));

            laptop.engine.recover().await.unwrap();
            laptop.engine.run_to_end().await.unwrap();
            let id = INTERRUPTED.parse().unwrap();
            let rows = laptop.store.attempts_page(&id, None, 100).await.unwrap();
            let attempts: Vec<_> = rows
                .iter()
                .map(|row| (row.task.as_str(), row.attempt, row.state.as_str()))
                .collect();
            // What was done is not done again, and what was lost is tried again.
            assert_eq!(
                attempts,
                [
                    ("fetch", 1, "SUCCESS"),
                    ("align", 1, "FAILED"),
                    ("align", 2, "SUCCESS"),
                    ("report", 1, "SUCCESS")
                ]
            );
            laptop.store.execution(&id).await.unwrap().unwrap()
        });
        assert_eq!(row.state, "SUCCESS", "schema {schema}: {:?}", row.reason);
        assert_eq!(row.outputs["said"], "fetched mpox, aligned yes");
        assert!(version(directory.path()) > i64::try_from(SCHEMAS.len()).unwrap());
    }
}

#[test]
fn there_is_a_database_of_every_older_schema() {
    let directory = tempfile::tempdir().unwrap();
    life(async { open(directory.path(), &Rows::default()).await });
    let present = usize::try_from(version(directory.path())).unwrap();
    assert_eq!(
        SCHEMAS.len() + 1,
        present,
        "write schemas/{}.sql with rows of the release that had it",
        present - 1
    );
}
