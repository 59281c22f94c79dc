//! A writer killed in the middle loses nothing it was told is stored, and two processes share a store.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use operon_core::plan::ShardId;
use operon_engine::ports::{SaveOutcome, ShardKey, StateStore as _, Write};

use super::{SqliteStore, attempt, file, id, run, save, shard_write};

/// Set for the child process only; holds the path of the database.
const PATH: &str = "OPERON_TEST_STORE";
/// Tasks of the child that write at the same time.
const WRITERS: u16 = 8;

/// Runs the named test of this binary as another process.
fn child(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            &format!("store::tests::crash::{test}"),
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The database of a child process; none when the test was not started as one.
fn path() -> Option<std::path::PathBuf> {
    std::env::var_os(PATH).map(Into::into)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that is killed"]
async fn writes_until_killed() {
    let Some(path) = path() else { return };
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for version in 0_u64.. {
                    let shard = ShardId::of_part(writer);
                    let write = Write {
                        shards: vec![shard_write("a", shard.clone(), version, &[7; 900])],
                        attempts: vec![attempt(
                            "a",
                            run(shard, u16::try_from(version % 60_000).unwrap()),
                            1,
                        )],
                        ..Write::default()
                    };
                    let outcomes = store.write(write).await.unwrap();
                    assert_eq!(outcomes, [SaveOutcome::Saved(version + 1)]);
                    let line = format!("stored {writer} {}\n", version + 1);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_by_sigkill() {
    for patience in [100, 250, 400] {
        let directory = tempfile::tempdir().unwrap();
        let path = file(&directory);
        let mut acknowledged = [0_u64; WRITERS as usize];
        let mut child = child("writes_until_killed", &path);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut killed = false;
        for (seen, line) in lines.map_while(Result::ok).enumerate() {
            let facts = line.split_once("stored ");
            if let Some((writer, version)) = facts.and_then(|(_, facts)| facts.split_once(' ')) {
                // The last line may be cut; what is left of a number is smaller, so still true.
                if let (Ok(writer), Ok(version)) = (writer.parse::<usize>(), version.parse()) {
                    acknowledged[writer] = acknowledged[writer].max(version);
                }
            }
            if seen > patience && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself");
        let store = SqliteStore::open(&path).unwrap();
        for (writer, &version) in acknowledged.iter().enumerate() {
            let shard = ShardId::of_part(u16::try_from(writer).unwrap());
            let key = ShardKey {
                execution: id("a"),
                shard: shard.clone(),
            };
            let row = store.shard(&key).await.unwrap();
            let stored = row.map_or(0, |row| row.version);
            // One write per writer may be stored without having been acknowledged.
            assert!(
                (version..=version + 1).contains(&stored),
                "writer {writer}: acknowledged {version}, stored {stored}"
            );
            for slot in 0..stored {
                // The attempt of every shard write is there too: both are in one transaction.
                let run = run(shard.clone(), u16::try_from(slot).unwrap());
                assert_eq!(store.attempts(&id("a"), &run).await.unwrap().len(), 1);
            }
        }
        assert!(acknowledged.iter().sum::<u64>() > 50);
    }
}

/// Adds one to a counter under optimistic concurrency, as often as told.
async fn count(store: &SqliteStore, times: u64) {
    let mut row = (0, 0_u64);
    for _ in 0..times {
        loop {
            let next = (row.1 + 1).to_le_bytes();
            match save(store, shard_write("counter", ShardId::ROOT, row.0, &next)).await {
                SaveOutcome::Saved(version) => {
                    row = (version, row.1 + 1);
                    break;
                }
                SaveOutcome::Conflict(Some(there)) => {
                    row = (
                        there.version,
                        u64::from_le_bytes(there.bytes.try_into().unwrap()),
                    );
                }
                SaveOutcome::Conflict(None) => panic!("the counter vanished"),
            }
        }
    }
}

#[tokio::test]
#[ignore = "the second process"]
async fn counts() {
    let Some(path) = path() else { return };
    count(&SqliteStore::open(&path).unwrap(), 100).await;
}

#[tokio::test]
async fn processes_that_start_together_share_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let mut children: Vec<_> = (0..3).map(|_| child("counts", &path)).collect();
    let store = SqliteStore::open(&path).unwrap();
    count(&store, 100).await;
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let key = ShardKey {
        execution: id("counter"),
        shard: ShardId::ROOT,
    };
    let row = store.shard(&key).await.unwrap().unwrap();
    assert_eq!(row.version, 400);
    assert_eq!(row.bytes, 400_u64.to_le_bytes());
}

#[tokio::test]
async fn a_writer_waits_for_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&file(&directory)).unwrap();
    let other = rusqlite::Connection::open(file(&directory)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let write = save(&store, shard_write("a", ShardId::ROOT, 0, b"s"));
    let mut write = std::pin::pin!(write);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut write).await;
    assert!(early.is_err());
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(write.await, SaveOutcome::Saved(1));
}
