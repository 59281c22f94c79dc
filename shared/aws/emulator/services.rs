//! Objects in S3 that triggers move and delete.

use std::time::Duration;

use operon_aws::services::AwsServices;
use operon_aws::signed::{Service, ServiceName};
use operon_engine::ports::{ObjectName, Services as _};

use crate::world::World;

#[tokio::test]
async fn an_object_is_removed_or_moved_while_it_has_that_content() {
    let world = World::new().await;
    let lambda = Service::new(&world.sdk, ServiceName::Lambda, Duration::from_secs(10));
    let services = AwsServices::new(world.sdk.s3(), lambda, "the data bucket");
    let object = |key: &str| ObjectName {
        bucket: world.name.clone(),
        key: key.to_owned(),
        version: None,
    };
    let put = async |key: &str, content: &'static str| {
        let request = world.sdk.s3().put_object().bucket(&world.name).key(key);
        let sent = request.body(content.as_bytes().to_vec().into()).send();
        let etag = sent.await.unwrap().e_tag.unwrap();
        etag.trim_matches('"').to_owned()
    };
    let keys = async || {
        let found = services.list(&world.name, "", None, 10).await.unwrap();
        let keys = found.into_iter().map(|object| object.key);
        keys.collect::<Vec<_>>()
    };
    let old = put("in/a b+ü", "one").await;
    put("in/a b+ü", "two").await;
    let (from, to) = (object("in/a b+ü"), object("done/a b+ü"));
    let removed = services.remove(&from, Some(&old), Some(&to)).await;
    assert_eq!(removed, Ok(false), "it was written again");
    assert_eq!(keys().await, ["in/a b+ü"]);
    put("in/a b+ü", "one").await;
    let removed = services.remove(&from, Some(&old), Some(&to)).await;
    assert_eq!(removed, Ok(true));
    assert_eq!(keys().await, ["done/a b+ü"]);
    // A crash came before it was noted.
    let removed = services.remove(&from, Some(&old), Some(&to)).await;
    assert_eq!(removed, Ok(false));
    assert_eq!(services.remove(&to, Some(&old), None).await, Ok(true));
    assert!(keys().await.is_empty());
    world.end().await;
}
