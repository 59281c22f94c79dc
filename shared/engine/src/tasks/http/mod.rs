//! `core.http.Request` and `core.http.Download`.
//!
//! Invariant: no answer is held in memory beyond [`RESPONSE_BODY_BYTES_MAX`]; a download goes to disk.

mod body;
mod client;
mod guard;
mod look;
mod name;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use operon_core::exec::Reason;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Response, Url};
use serde_json::{Map, Value, json};

use super::props::{Props, scalar_text};
use super::storage::{Scratch, keep};
use super::{TaskCall, TaskError, TaskOutput, counter};
use crate::ports::LogLevel;

pub use body::REQUEST_BODY_BYTES_MAX;
pub use client::{HttpClients, REDIRECTS_MAX};
pub(crate) use guard::is_link_local;
pub(crate) use look::{Known, Looked, host, look};
pub use name::FILE_NAME_BYTES_MAX;

use client::Manner;
use name::{disposition, file_name};

/// Bytes of an answer that `Request` gives as `body`; larger answers need `Download`.
pub const RESPONSE_BODY_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Bytes of a failed answer's body that are kept for people.
pub const FAILED_BODY_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a download: what still fits on the disk of a function or a laptop.
pub const DOWNLOAD_BYTES_MAX: u64 = 20 * 1024 * 1024 * 1024;
/// Characters of an address in the log.
const ADDRESS_CHARS: usize = 500;

/// `core.http.Request`: gives `code`, `headers`, `body` (text) and `uri`.
pub(super) async fn request(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let mut answer = send(call).await?;
    let bytes = answer.read(RESPONSE_BODY_BYTES_MAX).await?;
    let Some(bytes) = bytes else {
        return Err(answer.failed(format!(
            "the answer has more than {RESPONSE_BODY_BYTES_MAX} bytes; use `io.kestra.plugin.core.http.Download`"
        )));
    };
    let length = bytes.len();
    let text = decode(answer.response.headers(), bytes).ok_or_else(|| {
        answer.failed(
            "the answer is not UTF-8 text; use `io.kestra.plugin.core.http.Download`".to_owned(),
        )
    })?;
    let mut outputs = answer.outputs();
    outputs.insert("uri".to_owned(), json!(answer.address));
    outputs.insert("body".to_owned(), Value::String(text));
    Ok(TaskOutput {
        outputs,
        metrics: vec![counter("response.length", length)],
        ..TaskOutput::default()
    })
}

/// `core.http.Download`: gives `uri` of an artifact, `code`, `length` and `headers`.
pub(super) async fn download(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    download_limited(call, DOWNLOAD_BYTES_MAX).await
}

async fn download_limited(call: &TaskCall<'_>, limit: u64) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let fail_on_empty = props.flag("failOnEmptyResponse", true)?;
    let save_as = props.text("saveAs")?;
    let mut answer = send(call).await?;
    let scratch = Scratch::new()?;
    let path = scratch.path().join("download");
    let Some(length) = answer.store(&path, limit).await? else {
        return Err(answer.failed(format!(
            "the answer has more than {limit} bytes, which is the most a download may have"
        )));
    };
    if length == 0 {
        if fail_on_empty {
            return Err(answer.failed(
                "the answer is empty; set `failOnEmptyResponse: false` if that is expected"
                    .to_owned(),
            ));
        }
        call.log(LogLevel::Warn, "the answer is empty");
    }
    let name = save_as.as_deref().and_then(file_name);
    let name = name
        .or_else(|| disposition(answer.response.headers()))
        .or_else(|| {
            answer
                .response
                .url()
                .path_segments()?
                .next_back()
                .and_then(file_name)
        })
        .unwrap_or_else(|| "download".to_owned());
    let uri = keep(call, &path, &name).await?;
    let mut outputs = answer.outputs();
    outputs.insert("uri".to_owned(), json!(uri));
    outputs.insert("length".to_owned(), json!(length));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(TaskOutput {
        outputs,
        metrics: vec![counter("response.length", length)],
        ..TaskOutput::default()
    })
}

