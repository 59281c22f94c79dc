//! `s3-*` and `lambda` over services that remember what they were asked.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use operon_core::exec::Reason;
use operon_engine::ports::{
    Copied, Invoked, ObjectInfo, ObjectName, PAYLOAD_BYTES_MAX, ServiceError, Services,
};
use serde_json::json;

use super::world::World;

/// Objects `k000` to `k249` in pages of 100, and a function that says what it was told.
#[derive(Default)]
struct Remembering(Mutex<Vec<String>>);

impl Remembering {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Services for Remembering {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        _: u32,
    ) -> Result<Vec<ObjectInfo>, ServiceError> {
        self.note(format!("list {bucket} {prefix} {after:?}"));
        let keys = (0..250).map(|number| format!("{prefix}{number:03}"));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(keys
            .take(100)
            .map(|key| ObjectInfo {
                key,
                size: 7,
                etag: "e".to_owned(),
                modified_ms: Some(0),
            })
            .collect())
    }

    async fn copy(&self, from: &ObjectName, to: &ObjectName) -> Result<Copied, ServiceError> {
        if from.key == "missing" {
            return Err(ServiceError::Missing(
                "S3: there is no `missing`".to_owned(),
            ));
        }
        self.note(format!(
            "copy {}/{} {}/{}",
            from.bucket, from.key, to.bucket, to.key
        ));
        Ok(Copied {
            made: ObjectInfo::default(),
            source_etag: "e1".to_owned(),
        })
    }

    async fn delete(&self, object: &ObjectName) -> Result<(), ServiceError> {
        self.note(format!("delete {}/{}", object.bucket, object.key));
        Ok(())
    }

    async fn remove(
        &self,
        object: &ObjectName,
        etag: Option<&str>,
        _: Option<&ObjectName>,
    ) -> Result<bool, ServiceError> {
        let etag = etag.unwrap_or_default();
        if object.key == "busy" {
            return Ok(false);
        }
        self.note(format!("remove {}/{} {etag}", object.bucket, object.key));
        Ok(true)
    }

    async fn invoke(&self, function: &str, payload: Vec<u8>) -> Result<Invoked, ServiceError> {
        let error = (function == "broken").then(|| "Unhandled".to_owned());
        Ok(Invoked { payload, error })
    }
}

fn world() -> (World, Arc<Remembering>) {
    let services = Arc::<Remembering>::default();
    let mut world = World::new();
    world.ports.services = Arc::clone(&services) as Arc<_>;
    (world, services)
}

#[tokio::test]
async fn objects_are_copied_moved_and_deleted() {
    let (world, services) = world();
    let from = json!({"bucket": "a", "key": "x/y"});
    let task = "aws.s3.Copy";
    let moved = json!({"from": from, "to": {"bucket": "b"}, "delete": true});
    let moved = world.run(task, moved).await.unwrap();
    assert_eq!(
        (&moved.outputs["bucket"], &moved.outputs["key"]),
        (&json!("b"), &json!("x/y"))
    );
    let gone = json!({"bucket": "b", "key": "x/y"});
    world.run("aws.s3.Delete", gone).await.unwrap();
    assert_eq!(
        services.asked(),
        ["copy a/x/y b/x/y", "remove a/x/y e1", "delete b/x/y"]
    );
    // What was written meanwhile is not deleted.
    let busy =
        json!({"from": {"bucket": "a", "key": "busy"}, "to": {"bucket": "b"}, "delete": true});
    let busy = world.run(task, busy).await.unwrap_err();
    assert!(busy.message.contains("copy it again"), "{busy}");
    // What was not copied is not deleted.
    let missing =
        json!({"from": {"bucket": "a", "key": "missing"}, "to": {"bucket": "b"}, "delete": true});
    assert!(world.run(task, missing).await.is_err());
    let itself = json!({"from": from, "to": {}, "delete": true});
    let itself = world.run(task, itself).await.unwrap_err();
    assert_eq!(itself.reason, Reason::InvalidInput);
    assert_eq!(services.asked().len(), 4);
}

#[tokio::test]
async fn a_list_goes_through_pages_up_to_its_limit() {
    let (world, services) = world();
    let list = async |more: serde_json::Value| {
        let mut props = json!({"bucket": "a", "prefix": "k"});
        props
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let found = world.run("aws.s3.List", props).await.unwrap();
        let objects = found.outputs["objects"].as_array().unwrap().clone();
        objects
            .iter()
            .map(|object| object["key"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(json!({})).await.len(), 250);
    assert_eq!(services.asked()[1], "list a k Some(\"k099\")");
    assert_eq!(list(json!({"maxKeys": 120})).await.len(), 120);
    assert_eq!(list(json!({"marker": "k247"})).await, ["k248", "k249"]);
    assert_eq!(
        list(json!({"regexp": "k..9", "maxKeys": 2})).await,
        ["k009", "k019"]
    );
}

#[tokio::test]
async fn a_function_answers_with_a_file_and_fails_the_task() {
    let (world, _) = world();
    let task = "aws.lambda.Invoke";
    let payload = json!({"accession": "PP_1"});
    let props = json!({"functionArn": "convert", "functionPayload": payload});
    let done = world.run(task, props).await.unwrap();
    assert_eq!(done.outputs["body"], payload);
    assert_eq!(world.read(&done.outputs["uri"]).await, payload.to_string());
    let broken = json!({"functionArn": "broken", "functionPayload": {"a": 1}});
    let broken = world.run(task, broken).await.unwrap_err();
    assert!(broken.message.contains("Unhandled") && broken.message.contains("{\"a\":1}"));
    let large = json!({"functionArn": "x", "functionPayload": "x".repeat(PAYLOAD_BYTES_MAX)});
    let large = world.run(task, large).await.unwrap_err();
    assert_eq!(large.reason, Reason::InvalidInput);
}

#[tokio::test]
async fn a_laptop_says_what_it_has_not() {
    let world = World::new();
    let props = json!({"functionArn": "convert"});
    let refused = world.run("aws.lambda.Invoke", props).await.unwrap_err();
    assert!(refused.message.contains("deployment on AWS"), "{refused}");
}
