//! Records in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use operon_engine::ports::{
    Clock as _, RECORD_PAGE_MAX, Record, RecordKey, RecordKind, RecordOutcome, RecordQuery,
    RecordWrite, Records, StoreError,
};

use super::TestClock;
use crate::cloud::Faults;

/// Records in memory. Each method is one transaction.
#[derive(Debug, Default)]
pub struct MemoryRecords {
    records: Mutex<BTreeMap<RecordKey, Record>>,
    clock: Arc<TestClock>,
    faults: Arc<Faults>,
}

impl MemoryRecords {
    /// No records; `clock` says which have expired when one is written.
    #[must_use]
    pub fn new(clock: Arc<TestClock>) -> Self {
        Self::failing(clock, Arc::default())
    }

    /// No records; fails when it is told to, and counts what it is asked.
    #[must_use]
    pub fn failing(clock: Arc<TestClock>, faults: Arc<Faults>) -> Self {
        Self {
            records: Mutex::default(),
            clock,
            faults,
        }
    }

    fn save(&self, write: RecordWrite) -> RecordOutcome {
        let now = self.clock.now_ms();
        let mut records = self.lock();
        let there = records.get(&write.key).filter(|record| alive(record, now));
        if there.map_or(0, |record| record.version) != write.expected {
            return RecordOutcome::Conflict(there.cloned().map(Box::new));
        }
        let version = write.expected + 1;
        let record = Record {
            key: write.key.clone(),
            version,
            value: write.value,
            due_ms: write.due_ms,
            expires_ms: write.expires_ms,
        };
        records.insert(write.key, record);
        RecordOutcome::Saved(version)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RecordKey, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn alive(record: &Record, now_ms: u64) -> bool {
    record.expires_ms.is_none_or(|expires| expires > now_ms)
}

fn size(limit: u32) -> usize {
    usize::try_from(limit.min(RECORD_PAGE_MAX)).unwrap_or(usize::MAX)
}

#[async_trait]
impl Records for MemoryRecords {
    async fn record(&self, key: &RecordKey, now_ms: u64) -> Result<Option<Record>, StoreError> {
        self.faults
            .read("DynamoDB", "record")
            .map_err(StoreError::Busy)?;
        Ok(self
            .lock()
            .get(key)
            .filter(|record| alive(record, now_ms))
            .cloned())
    }

    async fn save_record(&self, write: RecordWrite) -> Result<RecordOutcome, StoreError> {
        write.checked()?;
        self.faults
            .write("DynamoDB", "write record", || self.save(write))
            .map_err(StoreError::Busy)
    }

    async fn delete_record(
        &self,
        key: &RecordKey,
        expected: u64,
    ) -> Result<RecordOutcome, StoreError> {
        let mut records = self.lock();
        match records.get(key) {
            Some(there) if there.version != expected => {
                Ok(RecordOutcome::Conflict(Some(Box::new(there.clone()))))
            }
            _ => {
                records.remove(key);
                Ok(RecordOutcome::Saved(0))
            }
        }
    }

    async fn records(
        &self,
        kind: RecordKind,
        partition: &str,
        query: &RecordQuery,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.lock();
        let mut found: Vec<&Record> = records
            .values()
            .filter(|record| record.key.kind == kind && record.key.partition == partition)
            .filter(|record| record.key.sort.starts_with(&query.prefix))
            .collect();
        if query.descending {
            found.reverse();
        }
        Ok(found
            .into_iter()
            .filter(|record| match &query.after {
                None => true,
                Some(after) if query.descending => record.key.sort < *after,
                Some(after) => record.key.sort > *after,
            })
            .take(size(query.limit))
            .cloned()
            .collect())
    }

    async fn due_records(
        &self,
        kind: RecordKind,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.lock();
        let mut due: Vec<(u64, &Record)> = records
            .values()
            .filter(|record| record.key.kind == kind)
            .filter_map(|record| Some((record.due_ms.filter(|due| *due <= now_ms)?, record)))
            .collect();
        due.sort_by_key(|(due, _)| *due);
        Ok(due
            .into_iter()
            .take(size(limit))
            .map(|(_, record)| record.clone())
            .collect())
    }
}
