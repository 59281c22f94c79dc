//! Claims of attempts and the inbox.

use operon_core::exec::{Event, Reason};
use operon_core::plan::ShardId;
use operon_engine::ports::{AttemptId, ShardKey, StateStore as _};

use super::{SqliteStore, execution, file, fresh, id, run};
use crate::runner::{Claim, ClaimRow, Claims as _, ProcessMark};

fn attempt(execution: &str, chunk: u32) -> AttemptId {
    AttemptId {
        execution: id(execution),
        task_run: run(ShardId::ROOT.of_loop(1, chunk), 2),
        attempt: 1,
    }
}

#[tokio::test]
async fn an_attempt_is_claimed_once_whoever_asks() {
    let (directory, store) = fresh();
    let other = SqliteStore::open(&file(&directory)).unwrap();
    let mine = attempt("a", 0);
    assert_eq!(store.look(&mine).await.unwrap(), ClaimRow::default());
    assert_eq!(store.claim(&mine).await.unwrap(), Claim::New);
    assert_eq!(other.claim(&mine).await.unwrap(), Claim::Launched(None));
    let mark = ProcessMark {
        pid: 4_194_304,
        started: 1 << 40,
        boot: "b-1".to_owned(),
    };
    store.record(&mine, &mark).await.unwrap();
    let mut row = ClaimRow {
        launched: true,
        stopped: false,
        finished: false,
        mark: Some(mark.clone()),
    };
    // What was submitted can be seen at once.
    assert_eq!(store.look(&mine).await.unwrap(), row);
    let again = Claim::Launched(Some(mark.clone()));
    assert_eq!(other.claim(&mine).await.unwrap(), again);
    let live = other.live().await.unwrap();
    assert_eq!(live, [(mine.clone(), Some(mark))]);
    row.stopped = true;
    assert_eq!(other.tombstone(&mine).await.unwrap(), row);
    assert_eq!(store.claim(&mine).await.unwrap(), again);
    store.finish(&mine).await.unwrap();
    row.finished = true;
    assert_eq!(store.look(&mine).await.unwrap(), row);
    assert_eq!(store.claim(&mine).await.unwrap(), again);
    assert_eq!(store.live().await.unwrap(), []);
}

#[tokio::test]
async fn a_stopped_attempt_is_never_granted() {
    let (_directory, store) = fresh();
    let mine = attempt("a", 0);
    let stopped = ClaimRow {
        stopped: true,
        ..ClaimRow::default()
    };
    assert_eq!(store.tombstone(&mine).await.unwrap(), stopped);
    assert_eq!(store.claim(&mine).await.unwrap(), Claim::Stopped);
    assert_eq!(store.look(&mine).await.unwrap(), stopped);
    assert_eq!(store.live().await.unwrap(), []);
}

#[tokio::test]
async fn of_many_that_claim_at_once_one_is_granted() {
    let (directory, store) = fresh();
    let other = SqliteStore::open(&file(&directory)).unwrap();
    let stores = [&store, &other];
    let mine = attempt("a", 0);
    let claims = (0..40).map(|n| stores[n % 2].claim(&mine));
    let answers = futures_util::future::join_all(claims).await;
    let granted = answers
        .into_iter()
        .filter(|answer| *answer.as_ref().unwrap() == Claim::New);
    assert_eq!(granted.count(), 1);
}

#[tokio::test]
async fn live_claims_outlive_the_engine_and_the_purge() {
    let (directory, store) = fresh();
    let mut ended = execution("a", 1);
    ended.ended_ms = Some(100);
    store.create(&ended, b"").await.unwrap();
    store.create(&execution("b", 1), b"").await.unwrap();
    for name in ["a", "b"] {
        for chunk in [300, 2, 1] {
            store.claim(&attempt(name, chunk)).await.unwrap();
        }
        store.finish(&attempt(name, 2)).await.unwrap();
        store.tombstone(&attempt(name, 9)).await.unwrap();
    }
    drop(store);
    let store = SqliteStore::open(&file(&directory)).unwrap();
    assert_eq!(store.purge_claims(100, 9).await.unwrap(), 0);
    assert_eq!(store.purge_claims(101, 1).await.unwrap(), 1);
    assert_eq!(store.purge_claims(101, 9).await.unwrap(), 1);
    let mut live = store.live().await.unwrap();
    live.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [("a", 1), ("a", 300), ("b", 1), ("b", 300)];
    assert_eq!(live, expected.map(|(name, n)| (attempt(name, n), None)));
    assert!(store.look(&attempt("b", 9)).await.unwrap().stopped);
    assert!(store.look(&attempt("b", 2)).await.unwrap().finished);
}

#[tokio::test]
async fn events_of_another_process_stay_until_acknowledged() {
    let (directory, store) = fresh();
    let other = SqliteStore::open(&file(&directory)).unwrap();
    let key = |shard| ShardKey {
        execution: id("a"),
        shard,
    };
    let kill = Event::Kill {
        reason: Reason::Kill,
    };
    let first = other.post(&key(ShardId::ROOT), &kill).await.unwrap();
    let loop_shard = key(ShardId::of_part(2).of_loop(1, 5));
    let second = other.post(&loop_shard, &Event::Tick).await.unwrap();
    let all = [
        (first, key(ShardId::ROOT), kill),
        (second, loop_shard, Event::Tick),
    ];
    for _ in 0..2 {
        assert_eq!(store.take_inbox(9).await.unwrap(), all);
    }
    assert_eq!(store.take_inbox(1).await.unwrap(), all[..1]);
    store.ack_inbox(&[first]).await.unwrap();
    assert_eq!(store.take_inbox(9).await.unwrap(), all[1..]);
    store.ack_inbox(&[first, second]).await.unwrap();
    assert_eq!(store.take_inbox(9).await.unwrap(), []);
}
