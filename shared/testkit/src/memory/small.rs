//! Secrets, time and logs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use operon_engine::ports::{
    AttemptId, Clock, LOG_PAGE_MAX, LogLine, LogLines, LogReader, LogSink, SecretError, Secrets,
    StoreError,
};

/// Secrets that are the same in every namespace.
#[derive(Debug, Default)]
pub struct MemorySecrets(Mutex<BTreeMap<String, String>>);

impl MemorySecrets {
    /// Sets a secret.
    pub fn set(&self, name: &str, value: &str) {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.insert(name.to_owned(), value.to_owned());
    }
}

#[async_trait]
impl Secrets for MemorySecrets {
    async fn secret(&self, _namespace: &str, name: &str) -> Result<String, SecretError> {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets
            .get(name)
            .cloned()
            .ok_or_else(|| SecretError::Missing {
                name: name.to_owned(),
                remedy: "set it in the test".to_owned(),
            })
    }
}

/// A clock that goes when it is told to. Begins at 2030-01-01T00:00:00Z.
#[derive(Debug)]
pub struct TestClock(AtomicU64);

impl Default for TestClock {
    fn default() -> Self {
        Self(AtomicU64::new(1_893_456_000_000))
    }
}

impl TestClock {
    /// Sets the time, in milliseconds since the Unix epoch.
    pub fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Logs in memory.
#[derive(Debug, Default)]
pub struct MemoryLogs(Mutex<BTreeMap<AttemptId, (Vec<LogLine>, bool)>>);

impl MemoryLogs {
    /// The lines of an attempt so far.
    #[must_use]
    pub fn lines(&self, attempt: &AttemptId) -> Vec<LogLine> {
        self.with(|logs| {
            logs.get(attempt)
                .map(|log| log.0.clone())
                .unwrap_or_default()
        })
    }

    /// Whether the attempt's log has ended.
    #[must_use]
    pub fn has_ended(&self, attempt: &AttemptId) -> bool {
        self.with(|logs| logs.get(attempt).is_some_and(|log| log.1))
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<AttemptId, (Vec<LogLine>, bool)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogSink for MemoryLogs {
    fn line(&self, attempt: &AttemptId, line: LogLine) {
        self.with(|logs| logs.entry(attempt.clone()).or_default().0.push(line));
    }

    fn end(&self, attempt: &AttemptId) {
        self.with(|logs| logs.entry(attempt.clone()).or_default().1 = true);
    }
}

#[async_trait]
impl LogReader for MemoryLogs {
    async fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        limit: usize,
    ) -> Result<LogLines, StoreError> {
        let mut lines = self.lines(attempt);
        lines.retain(|line| line.seq >= from);
        let limit = limit.min(LOG_PAGE_MAX);
        let ended = self.has_ended(attempt) && lines.len() <= limit;
        lines.truncate(limit);
        Ok(LogLines { lines, ended })
    }

    async fn tail(
        &self,
        attempt: &AttemptId,
        before: Option<u64>,
        count: usize,
    ) -> Result<LogLines, StoreError> {
        let mut lines = self.lines(attempt);
        lines.retain(|line| before.is_none_or(|before| line.seq < before));
        lines.drain(..lines.len().saturating_sub(count.min(LOG_PAGE_MAX)));
        let ended = before.is_none() && self.has_ended(attempt);
        Ok(LogLines { lines, ended })
    }
}
