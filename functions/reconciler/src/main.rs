//! Asks after whatever is due, and takes up dead letters. Wiring only; see `operon_engine::reconciler`.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use operon_aws::Role;
use operon_aws::dead::{DeadLetterQueues, Given};
use operon_aws::ecs::FargateEcs;
use operon_aws::world::World;
use operon_engine::dead_letters;
use operon_engine::reconciler::{Reconciler, Summary};
use operon_engine::triggers::Triggers;
use serde_json::Value;
use tracing::warn;

/// Minutes between two looks at all triggers.
const ARM_MIN: u64 = 15;
/// Milliseconds before the end of an invocation in which no further dead letters are taken.
const RESERVE_MS: u64 = 10_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = World::load(Role::Reconciler)?;
    let ecs = Arc::new(FargateEcs::new(&world.sdk, &world.config));
    let reconciler = Reconciler::new(world.ports.clone(), world.queues.clone(), ecs);
    let dead = DeadLetterQueues::new(&world.sdk, &world.queues);
    let triggers = world.triggers();
    let (world, reconciler, dead, triggers) = (&world, &reconciler, &dead, &triggers);
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let done = minute(world, reconciler, triggers).await;
        // Whatever else went wrong: what was given up is seen.
        let buried = bury(world, dead, event.context.deadline).await;
        let summary = done?;
        buried?;
        Ok::<_, Error>(summary)
    }))
    .await
}

/// Wakes what is due.
async fn minute(
    world: &World,
    reconciler: &Reconciler,
    triggers: &Triggers,
) -> Result<Summary, Error> {
    let summary = reconciler.schedule().await?;
    triggers.look_at_due().await?;
    if (world.ports.clock.now_ms() / 60_000).is_multiple_of(ARM_MIN) {
        // Whoever deployed a flow may have died before its triggers were armed.
        triggers.arm_all().await?;
    }
    Ok(summary)
}

/// What was given up becomes a record and a visible failure; only then it leaves its queue. The queues are emptied in
/// turns, as far as there is time: neither one that is full, nor one that does not answer, nor a letter that cannot be
/// kept, keeps the others from it.
async fn bury(world: &World, dead: &DeadLetterQueues, deadline_ms: u64) -> Result<(), Error> {
    let mut wrong = Ok(());
    let mut queues: Vec<_> = dead.queues().iter().collect();
    loop {
        let mut more = Vec::new();
        for queue in queues {
            let taken = dead.take(queue).await.unwrap_or_else(|error| {
                warn!(%error, "a dead-letter queue was not read");
                wrong = Err(error.into());
                Vec::new()
            });
            if !taken.is_empty() {
                more.push(queue);
            }
            for given in taken {
                if let Err(error) = bury_one(world, dead, &given).await {
                    warn!(queue = given.from.name(), %error, "a dead letter was not taken up");
                    wrong = Err(error);
                }
            }
        }
        queues = more;
        // Each queue is looked at once whatever else took the time.
        if queues.is_empty() || world.ports.clock.now_ms() + RESERVE_MS >= deadline_ms {
            return wrong;
        }
    }
}

async fn bury_one(world: &World, dead: &DeadLetterQueues, given: &Given) -> Result<(), Error> {
    let reason = format!("delivered {} times and never handled", given.receives);
    let (ports, queue) = (&world.ports, &*world.queues);
    dead_letters::bury(ports, queue, given.from, &given.body, &reason).await?;
    dead.delete(given).await?;
    Ok(())
}
