//! Serves the console, the command line and webhooks behind two function URLs: one that AWS lets everybody call, for
//! tokens and signatures of webhooks, and one for requests that are signed for IAM. Wiring only; see `operon_api`.

mod application;

use std::sync::Arc;

use application::Parts;
use lambda_http::{Error, run_with_streaming_response};
use operon_aws::Role;
use operon_aws::world::World;
use operon_engine::triggers::Triggers;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let world = World::load(Role::Api)?;
    let auth = application::auth(&world.config)?;
    let parts = Parts {
        ports: world.ports.clone(),
        sink: Arc::clone(&world.queues) as Arc<_>,
        queue: Arc::clone(&world.queues) as Arc<_>,
        // Whoever deploys flows makes what fires their triggers.
        triggers: Triggers {
            wiring: world.wiring(),
            ..world.triggers()
        },
        logs: world.task_logs(),
    };
    run_with_streaming_response(application::service(application::api(parts, auth))).await
}
