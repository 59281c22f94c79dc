//! A Lambda function that shows how it was called: it stands in for every function of the template when the
//! template itself is tested (tests/aws).
//!
//! Messages of queues: a body that holds `poison` fails alone, everything else is acknowledged. Any other event,
//! and what it was asked by a direct invocation, is answered with itself and with the names of `OPERON_*`.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(answer)).await
}

async fn answer(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let payload = event.payload;
    let Some(records) = payload.get("Records").and_then(Value::as_array) else {
        let variables: serde_json::Map<String, Value> = std::env::vars()
            .filter(|(name, _)| name.starts_with("OPERON_") || name.starts_with("AWS_ENDPOINT_URL"))
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        return Ok(json!({ "event": payload, "environment": variables }));
    };
    let failures: Vec<Value> = records
        .iter()
        .filter(|record| {
            record["body"]
                .as_str()
                .is_some_and(|body| body.contains("poison"))
        })
        .map(|record| json!({ "itemIdentifier": record["messageId"] }))
        .collect();
    Ok(json!({ "batchItemFailures": failures }))
}
