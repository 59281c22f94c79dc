//! What every store must do, as tests that each store runs on itself.

use operon_engine::ports::{
    RECORD_BYTES_MAX, Record, RecordKey, RecordKind, RecordOutcome, RecordQuery, RecordWrite,
    Records,
};
use serde_json::{Value, json};

/// The contract of [`Records`]. The store must be empty.
///
/// # Panics
/// When the store does something else.
#[allow(clippy::unwrap_used, reason = "a test")]
pub async fn records(store: &dyn Records) {
    conditions(store).await;
    pages(store).await;
    due(store).await;
    limits(store).await;
}

fn key(sort: &str) -> RecordKey {
    RecordKey::new(RecordKind::Flow, "a", sort)
}

fn write(sort: &str, expected: u64, value: Value) -> RecordWrite {
    RecordWrite {
        key: key(sort),
        expected,
        value,
        due_ms: None,
        expires_ms: None,
    }
}

#[allow(clippy::unwrap_used, reason = "a test")]
async fn conditions(store: &dyn Records) {
    let first = write("x", 0, json!({"n": 1}));
    assert_eq!(store.record(&key("x"), 0).await.unwrap(), None);
    let saved = store.save_record(first.clone()).await.unwrap();
    assert_eq!(saved, RecordOutcome::Saved(1));
    let there = Record {
        key: key("x"),
        version: 1,
        value: json!({"n": 1}),
        due_ms: None,
        expires_ms: None,
    };
    assert_eq!(
        store.record(&key("x"), 0).await.unwrap(),
        Some(there.clone())
    );
    let conflict = RecordOutcome::Conflict(Some(Box::new(there)));
    assert_eq!(store.save_record(first).await.unwrap(), conflict);
    let second = write("x", 1, json!({"n": 2}));
    let saved = store.save_record(second).await.unwrap();
    assert_eq!(saved, RecordOutcome::Saved(2));
    let refused = store.delete_record(&key("x"), 1).await.unwrap();
    assert!(matches!(refused, RecordOutcome::Conflict(Some(there)) if there.version == 2));
    for _ in 0..2 {
        let removed = store.delete_record(&key("x"), 2).await.unwrap();
        assert_eq!(removed, RecordOutcome::Saved(0));
    }
    assert_eq!(store.record(&key("x"), 0).await.unwrap(), None);
    let absent = store.save_record(write("x", 5, json!(1))).await.unwrap();
    assert_eq!(absent, RecordOutcome::Conflict(None));
}

#[allow(clippy::unwrap_used, reason = "a test")]
async fn pages(store: &dyn Records) {
    for sort in ["p1", "p2", "p3", "q1", "o9"] {
        store
            .save_record(write(sort, 0, json!(sort)))
            .await
            .unwrap();
    }
    let query = |after: Option<&str>, descending| RecordQuery {
        prefix: "p".to_owned(),
        after: after.map(str::to_owned),
        descending,
        limit: 2,
    };
    let list = async |query: RecordQuery| -> Vec<String> {
        let found = store.records(RecordKind::Flow, "a", &query).await.unwrap();
        found.into_iter().map(|record| record.key.sort).collect()
    };
    assert_eq!(list(query(None, false)).await, ["p1", "p2"]);
    assert_eq!(list(query(Some("p2"), false)).await, ["p3"]);
    assert_eq!(list(query(None, true)).await, ["p3", "p2"]);
    assert_eq!(list(query(Some("p2"), true)).await, ["p1"]);
    let all = RecordQuery {
        limit: 100,
        ..RecordQuery::default()
    };
    assert_eq!(list(all.clone()).await, ["o9", "p1", "p2", "p3", "q1"]);
    let other = store.records(RecordKind::Flow, "b", &all).await.unwrap();
    assert_eq!(other, []);
    let other = store.records(RecordKind::Trigger, "a", &all).await.unwrap();
    assert_eq!(other, []);
}

#[allow(clippy::unwrap_used, reason = "a test")]
async fn due(store: &dyn Records) {
    let timed = |sort: &str, due: Option<u64>, expires: Option<u64>| RecordWrite {
        key: RecordKey::new(RecordKind::Batch, "a", sort),
        expected: 0,
        value: json!({}),
        due_ms: due,
        expires_ms: expires,
    };
    for write in [
        timed("late", Some(50), None),
        timed("early", Some(10), None),
        timed("future", Some(5_000), None),
        timed("never", None, None),
    ] {
        store.save_record(write).await.unwrap();
    }
    let due = store.due_records(RecordKind::Batch, 100, 10).await.unwrap();
    let names: Vec<&str> = due.iter().map(|record| record.key.sort.as_str()).collect();
    assert_eq!(names, ["early", "late"]);
    let other = store.due_records(RecordKind::Flow, 100, 10).await.unwrap();
    assert_eq!(other, []);
    // Far in the future, so that a store with a real clock agrees.
    let expires = 4_000_000_000_000;
    store
        .save_record(timed("brief", None, Some(expires)))
        .await
        .unwrap();
    let brief = RecordKey::new(RecordKind::Batch, "a", "brief");
    assert!(store.record(&brief, expires - 1).await.unwrap().is_some());
    assert!(store.record(&brief, expires).await.unwrap().is_none());
}

async fn limits(store: &dyn Records) {
    let large = json!("x".repeat(RECORD_BYTES_MAX));
    assert!(store.save_record(write("large", 0, large)).await.is_err());
    let long = "k".repeat(1000);
    assert!(store.save_record(write(&long, 0, json!(1))).await.is_err());
}
