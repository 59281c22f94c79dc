//! Events that somebody must look at: their objects are to be moved or deleted, or nobody queued them.
//!
//! Both are found by one list, the longest overdue first. Invariant: whoever reads a page deals with all of it, so each
//! of its records is due later or not any more, and the next page begins with others: many events that wait hold back
//! no object.

use futures_util::{StreamExt as _, stream};

use super::batches::GRACE_MS;
use super::record::read;
use super::{EventRecord, EventState, Triggers};
use crate::ports::{Record, RecordKind, StoreError};

/// Events dealt with at once.
const AT_ONCE: usize = 32;
/// Records read in one go.
const PAGE: u32 = 200;
/// Pages dealt with in one look; the rest stays due.
const PAGES_MAX: u32 = 10;

impl Triggers {
    /// Deals with events that are due. Gives how many.
    pub(super) async fn events_due(&self) -> Result<u32, StoreError> {
        let records = &self.evaluator.ports.records;
        let mut done = 0;
        for _ in 0..PAGES_MAX {
            let page = records
                .due_records(RecordKind::Event, self.now(), PAGE)
                .await?;
            let before = done;
            let mut dealt = stream::iter(page)
                .map(|record| self.event_tried(record))
                .buffer_unordered(AT_ONCE);
            while let Some(written) = dealt.next().await {
                done += u32::from(written);
            }
            if done == before {
                break; // There are none, or somebody else deals with them.
            }
        }
        Ok(done)
    }

    /// Deals with one. One that fails or cannot be read is due later, as every other: it holds up none. False when
    /// nothing was written.
    async fn event_tried(&self, record: Record) -> bool {
        let (key, version) = (record.key.clone(), record.version);
        let (value, expires) = (record.value.clone(), record.expires_ms);
        let error = match self.event_due(record).await {
            Ok(written) => return written,
            Err(error) => error,
        };
        tracing::warn!(event = key.sort, partition = key.partition, %error, "an event could not be dealt with");
        let later = Some(self.now() + GRACE_MS);
        self.put(key, version, &value, later, expires)
            .await
            .is_ok_and(|put| put.is_ok())
    }

    /// Deals with one. False when somebody else was faster.
    async fn event_due(&self, record: Record) -> Result<bool, StoreError> {
        let event: EventRecord = read(&record)?;
        let waits = event.state == EventState::Pending;
        if !waits && event.action.is_some() {
            return self.act(record, event).await;
        }
        let found = self.of_partition(&record.key.partition).await?;
        let trigger = found
            .as_ref()
            .and_then(|(flow, id)| Some((flow, flow.trigger(id)?)));
        let Some((flow, trigger)) = trigger else {
            return self.unarm(&record).await;
        };
        if waits {
            self.enqueue(flow, trigger, &event).await?;
        }
        // Looked at again later, should it still wait.
        let due = waits.then(|| self.now() + GRACE_MS);
        let (key, version) = (record.key, record.version);
        let put = self.put(key, version, &event, due, record.expires_ms);
        Ok(put.await?.is_ok())
    }
}
