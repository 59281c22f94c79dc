//! What the agent needs of S3 and SQS; [`aws`](crate::aws) answers with the SDK, tests with memory.

use async_trait::async_trait;
use bytes::Bytes;

/// Why S3 or SQS did not do it, after its own retries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// There is no such object.
    #[error("there is no object {0}")]
    Missing(String),
    /// The object changed while it was read.
    #[error("the object {0} changed while it was read")]
    Changed(String),
    /// The connection broke; what came so far is good.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// An object that is being read.
#[async_trait]
pub(crate) trait Download: Send {
    /// Names this content.
    fn etag(&self) -> Option<&str>;
    /// Bytes of the whole object.
    fn size(&self) -> u64;
    /// The next bytes; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError>;
}

/// A part of a multipart upload that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadedPart {
    /// From 1.
    pub(crate) number: i32,
    pub(crate) etag: String,
    /// In base64.
    pub(crate) sha256: String,
}

/// Objects.
#[async_trait]
pub(crate) trait Store: Send + Sync {
    /// Begins to read at byte `from`; fails with [`StoreError::Changed`] unless the object still has `etag`.
    async fn open(
        &self,
        bucket: &str,
        key: &str,
        from: u64,
        etag: Option<&str>,
    ) -> Result<Box<dyn Download>, StoreError>;
    /// Stores a small object; `sha256` in base64.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        sha256: &str,
    ) -> Result<(), StoreError>;
    /// Begins a multipart upload; gives its id.
    async fn begin(&self, bucket: &str, key: &str) -> Result<String, StoreError>;
    /// Stores a part; gives its tag.
    async fn part(
        &self,
        place: (&str, &str, &str),
        number: i32,
        bytes: Bytes,
        sha256: &str,
    ) -> Result<String, StoreError>;
    /// Makes the object out of its parts.
    async fn complete(
        &self,
        place: (&str, &str, &str),
        parts: Vec<UploadedPart>,
    ) -> Result<(), StoreError>;
    /// Gives a multipart upload up, so that its parts are not paid for.
    async fn abort(&self, place: (&str, &str, &str)) -> Result<(), StoreError>;
}

/// The plan queue.
#[async_trait]
pub(crate) trait Queue: Send + Sync {
    /// Sends a message.
    async fn send(&self, body: &str) -> Result<(), StoreError>;
}

#[cfg(test)]
pub(crate) mod testing {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use operon_core::agent::AgentMessage;

    use super::{Bytes, Download, Queue, Store, StoreError, UploadedPart, async_trait};

    /// Objects in memory; reading breaks when it is told to.
    #[derive(Default)]
    pub(crate) struct MemoryStore {
        pub(crate) objects: Mutex<BTreeMap<String, Bytes>>,
        uploads: Mutex<BTreeMap<String, BTreeMap<i32, Bytes>>>,
        /// Bytes after which each download breaks; 0 never.
        pub(crate) breaks_after: AtomicUsize,
        /// Replaces this object's content at the first break.
        pub(crate) changes: Mutex<Option<(String, Bytes)>>,
        pub(crate) fails_parts: AtomicUsize,
    }

    impl MemoryStore {
        pub(crate) fn with(key: &str, bytes: &[u8]) -> Self {
            let store = Self::default();
            store.insert(key, bytes);
            store
        }

        pub(crate) fn insert(&self, key: &str, bytes: &[u8]) {
            let bytes = Bytes::copy_from_slice(bytes);
            self.objects
                .lock()
                .unwrap()
                .insert(format!("data/{key}"), bytes);
        }

        pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
            self.objects
                .lock()
                .unwrap()
                .get(&format!("data/{key}"))
                .cloned()
        }

