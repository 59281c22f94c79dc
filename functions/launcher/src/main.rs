//! Launches, stops and asks after attempts on ECS. Wiring only; see `operon_engine::launcher`.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use operon_aws::Role;
use operon_aws::ecs::{FargateEcs, SecretArns};
use operon_aws::world::{SqsEvent, World, batch};
use operon_engine::fargate::Rate;
use operon_engine::launcher::{LaunchOptions, Launcher};
use operon_engine::reconciler::{Reconciler, handle_launches};

/// Launches a second of this process. Two run at once (the template's `MaximumConcurrency`), and an account has 20.
const LAUNCHES_PER_SECOND: f64 = 10.0;
/// Launches at once after a pause; an account has 100.
const LAUNCH_BURST: f64 = 50.0;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = World::load(Role::Launcher)?;
    let ecs = Arc::new(FargateEcs::new(&world.sdk, &world.config));
    let names = SecretArns::new(world.secrets.clone());
    let launcher = Launcher::new(
        world.ports.clone(),
        world.queues.clone(),
        ecs.clone(),
        Arc::new(names),
        world.site(),
        LaunchOptions {
            rate: Rate {
                per_second: LAUNCHES_PER_SECOND,
                burst: LAUNCH_BURST,
            },
            ..LaunchOptions::default()
        },
    );
    let reconciler = Reconciler::new(world.ports.clone(), world.queues.clone(), ecs);
    let (launcher, reconciler) = (&launcher, &reconciler);
    run(service_fn(|event: LambdaEvent<SqsEvent>| async move {
        let deadline_ms = event.context.deadline;
        let handle =
            async |texts: &[&str]| handle_launches(launcher, reconciler, texts, deadline_ms).await;
        Ok::<_, Error>(batch(event.payload, handle).await)
    }))
    .await
}
