//! Executes built-in tasks, starts subflows, looks at databases and addresses for triggers, tells people of executions
//! and measures them. Wiring only; see `operon_engine::worker`.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use operon_aws::Role;
use operon_aws::sqs::each;
use operon_aws::world::{SqsEvent, World};
use operon_engine::flows::Flows;
use operon_engine::step::StepError;
use operon_engine::worker::Worker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = World::load(Role::Worker)?;
    let flows = Flows::new(&world.ports, Arc::default());
    let alerts = world.alerts(world.task_logs());
    let worker = Worker::new(world.ports.clone(), world.queues.clone(), Arc::new(flows));
    let worker = worker.telling(alerts).polling(world.triggers());
    let (worker, logs) = (&worker, &world.logs);
    run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let deadline_ms = event.context.deadline;
        let read = |text: &str| Ok::<_, StepError>(text.to_owned());
        let answer = each(event.payload, read, |delivery| async move {
            worker.handle(&delivery.message, deadline_ms).await
        })
        .await;
        // Lines that are not stored are lost with this process; the outcome is not.
        if let Err(error) = logs.flush().await {
            tracing::warn!(%error, "logs of built-in tasks could not be stored");
        }
        Ok::<_, Error>(answer)
    }))
    .await
}
