//! A look at an address, for the `http` trigger: conditional, bounded, and with the same rules about where a request
//! may go as the task.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, RETRY_AFTER};
use serde_json::{Map, Value};

use super::client::Manner;
use super::{Answer, HttpClients, address, authorise, causes, reason, url};
use crate::tasks::TaskError;
use crate::tasks::props::{Props, scalar_text};

/// What is remembered of the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    pub(crate) etag: Option<&'a str>,
    pub(crate) modified: Option<&'a str>,
}

/// What came.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Seconds after which the server wants to be asked again.
    pub(crate) retry_after_s: Option<u64>,
}

/// The host that is asked, for keeping a distance between requests.
pub(crate) fn host(props: &Map<String, Value>) -> Option<String> {
    let text = props.get("uri").and_then(Value::as_str)?;
    let url = reqwest::Url::parse(text.trim()).ok()?;
    Some(format!(
        "{}:{}",
        url.host_str()?,
        url.port_or_known_default()?
    ))
}

/// Asks. `props` are rendered; `body_max` is 0 where the body is not read.
pub(crate) async fn look(
    clients: &HttpClients,
    props: &Map<String, Value>,
    known: Known<'_>,
    body_max: u64,
) -> Result<Looked, TaskError> {
    let props = Props::new(props);
    let options = props.object("options")?;
    let manner = Manner::read(&options)?;
    let method = props
        .word("method", &["GET", "HEAD", "POST"])?
        .unwrap_or("GET");
    let method: Method = method
        .parse()
        .map_err(|_| props.wrong("method", "is not an HTTP method"))?;
    let url = url(&props, manner)?;
    let address = address(&url);
    let mut request = clients.get(manner)?.request(method.clone(), url);
    for (name, value) in props.map("headers")?.iter() {
        let text = scalar_text(value)
            .ok_or_else(|| props.wrong(&format!("headers.{name}"), "must be text"))?;
        request = request.header(name, text);
    }
    match props.value("body") {
        None => {}
        Some(Value::String(text)) => request = request.body(text.clone()),
        Some(value) => {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(value.to_string());
        }
    }
    if let Some(kind) = props.text("contentType")? {
        request = request.header(CONTENT_TYPE, kind);
    }
    if let Some(etag) = known.etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    if let Some(modified) = known.modified {
        request = request.header(IF_MODIFIED_SINCE, modified);
    }
    let request = authorise(&options, request)?.build().map_err(|error| {
        TaskError::invalid(format!("the request is not valid: {}", causes(&error)))
    })?;
    let sent = clients.get(manner)?.execute(request).await;
    let response = sent.map_err(|error| {
        TaskError::new(
            reason(&error),
            format!("{method} {address} failed: {}", causes(&error)),
        )
    })?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let retry_after_s = retry_after.and_then(|text| text.trim().parse().ok());
    let mut answer = Answer { response, address };
    let body = if body_max == 0 {
        Vec::new()
    } else {
        answer.read(body_max).await?.ok_or_else(|| {
            TaskError::failed(format!(
                "the answer of {} has more than {body_max} bytes; set `headersOnly: true` if its headers are enough",
                answer.address
            ))
        })?
    };
    Ok(Looked {
        status,
        headers,
        body,
        retry_after_s,
    })
}
