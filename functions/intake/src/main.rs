//! Events in, executions out: messages of the intake queue, and documents that a service or the command line gives to
//! the function itself. Wiring only; see `operon_engine::triggers` and `operon_engine::operations`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use operon_aws::Role;
use operon_aws::sqs::each;
use operon_aws::world::{SqsEvent, World};
use operon_engine::ports::StoreError;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = World::load(Role::Intake)?;
    let (triggers, operations) = (world.triggers(), world.operations());
    let (world, triggers, operations) = (&world, &triggers, &operations);
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let of_queue = event.payload.pointer("/Records/0/eventSource") == Some(&json!("aws:sqs"));
        if let Some(answer) = operations.direct(&event.payload).await {
            return Ok(answer?);
        }
        if !of_queue {
            triggers.document(&event.payload).await?;
            return Ok::<Value, Error>(Value::Null);
        }
        let event: SqsEvent = serde_json::from_value(event.payload)?;
        let read = |text: &str| Ok::<_, StoreError>(text.to_owned());
        let answer = each(event, read, |delivery| async move {
            triggers.message(&world.event(delivery)).await.map(drop)
        })
        .await;
        Ok(serde_json::to_value(answer)?)
    }))
    .await
}
