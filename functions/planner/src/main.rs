//! Takes turns: events in, one write, commands out. Wiring only; see `operon_engine::plan_queue`.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use operon_aws::Role;
use operon_aws::world::{SqsEvent, World, batch_delivered};
use operon_engine::plan_queue::PlanQueue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = World::load(Role::Planner)?;
    let planner =
        PlanQueue::new(world.ports.clone(), world.queues.clone()).with(Arc::new(world.triggers()));
    let planner = &planner;
    run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let deadline_ms = event.context.deadline;
        let handle = async |texts: &[&str], again: &[bool]| {
            planner.handle_delivered(texts, again, deadline_ms).await
        };
        Ok::<_, Error>(batch_delivered(event.payload, handle).await)
    }))
    .await
}
