//! Who launched which attempt. A claim is taken before anything starts, so that an attempt id is launched
//! at most once, ever (invariants 2 and 3), and so that the next engine finds what a crashed one left behind.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use operon_engine::ports::{AttemptId, StoreError};

use crate::store::{Claim, Claimant, LaunchedClaim, ProcessIdentity, SqliteStore};

/// Claims read at once when all live ones are listed.
const PAGE: u32 = 1000;

/// What was started for an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// A process, which leads a process group with its number.
    Process(ProcessIdentity),
    /// A container, by its id.
    Container(String),
}

/// The table of claims. Every method may be repeated without harm.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Claims the attempt. Durable when it returns [`Claim::New`].
    async fn claim(&self, id: &AttemptId, by: Claimant) -> Result<Claim, StoreError>;
    /// The claim, without claiming; none when it was neither claimed nor stopped.
    async fn look(&self, id: &AttemptId) -> Result<Option<Claim>, StoreError>;
    /// Notes what was started.
    async fn record(&self, id: &AttemptId, started: &Started) -> Result<(), StoreError>;
    /// Forbids the launch, unless it is too late: then the claim is given.
    async fn tombstone(&self, id: &AttemptId) -> Result<Claim, StoreError>;
    /// Nothing of the attempt is alive.
    async fn finish(&self, id: &AttemptId) -> Result<(), StoreError>;
    /// Claims of which something may be alive.
    async fn live(&self) -> Result<Vec<LaunchedClaim>, StoreError>;
}

#[async_trait]
impl Claims for SqliteStore {
    async fn claim(&self, id: &AttemptId, by: Claimant) -> Result<Claim, StoreError> {
        Self::claim(self, id, Some(by)).await
    }

    async fn look(&self, id: &AttemptId) -> Result<Option<Claim>, StoreError> {
        self.lookup_claim(id).await
    }

    async fn record(&self, id: &AttemptId, started: &Started) -> Result<(), StoreError> {
        let (process, container) = match started {
            Started::Process(process) => (Some(*process), None),
            Started::Container(container) => (None, Some(container.clone())),
        };
        self.record_process(id, process, container).await?;
        Ok(())
    }

    async fn tombstone(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        Self::tombstone(self, id).await
    }

    async fn finish(&self, id: &AttemptId) -> Result<(), StoreError> {
        self.finish_claim(id).await
    }

    async fn live(&self) -> Result<Vec<LaunchedClaim>, StoreError> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|claim: &LaunchedClaim| claim.id.clone());
            let page = self.live_claims(after.as_ref(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}

/// Claims that end with this process: for tests, and for executions whose state is not kept.
#[derive(Debug, Default)]
pub struct MemoryClaims {
    rows: Mutex<HashMap<AttemptId, Claim>>,
}

impl MemoryClaims {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<AttemptId, Claim>) -> T) -> T {
        change(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, id: &AttemptId, change: impl FnOnce(&mut LaunchedClaim)) {
        self.with(|rows| {
            if let Some(Claim::Launched(claim)) = rows.get_mut(id) {
                change(claim);
            }
        });
    }
}

#[async_trait]
impl Claims for MemoryClaims {
    async fn claim(&self, id: &AttemptId, by: Claimant) -> Result<Claim, StoreError> {
        Ok(self.with(|rows| {
            if let Some(claim) = rows.get(id) {
                return claim.clone();
            }
            let claim = LaunchedClaim {
                id: id.clone(),
                by: Some(by),
                process: None,
                container: None,
                finished: false,
            };
            rows.insert(id.clone(), Claim::Launched(claim));
            Claim::New
        }))
    }

    async fn look(&self, id: &AttemptId) -> Result<Option<Claim>, StoreError> {
        Ok(self.with(|rows| rows.get(id).cloned()))
    }

    async fn record(&self, id: &AttemptId, started: &Started) -> Result<(), StoreError> {
        self.change(id, |claim| match started {
            Started::Process(process) => claim.process = Some(*process),
            Started::Container(container) => claim.container = Some(container.clone()),
        });
        Ok(())
    }

    async fn tombstone(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        Ok(self.with(|rows| rows.entry(id.clone()).or_insert(Claim::Stopped).clone()))
    }

    async fn finish(&self, id: &AttemptId) -> Result<(), StoreError> {
        self.change(id, |claim| claim.finished = true);
        Ok(())
    }

    async fn live(&self) -> Result<Vec<LaunchedClaim>, StoreError> {
        Ok(self.with(|rows| {
            let launched = rows.values().filter_map(|claim| match claim {
                Claim::Launched(claim) if !claim.finished => Some(claim.clone()),
                Claim::Launched(_) | Claim::Stopped | Claim::New => None,
            });
            launched.collect()
        }))
    }
}
