//! Secrets Manager and Parameter Store.

use std::sync::Arc;
use std::time::Duration;

use operon_aws::ecs::SecretArns;
use operon_aws::signed::{Service, ServiceName};
use operon_aws::{ManagedSecrets, secrets::KEPT};
use operon_engine::ports::{SecretError, SecretNames as _, Secrets as _};
use serde_json::{Value, json};

use crate::world::World;

/// One request.
const LIMIT: Duration = Duration::from_secs(10);

/// The version that a secret begins with.
const TOKEN: &str = "00000000-0000-4000-8000-000000000000";

/// Asks Secrets Manager for something.
async fn managed(world: &World, operation: &str, body: Value) {
    let service = Service::new(&world.sdk, ServiceName::Secrets, LIMIT);
    let target = format!("secretsmanager.{operation}");
    service.ask(&target, "1.1", &body).await.unwrap();
}

#[tokio::test]
async fn a_namespace_inherits_and_values_are_asked_for_again_after_a_while() {
    let world = World::new().await;
    let put = async |name: &str, value: &str| {
        let full = format!("{}/{name}", world.name);
        let secret = json!({"Name": full, "SecretString": value, "ClientRequestToken": TOKEN});
        managed(&world, "CreateSecret", secret).await;
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
    let rotated = json!({
        "SecretId": full, "SecretString": "rotated", "ClientRequestToken": TOKEN.replace('0', "1"),
    });
    managed(&world, "PutSecretValue", rotated).await;
    assert_eq!(value("a.b", "TOKEN").await.unwrap(), "in a");
    world
        .clock
        .advance(u64::try_from(KEPT.as_millis()).unwrap());
    assert_eq!(value("a.b", "TOKEN").await.unwrap(), "rotated");
    assert_eq!(secrets.full_name("a.b", "TOKEN").await.unwrap(), full);
    assert!(!format!("{secrets:?}").contains("rotated"));
    world.end().await;
}

#[tokio::test]
async fn a_parameter_is_a_secret_too_and_the_nearer_namespace_counts() {
    let world = World::new().await;
    let service = Service::new(&world.sdk, ServiceName::Parameters, LIMIT);
    let put = async |name: &str, kind: &str, value: &str| {
        let full = format!("/{}/{name}", world.name);
        let body = json!({"Name": full, "Type": kind, "Value": value, "Overwrite": true});
        service
            .ask("AmazonSSM.PutParameter", "1.1", &body)
            .await
            .unwrap();
        full
    };
    let own = put("a.b/KEY", "SecureString", "of a.b").await;
    put("a/KEY", "SecureString", "of a").await;
    put("a/PLAIN", "String", "hunter2").await;
    let name = format!("{}/KEY", world.name);
    let secret = json!({"Name": name, "SecretString": "managed", "ClientRequestToken": TOKEN});
    managed(&world, "CreateSecret", secret).await;
    let secrets = ManagedSecrets::new(&world.sdk, &world.name, world.clock.clone());
    let secrets = Arc::new(secrets);
    let value = async |namespace, name| secrets.secret(namespace, name).await;
    assert_eq!(value("a.b", "KEY").await.unwrap(), "of a.b");
    assert_eq!(value("a.c", "KEY").await.unwrap(), "of a");
    assert_eq!(value("z", "KEY").await.unwrap(), "managed");
    assert_eq!(secrets.full_name("a.b", "KEY").await.unwrap(), own);
    let error = value("a", "PLAIN").await.unwrap_err().to_string();
    assert!(
        error.contains("SecureString") && !error.contains("hunter2"),
        "{error}"
    );
    let error = value("a", "NONE").await.unwrap_err();
    assert!(matches!(&error, SecretError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("put-parameter"), "{error}");

    // For ECS: names without values.
    let arns = SecretArns::new(Arc::clone(&secrets));
    let arn = arns.arn("a.b", "KEY").await.unwrap();
    assert!(
        arn.starts_with("arn:aws:ssm:") && arn.ends_with(&format!(":parameter{own}")),
        "{arn}"
    );
    let arn = arns.arn("z", "KEY").await.unwrap();
    assert!(arn.starts_with("arn:aws:secretsmanager:"), "{arn}");
    let error = arns.arn("a", "NONE").await.unwrap_err();
    assert!(matches!(&error, SecretError::Missing { .. }), "{error}");

    put("a.b/KEY", "SecureString", "rotated").await;
    assert_eq!(value("a.b", "KEY").await.unwrap(), "of a.b");
    world
        .clock
        .advance(u64::try_from(KEPT.as_millis()).unwrap());
    assert_eq!(value("a.b", "KEY").await.unwrap(), "rotated");
    for name in ["a.b/KEY", "a/KEY", "a/PLAIN"] {
        let body = json!({"Name": format!("/{}/{name}", world.name)});
        service
            .ask("AmazonSSM.DeleteParameter", "1.1", &body)
            .await
            .unwrap();
    }
    world.end().await;
}
