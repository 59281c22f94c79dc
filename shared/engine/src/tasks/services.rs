//! `s3-copy`, `s3-list`, `s3-delete` and `lambda`: services outside of Operon, by the installation's own permissions.

use operon_core::exec::Reason;
use regex::Regex;
use serde_json::{Value, json};

use super::props::Props;
use super::storage::{Scratch, keep};
use super::{TaskCall, TaskError, TaskOutput, counter, outputs};
use crate::ports::{
    Copied, LogLevel, OBJECTS_MAX, ObjectInfo, ObjectName, PAYLOAD_BYTES_MAX, ServiceError,
};

/// Objects that one list gives at most, and without `maxKeys`.
const LIST_MAX: u64 = 10_000;
const LIST_USUAL: u64 = 1_000;
/// Objects that are looked at for one list.
const LOOKED_MAX: usize = 100_000;
/// Bytes of an answer that becomes an output.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a failed function's answer that are shown.
const SHOWN_BYTES_MAX: usize = 500;

impl From<ServiceError> for TaskError {
    fn from(error: ServiceError) -> Self {
        let reason = match error {
            ServiceError::Unavailable(_) | ServiceError::Invalid(_) => Reason::InvalidInput,
            ServiceError::Missing(_) | ServiceError::Failed(_) => Reason::TaskFailed,
        };
        Self::new(reason, error.to_string())
    }
}

fn object(props: &Props<'_>) -> Result<ObjectName, TaskError> {
    Ok(ObjectName {
        bucket: props.required_text("bucket")?,
        key: props.required_text("key")?,
        version: props.text("versionId")?,
    })
}

/// `s3-copy`: gives `bucket`, `key`, `eTag`.
pub(super) async fn copy(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let from = object(&props.object("from")?)?;
    let wanted = props.object("to")?;
    let to = ObjectName {
        bucket: wanted.text("bucket")?.unwrap_or(from.bucket.clone()),
        key: wanted.text("key")?.unwrap_or(from.key.clone()),
        version: None,
    };
    if (&from.bucket, &from.key) == (&to.bucket, &to.key) {
        return Err(props.wrong("to", "names the object that is copied"));
    }
    let services = &call.ports.services;
    let delete = props.flag("delete", false)?;
    if delete {
        services.writable(&from)?;
    }
    let Copied { made, source_etag } = services.copy(&from, &to).await?;
    if delete {
        if from.version.is_some() {
            services.delete(&from).await?;
        } else if !services.remove(&from, Some(&source_etag), None).await? {
            return Err(TaskError::failed(format!(
                "{}/{} was written or deleted while it was copied, and stays as it is now; copy it again",
                from.bucket, from.key
            )));
        }
    }
    let text = format!("{}/{} to {}/{}", from.bucket, from.key, to.bucket, to.key);
    call.log(LogLevel::Info, &text);
    Ok(outputs([
        ("bucket", json!(to.bucket)),
        ("key", json!(to.key)),
        ("eTag", json!(made.etag)),
        ("size", json!(made.size)),
    ]))
}

fn shown(bucket: &str, object: &ObjectInfo) -> Value {
    let modified = object
        .modified_ms
        .and_then(|ms| jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
    json!({
        "key": object.key, "size": object.size, "etag": object.etag,
        "lastModified": modified.map(|time| time.to_string()),
        "uri": format!("s3://{bucket}/{}", object.key),
    })
}

/// `s3-list`: gives `objects`.
pub(super) async fn list(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let bucket = props.required_text("bucket")?;
    let prefix = props.text("prefix")?.unwrap_or_default();
    let most = props.count("maxKeys")?.unwrap_or(LIST_USUAL).min(LIST_MAX);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let fits = match props.text("regexp")? {
        None => None,
        Some(text) => Some(
            Regex::new(&format!("^(?:{text})$"))
                .map_err(|error| props.wrong("regexp", &format!("is no expression: {error}")))?,
        ),
    };
    let mut after = props.text("marker")?;
    let (mut found, mut looked) = (Vec::new(), 0);
    while found.len() < most && looked < LOOKED_MAX {
        let services = &call.ports.services;
        let page = services
            .list(&bucket, &prefix, after.as_deref(), OBJECTS_MAX)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        looked += page.len();
        let good = page
            .iter()
            .filter(|object| fits.as_ref().is_none_or(|fits| fits.is_match(&object.key)));
        found.extend(
            good.take(most - found.len())
                .map(|object| shown(&bucket, object)),
        );
    }
    let count = found.len();
    call.log(LogLevel::Info, &format!("{count} objects"));
    let mut out = outputs([("objects", json!(found)), ("size", json!(count))]);
    out.metrics.push(counter("objects", count));
    Ok(out)
}

/// `s3-delete`.
pub(super) async fn delete(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let object = object(&Props::new(&call.props))?;
    call.ports.services.delete(&object).await?;
    let text = format!("deleted {}/{}", object.bucket, object.key);
    call.log(LogLevel::Info, &text);
    Ok(TaskOutput::default())
}

/// `lambda`: gives `uri`, `contentLength`, `body`.
pub(super) async fn invoke(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let function = props.required_text("functionArn")?;
    let payload = match props.value("functionPayload") {
        None => Vec::new(),
        Some(value) => value.to_string().into_bytes(),
    };
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(props.wrong(
            "functionPayload",
            &format!("has more than {PAYLOAD_BYTES_MAX} bytes; name a file instead"),
        ));
    }
    let answer = call.ports.services.invoke(&function, payload).await?;
    if let Some(error) = answer.error {
        let text = String::from_utf8_lossy(&answer.payload);
        let shown = text.get(..text.floor_char_boundary(SHOWN_BYTES_MAX));
        return Err(TaskError::failed(format!(
            "the function failed ({error}): {}",
            shown.unwrap_or_default()
        )));
    }
    let scratch = Scratch::new()?;
    let path = scratch.path().join("answer");
    let length = answer.payload.len();
    let body = (length <= BODY_BYTES_MAX)
        .then(|| serde_json::from_slice::<Value>(&answer.payload).ok())
        .flatten();
    tokio::fs::write(&path, &answer.payload)
        .await
        .map_err(|error| TaskError::failed(format!("writing the answer: {error}")))?;
    let uri = keep(call, &path, "answer").await?;
    call.log(LogLevel::Info, &format!("answered {length} bytes"));
    Ok(outputs([
        ("uri", json!(uri)),
        ("contentLength", json!(length)),
        ("body", body.unwrap_or(Value::Null)),
    ]))
}
