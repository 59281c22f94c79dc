//! Key-value pairs of a namespace: state that outlives executions.

use jiff::Timestamp;
use jiff::civil::Date;
use operon_core::lang::amount;
use serde_json::{Value, json};

use super::props::{Props, any_text, shown};
use super::{TaskCall, TaskError, TaskOutput, outputs};
use crate::ports::KvEntry;

/// Bytes of a key.
pub const KV_KEY_BYTES_MAX: usize = 256;
/// Bytes of a value as JSON: an item of `DynamoDB` may have 400 KB. Larger values belong into artifacts.
pub const KV_VALUE_BYTES_MAX: usize = 256 * 1024;
/// Keys that one `GetKeys` gives.
pub const KV_KEYS_MAX: usize = 10_000;

/// `core.kv.Set`.
pub(super) async fn set(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let key = key(&props)?;
    let namespace = namespace(call, &props)?;
    let value = typed(&props)?;
    let bytes = value.to_string().len();
    if bytes > KV_VALUE_BYTES_MAX {
        let what = format!(
            "has {bytes} bytes; at most {KV_VALUE_BYTES_MAX} are possible: store a file and set its URI"
        );
        return Err(props.wrong("value", &what));
    }
    let ttl_ms = props.duration_ms("ttl")?;
    let now = call.ports.clock.now_ms();
    let entry = KvEntry {
        key,
        value,
        expires_ms: ttl_ms.map(|ttl| now.saturating_add(ttl)),
    };
    let overwrite = props.flag("overwrite", true)?;
    if call
        .ports
        .store
        .kv_set(&namespace, &entry, overwrite)
        .await?
    {
        return Ok(TaskOutput::default());
    }
    Err(TaskError::failed(format!(
        "key `{}` of namespace `{namespace}` has a value, and `overwrite` is `false`",
        entry.key
    )))
}

/// `core.kv.Get`: gives `value`, null when there is none.
pub(super) async fn get(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let (key, namespace) = (key(&props)?, namespace(call, &props)?);
    let must = props.flag("errorOnMissing", false)?;
    let now = call.ports.clock.now_ms();
    let entry = call.ports.store.kv(&namespace, &key, now).await?;
    if entry.is_none() && must {
        return Err(missing(&key, &namespace));
    }
    let value = entry.map_or(Value::Null, |entry| entry.value);
    Ok(outputs([("value", value)]))
}

/// `core.kv.GetKeys`: gives `keys`, sorted.
pub(super) async fn get_keys(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let namespace = namespace(call, &props)?;
    let prefix = props.text("prefix")?.unwrap_or_default();
    let now = call.ports.clock.now_ms();
    let entries = call.ports.store.kv_list(&namespace, &prefix, now).await?;
    if entries.len() > KV_KEYS_MAX {
        let what = format!(
            "fits {} keys of namespace `{namespace}`; at most {KV_KEYS_MAX} can be listed: make it longer",
            entries.len()
        );
        return Err(props.wrong("prefix", &what));
    }
    let mut keys: Vec<String> = entries.into_iter().map(|entry| entry.key).collect();
    keys.sort_unstable();
    Ok(outputs([("keys", json!(keys))]))
}

/// `core.kv.Delete`: gives `deleted`, whether there was one.
pub(super) async fn delete(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let (key, namespace) = (key(&props)?, namespace(call, &props)?);
    let must = props.flag("errorOnMissing", false)?;
    let deleted = call.ports.store.kv_delete(&namespace, &key).await?;
    if !deleted && must {
        return Err(missing(&key, &namespace));
    }
    Ok(outputs([("deleted", json!(deleted))]))
}

fn missing(key: &str, namespace: &str) -> TaskError {
    TaskError::failed(format!(
        "there is no key `{key}` in namespace `{namespace}`, and `errorOnMissing` is `true`"
    ))
}

/// Kestra's rule for keys: letters, digits, `.`, `_` and `-`, a letter or digit first.
fn key(props: &Props<'_>) -> Result<String, TaskError> {
    let key = props.required_text("key")?;
    let good = key.len() <= KV_KEY_BYTES_MAX
        && key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if good {
        return Ok(key);
    }
    let what = format!(
        "must have 1 to {KV_KEY_BYTES_MAX} letters, digits, `.`, `_` and `-` and begin with a letter or \
         digit, not {}",
        shown(&Value::from(key))
    );
    Err(props.wrong("key", &what))
}

fn namespace(call: &TaskCall<'_>, props: &Props<'_>) -> Result<String, TaskError> {
    let named = props.text("namespace")?.filter(|text| !text.is_empty());
    Ok(named.unwrap_or_else(|| call.meta.namespace.clone()))
}

/// The value as `kvType` wants it: what came as text is read, what does not fit is refused. Times and
/// durations stay texts.
fn typed(props: &Props<'_>) -> Result<Value, TaskError> {
    let types = [
        "STRING", "NUMBER", "BOOLEAN", "DATETIME", "DATE", "DURATION", "JSON",
    ];
    let Some(value) = props.value("value") else {
        return Err(props.wrong("value", "is required and has no value"));
    };
    let Some(kind) = props.word("kvType", &types)? else {
        return Ok(value.clone());
    };
    let text = value.as_str().map(str::trim);
    let fitting = match kind {
        "NUMBER" if value.is_number() => Some(value.clone()),
        "NUMBER" => text
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .filter(Value::is_number),
        "BOOLEAN" if value.is_boolean() => Some(value.clone()),
        "BOOLEAN" => text.and_then(|text| match text.to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        }),
        "DATETIME" => text
            .filter(|text| text.parse::<Timestamp>().is_ok())
            .map(Value::from),
        "DATE" => text
            .filter(|text| text.parse::<Date>().is_ok())
            .map(Value::from),
        "DURATION" => text
            .filter(|text| amount::duration_ms(text).is_ok())
            .map(Value::from),
        "JSON" => match text {
            Some(text) => serde_json::from_str(text).ok(),
            None => Some(value.clone()),
        },
        _ => Some(Value::from(any_text(value))),
    };
    fitting.ok_or_else(|| {
        props.wrong(
            "value",
            &format!("is not of `kvType: {kind}`: it is {}", shown(value)),
        )
    })
}
