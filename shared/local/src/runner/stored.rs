//! The runners' claims, kept in the state store.

use async_trait::async_trait;
use operon_engine::ports::{AttemptId, StoreError};

use super::claims::{Claim, ClaimRow, Claims, ProcessMark};
use super::process::system::boot_id;
use crate::store::{self, Claimant, LaunchedClaim, ProcessIdentity, SqliteStore};

/// Claims read at once when all live ones are listed.
const PAGE: u32 = 1000;

fn mark_of(claim: &LaunchedClaim) -> Option<ProcessMark> {
    if let Some(container) = &claim.container {
        return Some(ProcessMark::of_container(container.clone()));
    }
    let process = claim.process?;
    let boot = claim
        .by
        .as_ref()
        .map(|by| by.boot.clone())
        .unwrap_or_default();
    Some(ProcessMark {
        pid: process.pid,
        started: process.started,
        boot,
    })
}

fn row_of(claim: &store::Claim) -> ClaimRow {
    match claim {
        store::Claim::New => ClaimRow::default(),
        store::Claim::Stopped => ClaimRow {
            stopped: true,
            ..ClaimRow::default()
        },
        store::Claim::Launched(claim) => ClaimRow {
            launched: true,
            stopped: false,
            finished: claim.finished,
            mark: mark_of(claim),
        },
    }
}

#[async_trait]
impl Claims for SqliteStore {
    async fn claim(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        let by = Claimant {
            pid: std::process::id(),
            boot: boot_id(),
        };
        Ok(match Self::claim(self, id, Some(by)).await? {
            store::Claim::New => Claim::New,
            store::Claim::Stopped => Claim::Stopped,
            store::Claim::Launched(claim) => Claim::Launched(mark_of(&claim)),
        })
    }

    async fn record(&self, id: &AttemptId, mark: &ProcessMark) -> Result<(), StoreError> {
        let (process, container) = if mark.is_container() {
            (None, Some(mark.boot.clone()))
        } else {
            (
                Some(ProcessIdentity {
                    pid: mark.pid,
                    started: mark.started,
                }),
                None,
            )
        };
        self.record_process(id, process, container).await?;
        Ok(())
    }

    async fn tombstone(&self, id: &AttemptId) -> Result<ClaimRow, StoreError> {
        Ok(row_of(&Self::tombstone(self, id).await?))
    }

    async fn finish(&self, id: &AttemptId) -> Result<(), StoreError> {
        self.finish_claim(id).await
    }

    async fn look(&self, id: &AttemptId) -> Result<ClaimRow, StoreError> {
        Ok(self
            .lookup_claim(id)
            .await?
            .as_ref()
            .map(row_of)
            .unwrap_or_default())
    }

    async fn live(&self) -> Result<Vec<(AttemptId, Option<ProcessMark>)>, StoreError> {
        let mut all: Vec<(AttemptId, Option<ProcessMark>)> = Vec::new();
        loop {
            let after = all.last().map(|(id, _)| id.clone());
            let page = self.live_claims(after.as_ref(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(
                page.into_iter()
                    .map(|claim| (claim.id.clone(), mark_of(&claim))),
            );
        }
    }
}
