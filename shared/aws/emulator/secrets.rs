//! Secrets Manager.

use operon_aws::{ManagedSecrets, secrets::KEPT};
use operon_engine::ports::{SecretError, Secrets as _};

use crate::world::World;

#[tokio::test]
async fn a_namespace_inherits_and_values_are_asked_for_again_after_a_while() {
    let world = World::new().await;
    let client = world.sdk.secrets_manager();
    let put = async |name: &str, value: &str| {
        let full = format!("{}/{name}", world.name);
        client
            .create_secret()
            .name(full)
            .secret_string(value)
            .send()
            .await
            .unwrap();
    };
    put("TOKEN", "everywhere").await;
    put("a/TOKEN", "in a").await;
    put("a.b.c/OWN", "in c").await;
    let secrets = ManagedSecrets::new(&world.sdk, &world.name, world.clock.clone());
    let value = async |namespace, name| secrets.secret(namespace, name).await;
    assert_eq!(value("z", "TOKEN").await.unwrap(), "everywhere");
    assert_eq!(value("a.b", "TOKEN").await.unwrap(), "in a");
    assert_eq!(value("a.b.c", "OWN").await.unwrap(), "in c");
    let error = value("a.b", "OWN").await.unwrap_err();
    assert!(matches!(&error, SecretError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("create-secret"), "{error}");
    assert!(value("a/../b", "OWN").await.is_err());

    let full = format!("{}/a/TOKEN", world.name);
    client
        .put_secret_value()
        .secret_id(&full)
        .secret_string("rotated")
        .send()
        .await
        .unwrap();
    assert_eq!(value("a.b", "TOKEN").await.unwrap(), "in a");
    world
        .clock
        .advance(u64::try_from(KEPT.as_millis()).unwrap());
    assert_eq!(value("a.b", "TOKEN").await.unwrap(), "rotated");
    assert_eq!(secrets.full_name("a.b", "TOKEN").await.unwrap(), full);
    assert!(!format!("{secrets:?}").contains("rotated"));
    world.end().await;
}