/// An answer whose status is a success, or is allowed.
#[derive(Debug)]
struct Answer {
    response: Response,
    /// Asked for, without credentials.
    address: String,
}

impl Answer {
    fn outputs(&self) -> Map<String, Value> {
        let mut headers: Map<String, Value> = Map::new();
        for (name, value) in self.response.headers() {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
            if let Value::Array(values) = values {
                values.push(Value::String(text));
            }
        }
        let mut outputs = Map::new();
        outputs.insert("code".to_owned(), json!(self.response.status().as_u16()));
        outputs.insert("headers".to_owned(), Value::Object(headers));
        outputs
    }

    fn failed(&self, message: String) -> TaskError {
        TaskError {
            outputs: self.outputs(),
            ..TaskError::failed(message)
        }
    }

    /// The body; none if it is larger than `limit`.
    async fn read(&mut self, limit: u64) -> Result<Option<Vec<u8>>, TaskError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }

    /// Writes the body to a file and gives its length; none if it is larger than `limit`.
    async fn store(&mut self, path: &Path, limit: u64) -> Result<Option<u64>, TaskError> {
        let wrong =
            |error: std::io::Error| TaskError::failed(format!("writing the file failed: {error}"));
        if self
            .response
            .content_length()
            .is_some_and(|length| length > limit)
        {
            return Ok(None);
        }
        // Writes of some KB to the page cache are shorter than handing them to another thread.
        let mut file = std::fs::File::create_new(path).map_err(wrong)?;
        let mut length = 0;
        while let Some(chunk) = self.chunk().await? {
            length += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            if length > limit {
                return Ok(None);
            }
            file.write_all(&chunk).map_err(wrong)?;
        }
        Ok(Some(length))
    }

    async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, TaskError> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|error| {
            let message = format!(
                "reading the answer of {} failed: {}",
                self.address,
                causes(&error)
            );
            TaskError {
                outputs: self.outputs(),
                ..TaskError::new(reason(&error), message)
            }
        })
    }
}

/// Sends the request and checks the status.
async fn send(call: &TaskCall<'_>) -> Result<Answer, TaskError> {
    let props = Props::new(&call.props);
    let options = props.object("options")?;
    let manner = Manner::read(&options)?;
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let method = props.word("method", &methods)?.unwrap_or("GET");
    let method: Method = method
        .parse()
        .map_err(|_| props.wrong("method", "is not an HTTP method"))?;
    let url = url(&props, manner)?;
    let address = address(&url);
    let mut request = call.http.get(manner)?.request(method.clone(), url);
    request = body::add(call, &props, request).await?;
    for (name, value) in props.map("headers")?.iter() {
        let text = scalar_text(value)
            .ok_or_else(|| props.wrong(&format!("headers.{name}"), "must be text"))?;
        request = request.header(name, text);
    }
    request = authorise(&options, request)?;
    let request = request.build().map_err(|error| {
        TaskError::invalid(format!("the request is not valid: {}", causes(&error)))
    })?;
    let sent_at = Instant::now();
    let sent = call.http.get(manner)?.execute(request).await;
    let response = sent.map_err(|error| {
        TaskError::new(
            reason(&error),
            format!("{method} {address} failed: {}", causes(&error)),
        )
    })?;
    let status = response.status();
    let ms = sent_at.elapsed().as_millis();
    call.log(
        LogLevel::Info,
        &format!("{method} {address}: {status} after {ms} ms"),
    );
    let mut answer = Answer { response, address };
    if is_success(&options, manner, status.as_u16())? {
        return Ok(answer);
    }
    // What the server says about the failure is worth more than the status, and a large one little more.
    let mut outputs = answer.outputs();
    let mut said = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        said.extend_from_slice(&chunk);
        if u64::try_from(said.len()).unwrap_or(u64::MAX) > FAILED_BODY_BYTES_MAX {
            said.truncate(usize::try_from(FAILED_BODY_BYTES_MAX).unwrap_or(usize::MAX));
            break;
        }
    }
    outputs.insert("uri".to_owned(), json!(answer.address));
    outputs.insert("body".to_owned(), json!(String::from_utf8_lossy(&said)));
    let message = format!(
        "{method} {} answered {status}{}",
        answer.address,
        quoted(&said)
    );
    Err(TaskError {
        outputs,
        ..TaskError::failed(message)
    })
}

