//! Resources of one test.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use operon_aws::{DynamoStore, S3Artifacts, Sdk};
use operon_testkit::memory::TestClock;

const HOW_TO: &str = "AWS_ENDPOINT_URL is not set. These tests need an emulator of AWS: run `make test-aws`, which \
starts LocalStack and ministack and sets it; or start one yourself and set AWS_ENDPOINT_URL, AWS_REGION, \
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. They are never skipped.";

/// A table and a bucket with names that nobody else has.
pub(crate) struct World {
    pub(crate) sdk: Sdk,
    pub(crate) name: String,
    pub(crate) clock: Arc<TestClock>,
}

impl World {
    /// Makes them.
    pub(crate) async fn new() -> Self {
        // Without an endpoint it would be AWS itself, which must be meant.
        let meant = std::env::var("OPERON_TEST_LANE").is_ok_and(|lane| lane == "aws");
        assert!(
            meant || std::env::var_os("AWS_ENDPOINT_URL").is_some(),
            "{HOW_TO}"
        );
        let sdk = Sdk::load().await;
        let name = format!(
            "operon-test-{:016x}",
            RandomState::new().build_hasher().finish()
        );
        create_table(&sdk, &name).await;
        sdk.s3()
            .create_bucket()
            .bucket(&name)
            .send()
            .await
            .expect("a bucket");
        Self {
            sdk,
            name,
            clock: Arc::default(),
        }
    }

    /// A store that keeps due times as they are.
    pub(crate) fn store(&self) -> DynamoStore {
        DynamoStore::new(&self.sdk, &self.name, &self.name, self.clock.clone()).with_due_step_ms(1)
    }

    pub(crate) fn artifacts(&self) -> S3Artifacts {
        S3Artifacts::new(&self.sdk, &self.name)
    }

    /// Removes them. After a failure they stay: the emulator is gone soon anyway.
    pub(crate) async fn end(self) {
        self.sdk
            .dynamodb()
            .delete_table()
            .table_name(&self.name)
            .send()
            .await
            .unwrap();
        let s3 = self.sdk.s3();
        let listed = s3
            .list_objects_v2()
            .bucket(&self.name)
            .send()
            .await
            .unwrap();
        for object in listed.contents() {
            let key = object.key().unwrap_or_default();
            s3.delete_object()
                .bucket(&self.name)
                .key(key)
                .send()
                .await
                .unwrap();
        }
        s3.delete_bucket().bucket(&self.name).send().await.unwrap();
    }
}

fn element(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
        .unwrap()
}

fn index(name: &str, hash: &str, range: &str, projection: ProjectionType) -> GlobalSecondaryIndex {
    GlobalSecondaryIndex::builder()
        .index_name(name)
        .key_schema(element(hash, KeyType::Hash))
        .key_schema(element(range, KeyType::Range))
        .projection(Projection::builder().projection_type(projection).build())
        .build()
        .unwrap()
}

/// The table of `infra/template.yaml`.
async fn create_table(sdk: &Sdk, name: &str) {
    let mut request = sdk
        .dynamodb()
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(element("pk", KeyType::Hash))
        .key_schema(element("sk", KeyType::Range))
        .global_secondary_indexes(index("due", "q", "due", ProjectionType::KeysOnly))
        .global_secondary_indexes(index("list", "l", "lk", ProjectionType::All));
    for (attribute, kind) in [
        ("pk", ScalarAttributeType::S),
        ("sk", ScalarAttributeType::S),
        ("q", ScalarAttributeType::S),
        ("due", ScalarAttributeType::N),
        ("l", ScalarAttributeType::S),
        ("lk", ScalarAttributeType::S),
    ] {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(kind)
            .build()
            .unwrap();
        request = request.attribute_definitions(definition);
    }
    request.send().await.expect("a table");
}
