//! The sources of events of one machine: dates, polls, notifications of a database, directories in the place of S3
//! buckets, and the ends of executions.
//!
//! Everything here may be killed at any moment. What was accepted is in the store; what was not is found again: a date
//! by its cursor, a row by its query, a file by the list of files that were seen, the end of an execution by its row.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use operon_core::triggers::Kind;
use operon_engine::ports::{ExecutionFilter, ExecutionRow, StoreError};
use operon_engine::triggers::{TriggerKey, Triggers};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::warn;

mod directory;
#[cfg(test)]
mod tests;

pub use directory::{Buckets, WatchError};

use directory::Watches;

/// Directory of a state directory that holds one directory per bucket.
pub const BUCKETS: &str = "buckets";

/// Time between two looks at what is due, and at the directories.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two looks at which flows are deployed.
const LOOKS_PER_ARM: u32 = 5;
/// Pause before a database is connected to again.
const RECONNECT: Duration = Duration::from_secs(5);
/// Executions whose end is told again at the start: a crash may have come between their end and what follows.
const TOLD_AGAIN: u32 = 1_000;

/// What the loop works with.
pub struct Options {
    /// Over the ports of this machine.
    pub triggers: Triggers,
    /// Which directory is which bucket.
    pub buckets: Buckets,
    /// Directory in which is kept which files were seen.
    pub seen: PathBuf,
}

/// Runs until `ended` is closed: executions are given to it when they have ended, after that is durable. Must be
/// called where tasks can be spawned. Errors are logged and tried again: the store may be busy, a disk full for a
/// while.
pub async fn run(options: Options, mut ended: mpsc::UnboundedReceiver<ExecutionRow>) {
    let Options {
        triggers,
        buckets,
        seen,
    } = options;
    let mut watches = Watches::new(buckets, seen);
    let mut listeners: BTreeMap<TriggerKey, (String, JoinHandle<()>)> = BTreeMap::new();
    if let Err(error) = tell_again(&triggers).await {
        warn!(%error, "ends of executions could not be told again");
    }
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            row = ended.recv() => {
                let Some(row) = row else { break };
                if let Err(error) = triggers.ended(&row).await {
                    warn!(execution_id = %row.meta.id, %error, "what follows an execution could not be done");
                }
            }
            _ = tick.tick() => {
                if looks.is_multiple_of(LOOKS_PER_ARM)
                    && let Err(error) = arm(&triggers, &mut watches, &mut listeners).await
                {
                    warn!(%error, "triggers could not be set up");
                }
                looks = looks.wrapping_add(1);
                if let Err(error) = triggers.look_at_due().await {
                    warn!(%error, "due triggers could not be looked at");
                }
                watches.look(&triggers).await;
            }
        }
    }
    for (_, listener) in listeners.into_values() {
        listener.abort();
    }
}

/// Sets up what the deployed flows ask for.
async fn arm(
    triggers: &Triggers,
    watches: &mut Watches,
    listeners: &mut BTreeMap<TriggerKey, (String, JoinHandle<()>)>,
) -> Result<(), StoreError> {
    triggers.arm_all().await?;
    let mut buckets = Vec::new();
    let mut wanted: BTreeMap<TriggerKey, String> = BTreeMap::new();
    for flow in triggers.flows.deployed().await? {
        for trigger in flow
            .triggers
            .iter()
            .filter(|trigger| !trigger.disabled && !flow.disabled)
        {
            if let Kind::S3(objects) = &trigger.kind {
                buckets.push(objects.bucket.clone());
            }
            if let Kind::Postgres(postgres) = &trigger.kind
                && let Some(channel) = &postgres.listen
            {
                wanted.insert(flow.key(trigger), format!("{channel} {postgres:?}"));
            }
        }
    }
    watches.keep(&buckets);
    listeners.retain(|key, (spec, listener)| {
        let stays = wanted.get(key) == Some(spec) && !listener.is_finished();
        if !stays {
            listener.abort();
        }
        stays
    });
    for (key, spec) in wanted {
        listeners.entry(key.clone()).or_insert_with(|| {
            let triggers = triggers.clone();
            (
                spec,
                tokio::spawn(async move { listen(&triggers, &key).await }),
            )
        });
    }
    Ok(())
}

/// Listens for a database's notifications as long as the trigger is there.
async fn listen(triggers: &Triggers, key: &TriggerKey) {
    loop {
        match triggers.listen(key).await {
            Ok(()) => return,
            Err(error) => {
                warn!(trigger = %key, error, "notifications of the database are not heard");
            }
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Tells the ends of the latest executions once more.
async fn tell_again(triggers: &Triggers) -> Result<(), StoreError> {
    let filter = ExecutionFilter {
        states: [
            "SUCCESS",
            "WARNING",
            "FAILED",
            "KILLED",
            "CANCELLED",
            "RETRIED",
        ]
        .map(str::to_owned)
        .to_vec(),
        limit: TOLD_AGAIN,
        ..ExecutionFilter::default()
    };
    let rows = triggers.evaluator.ports.store.executions(&filter).await?;
    for row in rows.iter().rev() {
        triggers.ended(row).await?;
    }
    Ok(())
}