/// 2xx; 3xx where redirects are not followed; what the task allows.
fn is_success(options: &Props<'_>, manner: Manner, code: u16) -> Result<bool, TaskError> {
    let allowed = options.texts("allowedResponseCodes")?.unwrap_or_default();
    let mut named = false;
    for text in &allowed {
        let one: u16 = text.trim().parse().map_err(|_| {
            options.wrong(
                "allowedResponseCodes",
                &format!("has `{text}`, which is not a status"),
            )
        })?;
        named |= one == code;
    }
    let all = options.flag("allowFailed", false)?;
    let good = (200..300).contains(&code) || (!manner.follow && (300..400).contains(&code));
    Ok(good || named || all)
}

fn url(props: &Props<'_>, manner: Manner) -> Result<Url, TaskError> {
    let text = props.required_text("uri")?;
    let mut url = Url::parse(text.trim()).map_err(|error| {
        props.wrong(
            "uri",
            &format!("is not an address such as `https://example.org/path`: {error}"),
        )
    })?;
    client::check(&url, manner.allow_link_local)
        .map_err(|what| props.wrong("uri", &format!("is refused: {what}")))?;
    for (name, value) in props.map("params")?.iter() {
        body::append(&mut url, name, value);
    }
    Ok(url)
}

fn authorise(
    options: &Props<'_>,
    request: reqwest::RequestBuilder,
) -> Result<reqwest::RequestBuilder, TaskError> {
    if options.value("auth").is_none() {
        return Ok(request);
    }
    let auth = options.object("auth")?;
    if auth.word("type", &["BASIC", "BEARER"])? == Some("BEARER") {
        return Ok(request.bearer_auth(auth.required_text("token")?));
    }
    let password = auth.text("password")?;
    Ok(request.basic_auth(auth.required_text("username")?, password))
}

/// An address for people: without user and password, and not too long.
fn address(url: &Url) -> String {
    let mut url = url.clone();
    // Only addresses without a host refuse this, and HTTP has none of those.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().chars().take(ADDRESS_CHARS).collect()
}

/// Text of an answer: UTF-8, or Latin-1 where the server says so.
fn decode(headers: &HeaderMap, bytes: Vec<u8>) -> Option<String> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    if content_type.contains("charset=iso-8859-1") || content_type.contains("charset=latin1") {
        return Some(bytes.into_iter().map(char::from).collect());
    }
    String::from_utf8(bytes).ok()
}

/// The first line of an answer, for a message.
fn quoted(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let line: String = line.trim().chars().take(200).collect();
    if line.is_empty() {
        line
    } else {
        format!(": {line}")
    }
}

fn reason(error: &reqwest::Error) -> Reason {
    if error.is_timeout() {
        Reason::Timeout
    } else {
        Reason::TaskFailed
    }
}

/// The innermost causes of an error: the outer ones only say that something failed.
fn causes(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        texts.push(inner.to_string());
        cause = inner.source();
    }
    if error.is_timeout() {
        return "no answer in time (`options.connectTimeout`, `options.readTimeout`)".to_owned();
    }
    if texts.is_empty() {
        texts.push(error.to_string());
    }
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn an_address_for_people_has_no_credentials() {
        let url = Url::parse("https://me:pw@example.org/a?b=c").unwrap();
        assert_eq!(address(&url), "https://example.org/a?b=c");
    }
}
