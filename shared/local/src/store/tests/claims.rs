//! Claims of attempts and the inbox.

use operon_core::exec::{Event, Reason};
use operon_core::plan::ShardId;
use operon_engine::ports::{AttemptId, ShardKey, StateStore as _};

use super::super::{Claim, Claimant, LaunchedClaim, ProcessIdentity};
use super::{SqliteStore, execution, file, fresh, id, run};

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
    let (mine, boot) = (attempt("a", 0), "b-1".to_owned());
    let by = Claimant { pid: 7, boot };
    assert_eq!(store.lookup_claim(&mine).await.unwrap(), None);
    assert_eq!(
        store.claim(&mine, Some(by.clone())).await.unwrap(),
        Claim::New
    );
    let process = ProcessIdentity {
        pid: 4_194_304,
        started: 1 << 40,
    };
    let recorded = store.record_process(&mine, Some(process), Some("c1".to_owned()));
    assert!(recorded.await.unwrap());
    let mut launched = LaunchedClaim {
        id: mine.clone(),
        by: Some(by),
        process: Some(process),
        container: Some("c1".to_owned()),
        finished: false,
    };
    let again = Claim::Launched(launched.clone());
    assert_eq!(other.claim(&mine, None).await.unwrap(), again);
    assert_eq!(other.tombstone(&mine).await.unwrap(), again);
    assert_eq!(
        other.live_claims(None, 9).await.unwrap(),
        [launched.clone()]
    );
    store.finish_claim(&mine).await.unwrap();
    launched.finished = true;
    let finished = Claim::Launched(launched);
    // The answer comes behind the end that nobody waited for; then others see it too.
    let looked = store.lookup_claim(&mine).await.unwrap();
    assert_eq!(looked.as_ref(), Some(&finished));
    assert_eq!(other.claim(&mine, None).await.unwrap(), finished);
    assert_eq!(other.lookup_claim(&mine).await.unwrap(), Some(finished));
    assert_eq!(other.live_claims(None, 9).await.unwrap(), []);
    let late = store.record_process(&mine, None, None);
    assert!(!late.await.unwrap());
}

#[tokio::test]
async fn a_stopped_attempt_is_never_granted() {
    let (_directory, store) = fresh();
    let mine = attempt("a", 0);
    assert_eq!(store.tombstone(&mine).await.unwrap(), Claim::Stopped);
    assert_eq!(store.claim(&mine, None).await.unwrap(), Claim::Stopped);
    store.finish_claim(&mine).await.unwrap();
    assert_eq!(store.claim(&mine, None).await.unwrap(), Claim::Stopped);
    assert_eq!(store.live_claims(None, 9).await.unwrap(), []);
}

#[tokio::test]
async fn live_claims_come_in_pages_and_outlive_the_purge() {
    let (_directory, store) = fresh();
    let mut ended = execution("a", 1);
    ended.ended_ms = Some(100);
    store.create(&ended, b"").await.unwrap();
    store.create(&execution("b", 1), b"").await.unwrap();
    for name in ["a", "b"] {
        for chunk in [300, 2, 1] {
            store.claim(&attempt(name, chunk), None).await.unwrap();
        }
        store.finish_claim(&attempt(name, 2)).await.unwrap();
        store.tombstone(&attempt(name, 9)).await.unwrap();
    }
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = store.live_claims(after.as_ref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        pages.extend(page.into_iter().map(|claim| claim.id));
    }
    let live = [("a", 1), ("a", 300), ("b", 1), ("b", 300)].map(|(name, n)| attempt(name, n));
    assert_eq!(pages, live);
    assert_eq!(store.purge_claims(100, 9).await.unwrap(), 0);
    assert_eq!(store.purge_claims(101, 1).await.unwrap(), 1);
    assert_eq!(store.purge_claims(101, 9).await.unwrap(), 1);
    assert_eq!(store.live_claims(None, 9).await.unwrap().len(), 4);
    let kept = store.lookup_claim(&attempt("b", 9)).await.unwrap();
    assert_eq!(kept, Some(Claim::Stopped));
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
        round: Some(1),
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
