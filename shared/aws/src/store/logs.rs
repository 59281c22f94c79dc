//! Logs of built-in tasks: the lines of an attempt in one item, written when the function is about to acknowledge.
//!
//! A built-in task says a few lines, once. As an item they cost one write unit per KB and are read at once; an object
//! in S3 would cost eight times as much, and `CloudWatch` shows them only after seconds. Containers log to `CloudWatch`
//! by themselves. Invariant: an attempt keeps [`LOG_BYTES_MAX`] at most; what is beyond is counted in its last line.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use operon_engine::ports::{
    AttemptId, LOG_PAGE_MAX, LogLevel, LogLine, LogLines, LogReader, LogSink, StoreError,
};

use super::item::{Key, from_json, json, number, text};
use super::{DynamoStore, RETENTION_MS, keys};

/// Bytes of text kept of one attempt at most: 128 KiB, well within an item.
pub const LOG_BYTES_MAX: usize = 128 * 1024;
/// What a line costs beside its text.
const LINE_BYTES: usize = 64;

/// Logs of built-in tasks.
pub struct BuiltinLogs {
    store: DynamoStore,
    pending: Mutex<HashMap<AttemptId, Pending>>,
}

impl std::fmt::Debug for BuiltinLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltinLogs").finish_non_exhaustive()
    }
}

/// Lines that are not stored yet.
#[derive(Debug, Default, Clone)]
struct Pending {
    lines: Vec<LogLine>,
    bytes: usize,
    dropped: u64,
}

impl Pending {
    fn push(&mut self, line: LogLine) {
        self.bytes += line.text.len() + LINE_BYTES;
        if self.bytes > LOG_BYTES_MAX {
            self.dropped += 1;
        } else {
            self.lines.push(line);
        }
    }

    /// The lines, and how many there are no more.
    fn lines(mut self) -> Vec<LogLine> {
        if self.dropped > 0 {
            let last = self.lines.last();
            self.lines.push(LogLine {
                seq: last.map_or(0, |line| line.seq + 1),
                time_ms: last.map_or(0, |line| line.time_ms),
                level: LogLevel::Warn,
                text: format!(
                    "{} more lines were dropped: the log of a built-in task has at most {LOG_BYTES_MAX} bytes",
                    self.dropped
                ),
            });
        }
        self.lines
    }
}

fn key(attempt: &AttemptId) -> Key {
    let sort = keys::attempt_sort(&attempt.task_run, attempt.attempt);
    Key::new(format!("G#{}", attempt.execution), sort)
}

impl BuiltinLogs {
    /// Logs beside the state of a store.
    #[must_use]
    pub fn new(store: DynamoStore) -> Self {
        Self {
            store,
            pending: Mutex::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<AttemptId, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores all lines that were taken. To be called before the messages that led to them are acknowledged; an
    /// attempt that is handled again puts its lines in place of the former ones.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let taken: Vec<_> = self.pending().drain().collect();
        let puts = taken
            .into_iter()
            .map(|(attempt, pending)| self.put(attempt, pending));
        futures_util::future::try_join_all(puts).await.map(drop)
    }

    async fn put(&self, attempt: AttemptId, pending: Pending) -> Result<(), StoreError> {
        let mut item = key(&attempt).item();
        let lines = pending.lines();
        item.insert("j".to_owned(), text(json(&lines, "the log of an attempt")?));
        item.insert("ttl".to_owned(), number(self.store.expiry(RETENTION_MS)));
        self.store.table.put(item, None).await.map(drop)
    }

    /// All lines of an attempt; none when nothing is stored of it.
    async fn stored(&self, attempt: &AttemptId) -> Result<Option<Vec<LogLine>>, StoreError> {
        let item = self.store.table.get(&key(attempt)).await?;
        item.map(|item| from_json(&item, "j")).transpose()
    }
}

impl LogSink for BuiltinLogs {
    fn line(&self, attempt: &AttemptId, line: LogLine) {
        self.pending()
            .entry(attempt.clone())
            .or_default()
            .push(line);
    }

    fn end(&self, attempt: &AttemptId) {
        // So that an attempt without lines has a log that has ended.
        self.pending().entry(attempt.clone()).or_default();
    }
}

#[async_trait]
impl LogReader for BuiltinLogs {
    async fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        limit: usize,
    ) -> Result<LogLines, StoreError> {
        let Some(mut lines) = self.stored(attempt).await? else {
            return Ok(LogLines::default());
        };
        lines.retain(|line| line.seq >= from);
        let limit = limit.min(LOG_PAGE_MAX);
        let ended = lines.len() <= limit;
        lines.truncate(limit);
        Ok(LogLines { lines, ended })
    }

    async fn tail(
        &self,
        attempt: &AttemptId,
        before: Option<u64>,
        count: usize,
    ) -> Result<LogLines, StoreError> {
        let Some(mut lines) = self.stored(attempt).await? else {
            return Ok(LogLines::default());
        };
        lines.retain(|line| before.is_none_or(|before| line.seq < before));
        let excess = lines.len().saturating_sub(count.min(LOG_PAGE_MAX));
        lines.drain(..excess);
        Ok(LogLines {
            lines,
            ended: before.is_none(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_limit_is_counted() {
        let mut pending = Pending::default();
        for seq in 0..100 {
            pending.push(LogLine {
                seq,
                time_ms: seq,
                level: LogLevel::Info,
                text: "x".repeat(10_000),
            });
        }
        let lines = pending.lines();
        assert_eq!(lines.len(), 14);
        let last = lines
            .last()
            .map(|line| (line.seq, line.text.starts_with("87 more lines")));
        assert_eq!(last, Some((13, true)));
    }
}
