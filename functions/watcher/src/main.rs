//! Tells shards what ECS says of their tasks. Wiring only; see `operon_engine::watcher`.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use operon_aws::Role;
use operon_aws::world::World;
use operon_engine::watcher::Watcher;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = World::load(Role::Watcher)?;
    let watcher = Watcher::new(world.ports.clone(), world.queues.clone());
    let watcher = &watcher;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let text = event.payload.to_string();
        for outcome in watcher.handle(&[text.as_str()]).await {
            outcome?;
        }
        Ok::<_, Error>(())
    }))
    .await
}