        pub(crate) fn open_uploads(&self) -> usize {
            self.uploads.lock().unwrap().len()
        }
    }

    struct MemoryDownload {
        etag: String,
        size: u64,
        rest: Bytes,
        left: usize,
    }

    #[async_trait]
    impl Download for MemoryDownload {
        fn etag(&self) -> Option<&str> {
            Some(&self.etag)
        }

        fn size(&self) -> u64 {
            self.size
        }

        async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
            if self.rest.is_empty() {
                return Ok(None);
            }
            if self.left == 0 {
                return Err(StoreError::Broken("as the test says".to_owned()));
            }
            let step = self.rest.len().min(1_000).min(self.left);
            self.left -= step;
            Ok(Some(self.rest.split_to(step)))
        }
    }

    #[async_trait]
    impl Store for MemoryStore {
        async fn open(
            &self,
            bucket: &str,
            key: &str,
            from: u64,
            etag: Option<&str>,
        ) -> Result<Box<dyn Download>, StoreError> {
            let name = format!("{bucket}/{key}");
            if from > 0
                && let Some((changed, bytes)) = self.changes.lock().unwrap().take()
            {
                self.objects.lock().unwrap().insert(changed, bytes);
            }
            let found = self.objects.lock().unwrap().get(&name).cloned();
            let found = found.ok_or_else(|| StoreError::Missing(name.clone()))?;
            let own = format!("{:?}", found.iter().take(3).collect::<Vec<_>>());
            if etag.is_some_and(|etag| etag != own) {
                return Err(StoreError::Changed(name));
            }
            let left = self.breaks_after.load(Ordering::Relaxed);
            Ok(Box::new(MemoryDownload {
                etag: own,
                size: found.len() as u64,
                rest: found.slice(usize::try_from(from).unwrap()..),
                left: if left == 0 { usize::MAX } else { left },
            }))
        }

        async fn put(
            &self,
            bucket: &str,
            key: &str,
            bytes: Bytes,
            _sha256: &str,
        ) -> Result<(), StoreError> {
            self.objects
                .lock()
                .unwrap()
                .insert(format!("{bucket}/{key}"), bytes);
            Ok(())
        }

        async fn begin(&self, _bucket: &str, key: &str) -> Result<String, StoreError> {
            let id = format!("upload-{key}");
            self.uploads
                .lock()
                .unwrap()
                .insert(id.clone(), BTreeMap::new());
            Ok(id)
        }

        async fn part(
            &self,
            (_, _, upload): (&str, &str, &str),
            number: i32,
            bytes: Bytes,
            _sha256: &str,
        ) -> Result<String, StoreError> {
            if self.fails_parts.load(Ordering::Relaxed) > 0 {
                return Err(StoreError::Failed("no parts today".to_owned()));
            }
            let mut uploads = self.uploads.lock().unwrap();
            uploads.get_mut(upload).unwrap().insert(number, bytes);
            Ok(format!("etag-{number}"))
        }

        async fn complete(
            &self,
            (bucket, key, upload): (&str, &str, &str),
            parts: Vec<UploadedPart>,
        ) -> Result<(), StoreError> {
            let stored = self.uploads.lock().unwrap().remove(upload).unwrap();
            let mut whole = Vec::new();
            for part in &parts {
                assert_eq!(part.etag, format!("etag-{}", part.number));
                whole.extend_from_slice(&stored[&part.number]);
            }
            assert_eq!(parts.len(), stored.len());
            let name = format!("{bucket}/{key}");
            self.objects.lock().unwrap().insert(name, whole.into());
            Ok(())
        }

        async fn abort(&self, (_, _, upload): (&str, &str, &str)) -> Result<(), StoreError> {
            self.uploads.lock().unwrap().remove(upload);
            Ok(())
        }
    }

    /// A queue in memory that fails so many times at first.
    #[derive(Default)]
    pub(crate) struct MemoryQueue {
        sent: Mutex<Vec<String>>,
        tries: AtomicUsize,
        fails: usize,
    }

    impl MemoryQueue {
        pub(crate) fn failing(fails: usize) -> Self {
            Self {
                fails,
                ..Self::default()
            }
        }

        pub(crate) fn tries(&self) -> usize {
            self.tries.load(Ordering::Relaxed)
        }

        pub(crate) fn messages(&self) -> Vec<AgentMessage> {
            let sent = self.sent.lock().unwrap();
            sent.iter()
                .map(|text| serde_json::from_str(text).unwrap())
                .collect()
        }
    }

    #[async_trait]
    impl Queue for MemoryQueue {
        async fn send(&self, body: &str) -> Result<(), StoreError> {
            if self.tries.fetch_add(1, Ordering::Relaxed) < self.fails {
                return Err(StoreError::Failed("the queue is away".to_owned()));
            }
            if body.contains(['\u{fffe}', '\u{ffff}']) {
                return Err(StoreError::Failed("InvalidMessageContents".to_owned()));
            }
            self.sent.lock().unwrap().push(body.to_owned());
            Ok(())
        }
    }
}
