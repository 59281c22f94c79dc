//! Claims in the state store of the local engine.

use async_trait::async_trait;
use operon_engine::ports::{AttemptId, StoreError};

use super::claims::{Claim, ClaimRow, Claims, ProcessMark};
use super::process::boot_id;
use crate::store::{self, Claimant, LaunchedClaim, ProcessIdentity, SqliteStore};

/// Claims read at once when all live ones are listed.
const PAGE: u32 = 1000;

/// This engine.
fn us() -> Claimant {
    Claimant {
        pid: std::process::id(),
        boot: boot_id().to_owned(),
    }
}

fn answer(claim: &store::Claim) -> Claim {
    match claim {
        store::Claim::New => Claim::New,
        store::Claim::Launched(claim) => Claim::Launched(mark(claim)),
        store::Claim::Stopped => Claim::Stopped,
    }
}

#[async_trait]
impl Claims for SqliteStore {
    async fn claim(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        Ok(answer(&Self::claim(self, id, Some(us())).await?))
    }

    async fn claim_briefly(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        Ok(answer(&Self::claim_briefly(self, id, Some(us())).await?))
    }

    async fn record(&self, id: &AttemptId, mark: &ProcessMark) -> Result<(), StoreError> {
        let (process, container) = if mark.is_container() {
            (None, Some(mark.boot.clone()))
        } else {
            let process = ProcessIdentity {
                pid: mark.pid,
                started: mark.started,
            };
            (Some(process), None)
        };
        self.record_process(id, process, container).await?;
        Ok(())
    }

    async fn tombstone(&self, id: &AttemptId) -> Result<ClaimRow, StoreError> {
        let claim = Self::tombstone(self, id).await?;
        Ok(ClaimRow {
            stopped: true,
            ..row(Some(claim))
        })
    }

    async fn finish(&self, id: &AttemptId) -> Result<(), StoreError> {
        self.finish_claim(id).await
    }

    async fn look(&self, id: &AttemptId) -> Result<ClaimRow, StoreError> {
        Ok(row(self.lookup_claim(id).await?))
    }

    async fn live(&self) -> Result<Vec<(AttemptId, Option<ProcessMark>)>, StoreError> {
        let mut all: Vec<(AttemptId, Option<ProcessMark>)> = Vec::new();
        loop {
            let after = all.last().map(|(id, _)| id.clone());
            let page = self.live_claims(after.as_ref(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.into_iter().map(|claim| {
                let mark = mark(&claim);
                (claim.id, mark)
            }));
        }
    }
}

fn row(claim: Option<store::Claim>) -> ClaimRow {
    match claim {
        None | Some(store::Claim::New) => ClaimRow::default(),
        Some(store::Claim::Launched(claim)) => ClaimRow {
            launched: true,
            stopped: false,
            finished: claim.finished,
            mark: mark(&claim),
        },
        Some(store::Claim::Stopped) => ClaimRow {
            stopped: true,
            ..ClaimRow::default()
        },
    }
}

/// What was started. A process is recorded by whoever claimed the attempt, since the same start of the
/// machine.
fn mark(claim: &LaunchedClaim) -> Option<ProcessMark> {
    if let Some(container) = &claim.container {
        return Some(ProcessMark::of_container(container.clone()));
    }
    let process = claim.process?;
    let by = claim.by.as_ref()?;
    Some(ProcessMark {
        pid: process.pid,
        started: process.started,
        boot: by.boot.clone(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::runner::MemoryClaims;
    use crate::runner::testing::attempt_id;

    /// The same story must give the same answers, in memory and in the store.
    async fn story(claims: &dyn Claims) {
        let (one, two, three) = (attempt_id(1), attempt_id(2), attempt_id(3));
        assert_eq!(claims.look(&one).await.unwrap(), ClaimRow::default());
        assert_eq!(claims.claim(&one).await.unwrap(), Claim::New);
        assert_eq!(claims.claim(&one).await.unwrap(), Claim::Launched(None));
        let process = ProcessMark {
            pid: 7,
            started: 9,
            boot: boot_id().to_owned(),
        };
        claims.record(&one, &process).await.unwrap();
        let again = Claim::Launched(Some(process.clone()));
        assert_eq!(claims.claim(&one).await.unwrap(), again);

        assert_eq!(claims.claim(&two).await.unwrap(), Claim::New);
        let container = ProcessMark::of_container("c0ffee".to_owned());
        claims.record(&two, &container).await.unwrap();
        let mut live = claims.live().await.unwrap();
        live.sort_by_key(|(id, _)| id.clone());
        let expected = [(one.clone(), Some(process)), (two.clone(), Some(container))];
        assert_eq!(live, expected);

        let row = claims.tombstone(&one).await.unwrap();
        assert!(row.stopped && row.is_live());
        claims.finish(&one).await.unwrap();
        claims.finish(&two).await.unwrap();
        assert!(claims.live().await.unwrap().is_empty());
        let row = claims.look(&one).await.unwrap();
        assert!(row.launched && row.finished);

        let row = claims.tombstone(&three).await.unwrap();
        assert!(row.stopped && !row.launched);
        assert_eq!(claims.claim(&three).await.unwrap(), Claim::Stopped);
        assert!(!claims.look(&three).await.unwrap().launched);
    }

    #[tokio::test]
    async fn claims_in_memory_and_in_the_store_say_the_same() {
        story(&MemoryClaims::default()).await;
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
        story(&store).await;
    }
}
