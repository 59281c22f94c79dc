//! What is sent: text, JSON, a form, or files.

use std::sync::Arc;

use futures_util::stream;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, RequestBuilder, Url};
use serde_json::{Map, Value};

use crate::ports::{ArtifactError, ArtifactStore, ArtifactUri};
use crate::tasks::props::{Props, any_text, shown};
use crate::tasks::{TaskCall, TaskError};

/// Bytes of a request body; files of a form do not count.
pub const REQUEST_BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Bytes read of an artifact at once.
const STEP: u64 = 1024 * 1024;

const MULTIPART: &str = "multipart/form-data";

/// Adds `formData`, or else `body`, with its `contentType`.
pub(super) async fn add(
    call: &TaskCall<'_>,
    props: &Props<'_>,
    request: RequestBuilder,
) -> Result<RequestBuilder, TaskError> {
    let content_type = props.text("contentType")?;
    let form = props.map("formData")?;
    if !form.is_empty() {
        if content_type.as_deref() == Some(MULTIPART) || form.values().any(is_file) {
            return Ok(request.multipart(multipart(call, props, &form).await?));
        }
        let text = bounded(props, "formData", url_encoded(&form))?;
        let urlencoded = "application/x-www-form-urlencoded";
        return Ok(request.header("content-type", urlencoded).body(text));
    }
    let Some(body) = props.value("body") else {
        return Ok(match content_type {
            Some(content_type) => request.header("content-type", content_type),
            None => request,
        });
    };
    let text = bounded(props, "body", any_text(body))?;
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    Ok(request.header("content-type", content_type).body(text))
}

fn bounded(props: &Props<'_>, name: &str, text: String) -> Result<String, TaskError> {
    if text.len() > REQUEST_BODY_BYTES_MAX {
        let what = format!(
            "has {} bytes; at most {REQUEST_BODY_BYTES_MAX} are possible: send a file with `formData`",
            text.len()
        );
        return Err(props.wrong(name, &what));
    }
    Ok(text)
}

fn url_encoded(form: &Map<String, Value>) -> String {
    // A URL's query has the encoding of forms.
    let Ok(mut url) = Url::parse("http://form.invalid/") else {
        return String::new();
    };
    for (name, value) in form {
        append(&mut url, name, value);
    }
    url.query().unwrap_or_default().to_owned()
}

/// Adds a query parameter; a list gives one for each of its values.
pub(super) fn append(url: &mut Url, name: &str, value: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| append(url, name, value)),
        Value::Null => {}
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            url.query_pairs_mut().append_pair(name, &any_text(other));
        }
    }
}

/// A URI of an artifact, or a map of `name` and `content`.
fn is_file(value: &Value) -> bool {
    match value {
        Value::String(text) => ArtifactUri::is_uri(text),
        Value::Object(map) => map.contains_key("name") && map.contains_key("content"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

async fn multipart(
    call: &TaskCall<'_>,
    props: &Props<'_>,
    form: &Map<String, Value>,
) -> Result<Form, TaskError> {
    let mut multipart = Form::new();
    let mut left = REQUEST_BODY_BYTES_MAX;
    for (name, value) in form {
        let wrong = |what: &str| props.wrong(&format!("formData.{name}"), what);
        let part = match value {
            Value::String(uri) if is_file(value) => {
                let file_name = uri.rsplit('/').next().unwrap_or_default();
                file(call, uri, file_name).await?
            }
            Value::Object(map) if is_file(value) => {
                let texts = (map.get("name").and_then(Value::as_str), map.get("content"));
                let (Some(file_name), Some(Value::String(uri))) = texts else {
                    return Err(wrong(&format!("must have texts, not {}", shown(value))));
                };
                file(call, uri, file_name).await?
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let text = any_text(value);
                left = left.checked_sub(text.len()).ok_or_else(|| {
                    wrong(&format!(
                        "makes the form larger than {REQUEST_BODY_BYTES_MAX} bytes; send a file"
                    ))
                })?;
                Part::text(text)
            }
        };
        multipart = multipart.part(name.clone(), part);
    }
    Ok(multipart)
}

/// An artifact, read while it is sent.
async fn file(call: &TaskCall<'_>, uri: &str, name: &str) -> Result<Part, TaskError> {
    let uri: ArtifactUri = uri.trim().parse()?;
    let size = call.ports.artifacts.size(&uri).await?;
    let body = streamed(Arc::clone(&call.ports.artifacts), uri);
    let part = Part::stream_with_length(body, size).file_name(name.to_owned());
    part.mime_str("application/octet-stream")
        .map_err(|error| TaskError::failed(format!("cannot send the file: {error}")))
}

fn streamed(artifacts: Arc<dyn ArtifactStore>, uri: ArtifactUri) -> Body {
    let chunks = stream::try_unfold((artifacts, uri, 0), |(artifacts, uri, at)| async move {
        let bytes = artifacts.get_range(&uri, at..at + STEP).await?;
        if bytes.is_empty() {
            return Ok::<_, ArtifactError>(None);
        }
        let next = at + u64::try_from(bytes.len()).unwrap_or(STEP);
        Ok(Some((bytes, (artifacts, uri, next))))
    });
    Body::wrap_stream(chunks)
}
