//! Plans in S3, under `plans/` and the hash of their content.
//!
//! Invariant: what is read under a hash has that hash.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::primitives::ByteStream;
use operon_core::plan::content_hash;
use operon_engine::ports::StoreError;

use crate::errors::Trouble;

/// Bytes of a plan at most. A document of 1 MiB compiles to less than this.
const PLAN_MAX: usize = 32 << 20;
/// Hashes remembered as stored at most.
const KNOWN_MAX: usize = 10_000;

/// Where plans are. Clones share what they know.
#[derive(Clone)]
pub(super) struct PlanFiles {
    client: aws_sdk_s3::Client,
    bucket: String,
    /// Hashes that are certainly stored: a plan is stored once and used for many executions.
    stored: Arc<Mutex<HashSet<String>>>,
}

impl PlanFiles {
    pub(super) fn new(client: aws_sdk_s3::Client, bucket: &str) -> Self {
        Self {
            client,
            bucket: bucket.to_owned(),
            stored: Arc::default(),
        }
    }

    fn is_stored(&self, hash: &str) -> bool {
        self.stored
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(hash)
    }

    fn remember(&self, hash: &str) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if stored.len() >= KNOWN_MAX {
            stored.clear();
        }
        stored.insert(hash.to_owned());
    }

    /// Stores a plan unless it is there.
    pub(super) async fn put(&self, hash: &str, plan: &[u8]) -> Result<(), StoreError> {
        if self.is_stored(hash) {
            return Ok(());
        }
        if plan.len() > PLAN_MAX {
            return Err(StoreError::Failed(format!(
                "a plan has {} bytes; at most {PLAN_MAX} can be stored, split the flow",
                plan.len()
            )));
        }
        if content_hash(plan) != hash {
            return Err(StoreError::Failed(format!(
                "plan {hash} does not have that hash"
            )));
        }
        // Looking costs a twelfth of storing.
        let there = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key(hash))
            .send()
            .await;
        match there.map_err(|error| Trouble::of("looking for a plan", &error)) {
            Ok(_) => {}
            Err(Trouble::Refused { code, .. }) if code == "NotFound" || code == "NoSuchKey" => {
                self.client
                    .put_object()
                    .bucket(&self.bucket)
                    .key(key(hash))
                    .content_type("application/json")
                    .body(ByteStream::from(plan.to_vec()))
                    .send()
                    .await
                    .map_err(|error| Trouble::of("storing a plan", &error))?;
            }
            Err(trouble) => return Err(trouble.into()),
        }
        self.remember(hash);
        Ok(())
    }

    /// The plan with that hash.
    pub(super) async fn get(&self, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key(hash))
            .send()
            .await;
        let answer = match answer.map_err(|error| Trouble::of("reading a plan", &error)) {
            Ok(answer) => answer,
            Err(Trouble::Refused { code, .. }) if code == "NoSuchKey" => return Ok(None),
            Err(trouble) => return Err(trouble.into()),
        };
        let mut body = answer.body;
        let mut plan = Vec::new();
        while let Some(piece) = body.next().await {
            // The connection broke: the message that needs the plan comes again.
            let piece = piece.map_err(|error| StoreError::Busy(format!("plan {hash}: {error}")))?;
            if plan.len() + piece.len() > PLAN_MAX {
                return Err(StoreError::Corrupt(format!(
                    "plan {hash} has more than {PLAN_MAX} bytes"
                )));
            }
            plan.extend_from_slice(&piece);
        }
        let found = content_hash(&plan);
        if found != hash {
            return Err(StoreError::Corrupt(format!(
                "the object of plan {hash} holds something else ({found}); deploy its flow again"
            )));
        }
        self.remember(hash);
        Ok(Some(plan))
    }
}

fn key(hash: &str) -> String {
    format!("plans/{hash}")
}
